"""Intervals and detectable effects for frames with one row per evaluated item.

Two things are samples in a few-shot study: the items that were asked, and the draws of
demonstrations (seeds). An interval that counts only one of them is too narrow. All intervals are at 95 %.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

Bounds = tuple[float, float]
# Columns that lie between 0 and 1, means of several answers too.
SHARES = ("correct", "accuracy", "share right", "gold_prob")
LEVEL = 0.95
POWER = 0.8
RESAMPLES = 9_999
_BATCH_VALUES = 4_000_000  # resampled values held at once, about 32 MB


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval, and what it rests on.

    ``estimate``, ``low``, ``high`` and ``se`` are in the unit of the data. ``df`` are the degrees
    of freedom of ``se``. ``method`` says how it was made: ``"bca"``, ``"crossed"``, ``"clustered"``, ``"constant"``,
    ``"wilson"``; for win rates before a judge ``"sandwich"``. ``n_clusters``: of items
    that belong together; 0 where each stands alone.
    """

    estimate: float
    low: float
    high: float
    n_items: int
    n_seeds: int
    method: str
    se: float
    df: float
    n_clusters: int = 0


def paired_bootstrap(
    differences: ArrayLike, *, bounds: Bounds | None = None, clusters: Sequence[Hashable] | None = None
) -> Interval:
    """BCa bootstrap interval (Efron 1987) for the mean of one value per item, shape ``(n_items,)``.

    Give it differences within an item, so that what makes an item hard cancels out. ``bounds`` is the range that a
    value can take, e.g. ``(-1, 1)`` for a difference of two correct/wrong marks; the interval is cut to it.

    Equal values everywhere: every resample is the same, so any bootstrap would claim certainty. Rule: with none of n
    items seen to deviate, Clopper-Pearson bounds the rate of items that do (about 3.7/n at 95 %), and such items can
    lie anywhere within the bounds. Without ``bounds``, values that are all -1, 0 or 1 are taken as differences of
    marks; for other values no finite statement is possible, and the interval is infinite.

    Few items that deviate (under about ten) make the interval a little too narrow: simulated
    coverage is 90 to 93 % for a stated 95 %.

    ``clusters`` names for each item those that it belongs with, such as questions on one passage: then clusters are the
    sample, and a t interval over them is given (`_by_cluster`), as a bootstrap of so few is too narrow.

    Raises ``ValueError`` for fewer than two items (or clusters), or for values that are not finite.
    """
    values = _finite(differences, 1)
    if clusters is not None and len(set(clusters)) < len(values):
        return _clustered(_by_cluster(values[None, :], clusters), values.size, bounds)
    if np.ptp(values) <= _rounding(values):
        return _constant_interval(values[None, :], bounds)
    result = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=LEVEL,
        method="BCa",
        n_resamples=RESAMPLES,
        batch=max(1, _BATCH_VALUES // len(values)),
        rng=np.random.default_rng(0),
    )
    low, high = _clip(*result.confidence_interval, bounds)
    se = float(values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(float(values.mean()), low, high, len(values), 1, "bca", se, len(values) - 1)


def crossed_interval(
    matrix: ArrayLike, *, bounds: Bounds | None = None, clusters: Sequence[Hashable] | None = None
) -> Interval:
    """t interval for the mean of a ``(n_seeds, n_items)`` matrix in which both sides are samples.

    Every seed (a draw of demonstrations) meets every item. Averaging over seeds and treating the draws as fixed answers
    a smaller question: "with these very demonstrations". A reader wants to know about other draws and other items, as
    Clark (1973) put it for the language-as-fixed-effect fallacy. Hence a two-way random-effects model, in which the
    variance of the mean is ``(MS_seed + MS_item - MS_resid) / (n_seeds * n_items)``. A variance component whose
    estimate is negative counts as zero. Degrees of freedom follow Satterthwaite (1946): few seeds that disagree give
    few degrees of freedom and a wide interval, as they should. With two seeds that disagree the stated 95 % is nearer
    89 %: use five where seeds matter.

    One seed: `paired_bootstrap` over the items; the interval then speaks of that draw alone.
    A constant matrix follows the rule of `paired_bootstrap`, items counted once.

    ``clusters`` names for each item those that it belongs with: then clusters, not items, are the second sample. Five
    questions on each of 20 passages tell less than 100 questions on 100 passages; who counts them alike states 95 % and
    covers about 64 %.

    Raises ``ValueError`` for missing cells (NaN) and for fewer than two items (or clusters).
    """
    cells = _finite(matrix, 2)
    n_seeds, n_items = cells.shape
    if clusters is not None and len(set(clusters)) < n_items:
        return _clustered(_by_cluster(cells, clusters), n_items, bounds)
    if n_seeds == 1:
        return paired_bootstrap(cells[0], bounds=bounds)
    if np.ptp(cells) <= _rounding(cells):
        return _constant_interval(cells, bounds)
    squares, dfs = _mean_squares(cells)
    variance, df = _satterthwaite(squares, dfs)
    mean, se = float(cells.mean()), float(np.sqrt(variance / cells.size))
    half = float(stats.t.ppf((1 + LEVEL) / 2, df)) * se
    low, high = _clip(mean - half, mean + half, bounds)
    return Interval(mean, low, high, n_items, n_seeds, "crossed", se, df)


def _by_cluster(cells: np.ndarray, clusters: Sequence[Hashable]) -> np.ndarray:
    """(n_seeds, n_clusters) values whose mean is that of the cells, and whose spread over clusters is that of the mean.

    Each is the mean plus what its cluster's cells deviate from it, in sum, scaled by clusters over items: the
    linearised ratio of sums (Cochran 1977, Sampling Techniques, section 2.11), so that clusters may differ in size.
    """
    names = list(dict.fromkeys(clusters))
    if len(clusters) != cells.shape[1] or len(names) < 2:
        raise ValueError(
            f"need a cluster for each of {cells.shape[1]} items, and two of them, got {len(names)} clusters"
        )
    places = np.array([names.index(name) for name in clusters])
    member = places[:, None] == np.arange(len(names))
    mean = cells.mean()
    return mean + (cells - mean) @ member * (len(names) / cells.shape[1])


def _clustered(cells: np.ndarray, n_items: int, bounds: Bounds | None) -> Interval:
    """The interval of values by cluster: crossed with seeds, or for one seed a t interval over clusters."""
    n_seeds, n_clusters = cells.shape
    if np.ptp(cells) <= _rounding(cells):
        return replace(_constant_interval(cells, bounds), n_items=n_items, n_clusters=n_clusters)
    if n_seeds > 1:
        return replace(crossed_interval(cells, bounds=bounds), n_items=n_items, n_clusters=n_clusters)
    mean, df = float(cells.mean()), n_clusters - 1
    se = float(cells.std(ddof=1) / np.sqrt(n_clusters))
    half = float(stats.t.ppf((1 + LEVEL) / 2, df)) * se
    low, high = _clip(mean - half, mean + half, bounds)
    return Interval(mean, low, high, n_items, 1, "clustered", se, df, n_clusters)


def item_clusters(data: pd.DataFrame, items: Sequence[Hashable]) -> list[Hashable] | None:
    """The cluster of each item, from the column ``cluster``; None for data without it.

    Raises ValueError for an item in two clusters."""
    if "cluster" not in data:
        return None
    pairs = data[["item", "cluster"]].drop_duplicates()
    known = dict(zip(pairs["item"], pairs["cluster"], strict=True))
    if len(pairs) > len(known):
        twice = pairs["item"][pairs["item"].duplicated()].iloc[0]
        raise ValueError(f"the item {twice} stands in two clusters")
    return [item if pd.isna(known[item]) else known[item] for item in items]


def summary(data: pd.DataFrame, by: str | Sequence[str], y: str = "correct", *, complete: bool = False) -> pd.DataFrame:
    """Mean of ``y`` with its 95 % interval for each combination of the columns ``by``, in the order of appearance:
    columns ``mean, low, high, n_items, n_seeds``.

    Where every seed met every item once, the interval counts seeds and items as samples (`crossed_interval`). Where
    not, as with the tokens of answers of different lengths, each item is averaged over what it has, and items alone
    count; ``complete`` refuses that. Items that share a value of the column ``cluster``, where there is one, count as
    one sample. A group with a single item (or cluster) has no interval and is left out. Raises ValueError for
    a missing column, for no rows, and for missing values of ``y``.
    """
    keys = [by] if isinstance(by, str) else list(by)
    require(data, *keys, y, "seed", "item")
    rows = []
    for values, group in data.groupby(keys, sort=False, observed=True):
        where = ", ".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))
        table = group.pivot_table(index="seed", columns="item", values=y, aggfunc=["mean", "size"], observed=True)
        once = (table["size"] == 1).all(axis=None)
        if group[y].isna().any() or (complete and not once):
            gaps = table["mean"].isna().to_numpy().sum()
            raise ValueError(
                f"no interval for {y} at {where}: {gaps} of {table['mean'].size} (seed, item) cells have none"
            )
        clusters = item_clusters(group, table["mean"].columns)
        if len(set(clusters or table["mean"].columns)) < 2:
            continue
        if once:
            share = group[y].isin((0, 1)).all() or (y in SHARES and group[y].between(0, 1).all())
            bounds = (0.0, 1.0) if share else None
            interval = crossed_interval(table["mean"].to_numpy(float), bounds=bounds, clusters=clusters)
        else:
            interval = paired_bootstrap(table["mean"].mean(axis=0).to_numpy(float), clusters=clusters)
        numbers = (interval.estimate, interval.low, interval.high)
        rows.append((*values, *numbers, group["item"].nunique(), group["seed"].nunique()))
    return pd.DataFrame(rows, columns=[*keys, "mean", "low", "high", "n_items", "n_seeds"])


