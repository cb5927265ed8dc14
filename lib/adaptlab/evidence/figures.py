"""Figures over the tidy frame: one table of means and intervals (`stats.summary`), and few ways to draw it.

Every function draws on one Axes and returns it; none shows or styles globally. `record.with_alt_text` finishes a
figure.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adaptlab.evidence.stats import require, summary

SIZE = (9, 5)  # inches
TITLES = {  # of axes and legends, for the columns of the kit
    "correct": "accuracy",
    "exact": "share of exact answers",
    "token_logprob": "log-probability of the right answer (nats per token)",
    "kl": "KL divergence (nats)",
    "shots": "demonstrations in the prompt (shots)",
    "position": "position of the token in the answer (0 is the first)",
    "part": "part of the answer",
    "shift": "tokens",
    "turn": "turn of the conversation",
    "temperature": "temperature (0 is greedy)",
    "repetition_penalty": "repetition penalty",
    "response_style": "response style",
    "answers": "answers of the demonstrations",
    "quality": "quality of the demonstrations",
    "taught": "trained on",
    "asked": "asked for",
    "how": "what was trained",
    "task_clusters": "task clusters trained on",
    "win_rate": "win rate of A",
    "covered": "share of intervals that hold the truth",
    "verdict": "pairs",
}
_MARKERS = "osD^vPX*<>"
_DASHES = ((0, (5, 3)), (0, (1, 2)), (0, (6, 2, 1, 2)), (0, (2, 1)))
_NOTE = {"fontsize": 9, "color": "0.45"}


def curve(
    data: pd.DataFrame,
    *,
    x: str = "shots",
    y: str = "correct",
    hue: str | None = None,
    baselines: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Mean of ``y`` at each ``x`` with its 95 % interval as a band, one line for each value of ``hue``.

    ``data`` needs one row for each (seed, item) at each point. The values of ``x`` stand at even steps: 0, 1, 4, 16, 64
    shots read well and zero has a place. ``baselines`` are named horizontal lines on the same axis, e.g.
    ``{"chance": 0.25}``. Raises ValueError as `summary` does, and for several rows of one (seed, item) at a point.
    """
    keys = [hue, x] if hue else [x]
    require(data, y, "seed", "item", *keys)
    if data.duplicated([*keys, "seed", "item"]).any():
        raise ValueError(f"several rows for one (seed, item) at one {x}: filter the data, or give hue a column")
    table, axes = summary(data, keys, y, complete=True), ax or _new_axes()
    positions = {value: place for place, value in enumerate(_levels(data[x]))}
    ends = []
    for i, (name, rows) in enumerate(_groups(table, hue)):
        rows = rows.sort_values(x, key=lambda column: column.map(positions))
        _line(axes, rows[x].map(positions), rows, i, str(name))
        ends.append((str(name), rows["mean"].iloc[-1], i))
    _axis(axes, x, list(positions), y, data[y])
    for i, value in enumerate((baselines or {}).values()):
        axes.axhline(value, color="0.5", linestyle=_DASHES[i % len(_DASHES)], linewidth=1.2, zorder=1)
    _end_labels(axes, [end for end in ends if hue], baselines or {})
    _note(axes, table)
    return axes


def points(data: pd.DataFrame, *, x: str, y: str = "correct", hue: str | None = None, ax: Axes | None = None) -> Axes:
    """Mean of ``y`` for each value of ``x`` with its 95 % interval as a bar; values of ``hue`` stand side by side."""
    table, axes = summary(data, [x, hue] if hue else [x], y), ax or _new_axes()
    values, groups = list(table[x].drop_duplicates()), list(_groups(table, hue))
    for i, (name, rows) in enumerate(groups):
        aside = 0.5 * ((i + 0.5) / len(groups) - 0.5)
        axes.errorbar(
            [values.index(value) + aside for value in rows[x]],
            rows["mean"],
            np.abs(rows[["low", "high"]].to_numpy().T - rows["mean"].to_numpy()),
            fmt=_MARKERS[i % len(_MARKERS)],
            color=_color(i),
            label=_text(name) if hue else None,
            capsize=3,
            clip_on=False,
        )
    axes.set_xticks(range(len(values)), [_text(value) for value in values])
    axes.set(xlabel=TITLES.get(x, x), xlim=(-0.5, len(values) - 0.5))
    _value_axis(axes, y, data[y])
    if hue:
        _legend(axes, TITLES.get(hue, hue))
    _note(axes, table)
    return axes


