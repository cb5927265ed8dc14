"""Figures over the tidy frame. Every function draws on one Axes and returns it; none shows or styles globally."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from adaptlab.evidence.stats import Interval, crossed_interval, paired_bootstrap

_MARKERS = "osD^vPX*<>"
_DASHES = ((0, (5, 3)), (0, (1, 2)), (0, (6, 2, 1, 2)), (0, (2, 1)))
_NOTE = {"fontsize": 8, "color": "0.35"}
_COMPUTED = ("prefilled", "scored", "decoded")


def curve(
    data: pd.DataFrame,
    *,
    x: str = "shots",
    y: str = "correct",
    hue: str | None = None,
    baselines: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Mean of ``y`` at each ``x`` with its 95 % interval, one line for each value of ``hue``.

    The interval counts demonstration draws and items as samples (`crossed_interval`), so ``data``
    needs one row for each (seed, item) at each point; a point with a single seed counts items only.
    The values of ``x`` stand at even steps: 0, 1, 4, 16, 64 shots read well and zero has a place.
    ``baselines`` are named horizontal lines on the same axis, e.g. ``{"chance": 0.25}``.

    Raises ``ValueError`` for a missing column and for points that do not hold every (seed, item) once.
    """
    _require(data, x, y, "seed", "item", *([hue] if hue else []))
    axes = ax or plt.gca()
    places = {value: i for i, value in enumerate(_levels(data[x]))}
    groups = [(str(name), data[data[hue] == name]) for name in _appearance(data[hue])] if hue else [("", data)]
    ends, points = [], []
    for i, (name, group) in enumerate(groups):
        drawn = {value: _point(rows, f"{x}={value} {name}".strip(), y) for value, rows in group.groupby(x)}
        _line(axes, {places[value]: interval for value, interval in drawn.items()}, i, name)
        points += drawn.values()
        ends.append((name, drawn[max(drawn, key=places.get)].estimate, i))
    _axis(axes, x, list(places), y, data[y])
    _baselines(axes, baselines or {})
    _end_labels(axes, ends, baselines or {})
    seeds = _span(p.n_seeds for p in points)
    note = f"{_span(p.n_items for p in points)} items, {seeds} seed{'s' * (seeds != '1')}; 95 % intervals"
    axes.text(0.99, 0.015, note, transform=axes.transAxes, ha="right", va="bottom", **_NOTE)
    return axes


def seed_strip(
    data: pd.DataFrame, *, x: str = "shots", y: str = "correct", hue: str | None = None, ax: Axes | None = None
) -> Axes:
    """One dot for each seed: its mean of ``y`` over the items, at each ``x``. How much do draws differ?"""
    keys = [x, "seed", *([hue] if hue else [])]
    _require(data, y, "item", *keys)
    axes = ax or plt.gca()
    means = data.groupby(keys, observed=True)[y].mean().reset_index()
    places = {value: i for i, value in enumerate(_levels(data[x]))}
    names = _appearance(data[hue]) if hue else [None]
    for i, name in enumerate(names):
        rows = means if name is None else means[means[hue] == name]
        aside = 0.6 * ((i + 0.5) / len(names) - 0.5)
        spots = rows[x].map(places) + aside + 0.1 * (rows["seed"].rank(method="dense", pct=True) - 0.5)
        axes.plot(spots, rows[y], _marker(i), color=_color(i), alpha=0.8, label=name, clip_on=False, markersize=6)
    _axis(axes, x, list(places), y, data[y])
    axes.set_xlim(-0.5, len(places) - 0.5)
    if hue:
        axes.legend(title=hue, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    note = f"one dot a seed, the mean of {data['item'].nunique()} items"
    axes.text(0.99, 0.015, note, transform=axes.transAxes, ha="right", va="bottom", **_NOTE)
    return axes


def cost_bars(data: pd.DataFrame, *, by: str = "method", ax: Axes | None = None) -> Axes:
    """Tokens that the model computed, beside those that scoring one request at a time would have run.

    Sums over the rows of each value of ``by``: prefilled + scored + decoded against ``naive``, and
    ``trained`` as a bar of its own where there is any. The axis is logarithmic and starts at one
    token; the ratio of naive to computed stands at the end.

    Raises ``ValueError`` for a missing column and for a group that computed nothing.
    """
    _require(data, by, "naive", "trained", *_COMPUTED)
    axes = ax or plt.gca()
    names = _appearance(data[by])
    sums = data.groupby(by, observed=True)[[*_COMPUTED, "naive", "trained"]].sum().loc[names]
    computed, naive = sums[list(_COMPUTED)].sum(axis=1), sums["naive"]
    if not (computed > 0).all():
        raise ValueError(f"no tokens were computed for {by}={computed.idxmin()!r}: nothing to compare")
    bars = [(computed, _color(0), "computed"), (naive, "0.75", "one request at a time")]
    if sums["trained"].any():
        bars.append((sums["trained"], _color(1), "trained"))
    _bars(axes, bars)
    for row, ratio in enumerate(naive / computed):
        text, place = f"{ratio:,.0f}×" if ratio >= 100 else f"{ratio:.3g}×", (1.02, row)
        axes.annotate(text, place, xycoords=("axes fraction", "data"), va="center", fontweight="bold")
    top = float(max(tokens.max() for tokens, _, _ in bars))
    axes.set(xscale="log", xlim=(1, top * 10), ylim=(len(names) - 0.5, -0.5), xlabel="tokens (log scale)")
    axes.set_yticks(range(len(names)), [str(name) for name in names])
    axes.set_ylabel(by)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: _tokens(count)))
    axes.minorticks_off()
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    sns.despine(ax=axes)
    return axes


