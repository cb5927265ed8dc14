"""`adaptlab models`: what is here, what fits, and what is damaged, without loading anything."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from adaptlab import paths
from adaptlab.runner import inventory
from adaptlab.runner.cli import app
from adaptlab.runner.inventory import Machine, Model
from conftest import DAMAGE

BIG = Machine(16 * 2**30, 8 * 2**30, 100e9, 10e9)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(paths.MODELS / "study-s", tmp_path / "mine")


def test_the_models_that_are_here_are_listed_with_size_fit_and_speed(folder, llama, monkeypatch):
    llama.model.save_pretrained("deep/other")
    monkeypatch.setattr(inventory, "measure", lambda: BIG)
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 0, result.output
    lines = dict(line.split(" (", 1) for line in result.output.splitlines() if " (" in line)
    assert lines["study"].startswith("the kit's): ") and "fits; about" in lines["study"]
    size = sum(p.numel() for p in llama.model.parameters()) / 1e6
    assert lines["deep/other"].startswith(f"folder): {size:.1f} M parameters, ")
    assert lines["mine"].split("):")[1] == lines["study-s"].split("):")[1]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [(135e6, "fits;"), (1.9e9, "fits;"), (3e9, "fits alone;"), (7e9, "does not fit;")],
)
def test_what_fits_depends_on_the_memory_that_is_free_and_on_all_of_it(parameters, said):
    assert said in Model("m", "folder", int(parameters), 30).line(BIG)


def test_speed_is_that_of_operations_and_of_memory():
    line = Model("m", "folder", 10**9, 0).line(BIG)
    assert "about 50 tokens/s read, 2 written" in line and "1.00 B parameters" in line


@pytest.mark.parametrize("damage", [name for name in DAMAGE if "body" not in name])
def test_a_damaged_folder_is_called_so(folder, damage):
    weights = folder / "model.safetensors"
    weights.write_bytes(DAMAGE[damage](weights.read_bytes()))
    (found,) = (one for one in inventory.here() if one.name == "mine")
    assert "damaged: " in found.line(BIG) and "save or fetch it again" in found.line(BIG)


@pytest.mark.parametrize("text", ["[", "3", "[]", "[" * 100_000, ""])
def test_so_is_one_with_a_broken_config(folder, text):
    (folder / "config.json").write_text(text)
    (found,) = (one for one in inventory.here() if one.name == "mine")
    assert "damaged: " in found.problem


def test_adapters_name_their_model_and_other_weights_are_no_model(folder, tmp_path):
    (folder / "config.json").rename(folder / "adapter_config.json")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "study"}))
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text("{}")
    found = {one.name: one.line(BIG) for one in inventory.here()}
    assert "adapters, " in found["mine"] and found["mine"].endswith("for study")
    assert "has no weights in safetensors" in found["pickled"]


def test_the_machine_is_measured():
    found = inventory.measure()
    assert found.memory >= found.free > 2**28 and found.operations > 1e8 and found.bandwidth > 1e8
    assert "free" in str(found)
