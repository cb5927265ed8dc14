"""Demonstration search: what a naive search finds, each pair scored once, and nothing lost by a kill."""

import itertools
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from adaptlab.engine.scoring import Request, score
from adaptlab.methods import trials as memory
from adaptlab.methods.demo_search import (
    Parts,
    balanced_sets,
    best_of_random,
    greedy,
    orders,
    parts,
    raced,
    random_sets,
    showing,
    sort_once,
    swaps,
)
from adaptlab.methods.racing import all_items, elimination
from adaptlab.methods.trials import Trials
from adaptlab.tasks.records import FieldError, Instruction, Labelled
from adaptlab.tasks.splits import LabelledSet, OpenSet
from conftest import tiny_lm

WORDS = "red house river road blue chain order late desk slips message two three".split()
TEXTS = [" ".join(pair) for pair in itertools.permutations(WORDS, 2)]
DATA = LabelledSet(
    "words",
    ("yes", "no"),
    tuple(Labelled(f"p{i}", text, ("yes", "no")[i % 2]) for i, text in enumerate(TEXTS[:40])),
    tuple(Labelled(f"t{i}", text, ("yes", "no")[i % 2]) for i, text in enumerate(TEXTS[40:60])),
)
OPEN = OpenSet(
    "pairs",
    tuple(Instruction(f"p{i}", text, "", text.split()[0], "first") for i, text in enumerate(TEXTS[:20])),
    tuple(Instruction(f"t{i}", text, "", text.split()[0], "first") for i, text in enumerate(TEXTS[20:30])),
)


@pytest.fixture(scope="module")
def lm():
    return tiny_lm("llama")


def trials(lm, data=DATA, items=8, file="", metric="log-p", **settings):
    split = parts(data, race=items, pool=8, seed=1)
    return Trials(showing(lm, split.data, **settings), split.race, metric, file)


def naive_value(lm, data, shown, item, metric):
    """One request for each option, nothing shared, nothing remembered."""
    method = showing(lm, data)(shown)
    request = method.request(item)
    alone = [score(lm, [Request(request.context, (option,))], plan="plain").options[0][0] for option in request.options]
    if isinstance(item, Labelled):
        right = list(method.ask(item)[1]).index(item.label)
        values = np.array([one.logprob for one in alone])
        share = values[right] - np.logaddexp.reduce(values)
        return share if metric == "log-p" else float(values[right] > np.delete(values, right).max())
    return alone[0].logprob if metric == "log-p" else float(alone[0].greedy)


@pytest.mark.parametrize("data", [DATA, OPEN], ids=["labels", "answers"])
@pytest.mark.parametrize("metric", ["log-p", "accuracy"])
def test_scores_are_those_of_single_requests(lm, data, metric):
    split = parts(data, race=5, pool=6, seed=0)
    asked = Trials(showing(lm, split.data), split.race, metric)
    arms = [(), (0,), (3, 1), (1, 3)]
    expected = [[naive_value(lm, split.data, arm, item, metric) for item in split.race] for arm in arms]
    assert asked(arms) == pytest.approx(np.array(expected), abs=1e-4)


def test_a_function_scores_labels_and_answers(lm):
    right = Trials(showing(lm, DATA), DATA.test[:6], lambda item, label: label == item.label)
    assert right([(0, 1)]).tolist() == Trials(showing(lm, DATA), DATA.test[:6], "accuracy")([(0, 1)]).tolist()
    length = Trials(showing(lm, OPEN), OPEN.test[:4], lambda item, text: len(text))
    made = showing(lm, OPEN)((0, 1)).complete([item.query for item in OPEN.test[:4]])
    assert length([(0, 1)])[0].tolist() == [len(one.text.strip()) for one in made]


def naive_greedy(lm, split, k, first):
    chosen = ()
    for _ in range(k):
        arms = [(c, *chosen) if first else (*chosen, c) for c in range(len(split.data.pool)) if c not in chosen]
        means = [np.mean([naive_value(lm, split.data, arm, item, "log-p") for item in split.race]) for arm in arms]
        chosen = arms[int(np.argmax(means))]
    return chosen, max(means)


@pytest.mark.parametrize("first", [False, True])
def test_greedy_without_a_race_is_the_naive_search(lm, first):
    split = parts(DATA, race=6, pool=7, seed=2)
    found = greedy(Trials(showing(lm, split.data), split.race), range(7), 3, race=all_items, first=first)
    chosen, mean = naive_greedy(lm, split, 3, first)
    assert found.shown == chosen and found.claimed == pytest.approx(mean, abs=1e-4)
    assert [len(shown) for shown, _ in found.path] == [1, 2, 3]
    assert found.spent.pairs == 6 * (7 + 6 + 5) and found.spent.tokens < found.spent.per_item < found.spent.per_option


def test_what_is_asked_again_is_known_and_charged_to_a_new_meter(lm, monkeypatch):
    asked = trials(lm)
    counted = []
    monkeypatch.setattr(memory, "score", lambda lm, some, **k: counted.extend(some) or score(lm, some, **k))
    first = greedy(asked, range(8), 2)
    assert len(counted) == len(set(counted)) == first.spent.pairs
    other = asked.again()
    assert greedy(other, range(8), 2) == first and len(counted) == first.spent.pairs
    assert other.spent == first.spent