def require(data: pd.DataFrame, *columns: str) -> None:
    """Raise ValueError unless the data has these columns, and rows."""
    missing = [column for column in columns if column not in data]
    if missing:
        raise ValueError(f"the data has no column {missing[0]!r}; columns: {', '.join(map(str, data.columns))}")
    if data.empty:
        raise ValueError("the data has no rows")


def proportion_interval(k: int, n: int) -> Interval:
    """Wilson (1927) interval for ``k`` successes in ``n`` independent trials."""
    if not 0 <= k <= n or n < 1:
        raise ValueError(f"a proportion needs 0 <= k <= n and n >= 1, got k={k}, n={n}")
    low, high = proportion_confint(k, n, alpha=1 - LEVEL, method="wilson")
    rate = k / n
    return Interval(rate, float(low), float(high), n, 1, "wilson", np.sqrt(rate * (1 - rate) / n), np.inf)


def detectable_effect(se: float, df: float = np.inf) -> float:
    """Smallest true effect that a study with this ``se`` would have resolved with 80 % power, in the unit of ``se``:
    ``se * (t[0.975] + t[0.8])``, the usual design formula."""
    return float(se * (stats.t.ppf((1 + LEVEL) / 2, df) + stats.t.ppf(POWER, df)))


def _finite(values: ArrayLike, ndim: int) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != ndim or array.shape[-1] < 2 or array.size == 0:
        wanted = "(n_items,)" if ndim == 1 else "(n_seeds, n_items)"
        raise ValueError(f"need an array of shape {wanted} with at least 2 items, got shape {array.shape}")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = f"item {bad[0][0]}" if ndim == 1 else f"seed {bad[0][0]}, item {bad[0][1]}"
        raise ValueError(
            f"{len(bad)} of {array.size} cells are missing or not finite (first: {where}, counted from 0); "
            "every seed must have met every item"
        )
    return array


