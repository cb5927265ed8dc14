"""Notebook A2's judges and answerers: their biases are what they say, and are read from the prompts of a real judge."""

import math

import numpy as np
import pytest

from adaptlab.evidence.judge import compare, write_prompt
from adaptlab.studies.judges import (
    PROTOCOLS,
    SKILL,
    Answerer,
    SimulatedJudge,
    marked,
    pairs,
    simulated,
    told,
    truth,
)
from adaptlab.tasks.instructions import answers

GOOD, POOR = Answerer(0.8, "restyled", 0.5, 0.5), Answerer(0.5, "polite", 0.5, 0.5)
RIGHT, WRONG, POLITE = "bakda", "mokde", "Thank you for asking. It is bakda."


def test_the_odds_are_the_sum_of_skill_and_biases():
    assert SimulatedJudge().odds(RIGHT, RIGHT, WRONG) == SKILL == SimulatedJudge().odds(RIGHT, POLITE, WRONG)
    assert SimulatedJudge(place=1.5).odds(RIGHT, RIGHT, RIGHT) == 1.5
    assert SimulatedJudge(thanks=2.0).odds(RIGHT, RIGHT, POLITE) == -2
    assert SimulatedJudge(length=1.0).odds(RIGHT, POLITE, RIGHT) == pytest.approx(math.tanh(1))


@pytest.mark.parametrize("turns", [1, 2])
def test_it_reads_the_judged_answers_and_not_those_before(turns):
    """It answers as its odds say, whatever the answers to earlier turns are."""
    asked, before = ["Copy bakda", "And again"][:turns], [WRONG] * (turns - 1)
    prompt = write_prompt(asked, [*before, RIGHT], [*before, WRONG], [*before, RIGHT])
    said = [SimulatedJudge(seed=seed).ask(prompt) for seed in range(2000)]
    assert np.mean([one == "Verdict: 1" for one in said]) == pytest.approx(1 / (1 + math.exp(-SKILL)), abs=0.02)
    assert said[0] == SimulatedJudge(seed=0).ask(prompt)


def test_answerers_are_as_often_right_as_they_say():
    items, a, b = pairs(GOOD, POOR, 1500, "accuracy")
    shares = [np.mean([said[one.id][0] in answers(one.references[0]) for one in items]) for said in (a, b)]
    assert shares == pytest.approx([0.8, 0.5], abs=0.04)
    frame = marked(compare(SimulatedJudge(), items[:50], a, b), items, a, b)
    assert frame.right_a.tolist() == [a[one.id][0] in answers(one.references[0]) for one in items[:50]]


def test_the_truth_is_what_an_unbiased_judge_finds():
    found = simulated(GOOD, POOR, SimulatedJudge(), 400, 6, "truth")
    assert list(found.protocol.unique()) == list(PROTOCOLS) and found["item"].nunique() == 6
    rates = found.groupby("protocol").win_rate.mean()
    assert rates["truth"] == truth(GOOD, POOR) and truth(GOOD, GOOD) == pytest.approx(0.5)
    assert rates["one order"] == pytest.approx(rates["truth"], abs=0.03)
    assert found[found.protocol == "truth"].covered.all()
    biased = simulated(GOOD, POOR, SimulatedJudge(place=2.0), 400, 6, "truth").groupby("protocol").win_rate.mean()
    assert biased["one order"] > rates["truth"] + 0.05


def test_verdicts_are_told_or_why_they_cannot_be():
    items, a, b = pairs(GOOD, POOR, 40, "told")
    frame = marked(compare(SimulatedJudge(), items, a, b), items, a, b)
    assert len(told(frame)) == 5 and told(frame)[0].startswith("40 of 40 pairs")
    nothing = told(frame.assign(verdict="unreadable"))
    assert nothing[0].startswith("0 of 40") and "need at least 2 rows" in nothing[-1] and len(nothing) == 2
    assert "cannot be told apart" in told(frame.assign(words_a=9, words_b=2))[-1]
