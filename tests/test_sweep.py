"""Sweeps: a study is checked before anything runs, nothing that is finished runs again, one frame comes out."""

import ast
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from adaptlab import paths
from adaptlab.evidence import frames
from adaptlab.runner import execute, study, sweep
from adaptlab.runner.cli import app
from adaptlab.runner.provenance import OutputRefused
from adaptlab.runner.study import StudyError
from test_own_claims import MINE, ledger
from tiny import claim, show, use, write

PARAMETERS = "seed: int = 0\nlevel: float = 0.5  # above 0, at most 1\nname: str = 'a'  # one of a, b\nmodel: str = ''"
# One mark for each execution, and a grid whose items are right as often as the parameter `level` says.
CELL = """import time
import pandas as pd
from adaptlab.evidence import frames
with open({marks!r}, "a") as file:
    _ = file.write(f"{{seed}}")
time.sleep({wait})
rows = [{{"model": model or "toy", "shots": k, "seed": seed, "item": f"i{{i}}",
         "correct": (i * 7 + seed) % 10 < (10 * level if k else 2)}} for k in (0, 4) for i in range(40)]
frames.keep(pd.DataFrame(rows))"""
KIT = Path(sweep.__file__).parents[2]
WITHOUT = """from adaptlab.__main__ import main
from adaptlab.runner import sweep
sweep._snakemake = lambda: None
main()"""
NO_SNAKEMAKE = "snakemake is not installed (pip install 'adaptlab[scale]')"


def tiny(folder, wait=0, *cells):
    return write("01_tiny", CELL.format(marks=str(folder / "marks"), wait=wait), *cells, parameters=PARAMETERS)


def marks(folder):
    return (folder / "marks").read_text() if (folder / "marks").exists() else ""


@pytest.fixture
def kit(tmp_path, monkeypatch):
    use(tmp_path, monkeypatch.setattr)
    tiny(tmp_path)
    monkeypatch.setattr(sweep, "_snakemake", lambda: None)
    return tmp_path


def study_file(folder, **fields):
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({"notebooks": ["01"], **fields}))
    return path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": ["a"]}, "study.yaml, field 'model': unknown. Did you mean models? There are: notebooks, models"),
        ({"notebooks": ["9"]}, "study.yaml: no notebook is called '9'"),
        ({"notebooks": []}, "study.yaml, field 'notebooks': expected a list"),
        ({"seeds": 3}, "study.yaml, field 'seeds': expected a list such as [a, b], got 3"),
        ({"settings": {"levl": [1]}}, "study.yaml: 01_tiny.ipynb: unknown parameter 'levl'. Did you mean level?"),
        ({"settings": {"level": [0.5, 0]}}, "study.yaml: 01_tiny.ipynb: level must be above 0, not 0"),
        ({"settings": {"name": ["c"]}}, "name must be one of a, b, not 'c'"),
        ({"settings": {"level": 1}}, "study.yaml, field 'settings, level': expected a list"),
        ({"settings": {"seed": [1]}, "seeds": [0]}, "study.yaml, field 'settings, seed': has a field of its own"),
        ({"seeds": ["x"]}, "seed must be of type int, not 'x'"),
        ({"settings": {"level": [1, 1.0]}}, "study.yaml: 1 runs are repeats of others; name a value once"),
        ({"profile": "quik"}, "study.yaml: no profile is called 'quik'. Did you mean quick?"),
        ({"resources": {"memory": 1}}, "study.yaml, field 'resources, memory': unknown. Did you mean memory_mb?"),
        ({"resources": {"gpus": -1}}, "study.yaml, field 'resources, gpus': expected a whole number, got -1"),
        ({"claims": "nope.yaml"}, "nope.yaml' is no file; `adaptlab claim new` writes one"),
        ({"models": ["nowhere"]}, "model 'nowhere' is neither a model of the kit"),
    ],
)
def test_a_mistake_anywhere_is_one_sentence_before_anything_runs(kit, fields, message):
    got = CliRunner().invoke(app, ["sweep", str(study_file(kit, **fields))])
    assert got.exit_code == 2 and message in got.output and not marks(kit)