def _bars(ax: Axes, bars: Sequence[tuple[pd.Series, Any, str]]) -> None:
    """Grouped horizontal bars, one group a row, each with its count."""
    thick = 0.76 / len(bars)
    for i, (tokens, color, label) in enumerate(bars):
        rows = np.arange(len(tokens)) + thick * (i - (len(bars) - 1) / 2)
        ax.barh(rows, tokens, 0.95 * thick, color=color, label=label)
        for row, count in zip(rows, tokens, strict=True):
            place = (max(count, 1), row)
            ax.annotate(_tokens(count), place, (4, 0), textcoords="offset points", va="center", **_NOTE)


def _require(data: pd.DataFrame, *columns: str) -> None:
    missing = [column for column in columns if column not in data]
    if missing:
        raise ValueError(f"the data has no column {missing[0]!r}; columns: {', '.join(map(str, data.columns))}")
    if data.empty:
        raise ValueError("the data has no rows: nothing to draw")


def _appearance(column: pd.Series) -> list:
    return list(column.drop_duplicates())


def _levels(column: pd.Series) -> list:
    values = _appearance(column)
    return sorted(values) if pd.api.types.is_numeric_dtype(column) else values


def _point(rows: pd.DataFrame, where: str, y: str) -> Interval:
    if rows.duplicated(["seed", "item"]).any():
        raise ValueError(f"several rows for one (seed, item) at {where}: filter the data, or give hue a column")
    values = rows.pivot(index="seed", columns="item", values=y).to_numpy(dtype=float)
    marks = np.isin(values, (0, 1)).all()
    try:
        return crossed_interval(values, bounds=(0, 1) if marks else None)
    except ValueError as error:
        raise ValueError(f"no interval for {y} at {where}: {error}") from error


def _color(i: int) -> tuple[float, float, float]:
    palette = sns.color_palette("colorblind")
    return palette[i % len(palette)]


def _marker(i: int) -> str:
    return _MARKERS[i % len(_MARKERS)]


def _line(ax: Axes, points: dict[int, Interval], i: int, name: str) -> None:
    spots = sorted(points)
    means = [points[s].estimate for s in spots]
    low, high = [points[s].low for s in spots], [points[s].high for s in spots]
    ax.plot(spots, means, _marker(i) + "-", color=_color(i), label=name or None, clip_on=False, markersize=6, zorder=3)
    if len(spots) == 1:
        ax.vlines(spots, low, high, color=_color(i), linewidth=2)
    else:
        ax.fill_between(spots, low, high, color=_color(i), alpha=0.18, linewidth=0)


def _axis(ax: Axes, x: str, values: list, y: str, data: pd.Series) -> None:
    even = " (even steps, not to scale)" if len(values) > 2 and not isinstance(values[0], str) else ""
    ax.set_xticks(range(len(values)), [f"{v:g}" if isinstance(v, int | float) else str(v) for v in values])
    ax.set(xlabel=x + even, ylabel="accuracy" if y == "correct" else y, xlim=(-0.3, len(values) - 0.7))
    if data.min() >= 0 and data.max() <= 1:
        ax.set_ylim(0, 1)
    ax.grid(axis="y", color="0.9")
    ax.set_axisbelow(True)
    sns.despine(ax=ax)


def _baselines(ax: Axes, baselines: Mapping[str, float]) -> None:
    for i, value in enumerate(baselines.values()):
        ax.axhline(value, color="0.4", linestyle=_DASHES[i % len(_DASHES)], linewidth=1.2, zorder=1)


def _end_labels(ax: Axes, ends: Sequence[tuple[str, float, int]], baselines: Mapping[str, float]) -> None:
    """Names beside the lines' ends, pushed apart where they would overlap, each with a lead to its line."""
    wanted: list[tuple[float, str, dict[str, Any], dict[str, Any]]] = [
        (value, name, {}, {"color": _color(i)}) for name, value, i in ends if name
    ]
    for i, (name, value) in enumerate(baselines.items()):
        lead = {"color": "0.4", "linestyle": _DASHES[i % len(_DASHES)]}
        wanted.append((value, name, {"style": "italic", "color": "0.35"}, lead))
    wanted.sort(key=lambda label: label[0])
    height = ax.get_position().height * ax.get_figure(root=True).get_size_inches()[1] * 72
    low, high = ax.get_ylim()
    gap = 12 * (high - low) / height  # the height of a line of text, in the unit of the data
    for place, (value, name, look, lead) in zip(_spread([w[0] for w in wanted], gap), wanted, strict=True):
        ax.annotate(
            f" {name}",
            xy=(1.0, value),
            xytext=(22, (place - value) / gap * 12),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=9,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5), "linewidth": 1.3, **lead},
            **look,
        )


def _spread(places: list[float], gap: float) -> list[float]:
    """Move sorted places apart to at least ``gap``, as a whole no further than needed."""
    spread = list(places)
    for _ in range(100):
        for i in range(1, len(spread)):
            short = gap - (spread[i] - spread[i - 1])
            if short > 1e-9:
                spread[i - 1], spread[i] = spread[i - 1] - short / 2, spread[i] + short / 2
    return spread


def _span(counts: Iterable[int]) -> str:
    low, high = min(counts := list(counts)), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _tokens(count: float) -> str:
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.3g}"


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
