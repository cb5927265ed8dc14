"""Intervals cover what they promise, and promise nothing where nothing was seen to vary."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from adaptlab.evidence.stats import (
    crossed_interval,
    detectable_effect,
    paired_bootstrap,
    proportion_interval,
    summary,
)

SEEDS, ITEMS = 5, 60


def layouts(n, sd_seed, sd_item, sd_cell, rng):
    """n matrices (seeds x items) with true mean 0."""
    draw = rng.normal
    return (
        draw(size=(n, SEEDS, 1)) * sd_seed + draw(size=(n, 1, ITEMS)) * sd_item + draw(size=(n, SEEDS, ITEMS)) * sd_cell
    )


def marks(n, sd_seed, sd_item, shift, rng):
    """n matrices of right/wrong marks from a logit-normal model, and the true accuracy."""
    logits = shift + layouts(n, sd_seed, sd_item, 0, rng)
    spread = np.random.default_rng(99).normal(size=1_000_000) * np.hypot(sd_seed, sd_item)
    return rng.random(logits.shape) < 1 / (1 + np.exp(-logits)), float(np.mean(1 / (1 + np.exp(-shift - spread))))


def coverage(intervals, truth):
    return np.mean([interval.low <= truth <= interval.high for interval in intervals])


# ---- items that belong together


@pytest.mark.parametrize("seeds", [1, 5])
@pytest.mark.parametrize("sizes", [[5] * 20, [1, 3, 5, 7, 9] * 6], ids=["even", "uneven"])
def test_intervals_over_clusters_cover_what_they_state_and_those_over_items_do_not(sizes, seeds):
    of = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(5)
    shared = rng.normal(size=(2_000, 1, len(sizes)))[:, :, of]
    luck = rng.normal(size=(2_000, seeds, 1)) * (0.2 if seeds > 1 else 0)  # one seed speaks of itself alone
    matrices = shared + luck + rng.normal(size=(2_000, seeds, len(of)))
    got = [crossed_interval(matrix, clusters=of) for matrix in matrices]
    alone = [crossed_interval(matrix) for matrix in matrices[:300]]
    assert 0.93 <= coverage(got, 0.0) <= 0.97
    assert coverage(alone, 0.0) < 0.85
    assert {(one.n_items, one.n_clusters) for one in got} == {(len(of), len(sizes))}


def test_clusters_change_nothing_where_each_item_stands_alone_and_the_mean_never():
    m = np.random.default_rng(3).normal(size=(4, 12))
    assert crossed_interval(m, clusters=range(12)) == crossed_interval(m)
    both = crossed_interval(m, clusters=[0] * 5 + [1] * 2 + [2] * 5)
    assert both.estimate == pytest.approx(m.mean()) and both.df < crossed_interval(m).df
    with pytest.raises(ValueError, match="two of them, got 1 clusters"):
        crossed_interval(m, clusters=[0] * 12)


def test_a_frame_with_clusters_is_summed_up_over_them():
    rng = np.random.default_rng(4)
    rows = [(s, f"i{i}", f"p{i // 4}", rng.normal() + i // 4) for s in range(3) for i in range(24)]
    frame = pd.DataFrame(rows, columns=["seed", "item", "cluster", "y"]).assign(way="a")
    wide, narrow = summary(frame, "way", "y").iloc[0], summary(frame.drop(columns="cluster"), "way", "y").iloc[0]
    assert wide["mean"] == pytest.approx(narrow["mean"]) and wide.high - wide.low > 1.2 * (narrow.high - narrow.low)
    with pytest.raises(ValueError, match="i0 stands in two clusters"):
        summary(pd.concat([frame, frame.head(1).assign(seed=7, cluster="p9")]), "way", "y")


# ---- crossed interval


@pytest.mark.parametrize(
    ("sd_seed", "sd_item", "low", "high"),
    [(0.3, 0.5, 0.93, 0.97), (0.5, 0.5, 0.92, 0.97), (0.0, 0.5, 0.94, 0.985), (0.0, 0.0, 0.95, 0.995)],
)
def test_crossed_interval_covers_the_mean_over_new_seeds_and_items(sd_seed, sd_item, low, high):
    matrices = layouts(2_000, sd_seed, sd_item, 1.0, np.random.default_rng(1))
    assert low <= coverage(map(crossed_interval, matrices), 0.0) <= high


@pytest.mark.parametrize(("sd_seed", "sd_item", "shift"), [(0.5, 1.0, 0.0), (0.5, 1.0, 2.0), (0.3, 2.0, 1.0)])
def test_crossed_interval_covers_the_accuracy_of_right_wrong_marks(sd_seed, sd_item, shift):
    matrices, truth = marks(2_000, sd_seed, sd_item, shift, np.random.default_rng(2))
    assert 0.925 <= coverage((crossed_interval(m, bounds=(0, 1)) for m in matrices), truth) <= 0.975


def test_crossed_interval_matches_its_closed_form():
    m = np.random.default_rng(4).normal(size=(4, 9)) + np.arange(4)[:, None] + np.arange(9)
    ms_seed = 9 * m.mean(axis=1).var(ddof=1)
    ms_item = 4 * m.mean(axis=0).var(ddof=1)
    residual = m - m.mean(axis=1)[:, None] - m.mean(axis=0) + m.mean()
    ms_residual = (residual**2).sum() / 24
    variance = ms_seed + ms_item - ms_residual
    df = variance**2 / (ms_seed**2 / 3 + ms_item**2 / 8 + ms_residual**2 / 24)
    got = crossed_interval(m)
    assert got.se == pytest.approx(np.sqrt(variance / 36))
    assert got.df == pytest.approx(df)
    assert got.high - got.estimate == pytest.approx(stats.t.ppf(0.975, df) * got.se)
    assert (got.n_seeds, got.n_items, got.method) == (4, 9, "crossed")


def test_seeds_that_agree_on_every_item_leave_a_plain_t_interval_over_items():
    items = np.random.default_rng(5).normal(size=30)
    got = crossed_interval(np.tile(items, (5, 1)))
    expected = stats.ttest_1samp(items, 0).confidence_interval(0.95)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high))


def test_seeds_that_differ_as_a_whole_leave_a_plain_t_interval_over_seeds():
    seeds = np.array([0.1, 0.5, 0.2, 0.9])
    got = crossed_interval(np.tile(seeds[:, None], (1, 40)))
    expected = stats.ttest_1samp(seeds, 0).confidence_interval(0.95)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high))


@given(st.integers(2, 6), st.integers(2, 12), st.integers(0, 10_000))
def test_crossed_interval_ignores_the_order_of_seeds_and_items(n_seeds, n_items, seed):
    rng = np.random.default_rng(seed)
    m = rng.normal(size=(n_seeds, n_items))
    a, b = crossed_interval(m), crossed_interval(rng.permutation(rng.permutation(m, axis=0), axis=1))
    assert (a.low, a.high) == pytest.approx((b.low, b.high))
    assert a.low < a.estimate < a.high


def test_one_seed_falls_back_to_the_bootstrap_over_items():
    values = np.random.default_rng(6).normal(size=(1, 40))
    assert crossed_interval(values) == paired_bootstrap(values[0])
    assert crossed_interval(values).n_seeds == 1


def test_missing_cells_are_refused_with_their_place():
    m = np.zeros((3, 4))
    m[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"1 of 12 cells.*seed 1, item 2"):
        crossed_interval(m)


@pytest.mark.parametrize("bad", [np.zeros((3, 1)), np.zeros(4), np.zeros((0, 5))])
def test_too_little_or_misshapen_data_is_refused(bad):
    with pytest.raises(ValueError, match="at least 2 items"):
        crossed_interval(bad)


# ---- bootstrap


@pytest.mark.parametrize("kind", ["skewed", "marks"])
def test_bca_covers_the_mean_difference(kind):
    rng = np.random.default_rng(7)
    if kind == "skewed":
        samples, truth = rng.exponential(size=(500, 60)), 1.0
    else:
        samples, truth = rng.choice([-1, 0, 1], p=[0.1, 0.6, 0.3], size=(500, 60)), 0.2
    assert 0.90 <= coverage(map(paired_bootstrap, samples), truth) <= 0.98


@pytest.mark.parametrize("n", [2, 10, 60, 200])
def test_equal_marks_give_the_exact_bound_and_never_certainty(n):
    got = paired_bootstrap(np.zeros(n))
    reach = 1 - 0.025 ** (1 / n)  # Clopper-Pearson for 0 of n
    assert (got.low, got.high) == pytest.approx((-reach, reach))
    assert got.method == "constant" and got.se > 0
    seeds = crossed_interval(np.zeros((5, n)))
    assert (seeds.low, seeds.high) == (got.low, got.high)  # five seeds are not five times the items


def test_equal_values_at_the_bound_leave_room_on_one_side_only():
    got = crossed_interval(np.ones((5, 200)), bounds=(0, 1))
    assert got.high == got.estimate == 1
    assert got.low == pytest.approx(0.025 ** (1 / 200))


def test_the_rule_for_equal_marks_covers_a_rare_disagreement():
    rng, rate, n = np.random.default_rng(9), 0.01, 60
    samples = rng.choice([-1, 0, 1], p=[0, 1 - rate, rate], size=(800, n))
    constant = [paired_bootstrap(s) for s in samples if not s.any()]
    assert len(constant) > 300 and coverage(constant, rate) == 1


def test_equal_values_of_unknown_range_say_nothing():
    got = paired_bootstrap(np.full(20, 0.1 + 0.2))
    assert (got.low, got.high) == (-np.inf, np.inf)
    assert detectable_effect(got.se, got.df) == np.inf


def test_an_interval_stays_within_its_bounds():
    values = np.r_[np.ones(19), 0.0]
    assert paired_bootstrap(values, bounds=(0, 1)).high <= 1
    cells = np.ones((3, 10))
    cells[0, 0] = 0
    assert crossed_interval(cells, bounds=(0, 1)).high == 1 < crossed_interval(cells).high


# ---- tests and power


def test_proportion_interval_is_wilson():
    got, expected = proportion_interval(7, 20), stats.binomtest(7, 20).proportion_ci(0.95, method="wilson")
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high))
    with pytest.raises(ValueError, match="k=5, n=3"):
        proportion_interval(5, 3)


def test_an_effect_of_the_detectable_size_is_found_four_times_in_five():
    rng, n = np.random.default_rng(11), 40
    effect = detectable_effect(1 / np.sqrt(n), n - 1)
    found = [stats.ttest_1samp(rng.normal(effect, 1, n), 0).pvalue < 0.05 for _ in range(2_000)]
    assert np.mean(found) == pytest.approx(0.80, abs=0.03)
    assert detectable_effect(1.0) == pytest.approx(1.959964 + 0.841621, abs=1e-5)