def test_yaml_that_cannot_be_read_is_named_with_its_line(kit):
    path = study_file(kit)
    path.write_text("notebooks: ['01']\nnotebooks: ['02']\n")
    with pytest.raises(StudyError, match=r"study.yaml, line 2: 'notebooks' stands twice"):
        study.read(path)


def test_without_snakemake_the_serial_loop_gives_what_separate_runs_give(kit):
    ledger(kit / "mine.yaml", MINE)
    path = study_file(kit, seeds=[0, 1], settings={"level": [0.3, 0.9]}, claims="mine.yaml")
    out = CliRunner().invoke(app, ["sweep", str(path)])
    assert out.exit_code == 0, out.output
    assert "Snakemake is not installed (pip install 'adaptlab[scale]'), so runs go one after another" in out.output
    folder = paths.BUILD / "sweeps" / "study"
    gathered = frames.read(folder / "frame.csv")
    for one in ({"seed": 0, "level": 0.3}, {"seed": 1, "level": 0.9}):
        alone = frames.read(execute.run("01", parameters=one).path.with_suffix(".frame.csv"))
        mine = gathered[(gathered["seed"] == one["seed"]) & (gathered["setting_level"] == one["level"])]
        assert mine[alone.columns].reset_index(drop=True).equals(alone)
    assert len(gathered) == 4 * len(alone)

    facts = json.loads((folder / "sweep.json").read_text())
    verdicts = {row["setting"]: (row["verdict"], row["n_items"], row["n_seeds"]) for row in facts["own"]}
    assert verdicts["level 0.9"] == ("holds here", 40, 2) and verdicts.keys() == {"level 0.3", "level 0.9"}
    page = (folder / "index.html").read_text()
    assert "toy, level 0.9" in page and "it takes verdicts on at least two models" in page and "frame.csv" in page

    before = marks(kit)
    again = CliRunner().invoke(app, ["sweep", str(path)])
    assert again.output.count("unchanged, not run again") == 4 and marks(kit) == before


def test_a_claim_can_compare_settings_and_the_kits_verdicts_stand_beside(kit):
    terms = [{"weight": w, "where": {"shots": 4, "setting_level": v}} for w, v in ((1, "max"), (-1, "min"))]
    ledger(kit / "mine.yaml", MINE | {"contrast": terms})
    tiny(kit, 0, show("claims", model="toy", rows=[claim("K-1")]))
    path = study_file(kit, settings={"level": [0.3, 0.9]}, claims="mine.yaml")
    page = sweep.build(path).read_text()
    facts = json.loads((paths.BUILD / "sweeps" / "study" / "sweep.json").read_text())
    ((row,), kits) = facts["own"], facts["kits"]
    assert row["verdict"] == "holds here" and row["effect"] == pytest.approx(0.6) and row["setting"] == ""
    assert [one["setting"] for one in kits] == ["level 0.3", "level 0.9"]
    assert "K-1" in page and "Your own claims" in page


def test_effects_are_drawn_against_the_size_of_the_models(kit):
    rows = [claim("A") | {"model": m, "setting": s} for m in ("small", "large") for s in ("", "level 1")]
    assert sweep._figure(rows, {"small": 10**6, "large": 10**8}).startswith("iVBOR")
    assert sweep._figure(rows, {"small": 10**6}) == "" == sweep._figure([], {})


def test_a_run_that_fails_is_named_and_the_others_are_kept(kit):
    tiny(kit, 0, "assert seed != 1, 'one is bad'")
    path = study_file(kit, seeds=[1, 2])
    with pytest.raises(sweep.SweepFailed, match=r"(?s)^1 of 2 runs failed.*one is bad"):
        sweep.build(path)
    assert marks(kit) == "12"
    with pytest.raises(sweep.SweepFailed):
        sweep.build(path)
    assert marks(kit) == "121"


