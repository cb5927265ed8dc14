"""Figures for conditions without a scale: one point with its interval for each, and stacked shares."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from adaptlab.evidence.stats import Interval, crossed_interval, paired_bootstrap

_NOTE = {"fontsize": 8, "color": "0.35"}


def points(data: pd.DataFrame, *, x: str, y: str = "correct", hue: str | None = None, ax: Axes | None = None) -> Axes:
    """Mean of ``y`` for each value of ``x`` with its 95 % interval; values of ``hue`` stand side by side.

    Where every draw met every item, the interval counts draws and items as samples (`crossed_interval`). Where not, as
    with the tokens of answers of different lengths, each item is averaged over what it has, and items alone count.
    Values of ``x`` that a single item reaches have no interval and are left out. Raises ``ValueError`` for a missing
    column.
    """
    for column in (x, y, "seed", "item", *([hue] if hue else [])):
        if column not in data:
            raise ValueError(f"the data has no column {column!r}; columns: {', '.join(map(str, data.columns))}")
    axes, palette = ax or plt.gca(), sns.color_palette("colorblind")
    keys = [x, hue] if hue else [x]
    data = data[data.groupby(keys)["item"].transform("nunique") > 1]
    values = list(data[x].drop_duplicates())
    groups = [(name, data[data[hue] == name]) for name in data[hue].drop_duplicates()] if hue else [(None, data)]
    for i, (name, group) in enumerate(groups):
        aside = 0.5 * ((i + 0.5) / len(groups) - 0.5)
        drawn = [(values.index(value), _interval(rows, y)) for value, rows in group.groupby(x, sort=False)]
        means = np.array([p.estimate for _, p in drawn])
        reach = np.abs(np.array([(p.low, p.high) for _, p in drawn]).T - means)
        places = [place + aside for place, _ in drawn]
        label = None if name is None else _label(name)
        axes.errorbar(
            places,
            means,
            reach,
            fmt="osD^vP"[i % 6],
            color=palette[i % len(palette)],
            label=label,
            capsize=3,
            clip_on=False,
        )
    axes.set_xticks(range(len(values)), [_label(value) for value in values])
    axes.set(xlabel=x, ylabel="accuracy" if y == "correct" else y, xlim=(-0.5, len(values) - 0.5))
    if data[y].min() >= 0 and data[y].max() <= 1:
        axes.set_ylim(0, 1)
    if hue:
        axes.legend(title=hue, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    _finish(axes, data)
    return axes


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _finish(axes: Axes, data: pd.DataFrame) -> None:
    axes.grid(axis="y", color="0.9")
    sns.despine(ax=axes)
    note = f"{data['item'].nunique()} items, {data['seed'].nunique()} seeds; 95 % intervals"
    axes.annotate(note, (1, 0), (0, -34), "axes fraction", "offset points", ha="right", va="center", **_NOTE)


def _interval(rows: pd.DataFrame, y: str) -> Interval:
    table = rows.pivot_table(index="seed", columns="item", values=y, aggfunc=["mean", "size"])
    if (table["size"] == 1).all(axis=None):
        marks = rows[y].isin((0, 1)).all()
        return crossed_interval(table["mean"].to_numpy(float), bounds=(0, 1) if marks else None)
    return paired_bootstrap(table["mean"].mean(axis=0).to_numpy(float))


def shares(
    data: pd.DataFrame,
    *,
    x: str,
    of: str,
    kinds: Sequence[str],
    values: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Stacked bars: for each of the ``values`` of ``x`` (in the order in which they come, unless named), which share of
    its rows is of each of ``kinds``; n stands above."""
    axes = ax or plt.gca()
    met = list(data[x].drop_duplicates())
    order = met if values is None else [value for value in values if value in met]
    counts = pd.crosstab(data[x], data[of]).reindex(order, columns=list(kinds), fill_value=0)
    part = counts.div(counts.sum(axis=1), axis=0)
    below = np.zeros(len(part))
    for kind, color in zip(kinds, sns.color_palette("cividis_r", len(kinds)), strict=True):
        axes.bar(range(len(part)), part[kind], bottom=below, color=color, label=kind, width=0.7)
        below += part[kind].to_numpy()
    for place, n in enumerate(counts.sum(axis=1)):
        axes.annotate(f"n = {n:,}", (place, 1), (0, 3), textcoords="offset points", ha="center", **_NOTE)
    axes.set_xticks(range(len(part)), [str(value) for value in part.index])
    axes.set(xlabel=x, ylabel=f"share of {of}", ylim=(0, 1))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    sns.despine(ax=axes)
    return axes