def _rounding(values: np.ndarray) -> float:
    """Spread below which values count as equal: sums of the same marks differ in the last bits."""
    return 1e-12 * max(1.0, float(np.abs(values).max()))


def dominated(table: pd.DataFrame) -> pd.Series:
    """Of each way (a row with ``share`` right and the prices ``once`` and ``per_use``), another that is as good in all
    three, and better in one of them; empty where there is none."""
    costs = np.column_stack([-table.share, table.once, table.per_use])
    found = []
    for mine in costs:
        better = (costs <= mine + 1e-9).all(1) & (costs < mine - 1e-9).any(1)
        found.append(table.index[better][0] if better.any() else "")
    return pd.Series(found, table.index)


def _clip(low: float, high: float, bounds: Bounds | None) -> Bounds:
    floor, ceiling = bounds or (-np.inf, np.inf)
    return max(float(low), floor), min(float(high), ceiling)


def _constant_interval(cells: np.ndarray, bounds: Bounds | None) -> Interval:
    """The interval of values that are all equal: see `paired_bootstrap` for the rule."""
    value, (n_seeds, n_items) = float(cells.flat[0]), cells.shape
    if bounds is None:
        bounds = (-1.0, 1.0) if value in (-1.0, 0.0, 1.0) else (-np.inf, np.inf)
    rate = stats.binomtest(0, n_items).proportion_ci(LEVEL, method="exact").high
    low, high = value + rate * (bounds[0] - value), value + rate * (bounds[1] - value)
    # The standard error that a t interval of this width would have: keeps detectable effects honest.
    df = n_items - 1
    se = float(max(high - value, value - low) / stats.t.ppf((1 + LEVEL) / 2, df))
    return Interval(value, float(low), float(high), n_items, n_seeds, "constant", se, df)


def _mean_squares(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean squares and degrees of freedom of a two-way layout without replication: seed, item, residual."""
    n_seeds, n_items = cells.shape
    seeds, items = cells.mean(axis=1, keepdims=True), cells.mean(axis=0, keepdims=True)
    residual = cells - seeds - items + cells.mean()
    dfs = np.array([n_seeds - 1, n_items - 1, (n_seeds - 1) * (n_items - 1)])
    sums = np.array([n_items * np.var(seeds) * n_seeds, n_seeds * np.var(items) * n_items, np.sum(residual**2)])
    return sums / dfs, dfs


def _satterthwaite(squares: np.ndarray, dfs: np.ndarray) -> tuple[float, float]:
    """``n_seeds * n_items`` times the variance of the mean, and its degrees of freedom.

    A main effect whose mean square does not exceed the residual's has no positive variance
    component: it leaves the sum, and with it the residual that would have been subtracted for it.
    """
    seed, item = squares[:2] > squares[2]
    weights = np.array([seed, item, 1 - int(seed) - int(item)], dtype=float)
    variance = float(weights @ squares)
    df = variance**2 / float(np.sum((weights * squares) ** 2 / dfs))
    return variance, df
