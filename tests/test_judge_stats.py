"""What verdicts are worth: the pull of places, agreement with marks, win rates without the pull of length."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from adaptlab.evidence.judge import VERDICTS, combined
from adaptlab.evidence.judge_stats import POINTS, agreement, length_controlled, pull_of_place, win_rate

KIND = st.sampled_from(VERDICTS)


def framed(orders, gaps=None) -> pd.DataFrame:
    one, two = zip(*orders, strict=True)
    frame = pd.DataFrame({"order_1": one, "order_2": two, "verdict": list(map(combined, one, two))})
    return frame.assign(words_a=gaps if gaps is not None else 0, words_b=0)


def decided(verdicts, gaps=None) -> pd.DataFrame:
    return framed([(v, v) for v in verdicts], gaps)


@given(st.lists(st.tuples(KIND, KIND), min_size=1, max_size=30))
def test_swaps_and_wins_are_counted_over_readable_pairs(orders):
    frame, known = framed(orders), [pair for pair in orders if "unreadable" not in pair]
    if len(known) < 2:
        with pytest.raises(ValueError, match=f"at least 2 rows with a readable verdict, found {len(known)} of"):
            pull_of_place(frame)
        return
    pull, mirrored = pull_of_place(frame), pull_of_place(framed([(two, one) for one, two in orders]))
    assert [moved != "not" for moved in pull] == [one != two for one, two in known]
    assert (pull == "first").sum() == (mirrored == "second").sum()
    rate, one_order = win_rate(frame), win_rate(frame, "order_1")
    assert rate.estimate == pytest.approx(np.mean([POINTS[combined(*pair)] for pair in known]))
    assert one_order.estimate == pytest.approx(np.mean([POINTS[one] for one, _ in known]))
    assert 0 <= rate.low <= rate.estimate + 1e-9 and rate.estimate - 1e-9 <= rate.high <= 1
    assert rate.n_items == len(known)


def test_a_win_rate_covers_what_it_should():
    rng = np.random.default_rng(0)
    rates = [win_rate(decided(rng.choice(["A", "tie", "B"], 60, p=[0.6, 0.2, 0.2]))) for _ in range(300)]
    assert 0.92 < np.mean([rate.low <= 0.7 <= rate.high for rate in rates]) < 0.98


MARKS = {"A": (True, False), "B": (False, True), "tie": (True, True)}


def test_agreement_of_a_table_worked_by_hand():
    """20 A/A, 5 A/B, 10 B/A, 15 B/B: observed 0.7, by chance 0.5, kappa 0.4. What cannot be read is left out."""
    verdicts = ["A"] * 25 + ["B"] * 25 + ["unreadable"]
    truth = ["A"] * 20 + ["B"] * 5 + ["A"] * 10 + ["B"] * 15 + ["A"]
    right_a, right_b = zip(*map(MARKS.get, truth), strict=True)
    agreed, kappa = agreement(decided(verdicts).assign(right_a=right_a, right_b=right_b))
    assert (agreed.estimate, agreed.n_items) == (0.7, 50) and kappa == pytest.approx(0.4)
    same = decided(["tie"] * 4).assign(right_a=True, right_b=True)
    assert agreement(same)[0].estimate == 1 and np.isnan(agreement(same)[1])


BALANCED = st.tuples(
    st.lists(st.sampled_from(["A", "B", "tie"]), min_size=2, max_size=6).filter(lambda v: {"A", "B"} <= {*v}),
    st.lists(st.integers(-400, 400), min_size=2, max_size=8, unique=True).filter(lambda g: min(g) < 0 < max(g)),
)


@given(BALANCED)
def test_where_length_does_not_matter_the_rate_is_the_raw_one(drawn):
    """The same verdicts at every difference in length."""
    verdicts, gaps = drawn
    frame = decided(verdicts * len(gaps), np.repeat(gaps, len(verdicts)))
    rate = length_controlled(frame)
    assert rate.estimate == pytest.approx(win_rate(frame).estimate, abs=1e-6)
    assert rate.low < rate.estimate < rate.high


@pytest.mark.parametrize("seed", range(5))
def test_a_judge_of_length_alone_sees_no_better_model(seed):
    """A writes the longer answer in three of four pairs, and the longer an answer, the likelier it wins."""
    rng = np.random.default_rng(seed)
    gaps = rng.integers(1, 80, 400) * rng.choice([1, 1, 1, -1], 400)
    for steep, wanted in (("as the curve", 0.1), ("at once", 0.15)):
        odds = 3 * np.tanh(gaps / gaps.std()) if steep == "as the curve" else 2 * np.sign(gaps)
        frame = decided(np.where(rng.random(400) < 1 / (1 + np.exp(-odds)), "A", "B"), gaps)
        rate, raw = length_controlled(frame), win_rate(frame)
        assert raw.estimate > 0.6
        assert abs(rate.estimate - 0.5) < wanted and rate.estimate < raw.estimate - 0.05
        assert steep == "at once" or rate.low < 0.5 < rate.high


def test_the_fit_is_the_maximum_of_its_likelihood_and_has_no_side():
    rng = np.random.default_rng(0)
    gaps = rng.integers(-60, 120, 120)
    verdicts = rng.choice(["A", "tie", "B"], 120, p=[0.5, 0.3, 0.2])
    rate = length_controlled(decided(verdicts, gaps))
    x, y = np.tanh(gaps / gaps.std()), pd.Series(verdicts).map(POINTS).to_numpy()

    def loss(parameters):
        z = parameters[0] + parameters[1] * x
        return np.sum(np.logaddexp(0, z) - y * z)

    best = minimize(loss, [0, 0], tol=1e-10).x
    assert rate.estimate == pytest.approx(1 / (1 + np.exp(-best[0])), abs=1e-5)
    other = length_controlled(decided([{"A": "B", "B": "A"}.get(v, v) for v in verdicts], -gaps))
    assert other.estimate == pytest.approx(1 - rate.estimate)
    assert (other.low, other.high) == pytest.approx((1 - rate.high, 1 - rate.low))


def test_without_a_difference_in_length_the_raw_rate_stands():
    frame = decided(["A", "A", "B", "tie"], 0)
    assert length_controlled(frame) == win_rate(frame) and win_rate(frame).estimate == pytest.approx(0.625)
    ties = length_controlled(decided(["tie"] * 4, [1, 5, -3, 2]))
    assert ties.estimate == 0.5 and ties.low < 0.5 < ties.high


@pytest.mark.parametrize(
    ("verdicts", "gaps"),
    [
        (["A", "A", "B", "B"], [5, 9, -1, -4]),
        (["A", "A", "B", "B"], [-5, -9, 1, 4]),
        (["A", "tie", "tie", "B"], [5, 2, 2, -4]),
        (["A", "A", "A", "A"], [5, 9, -1, -4]),
        (["A", "B", "A", "B"], [7, 7, 7, 7]),
        (["A", "B", "B", "A"] * 3, [3, 3, 4, 4] * 3),
        (["A", "B", "B", "A"] * 3, [-3, -9, -40, -4] * 3),
        (["A"] * 17 + ["B", "B"], [*range(-20, 60, 5), 101, 100, 102]),
    ],
)
def test_length_and_preference_that_go_together_are_not_told_apart(verdicts, gaps):
    with pytest.raises(ValueError, match=r"length and preference cannot be told apart in .* raw win rate"):
        length_controlled(decided(verdicts, gaps))
