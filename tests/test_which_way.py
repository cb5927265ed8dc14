"""Notebook 07: ways that meet the same items, what a use of them costs, and advice that follows from its rows."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

import adaptlab as al
from adaptlab.engine.generation import Completion, Decoding
from adaptlab.methods.sharpening import Pool
from adaptlab.studies import which_way as study
from adaptlab.tasks import sets
from adaptlab.tasks.records import FieldError, content_key
from adaptlab.tasks.splits import OpenSet
from conftest import tiny_lm

SEEDS, ITEMS = range(3), 12


def rows(
    way: str, right: float, once: float = 0, per_use: float = 10, needs: int = 0, family: str = "f"
) -> pd.DataFrame:
    """Every seed and item once; the first items are right, so that two ways differ in the same items for each seed."""
    cells = [
        {"family": family, "way": way, "seed": seed, "item": f"item {i}", "correct": i < right * ITEMS}
        for seed in SEEDS
        for i in range(ITEMS)
    ]
    return pd.DataFrame(cells).assign(model="m", once=once, per_use=per_use, needs=needs)


FRAME = pd.concat(
    [
        rows("bare", 0.1, per_use=10),
        rows("shown", 0.9, per_use=100, needs=4),
        rows("trained", 0.8, once=50_000, per_use=10, needs=24),
    ]
)


def test_advice_is_the_cheapest_of_those_that_are_close_and_turns_with_the_uses():
    few, many = study.advise(FRAME, 10), study.advise(FRAME, 10_000)
    assert few.close.to_dict() == {"bare": False, "shown": True, "trained": True}
    assert few.index[few.advised] == ["shown"] and many.index[many.advised] == ["trained"]
    assert many.total["trained"] == 50_000 + 10 * 10_000
    assert few.behind["trained"] == pytest.approx(few.share["shown"] - few.share["trained"])


def test_limits_leave_ways_out_and_the_best_is_that_of_what_is_left():
    table = study.advise(FRAME, 10, examples=0)
    assert list(table.index) == ["bare"] and table.advised.all()
    assert list(study.advise(FRAME, 10, longest=50).index) == ["bare", "trained"]
    with pytest.raises(ValueError, match="no way needs at most 0 examples and 5 tokens a use; raise one of them"):
        study.advise(FRAME, 10, examples=0, longest=5)


def test_advice_in_words_names_the_best_one_that_it_does_not_take():
    text = study.advice("f", study.advise(FRAME, 10_000))
    assert text.startswith("**f**: trained (0.83 right") and "shown came out at 0.92" in text
    assert "cannot be told apart here" in text and text.endswith("; worse: bare (-0.75)")
    clear = study.advice("f", study.advise(pd.concat([rows("a", 1.0), rows("b", 0.0)]), 1))
    assert clear.startswith("**f**: a (1.00 right") and "told apart" not in clear


def test_a_way_is_dominated_by_one_that_is_nowhere_worse():
    worse = rows("worse", 0.8, once=60_000, per_use=10)
    found = study.dominated(study.compared(pd.concat([FRAME, worse])))
    assert found.to_dict() == {"bare": "", "shown": "", "trained": "", "worse": "trained"}
    twice = study.dominated(study.compared(pd.concat([rows("one", 0.5), rows("same", 0.5)])))
    assert set(twice) == {""}, "of two that are the same, neither is better"


def test_ways_are_chosen_by_other_seeds_than_those_they_are_judged_on():
    lucky = rows("lucky", 0.0, family="g").assign(correct=lambda f: f.seed == 0)  # right on one seed, by luck
    steady = rows("steady", 0.4, family="g")
    found = study.chosen(pd.concat([lucky, steady]))
    assert set(found[found.seed == 0].way) == {"steady"}, "who had picked by seed 0 would have taken lucky"
    assert not found.duplicated(["choice", "seed", "item"]).any() and len(found) == 2 * 3 * ITEMS


def test_one_way_for_all_loses_where_families_differ():
    parts = [rows("a", 0.9, family="f"), rows("b", 0.3, family="f"), rows("a", 0.2, family="g")]
    found = study.chosen(pd.concat([*parts, rows("b", 0.7, family="g"), rows("only f", 1.0, family="f")]))
    means = found.groupby("choice").correct.mean()
    assert means["for each family"] > means["one for all"] and "only f" not in set(found.way)
    alone = pd.concat(parts)
    assert study.chosen(alone[alone.seed == 0]).empty, "with one seed there is nothing to choose by"


@pytest.mark.parametrize("name", sets.PROBLEMS)
def test_problems_differ_and_their_own_solutions_are_right(name):
    made = sets.load_problems(name, 12, 8, seed=0)
    assert len({content_key(one.query) for one in (*made.pool, *made.test)}) == 20
    assert all("\n" not in one.output and sets.solved(one, one.output) for one in made.test)
    assert not sets.solved(made.test[0], "So 1234.")
    assert made != sets.load_problems(name, 12, 8, seed=1)


def test_an_unknown_family_of_problems_is_refused_by_name():
    with pytest.raises(FieldError, match="problems"):
        sets.load_problems("riddles", 2, 2, 0)


@pytest.fixture(scope="module")
def parts():
    return study.task("problems", 0, 6, 4, 3)


def test_every_choice_of_examples_is_told_what_it_has_to_know(parts):
    lm, item = tiny_lm("llama"), parts.data.test[0]
    made = {how: study.asking(lm, parts, how, 2, 0) for how in study.HOWS}
    assert {how: needs for how, (_, _, needs) in made.items()} == {
        "nothing": 0,
        "random": 2,
        "searched": 10,
        "nearest": 10,
    }
    assert {how for how, (_, spent, _) in made.items() if spent > 0} == {"searched"}
    counts = {how: ask(item).count("Question:") for how, (ask, *_) in made.items()}
    assert counts == {"nothing": 1, "random": 3, "searched": 3, "nearest": 3}
    with pytest.raises(FieldError, match="how"):
        study.asking(lm, parts, "guessed", 2, 0)


def test_a_use_counts_the_prompt_once_and_all_that_is_written(parts):
    lm = tiny_lm("llama")
    ask, *_ = study.asking(lm, parts, "nothing", 2, 0)
    written, items = Decoding(max_new_tokens=5), list(parts.data.test)
    one = study.use(study.Way(lm, ask, 7.0, 2, 1, written), items, lm)
    prompts = [len(lm.encode(ask(item))) for item in items]
    greedy = al.generate(lm, [ask(item) for item in items], replace(written, temperature=0)).completions
    assert list(one.per_use) == [n + len(c.tokens) for n, c in zip(prompts, greedy, strict=True)]
    assert set(one.once) == {7.0} and set(one.needs) == {2} and "forgotten" not in one
    three = study.use(study.Way(lm, ask, 0, 0, 3, written), items, lm)
    longest = np.array(prompts) + 3 * 5
    assert (three.per_use > prompts).all() and (three.per_use <= longest).all()


def test_the_most_probable_of_several_answers_counts(parts, monkeypatch):
    lm, item = tiny_lm("llama"), parts.data.test[0]

    def said(text, *logprobs):
        return Completion(text, True, (1,) * len(logprobs), logprobs)

    right, wrong = said(item.output, -1.0), said("So 1234.", -2.0)
    pool = Pool([[1, 2, 3]], [[wrong, right]], None)
    monkeypatch.setattr(study, "sample", lambda *_, **__: pool)
    way = study.Way(lm, lambda item: "", tries=2, written=Decoding())
    assert study.use(way, [item], lm).correct.tolist() == [True]
    pool.samples[0] = [said("So 1234.", -0.5), right]
    del pool.__dict__["logprob"]
    assert study.use(way, [item], lm).correct.tolist() == [False]


def test_a_teacher_reads_and_writes_at_a_price():
    tuned = SimpleNamespace(n=10, trained=SimpleNamespace(tokens=1000))
    assert study.distilled_work(tuned, [8, 12], batch=4) == 5 * 1000 + 2 * 40 * 10


def test_a_users_data_is_divided_anew_for_each_seed():
    made = sets.load_problems("sums", 20, 10, 0)
    given = OpenSet("mine", made.pool, made.test)
    one, other = (study.task("yours", seed, 6, 4, 5, given=given) for seed in (0, 1))
    assert len(study.at_hand(one).pool) == 10 and len(one.data.test) == 5 and one != other


def test_the_explorer_says_where_no_way_fits():
    _, ax = plt.subplots()
    study.decide(FRAME, ax, "f", 10)
    assert {text.get_text().split(":")[0] for text in ax.texts} == {"bare", "shown", "trained"}
    _, ax = plt.subplots()
    study.decide(FRAME, ax, "f", 10, examples=0, longest=5)
    assert "no way needs at most 0" in ax.texts[0].get_text()
    figure = al.panels(FRAME, study.front, by="family", columns=2, ylabel="share right")
    assert len(figure.axes[0].texts) == 3
    plt.close("all")
