"""Killed (SIGKILL) at random moments, what takes long goes on, ends with the same result, and leaves nothing behind.

Report, notebook, training, Self-Instruct and search: nine kills each, between the start and the end of an undisturbed
run. The seed is drawn anew each time, and told.
"""

import json
import multiprocessing
import os
import random
import tempfile
import time
from pathlib import Path

import nbformat
import pytest

import test_demo_search
import test_training
from adaptlab.engine.models import load
from adaptlab.methods.generation_recipes import PAGES
from adaptlab.methods.self_instruct import self_instruct
from adaptlab.runner import execute, report
from adaptlab.tasks.sets import load_seed
from conftest import tiny_lm
from tiny import claim, show, use, write

pytestmark = pytest.mark.slow
KILLS = 9


def trained(folder: Path) -> str:
    log, weights = test_training.run(folder / "run")
    return f"{log} {[(name, weight.double().sum().item()) for name, weight in sorted(weights.items())]}"


def written(folder: Path) -> str:
    seeds = load_seed()[:12]
    made = self_instruct(load("study", device="cpu"), seeds, PAGES, folder / "rounds", wanted=999, rounds=6, prompts=4)
    return f"{made} {(folder / 'rounds').read_text()}"


def searched(folder: Path) -> str:
    kept = test_demo_search.trials(tiny_lm("llama"), file=folder / "scores", items=20)
    return repr(test_demo_search.SEARCHES["greedy"](kept))


CLAIMS = show("claims", model="m", rows=[claim("c", effect=0.5)])
SLEEP = "import time\ntime.sleep(.3)\nprint(seed)"


def notebook(name: str, *cells: str) -> None:
    """The same bytes each time: new cells have names that are drawn."""
    path = write(name, *cells)
    node = nbformat.read(path, as_version=4)
    for number, cell in enumerate(node.cells):
        cell.id = f"cell-{number}"
    nbformat.write(node, path)


def ran(folder: Path) -> str:
    use(folder)
    notebook("01_n", SLEEP, SLEEP, CLAIMS)
    return execute.run("01", parameters={"seed": 4}).path.read_text()


def reported(folder: Path) -> str:
    use(folder)
    for n in range(3):
        notebook(f"0{n}_n", SLEEP, CLAIMS)
    index = report.build()
    facts = json.loads(index.with_name("report.json").read_text())
    return f"{facts['claims']} {[(one['name'], one['key'], one['output_sha256']) for one in facts['notebooks']]}"


def work(name: str, folder: Path, temporary: Path) -> None:
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    (folder / "result").write_text(globals()[name](folder))


@pytest.mark.parametrize("name", ["trained", "written", "searched", "ran", "reported"])
def test_it_goes_on_after_kills_at_random_moments(tmp_path, name):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    temporary, seed = tmp_path / "temporary", random.randrange(2**32)
    temporary.mkdir()

    def begin(folder: Path) -> multiprocessing.Process:
        folder.mkdir(exist_ok=True)
        process = context.Process(target=work, args=(name, folder, temporary))
        process.start()
        return process

    began = time.monotonic()
    process = begin(tmp_path / "undisturbed")
    process.join()
    assert process.exitcode == 0
    longest, rng, kills, tries = time.monotonic() - began, random.Random(seed), 0, 0
    while kills < KILLS:
        # Ended before the kill, it is begun anew.
        folder = tmp_path / f"run{tries}"
        process = begin(folder)
        process.join(rng.uniform(0, longest / 2))
        if process.is_alive():
            process.kill()
            kills += 1
        else:
            assert process.exitcode == 0, f"seed {seed}"
            tries += 1
        process.join()
    for number in range(tries + 1):
        process = begin(tmp_path / f"run{number}")
        process.join()
        assert process.exitcode == 0, f"seed {seed}"
        found, expected = ((tmp_path / place / "result").read_text() for place in (f"run{number}", "undisturbed"))
        assert found == expected, f"seed {seed}"
    assert os.listdir(temporary) == [], f"seed {seed}"
    hidden = [path.name for path in tmp_path.rglob(".*") if not path.name.endswith("lock")]
    assert hidden == [], f"seed {seed}"