SEARCHES = {
    "greedy": lambda t: greedy(t, range(8), 3),
    "elimination": lambda t: greedy(t, range(8), 2, race=elimination, start=(0,)),
    "sort once": lambda t: sort_once(t, range(8), 3, start=(2,)),
    "best of random": lambda t: best_of_random(t, range(8), 3, 2000, seed=3),
    "sets": lambda t: raced(t, random_sets(range(8), 3, 6)),
    "swaps": lambda t: swaps(t, range(8), (0, 1)),
}


class Killed(BaseException):
    """As a kill: no handler of errors sees it."""


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_that_is_killed_goes_on_with_the_same_result(lm, tmp_path, monkeypatch, name):
    monkeypatch.setattr(memory, "PAIRS", 16)
    whole = SEARCHES[name](trials(lm))
    counted, calls = [], itertools.count(1)

    def dies(lm, some, **more):
        if next(calls) % 3 == 0:
            raise Killed
        counted.extend(some)
        return score(lm, some, **more)

    monkeypatch.setattr(memory, "score", dies)
    found, kills = None, 0
    while not found:
        try:
            found = SEARCHES[name](trials(lm, file=tmp_path / "scores"))
        except Killed:
            kills += 1
    assert kills and found == replace(whole, claimed=found.claimed)
    assert found.claimed == pytest.approx(whole.claimed, abs=1e-5)
    assert len(counted) == len(set(counted)), "scored twice"


KILLED = """
import os, sys
sys.path.insert(0, {tests!r})
from test_demo_search import *
calls = itertools.count(1)
real = memory._Kept.write
memory.PAIRS = 16
def write(self, *rows):
    real(self, *rows)
    if next(calls) == 3:
        os.kill(os.getpid(), 9)
memory._Kept.write = write
SEARCHES["greedy"](trials(tiny_lm("llama"), file={file!r}))
"""


def test_a_process_that_is_killed_leaves_what_it_had_scored(lm, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "PAIRS", 16)
    file = tmp_path / "scores"
    code = KILLED.format(tests=os.path.dirname(__file__), file=str(file))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    kept = sqlite3.connect(file).execute("SELECT count(*) FROM pairs").fetchone()[0]
    whole, counted = SEARCHES["greedy"](trials(lm)), []
    monkeypatch.setattr(memory, "score", lambda lm, some, **k: counted.extend(some) or score(lm, some, **k))
    found = SEARCHES["greedy"](trials(lm, file=file))
    assert found.shown == whole.shown and found.spent == whole.spent
    assert kept > 0 and len(counted) == whole.spent.pairs - kept


def test_a_file_of_something_else_is_refused(lm, tmp_path):
    file = tmp_path / "scores"
    greedy(trials(lm, file=file), range(8), 1)
    with pytest.raises(ValueError, match="has scores of another model or metric; name another file"):
        trials(tiny_lm("llama", seed=1), file=file)
    with pytest.raises(ValueError, match="has scores of another model or metric"):
        trials(lm, file=file, metric="accuracy")
    (tmp_path / "text").write_text("no scores at all" * 100)
    with pytest.raises(ValueError, match="is not a file of kept scores"):
        trials(lm, file=tmp_path / "text")
    with pytest.raises(FieldError, match="metric"):
        trials(lm, metric="beauty")


def test_budgets_sets_and_orders(lm):
    asked = trials(lm)
    one = best_of_random(asked.again(), range(8), 3, 1)
    more = best_of_random(asked.again(), range(8), 3, 3 * one.spent.tokens)
    assert one.spent.pairs == 8 and more.spent.pairs > one.spent.pairs and more.claimed >= one.claimed
    assert more.spent.tokens < 3 * one.spent.tokens + 2 * one.spent.tokens
    for shown in balanced_sets(DATA, 4, 5, seed=1):
        assert sorted(DATA.pool[place].label for place in shown) == ["no", "no", "yes", "yes"]
    assert len(set(random_sets(range(8), 3, 5))) > 1
    assert all(sorted(order) == [1, 2, 3] for order in orders((3, 1, 2), 4)) and orders((3, 1, 2), 4)[0] == (3, 1, 2)
    start = tuple(range(2))
    assert swaps(asked, range(8), start).claimed >= asked.mean(start) - 1e-9
    assert raced(asked, [start, (2, 3)], race=all_items).claimed == max(asked.mean(start), asked.mean((2, 3)))
    assert set(sort_once(asked, range(8), 2, start=(4,)).shown) >= {4}


def test_parts_have_nothing_in_common():
    split = parts(DATA, race=6, confirm=5, pool=10, seed=3)
    assert (len(split.race), len(split.confirm), len(split.data.pool)) == (6, 5, 10)
    with pytest.raises(FieldError, match=r"'confirm'.*queries that are not in race"):
        Parts(split.data, split.race, (*split.confirm, replace(split.race[0], id="again")))
    with pytest.raises(FieldError, match="queries that are not in pool"):
        Parts(split.data, (replace(split.data.pool[0], id="again"), *split.race))
    with pytest.raises(ValueError, match="race must be 2 or more"):
        parts(DATA, race=39, confirm=5)
