"""Races: the winner is the winner, few items are met, a stated error is kept, and the winner's curse is what it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.methods.racing import all_items, elimination, halving, winners_curse

tables = st.tuples(st.integers(1, 20), st.integers(2, 40), st.integers(0, 10**6)).map(
    lambda shape: np.random.default_rng(shape[2]).normal(size=shape[:2])
)


class Asked:
    """A table of scores [arms, items] that notes which of them were asked for."""

    def __init__(self, table):
        self.table, self.asked = table, np.zeros(table.shape, int)

    def __call__(self, arms, places):
        self.asked[np.ix_(arms, list(places))] += 1
        return self.table[np.ix_(arms, list(places))]


@given(tables)
def test_without_a_race_the_best_mean_wins(table):
    ranking = all_items(Asked(table), range(len(table)), table.shape[1])
    assert ranking.best == int(table.mean(1).argmax())
    assert list(ranking.means) == sorted(table.mean(1), reverse=True)


@pytest.mark.parametrize("race", [all_items, halving, elimination])
@given(table=tables)
def test_every_race_ranks_all_arms_and_asks_nothing_twice(race, table):
    scorer = Asked(table)
    ranking = race(scorer, range(len(table)), table.shape[1])
    assert sorted(ranking.arms) == list(range(len(table)))
    assert scorer.asked.max() == 1 and list(scorer.asked.sum(1)[list(ranking.arms)]) == list(ranking.met)
    for arm, mean, met in zip(ranking.arms, ranking.means, ranking.met, strict=True):
        assert mean == pytest.approx(table[arm, :met].mean())
    assert ranking.met[0] == max(ranking.met)
    alive = [arm for arm, met in zip(ranking.arms, ranking.met, strict=True) if met == max(ranking.met)]
    assert ranking.best == max(alive, key=lambda arm: (round(table[arm, : max(ranking.met)].mean(), 12), -arm))


def test_halving_meets_4_8_16_32_items():
    scorer = Asked(np.arange(36.0)[:, None] + np.zeros((36, 32)))
    ranking = halving(scorer, range(36), 32, first=4)
    assert ranking.best == 35
    assert sorted(ranking.met) == [4] * 18 + [8] * 9 + [16] * 5 + [32] * 4
    assert scorer.asked.sum() == 18 * 4 + 9 * 8 + 5 * 16 + 4 * 32


def test_an_arm_that_is_far_ahead_ends_the_elimination():
    rng = np.random.default_rng(0)
    scorer = Asked(rng.normal(size=(20, 64)) * 0.1 + np.array([3.0] + [0.0] * 19)[:, None])
    ranking = elimination(scorer, range(20), 64)
    assert ranking.best == 0 and max(ranking.met) == 8


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_elimination_loses_the_best_no_more_often_than_it_says(spread):
    """2,000 races of 12 arms, with heavy tails as well; where all arms are equal, any of them is the best."""
    rng, error, lost = np.random.default_rng(1), 0.1, 0
    for run in range(2000):
        true = np.sort(rng.normal(0, spread, 12))[::-1]
        noise = rng.normal(size=(12, 48)) if run % 2 else rng.standard_t(3, (12, 48))
        ranking = elimination(Asked(true[:, None] + noise), range(12), 48, error=error)
        lost += ranking.met[ranking.arms.index(0)] < max(ranking.met)
    assert lost / 2000 <= error


@pytest.mark.parametrize(("n", "spread", "noise", "items"), [(1, 1.0, 1.0, 4), (2, 0.3, 1.0, 10), (50, 0.2, 1.0, 16)])
def test_the_winners_curse_is_exact(n, spread, noise, items):
    rng = np.random.default_rng(0)
    true = rng.normal(0, spread, (100_000, n))
    observed = true + rng.normal(0, noise / items**0.5, true.shape)
    best = observed.argmax(1)[:, None]
    claimed, has = winners_curse(n, spread, noise, items)
    assert claimed == pytest.approx(np.take_along_axis(observed, best, 1).mean(), abs=0.005)
    assert has == pytest.approx(np.take_along_axis(true, best, 1).mean(), abs=0.005)


def test_settings_that_make_no_race_are_refused():
    scorer = Asked(np.zeros((3, 8)))
    with pytest.raises(ValueError, match="keep must be between 0 and 1"):
        halving(scorer, range(3), 8, keep=1.0)
    with pytest.raises(ValueError, match="error must be between 0 and 1"):
        elimination(scorer, range(3), 8, error=0.0)