def seed_strip(
    data: pd.DataFrame, *, x: str = "shots", y: str = "correct", hue: str | None = None, ax: Axes | None = None
) -> Axes:
    """One dot for each seed: its mean of ``y`` over the items, at each ``x``. How much do samples differ?"""
    keys = [x, "seed", *([hue] if hue else [])]
    require(data, y, "item", *keys)
    axes, means = ax or _new_axes(), data.groupby(keys, observed=True, sort=False)[y].mean().reset_index()
    positions = {value: place for place, value in enumerate(_levels(data[x]))}
    groups = list(_groups(means, hue))
    for i, (name, rows) in enumerate(groups):
        aside = 0.6 * ((i + 0.5) / len(groups) - 0.5)
        spots = rows[x].map(positions) + aside + 0.1 * (rows["seed"].rank(method="dense", pct=True) - 0.5)
        axes.plot(spots, rows[y], _MARKERS[i % len(_MARKERS)], color=_color(i), alpha=0.8, label=name, clip_on=False)
    _axis(axes, x, list(positions), y, data[y])
    axes.set_xlim(-0.5, len(positions) - 0.5)
    if hue:
        _legend(axes, TITLES.get(hue, hue))
    _corner(axes, f"one dot a seed, the mean of {data['item'].nunique()} items")
    return axes


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
    axes, met = ax or _new_axes(), list(data[x].drop_duplicates())
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
    axes.set(xlabel=TITLES.get(x, x), ylabel=f"share of {TITLES.get(of, of)}", ylim=(0, 1))
    _legend(axes)
    sns.despine(ax=axes)
    return axes


def panels(
    frame: pd.DataFrame,
    draw: Callable[[pd.DataFrame, Axes], object],
    *,
    by: str,
    columns: int | None = None,
    sharey: bool = True,
    **labels: object,
) -> Figure:
    """A panel for each value of the column ``by``, all in a row or so many ``columns`` of wider ones, with one vertical
    axis unless ``sharey`` is False: ``draw(rows, ax)``; labels as `Axes.set`."""
    values = list(frame[by].drop_duplicates())
    across = min(columns or len(values), len(values))
    down = math.ceil(len(values) / across)
    size = ((6.2 if columns else 4.8) * across, 4.2 * down)
    figure, axes = plt.subplots(down, across, figsize=size, layout="constrained", sharey=sharey, squeeze=False)
    used = axes.flat[: len(values)]
    for value, ax in zip(values, used, strict=True):
        draw(frame[frame[by] == value], ax)
        put_title(ax, str(value))
        ax.set(**labels)
    for ax in used[:-1]:
        if ax.get_legend():
            ax.get_legend().remove()  # the last panel has the same one
    for ax in axes[:, 1:].flat if sharey else ():
        ax.set_ylabel("")
    for ax in axes.flat[len(values) :]:
        ax.axis("off")
    return figure


def put_title(ax: Axes, title: str) -> None:
    """Set a title, above the note on n that a figure has: a panel is too narrow for both in one line."""
    note = ax.get_title(loc="right")
    ax.set_title("", loc="right")
    ax.set_title(f"{title}\n{note}".strip(), fontsize=9)


def _new_axes() -> Axes:
    return plt.subplots(figsize=SIZE, layout="constrained")[1]


def _groups(table: pd.DataFrame, hue: str | None) -> Iterable[tuple[Any, pd.DataFrame]]:
    return table.groupby(hue, sort=False, observed=True) if hue else [("", table)]


