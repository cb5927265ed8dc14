"""Training: the steps of a naive loop, the same numbers after any kill, and the weights that did best."""

import itertools
import json
import math
import multiprocessing
import random
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from adaptlab.engine.checkpoints import LOG, STATE, CannotResume
from adaptlab.engine.loss_mask import TrainingExample, losses
from adaptlab.engine.training import Diverged, Trained, TrainingConfig, train
from conftest import DAMAGE, tiny_lm

PLAN = TrainingConfig(epochs=3, batch=4, lr=1e-4, warm_up=0.3, weight_decay=0.1, seed=5)
LONG = TrainingConfig(epochs=40, batch=2, lr=1e-3, seed=3)


def drawn(n: int, seed: int = 0) -> list[TrainingExample]:
    """Random tokens of several lengths, the second half of each trained."""
    rng = random.Random(seed)
    texts = [[rng.randrange(2, 260) for _ in range(rng.randrange(3, 15))] for _ in range(n)]
    return [TrainingExample(tuple(ids), tuple(2 * place >= len(ids) for place in range(len(ids)))) for ids in texts]


def weights(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def apart(one: dict, other: dict) -> float:
    """The largest difference between two sets of weights."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def own_loss(model, batch) -> torch.Tensor:
    """transformers' own mean over the trained tokens of a padded batch."""
    width = max(map(len, batch))
    ids = torch.tensor([[*e.ids, *[0] * (width - len(e))] for e in batch])
    mask = torch.tensor([[1] * len(e) + [0] * (width - len(e)) for e in batch])
    trained = torch.tensor([[*e.loss_mask, *[False] * (width - len(e))] for e in batch])
    return model(ids, attention_mask=mask, labels=torch.where(trained, ids, -100)).loss


def naive_step(model, moments: dict, number: int, rate: float, config: TrainingConfig, batch) -> tuple[float, float]:
    """AdamW by the book (Loshchilov and Hutter 2019, algorithm 2); the loss, and the gradient's norm."""
    loss = own_loss(model, batch)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    norm = float(torch.cat([g.flatten() for g in gradients]).norm())
    with torch.no_grad():
        for p, gradient in zip(parameters, gradients, strict=True):
            g = gradient * min(1.0, config.clip / norm)
            m, v = moments.get(p, (torch.zeros_like(p), torch.zeros_like(p)))
            m, v = moments[p] = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            mean, square = m / (1 - 0.9 ** (number + 1)), v / (1 - 0.999 ** (number + 1))
            p.copy_(p - rate * config.weight_decay * p - rate * mean / (square.sqrt() + 1e-8))
    return loss.item(), norm


def noting(seen: list):
    """The loss of texts, and a note of what was met in each pass."""

    def loss(model, part):
        seen.append(list(part))
        return losses(model, part)

    return loss


def test_training_takes_the_steps_of_a_naive_loop():
    ours, theirs, seen, moments = tiny_lm("llama").model, tiny_lm("llama").model, [], {}
    items, held_out = drawn(10), drawn(4, seed=1)
    done = train(ours, items, PLAN, loss=noting(seen), held_out=held_out)
    batches = [part for part in seen if part[0] in items]
    shares = [1 / 3, 2 / 3, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    before = own_loss(theirs, held_out).item()
    found = [
        naive_step(theirs, moments, number, PLAN.lr * share, PLAN, batch)
        for number, (share, batch) in enumerate(zip(shares, batches, strict=True))
    ]
    assert apart(weights(ours), weights(theirs)) < 1e-6
    assert any(norm > PLAN.clip for _, norm in found)
    assert [(line["loss"], line["norm"]) for line in done.log] == [pytest.approx(pair, rel=1e-4) for pair in found]
    assert [line["lr"] for line in done.log] == pytest.approx([PLAN.lr * share for share in shares])
    assert [line["epoch"] for line in done.log] == [0] * 3 + [1] * 3 + [2] * 3
    assert done.log[0]["before"] == pytest.approx(before, rel=1e-5)
    assert done.log[-1]["held_out"] == pytest.approx(own_loss(theirs, held_out).item(), rel=1e-5)
    assert done.tokens == 3 * sum(map(len, items))
    for epoch in range(3):
        met = [item for batch in batches[3 * epoch : 3 * epoch + 3] for item in batch]
        assert len(met) == 10 and set(met) == set(items)


def test_a_seed_is_an_order():
    runs = []
    for seed in (5, 5, 6):
        model, seen = tiny_lm("llama").model, []
        train(model, drawn(10), replace(PLAN, seed=seed), loss=noting(seen))
        runs.append((seen, weights(model)))
    assert runs[0][0] == runs[1][0] != runs[2][0]
    assert apart(runs[0][1], runs[1][1]) == 0 < apart(runs[0][1], runs[2][1])
    assert runs[0][0][:3] != runs[0][0][3:6], "every epoch has an order of its own"


def run(folder: Path | None = None) -> tuple[list[dict], dict]:
    """A run of 200 steps that is saved often: its log without times, and its weights."""
    model = tiny_lm("llama").model
    done = train(model, drawn(10), LONG, held_out=drawn(3, seed=1), folder=folder, save_every=3)
    return timeless(done), weights(model)


def timeless(done: Trained) -> list[dict]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in done.log]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    return folder, *run(folder)


def killed(folder: Path, lines: int, moment: float) -> None:
    """Train in a process of its own, and kill it a moment after its log has so many lines."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["adaptlab.engine.training", "pytest", "hypothesis"])
    process = context.Process(target=run, args=(folder,))
    process.start()
    deadline = time.monotonic() + 300
    while not ((folder / LOG).is_file() and (folder / LOG).read_text().count("\n") >= lines):
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(moment)
    process.kill()
    process.join()
    assert process.exitcode == -9, "ended before it was killed"


def test_killed_anywhere_it_goes_on_with_the_very_same_numbers(tmp_path, undisturbed):
    for lines in sorted(random.sample(range(1, 170), 4)):
        killed(tmp_path / "run", lines, moment=random.uniform(0, 0.03))
    log, found = run(tmp_path / "run")
    assert log == undisturbed[1] and apart(found, undisturbed[2]) == 0
    kept = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert timeless(Trained(kept)) == log


def test_a_folder_changes_nothing_and_a_finished_run_is_only_read(undisturbed):
    folder, log, found = undisturbed
    for again in (run(), run(folder)):
        assert again[0] == log and apart(again[1], found) == 0


def nudged():
    model = tiny_lm("llama").model
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight[0, 0] += 1e-6
    return model


CHANGES = {
    "seed": lambda: {"config": replace(LONG, seed=4)},
    "epochs": lambda: {"config": replace(LONG, epochs=41)},
    "order of items": lambda: {"items": drawn(10)[::-1]},
    "held-out items": lambda: {"held_out": drawn(4, seed=1)},
    "a weight": lambda: {"model": nudged()},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_of_another_run_is_refused_and_left_alone(tmp_path, undisturbed, change):
    folder = shutil.copytree(undisturbed[0], tmp_path / "run")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    given = {"model": tiny_lm("llama").model, "items": drawn(10), "config": LONG, "held_out": drawn(3, seed=1)}
    with pytest.raises(CannotResume, match="another run"):
        train(**given | CHANGES[change](), folder=folder)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_in_use_is_refused(tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(CannotResume, match="another run is at work"):
        run(tmp_path)


def test_a_log_that_lost_lines_is_refused_and_a_torn_line_is_dropped(tmp_path, undisturbed):
    folder = shutil.copytree(undisturbed[0], tmp_path / "run")
    whole = (folder / LOG).read_text()
    (folder / LOG).write_text(whole + '{"step": 200, "ep')
    assert run(folder)[0] == undisturbed[1] and (folder / LOG).read_text() == whole
    (folder / LOG).write_text("".join(whole.splitlines(keepends=True)[:5]))
    with pytest.raises(CannotResume, match="5 lines for 200 steps"):
        run(folder)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_named_with_the_remedy(tmp_path, undisturbed, damage):
    folder = shutil.copytree(undisturbed[0], tmp_path / "run")
    state = folder / STATE
    state.write_bytes(DAMAGE[damage](state.read_bytes()))
    message = rf"^{re.escape(str(state))} is damaged: [^\n]*\. Delete {re.escape(str(folder))} to begin anew$"
    with pytest.raises(CannotResume, match=message):
        run(folder)


@pytest.mark.parametrize("lr", [1e6, 1e30])
@pytest.mark.parametrize("bf16", [False, True])
def test_training_that_diverges_stops_and_says_so(lr, bf16):
    config = TrainingConfig(epochs=20, batch=4, lr=lr, warm_up=0, bf16=bf16)
    message = (
        r"^training diverged at step \d+, at a learning rate of [\d.e+]+ \(.*loss .*, norm .*\): begin again with a"
    )
    with pytest.raises(Diverged, match=message):
        train(tiny_lm("llama").model, drawn(8), config)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_not_learned_from(value):
    model, passes = tiny_lm("llama").model, itertools.count(1)
    with pytest.raises(Diverged, match=f"step 2.*loss {value}"):
        train(
            model,
            drawn(8),
            TrainingConfig(epochs=5, batch=8, lr=1e-4),
            loss=lambda m, part: losses(m, part) * (value if next(passes) > 2 else 1),
        )
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_a_loss_without_a_gradient_is_told_from_one_that_is_zero():
    """What is known already has a loss of exactly 0, and nothing is wrong with it."""
    known = train(tiny_lm("llama").model, drawn(8), TrainingConfig(epochs=1), loss=lambda m, part: losses(m, part) * 0)
    assert known.log[0]["norm"] == known.log[0]["loss"] == 0
    with pytest.raises(Diverged, match=r"step 0.* norm 0"):
        train(tiny_lm("llama").model, drawn(8), TrainingConfig(epochs=1), loss=lambda m, part: losses(m, part) ** 0)


def ending(token: int) -> list[TrainingExample]:
    """Four beginnings, and the one token that follows all of them."""
    return [TrainingExample((5, 6, 7 + n, token), (False, False, False, True)) for n in range(4)]


def contrary(
    seed: int, config: TrainingConfig, folder: Path | None = None, loss=losses
) -> tuple[list[dict], list[float], dict]:
    """Train on one ending while another is held out: the log, the held-out losses, and the weights."""
    model = tiny_lm("llama", seed).model
    done = train(model, ending(100), config, loss=loss, held_out=ending(101), folder=folder, save_every=3)
    told = [done.log[0]["before"], *(line["held_out"] for line in done.log if "held_out" in line)]
    return timeless(done), told, weights(model)


RISING = TrainingConfig(epochs=10, batch=2, lr=1e-2, patience=3)
DIPPING = replace(RISING, lr=1e-3, warm_up=0, decay="none")


def test_where_the_held_out_loss_only_rises_training_stops_and_leaves_no_trace():
    log, told, found = contrary(0, RISING)
    assert told == sorted(told) and len(told) == 1 + 3 and len(log) == 3 * 2
    assert apart(found, weights(tiny_lm("llama").model)) == 0


def test_the_weights_of_the_lowest_held_out_loss_are_kept():
    log, told, found = contrary(4, DIPPING)
    best = told.index(min(told))
    assert best > 1 and len(told) - 1 == best + 3 and len(log) == 2 * (best + 3)
    _, first, until_best = contrary(4, replace(DIPPING, epochs=best, patience=0))
    assert first == told[: best + 1] and apart(found, until_best) == 0
    assert len(contrary(4, replace(DIPPING, patience=0))[0]) == 20, "without patience, to the end"


def test_patience_outlives_interruptions(tmp_path):
    calls, stops = [], (5, 14, 24)

    def loss(model, part):
        calls.append(part)
        if len(calls) in stops:
            raise KeyboardInterrupt
        return losses(model, part)

    for _ in stops:
        with pytest.raises(KeyboardInterrupt):
            contrary(4, DIPPING, tmp_path / "run", loss)
    undisturbed = contrary(4, DIPPING)
    for _ in ("resumed", "finished already"):
        log, told, found = contrary(4, DIPPING, tmp_path / "run", loss)
        assert (log, told) == undisturbed[:2] and apart(found, undisturbed[2]) == 0