def test_a_folder_that_is_no_sweep_is_not_touched_and_a_cluster_needs_snakemake(kit):
    (kit / "mine").mkdir()
    (kit / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(OutputRefused, match="is no sweep"):
        sweep.build(study_file(kit), out=kit / "mine")
    got = CliRunner().invoke(app, ["sweep", str(study_file(kit)), "--on", "slurm"])
    assert got.exit_code == 1 and "--on slurm needs Snakemake, which is not installed: pip install" in got.output
    near = CliRunner().invoke(app, ["sweep", str(study_file(kit)), "--on", "slrum"])
    assert near.exit_code == 2 and "Did you mean slurm?" in near.output


# ---- with processes of their own


def command(folder, *options, without=False):
    """A sweep as a user starts it; ``without`` Snakemake, though it may be installed."""
    environment = os.environ | {"PYTHONPATH": str(KIT)}
    how = ["-c", WITHOUT] if without else ["-m", "adaptlab"]
    arguments = [sys.executable, *how, "sweep", "study.yaml", "--out", "out", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(arguments, cwd=folder, env=environment, start_new_session=True, **pipes)


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A notebook beside a study file, for the kit as it is installed."""
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    tiny(tmp_path, 1)
    study_file(tmp_path, notebooks=["01_tiny.ipynb"], seeds=[0, 1, 2])
    return tmp_path


@pytest.mark.parametrize("engine", [pytest.param("snakemake", marks=pytest.mark.slow), "one after another"])
def test_a_sweep_that_is_killed_goes_on_and_computes_nothing_twice(outside, engine):
    if engine == "snakemake" and not sweep._snakemake():
        pytest.skip(NO_SNAKEMAKE)
    without = engine != "snakemake"
    first = command(outside, without=without)
    until = time.monotonic() + 90
    while len(marks(outside)) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    subprocess.run(["pkill", "-KILL", "-s", str(first.pid)], check=True)  # all of its session: Snakemake as well
    first.wait()
    finished = [json.loads(path.read_text())["parameters"]["seed"] for path in outside.glob("out/runs/*.run.json")]
    assert finished and len(finished) < 3
    second = command(outside, without=without)
    said = second.communicate(timeout=120)[0]
    assert second.returncode == 0, said
    done = marks(outside)
    assert all(done.count(str(seed)) == 1 for seed in finished) and set(done) == set("012")
    assert len(frames.read(outside / "out" / "frame.csv")) == 3 * 80
    third = command(outside, without=without)
    assert third.communicate(timeout=60) and third.returncode == 0 and marks(outside) == done


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["local", "slurm", "kubernetes"])
def test_every_profile_plans_the_same_runs(outside, profile):
    if not sweep._snakemake():
        pytest.skip(NO_SNAKEMAKE)
    child = command(outside, "--dry-run", "--on", profile)
    said = child.communicate(timeout=60)[0]
    if "invalid choice" in said:
        pytest.skip(f"the executor plugin for {profile} is not installed (pip install 'adaptlab[scale]')")
    assert child.returncode == 0, said
    assert re.search(r"^run +3$", said, re.M) and "dry-run" in said and not marks(outside)
    assert not (outside / "out" / "index.html").exists()


def test_the_scripts_for_others_call_the_same_command():
    script = (sweep.SCALE / "submitit_sweep.txt").read_text()
    names = {node.value for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Constant)}
    assert len(script.splitlines()) <= 20 and {"argv", "arguments", "runs", "study.json"} <= names
    rented = yaml.safe_load((sweep.SCALE / "skypilot.yaml").read_text())
    assert rented["run"].startswith('adaptlab sweep "$STUDY" --on local') and "[scale]" in rented["setup"]
    for profile in (sweep.SCALE / "profiles").iterdir():
        known = yaml.safe_load((profile / "config.yaml").read_text())
        assert known["rerun-incomplete"] and known["keep-going"] and known["retries"] >= 1
