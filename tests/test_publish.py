"""From the command line to a finished model folder, with a model of a few thousand weights."""

import functools
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from adaptlab import paths
from adaptlab.engine.folders import embedded
from adaptlab.engine.models import load
from adaptlab.runner.cli import app
from adaptlab.studymodel import abilities, abilities_worlds, make, publish
from adaptlab.studymodel.publish import ABILITIES, CARD, TRAINING, thin_log
from adaptlab.studymodel.recipes import MIDDLE, RECIPES, Course, Phase
from tiny import use

TINY = replace(
    RECIPES["study"],
    name="tiny",
    hidden=32,
    heads=2,
    layers=1,
    tokens=2048,
    courses=(Course((Phase(12, 2048, 90, MIDDLE),)),),
)


@pytest.fixture
def kit(tmp_path, monkeypatch):
    use(tmp_path, monkeypatch.setattr)
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    monkeypatch.setitem(RECIPES, "tiny", TINY)
    monkeypatch.setattr(make, "publish", functools.partial(publish.publish, n=3))
    monkeypatch.setattr(make, "pretrain", functools.partial(make.pretrain, fast=False, probe_every=5))
    monkeypatch.setattr(make, "probe", functools.partial(make.probe, n=2))
    monkeypatch.setattr(abilities, "solve", functools.partial(abilities.solve, samples=2))
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(app, ["pretrain", *map(str, arguments)])


def older(kit):
    """The folder of an older model."""
    folder = kit / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / TRAINING).write_text("older")
    return folder


def test_in_two_sittings_to_a_folder_that_loads(kit):
    """That of an older model gives way."""
    folder = older(kit)
    first = call("tiny", "--steps", 7)
    assert first.exit_code == 0 and (folder / TRAINING).read_text() == "older", first.output
    assert len((kit / "checkpoints" / "tiny" / "log.jsonl").read_text().splitlines()) == 7
    second = call("tiny", "--out", folder, "--device", "cpu")
    assert second.exit_code == 0 and second.output.strip().endswith("tiny"), second.output
    assert embedded() == [p.name for p in folder.parent.iterdir()] == ["tiny"]
    lm = load("tiny", device="cpu")
    assert set(load_file(folder / "model.safetensors")["model.norm.weight"].dtype for _ in "x") == {torch.bfloat16}
    log = [json.loads(line) for line in (folder / TRAINING).read_text().splitlines()]
    assert [line["step"] for line in log] == [10, 12] and "forward" in log[0] and "forward" in log[1]
    names = {one["name"] for one in json.loads((folder / ABILITIES).read_text())}
    first, second = {*abilities.CHOICES, "sums, coverage of 2"}, {*abilities_worlds.CHOICES, "lexicon, 32 shots"}
    assert first | second <= names and "hierarchy, inherited, without the documents" in names
    card = (folder / CARD).read_text()
    assert f"{lm.model.num_parameters() / 1e6:.2f} million parameters" in card and "adaptlab pretrain tiny" in card
    assert "cpu threads" in card and all(f"| {name} |" in card for name in names)


def test_what_fails_leaves_the_old_folder_and_no_crumbs(kit, monkeypatch):
    folder = older(kit)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(publish, "card", fail)
    result = call("tiny", "--out", folder)
    assert result.exit_code == 1 and "disk full" in result.output
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]
    assert [p.name for p in folder.iterdir()] == [TRAINING]


def test_a_folder_of_something_else_is_left_alone_and_nothing_is_trained(kit):
    folder = kit / "models"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    result = call("tiny", "--out", folder)
    assert result.exit_code == 2 and "holds something other than a study model" in result.output
    assert (folder / "thesis.txt").read_text() == "years of work" and not list((kit / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("study-xl",), "study models are study, study-s, study-n, study-b, tiny, study-it; there is no 'study-xl'"),
        (("tiny", "--device", "gpu"), "device must be cpu, cuda, mps or auto"),
        (("tiny", "--steps", 0), "Invalid value"),
        (("study-it", "--steps", 5), "leave --steps out"),
    ],
)
def test_a_mistake_is_one_message(kit, arguments, message):
    result = call(*arguments)
    assert result.exit_code == 2 and message in result.output
    assert "Traceback" not in result.output and not list((kit / "checkpoints").iterdir())


def test_a_run_of_another_recipe_is_one_message(kit, monkeypatch):
    assert call("tiny", "--steps", 2).exit_code == 0
    monkeypatch.setitem(RECIPES, "tiny", replace(TINY, seed=5))
    result = call("tiny")
    assert result.exit_code == 2 and "belongs to another run" in result.output


def test_thinning_keeps_tokens_means_and_probes():
    lines = [
        {"step": i, "batch": "x", "tokens": 5, "determined": i, "undetermined": 1.0, "seconds": 1} for i in range(25)
    ]
    lines[14]["forward"] = 0.5
    kept = thin_log(lines, ("determined", "undetermined"))
    assert [line["step"] for line in kept] == [10, 20, 25] and [line["tokens"] for line in kept] == [50, 100, 125]
    assert [line["determined"] for line in kept] == [4.5, 14.5, 22.0]
    assert [line["seconds"] for line in kept] == [10, 10, 5]
    assert kept[1]["forward"] == 0.5 and "forward" not in kept[0] and "batch" not in kept[0]