def _levels(column: pd.Series) -> list:
    values = list(column.drop_duplicates())
    return sorted(values) if pd.api.types.is_numeric_dtype(column) else values


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _color(i: int) -> tuple[float, float, float]:
    palette = sns.color_palette("colorblind")
    return palette[i % len(palette)]


def _line(ax: Axes, spots: pd.Series, rows: pd.DataFrame, i: int, name: str) -> None:
    look = {"color": _color(i), "clip_on": False, "markersize": 6, "zorder": 3}
    ax.plot(spots, rows["mean"], _MARKERS[i % len(_MARKERS)] + "-", label=name or None, **look)
    if len(spots) == 1:
        ax.vlines(spots, rows["low"], rows["high"], color=_color(i), linewidth=2)
    else:
        ax.fill_between(spots, rows["low"], rows["high"], color=_color(i), alpha=0.18, linewidth=0)


def _axis(ax: Axes, x: str, values: list, y: str, data: pd.Series) -> None:
    even = ", in even steps" if len(values) > 2 and not isinstance(values[0], str) else ""
    ax.set_xticks(range(len(values)), [_text(value) for value in values])
    ax.set(xlabel=TITLES.get(x, x) + even, xlim=(-0.3, len(values) - 0.7))
    _value_axis(ax, y, data)


def _value_axis(ax: Axes, y: str, data: pd.Series) -> None:
    ax.set_ylabel(TITLES.get(y, y))
    if data.min() >= 0 and data.max() <= 1:
        ax.set_ylim(0, 1)
    ax.grid(axis="y", color="0.5", alpha=0.25)
    ax.set_axisbelow(True)
    sns.despine(ax=ax)


def _legend(ax: Axes, title: str | None = None) -> None:
    ax.legend(title=title, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _note(ax: Axes, table: pd.DataFrame) -> None:
    seeds = _span(table["n_seeds"])
    _corner(ax, f"{_span(table['n_items'])} items, {seeds} seed{'s' * (seeds != '1')}; 95 % intervals")


def _corner(ax: Axes, note: str) -> None:
    """Above the axes, on the right: where no line, band or label comes."""
    ax.set_title(note, loc="right", **_NOTE)


def _span(counts: pd.Series) -> str:
    low, high = counts.min(), counts.max()
    return str(low) if low == high else f"{low} to {high}"


def _end_labels(ax: Axes, ends: Sequence[tuple[str, float, int]], baselines: Mapping[str, float]) -> None:
    """Names beside the lines' ends, pushed apart where they would overlap, each with a lead to its line."""
    wanted = [(value, name, {}, {"color": _color(i)}) for name, value, i in ends]
    for i, (name, value) in enumerate(baselines.items()):
        wanted.append((value, name, {"style": "italic"}, {"color": "0.5", "linestyle": _DASHES[i % len(_DASHES)]}))
    wanted.sort(key=lambda label: label[0])
    height = ax.get_position().height * ax.get_figure(root=True).get_size_inches()[1] * 72
    low, high = ax.get_ylim()
    gap = 13 * (high - low) / height  # the height of a line of text, in the unit of the data
    for spot, (value, name, look, lead) in zip(_spread([w[0] for w in wanted], gap), wanted, strict=True):
        ax.annotate(
            f" {name}",
            xy=(1.0, value),
            xytext=(22, (spot - value) / gap * 13),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5), "linewidth": 1.3, **lead},
            **look,
        )


def _spread(spots: list[float], gap: float) -> list[float]:
    """Move sorted values apart to at least ``gap``, as a whole no further than needed."""
    spread = list(spots)
    for _ in range(100):
        for i in range(1, len(spread)):
            short = gap - (spread[i] - spread[i - 1])
            if short > 1e-9:
                spread[i - 1], spread[i] = spread[i - 1] - short / 2, spread[i] + short / 2
    return spread
