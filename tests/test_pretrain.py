"""Training a model from nothing: repeatable, resumable, and blind to the neighbours in a row."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import load_file

from adaptlab.engine.checkpoints import LOG, STATE, CannotResume
from adaptlab.engine.machine import can_compile
from adaptlab.studymodel import corpus, tokenizer
from adaptlab.studymodel.pretrain import Batch, Trainer, batch, lr_factor, pretrain
from adaptlab.studymodel.recipes import MIDDLE, RECIPES, Course, Phase

CPU = torch.device("cpu")
TINY = replace(
    RECIPES["study"], hidden=32, heads=2, layers=1, tokens=512, courses=(Course((Phase(30, 128, 60, MIDDLE),)),)
)


@pytest.fixture(scope="module")
def words():
    return tokenizer.train()


def losses(folder):
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [(line["step"], line["batch"], line["determined"], line["undetermined"]) for line in lines]


def same(one, other) -> bool:
    """Bit for bit the same tensors; the header's order is the writer's."""
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.fixture(scope="module")
def undisturbed(words, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    pretrain(TINY, words, folder, CPU, save_every=7, fast=False)
    return folder


def test_two_runs_have_the_same_losses_and_learn(words, tmp_path, undisturbed):
    pretrain(TINY, words, tmp_path, CPU, fast=False)
    assert losses(tmp_path) == losses(undisturbed)
    assert losses(tmp_path)[-1][2] < losses(tmp_path)[0][2] - 0.2  # warm-up ends later
    assert same(tmp_path / STATE, undisturbed / STATE)


RUN = """
import sys, torch
from pathlib import Path
from adaptlab.studymodel import tokenizer
from adaptlab.studymodel.pretrain import pretrain
sys.path.insert(0, {tests!r})
from test_pretrain import TINY, CPU
pretrain(TINY, tokenizer.train(), Path({folder!r}), CPU, save_every=7, fast=False)
"""


def killed(code: str, ready: Callable[[], bool], delay: float = 0) -> None:
    """Run Python code that trains, and kill it so many seconds after ``ready``."""
    running = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while not ready():
            assert running.poll() is None, "ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(delay)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()


def lines_of(log: Path) -> int:
    return log.read_text().count("\n") if log.is_file() else 0


@pytest.mark.parametrize(("lines", "delay"), [(1, 0), (8, 0.02), (15, 0.05)])
def test_killed_anywhere_it_goes_on_with_the_very_same_numbers(tmp_path, undisturbed, lines, delay):
    """Between a log and its state, and some steps later."""
    code = RUN.format(tests=os.path.dirname(__file__), folder=str(tmp_path))
    killed(code, lambda: lines_of(tmp_path / LOG) >= lines, delay)
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
    assert losses(tmp_path) == losses(undisturbed)
    assert same(tmp_path / STATE, undisturbed / STATE)


COMMAND = """
from pathlib import Path
from adaptlab import paths
from adaptlab.runner.cli import app
paths.CHECKPOINTS = Path({folder!r})
app(["pretrain", "study-s", "--steps", "200", "--device", "cpu"])
"""


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(CPU), reason="no C++ compiler or no Python.h")
def test_the_command_itself_compiled_and_all_repeats_itself_and_survives_a_kill(tmp_path):
    codes = {name: COMMAND.format(folder=str(tmp_path / name)) for name in ("undisturbed", "killed")}
    subprocess.run([sys.executable, "-c", codes["undisturbed"]], check=True)
    state = tmp_path / "killed" / "study-s" / STATE
    killed(codes["killed"], state.is_file, delay=2)
    with safe_open(state, "pt") as file:
        assert file.metadata()["done"] == "100"
    subprocess.run([sys.executable, "-c", codes["killed"]], check=True)
    one, other = (tmp_path / name / "study-s" for name in codes)
    assert len(losses(one)) == 200 and losses(one) == losses(other)
    assert same(one / STATE, other / STATE)


def test_a_torn_log_line_is_taken_again(words, tmp_path, undisturbed):
    pretrain(TINY, words, tmp_path, CPU, until=14, save_every=7, fast=False)
    with (tmp_path / LOG).open("a") as file:
        file.write('{"step": 14, "batch": "0f')
    pretrain(TINY, words, tmp_path, CPU, save_every=7, fast=False)
    assert losses(tmp_path) == losses(undisturbed)


def test_a_folder_of_another_recipe_is_refused_and_left_alone(words, tmp_path, undisturbed):
    shutil.copytree(undisturbed, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    for change in ({"seed": 9}, {"hidden": 64}, {"courses": (Course((Phase(40, 128, 60, MIDDLE),)),)}):
        with pytest.raises(CannotResume, match="another run"):
            pretrain(replace(TINY, **change), words, tmp_path / "run", CPU, fast=False)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}


def test_a_corpus_that_changed_in_a_later_phase_is_noticed(words, tmp_path, monkeypatch):
    phases = (Phase(2, 128, 60, {"facts": 1.0}), Phase(2, 128, 60, {"problem": 1.0}))
    recipe = replace(TINY, courses=(Course(phases),))
    pretrain(recipe, words, tmp_path, CPU, until=1, fast=False)
    monkeypatch.setitem(corpus.KINDS, "problem", corpus.instruction)
    with pytest.raises(CannotResume, match="another run"):
        pretrain(recipe, words, tmp_path, CPU, fast=False)


def test_a_run_at_work_and_a_log_that_lost_lines_are_refused(words, tmp_path, undisturbed):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    with FileLock(folder / ".lock"), pytest.raises(CannotResume, match="another run is at work"):
        pretrain(TINY, words, folder, CPU, fast=False)
    (folder / LOG).write_text("".join((folder / LOG).read_text().splitlines(keepends=True)[:5]))
    with pytest.raises(CannotResume, match="5 lines for 30 steps"):
        pretrain(TINY, words, folder, CPU, fast=False)


def test_a_document_does_not_see_its_neighbours(words):
    trainer = Trainer(TINY, words, CPU, fast=False)
    ids, _, documents = batch(TINY, words, 0)
    row = int(np.argmax([len(set(row)) for row in documents]))
    number = documents[row].max()  # the last of the row
    others = documents != number
    changed = ids.copy()
    changed[others & (documents > 0)] = 400
    each = [
        trainer._plain_loss(torch.from_numpy(x), trainer._mask(torch.from_numpy(documents)))[row]
        for x in (ids, changed)
    ]
    inside = torch.from_numpy((documents[row] == number)[1:] & (documents[row] == number)[:-1])
    assert inside.sum() > 5
    assert torch.allclose(each[0][inside], each[1][inside], atol=1e-5)
    assert not torch.allclose(each[0], each[1], atol=1e-2)


def stepped(words, given: Batch) -> torch.Tensor:
    """All parameters after one step."""
    trainer = Trainer(TINY, words, CPU, fast=False)
    trainer.update(given, 0)
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_only_weighted_tokens_teach(words):
    taken = batch(TINY, words, 0)
    one = taken.documents == 1
    other_text = np.where(one, taken.ids, np.where(taken.documents > 0, 400, taken.ids))
    weights = taken.weights * one
    alone, all_of_them = stepped(words, Batch(taken.ids, weights, taken.documents)), stepped(words, taken)
    assert torch.allclose(alone, stepped(words, Batch(other_text, weights, taken.documents)), atol=1e-6)
    assert not torch.allclose(alone, all_of_them, atol=1e-4)
    evenly = taken._replace(weights=np.sign(taken.weights))
    assert not torch.allclose(all_of_them, stepped(words, evenly), atol=1e-4)


def test_schedule_rises_stays_and_falls():
    rates = [lr_factor(step, 1000) for step in range(1000)]
    assert rates[0] == 0.01 and rates[99] == rates[500] == 1.0
    assert rates[:100] == sorted(rates[:100]) and rates[500:] == sorted(rates[500:], reverse=True)
    assert rates[-1] == pytest.approx(0.02, abs=0.002)
    late = [lr_factor(step, 1000, falls=0.2) for step in range(1000)]
    assert late[799] == 1.0 > late[801] and [lr_factor(step, 1000, falls=0) for step in (99, 999)] == [1.0, 1.0]


def test_a_kind_that_is_longer_than_a_row_is_refused(words):
    recipe = replace(TINY, courses=(Course((Phase(1, 128, 100, {"hierarchy": 1.0}),)),))
    with pytest.raises(ValueError, match="100 documents 'hierarchy' on end are longer than a row of 128 tokens"):
        batch(recipe, words, 0)


def test_a_phase_changes_its_own_learning_rate(words):
    """Half of the rate for one phase: its steps alone learn less, and a rate of nothing leaves the weights alone."""

    def moved(step: int, rate: float) -> float:
        first = Phase(TINY.steps // 2, 128, 60, MIDDLE)
        course = Course((first, replace(first, rate=rate)))
        trainer = Trainer(replace(TINY, courses=(course,)), words, CPU, fast=False)
        before = [p.detach().clone() for p in trainer.model.parameters()]
        trainer.update(batch(TINY, words, step), step)
        return sum((p - q).abs().sum().item() for p, q in zip(trainer.model.parameters(), before, strict=True))

    assert moved(3, 0.0) == moved(3, 1.0) > 0 and moved(20, 0.0) == 0
    assert moved(20, 0.5) == pytest.approx(moved(20, 1.0) / 2, rel=0.1)


def test_phases_cover_all_steps():
    for recipe in RECIPES.values():
        phases = [phase for _, phase in recipe.starts]
        assert all(sum(phase.mixture.values()) == pytest.approx(1, abs=1e-3) for phase in phases)
        assert {*recipe.mixture} == {*(corpus.KINDS if len(recipe.courses) > 1 else corpus.FIRST_COURSE)}
        assert [recipe.phase(step) for step in (0, recipe.steps - 1)] == [phases[0], phases[-1]]
        assert all(recipe.tokens % phase.row == 0 for phase in phases)
        assert sum(recipe.mixture.values()) == pytest.approx(1, abs=1e-3)


SIX = (Phase(6, 128, 60, MIDDLE),)
AGAIN = Course(SIX, lr=0.001, warm_up=2)
TWO = replace(TINY, courses=(Course(SIX), AGAIN))


def test_a_course_begins_from_published_weights_with_an_optimizer_of_its_own(words, tmp_path):
    trainer = pretrain(TWO, words, tmp_path, CPU, until=6, fast=False)
    assert trainer.optimizers["muon"].state and not trainer.optimizers["all"].state
    rounded = [p.detach().to(torch.bfloat16) for p in trainer.model.parameters()]
    trainer._begin_course()
    assert all(torch.equal(p, q.float()) for p, q in zip(trainer.model.parameters(), rounded, strict=True))
    trainer.steps = 12
    trainer.step()
    assert trainer.optimizers["all"].param_groups[0]["lr"] == 0.001 * lr_factor(0, 6, 2) == 0.0005
    assert len(trainer.optimizers["all"].state) == len(rounded) and not trainer.optimizers["muon"].state


@pytest.mark.parametrize("until", [4, 6, 8])
def test_a_run_goes_on_where_it_stopped_in_either_course_and_between_them(words, tmp_path, until):
    pretrain(TWO, words, tmp_path / "whole", CPU, fast=False)
    pretrain(TWO, words, tmp_path / "parts", CPU, until=until, fast=False)
    pretrain(TWO, words, tmp_path / "parts", CPU, fast=False)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    assert same(tmp_path / "whole" / STATE, tmp_path / "parts" / STATE)
