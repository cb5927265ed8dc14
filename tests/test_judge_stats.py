"""What verdicts are worth: position bias, agreement with marks, win rates without the pull of length."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from adaptlab.evidence.judge import combined
from adaptlab.evidence.judge_stats import VERDICTS, agreement, length_controlled, outcomes, position_bias, win_rate
from adaptlab.tasks.records import FieldError

KIND = st.sampled_from(VERDICTS)


def framed(orders, gaps=None) -> pd.DataFrame:
    one, two = zip(*orders, strict=True)
    frame = pd.DataFrame({"order_1": one, "order_2": two, "verdict": list(map(combined, one, two))})
    return frame.assign(words_a=gaps if gaps is not None else 0, words_b=0)


def decided(verdicts, gaps=None) -> pd.DataFrame:
    return framed([(v, v) for v in verdicts], gaps)


@given(st.lists(st.tuples(KIND, KIND), min_size=1, max_size=30))
def test_position_bias_counts_pairs(orders):
    frame, readable = framed(orders), [pair for pair in orders if "unreadable" not in pair]
    assert sum(outcomes(frame).values()) == len(orders)
    assert outcomes(frame)["unreadable"] == len(orders) - len(readable)
    if len(readable) < 2:
        with pytest.raises(ValueError, match="at least 2 rows"):
            position_bias(frame)
        return
    bias = position_bias(frame)
    assert bias.unreadable == len(orders) - len(readable) and bias.first.n_items == len(readable)
    assert bias.inconsistent.estimate == pytest.approx(np.mean([one != two for one, two in readable]))
    assert bias.inconsistent.estimate == pytest.approx(bias.first.estimate + bias.second.estimate)
    mirrored = position_bias(framed([(two, one) for one, two in orders]))
    assert (mirrored.first.estimate, mirrored.second.estimate) == (bias.second.estimate, bias.first.estimate)
    assert bias.first.low <= bias.first.estimate + 1e-9 and bias.first.estimate <= bias.first.high + 1e-9


MARKS = {"A": (True, False), "B": (False, True), "tie": (True, True)}


@given(st.lists(st.tuples(KIND, st.sampled_from(["A", "B", "tie"])), min_size=2, max_size=40))
def test_kappa_is_that_of_its_definition(pairs):
    right_a, right_b = zip(*(MARKS[truth] for _, truth in pairs), strict=True)
    frame = decided([verdict for verdict, _ in pairs]).assign(right_a=right_a, right_b=right_b)
    known = [pair for pair in pairs if pair[0] != "unreadable"]
    if len(known) < 2:
        return
    result, n = agreement(frame), len(known)
    same = sum(one == two for one, two in known) / n
    chance = sum(sum(p[0] == x for p in known) * sum(p[1] == x for p in known) for x in MARKS) / n**2
    assert result.agreed.estimate == pytest.approx(same) and result.unreadable == len(pairs) - n
    if chance == 1:
        assert np.isnan(result.kappa.estimate) and (result.kappa.low, result.kappa.high) == (-1, 1)
    else:
        assert result.kappa.estimate == pytest.approx((same - chance) / (1 - chance))
        assert -1 <= result.kappa.low <= result.kappa.estimate + 1e-9 <= result.kappa.high + 2e-9 <= 1 + 3e-9
        assert result.kappa.high - result.kappa.low > 0.01  # forty rows or fewer prove nothing for certain


def test_kappa_of_a_table_worked_by_hand():
    """20 A/A, 5 A/B, 10 B/A, 15 B/B: observed 0.7, by chance 0.5, kappa 0.4; its standard error by the delta method."""
    verdicts = ["A"] * 25 + ["B"] * 25
    truth = ["A"] * 20 + ["B"] * 5 + ["A"] * 10 + ["B"] * 15
    right_a, right_b = zip(*map(MARKS.get, truth), strict=True)
    kappa = agreement(decided(verdicts).assign(right_a=right_a, right_b=right_b)).kappa
    assert kappa.estimate == pytest.approx(0.4)
    assert (kappa.low, kappa.high) == pytest.approx((0.4 - 1.96 * 0.1270, 0.4 + 1.96 * 0.1270), abs=2e-3)


@pytest.mark.parametrize("bad", [None, 2, "yes", float("nan")])
def test_marks_are_right_or_wrong(bad):
    frame = decided(["A", "B"]).assign(right_a=[True, False], right_b=pd.Series([1, bad], dtype=object))
    with pytest.raises(ValueError, match="column right_b must hold right/wrong marks"):
        agreement(frame)


def test_a_frame_of_others_is_refused():
    with pytest.raises(FieldError, match="'order_1'"):
        win_rate(pd.DataFrame({"verdict": ["A", "B"]}))
    with pytest.raises(FieldError, match="'A wins'"):
        win_rate(decided(["A", "B"]).assign(verdict="A wins"))


BALANCED = st.tuples(
    st.lists(st.sampled_from(["A", "B", "tie"]), min_size=2, max_size=6).filter(lambda v: {"A", "B"} <= {*v}),
    st.lists(st.integers(-400, 400), min_size=2, max_size=8, unique=True).filter(lambda g: min(g) < 0 < max(g)),
)


@given(BALANCED)
def test_where_length_does_not_matter_the_rate_is_the_raw_one(drawn):
    """The same verdicts at every difference in length."""
    verdicts, gaps = drawn
    result = length_controlled(decided(verdicts * len(gaps), np.repeat(gaps, len(verdicts))))
    assert result.rate.estimate == pytest.approx(result.raw.estimate, abs=1e-6) and abs(result.slope) < 1e-5
    assert result.rate.low < result.rate.estimate < result.rate.high


@pytest.mark.parametrize("seed", range(5))
def test_a_judge_of_length_alone_sees_no_better_model(seed):
    """A writes the longer answer in three of four pairs, and the longer an answer, the likelier it wins."""
    rng = np.random.default_rng(seed)
    gaps = rng.integers(1, 80, 400) * rng.choice([1, 1, 1, -1], 400)
    for steep, wanted in (("as the curve", 0.1), ("at once", 0.15)):
        odds = 3 * np.tanh(gaps / gaps.std()) if steep == "as the curve" else 2 * np.sign(gaps)
        result = length_controlled(decided(np.where(rng.random(400) < 1 / (1 + np.exp(-odds)), "A", "B"), gaps))
        assert result.raw.estimate > 0.6 and result.slope > 1
        assert abs(result.rate.estimate - 0.5) < wanted and result.rate.estimate < result.raw.estimate - 0.05
        assert steep == "at once" or result.rate.low < 0.5 < result.rate.high


def test_the_fit_is_the_maximum_of_its_likelihood_and_has_no_side():
    rng = np.random.default_rng(0)
    gaps = rng.integers(-60, 120, 120)
    verdicts = rng.choice(["A", "tie", "B"], 120, p=[0.5, 0.3, 0.2])
    result = length_controlled(decided(verdicts, gaps))
    x, y = np.tanh(gaps / gaps.std()), pd.Series(verdicts).map({"A": 1, "tie": 0.5, "B": 0}).to_numpy()

    def loss(parameters):
        z = parameters[0] + parameters[1] * x
        return np.sum(np.logaddexp(0, z) - y * z)

    best = minimize(loss, [0, 0], tol=1e-10).x
    assert result.rate.estimate == pytest.approx(1 / (1 + np.exp(-best[0])), abs=1e-5)
    assert result.slope == pytest.approx(best[1], abs=1e-4)
    other = length_controlled(decided([{"A": "B", "B": "A"}.get(v, v) for v in verdicts], -gaps))
    assert other.rate.estimate == pytest.approx(1 - result.rate.estimate)
    assert (other.rate.low, other.rate.high) == pytest.approx((1 - result.rate.high, 1 - result.rate.low))


def test_without_a_difference_in_length_the_raw_rate_stands():
    result = length_controlled(decided(["A", "A", "B", "tie"], 0))
    assert result.rate == result.raw and result.rate.estimate == 0.625 and result.slope == 0
    ties = length_controlled(decided(["tie"] * 4, [1, 5, -3, 2]))
    assert ties.rate.estimate == 0.5 and ties.rate.low < 0.5 < ties.rate.high


@pytest.mark.parametrize(
    ("verdicts", "gaps"),
    [
        (["A", "A", "B", "B"], [5, 9, -1, -4]),
        (["A", "A", "B", "B"], [-5, -9, 1, 4]),
        (["A", "tie", "tie", "B"], [5, 2, 2, -4]),
        (["A", "A", "A", "A"], [5, 9, -1, -4]),
        (["A", "B", "A", "B"], [7, 7, 7, 7]),
        (["A", "B", "B", "A"] * 3, [3, 3, 4, 4] * 3),
        (["A"] * 17 + ["B", "B"], [*range(-20, 60, 5), 101, 100, 102]),
    ],
)
def test_length_and_preference_that_go_together_are_not_told_apart(verdicts, gaps):
    with pytest.raises(ValueError, match=r"length and preference cannot be told apart in .* raw win rate"):
        length_controlled(decided(verdicts, gaps))
