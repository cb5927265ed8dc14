"""How the study models grew up, and what they can do: their published logs and abilities, as frames and figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from adaptlab import paths
from adaptlab.engine.checkpoints import LOG
from adaptlab.engine.lm import LM
from adaptlab.engine.seal import ABILITIES
from adaptlab.evidence.stats import proportion_interval
from adaptlab.studymodel import abilities, tokenizer
from adaptlab.studymodel.document import Document
from adaptlab.studymodel.pretrain import encode, pretrain
from adaptlab.studymodel.publish import TRAINING
from adaptlab.studymodel.recipes import BEGINNING, RECIPES, Course, Phase

SPLIT = "test"


def training(name: str) -> pd.DataFrame:
    """The published training log of an embedded model: one row for every ten steps, with abilities where probed."""
    return pd.read_json(paths.MODELS / name / TRAINING, lines=True)


def published(name: str) -> pd.DataFrame:
    """The published abilities of an embedded model: share right, 95 % interval, n and chance."""
    rows = json.loads((paths.MODELS / name / ABILITIES).read_text())
    for row in rows:
        found = proportion_interval(row["right"], row["n"])
        row |= {"share": found.estimate, "low": found.low, "high": found.high}
    return pd.DataFrame(rows).assign(model=name)


def course(name: str, log: pd.DataFrame) -> pd.DataFrame:
    """The stretches of an embedded model's training: the course that each belongs to, the million tokens read before
    it, what is new in it, how long its documents are at most (tokens, about), and what the learning rate is multiplied
    with. Raises ValueError for a model that was not raised from nothing."""
    if name not in RECIPES:
        raise ValueError(f"{name} was not trained from nothing here; those that were: {', '.join(RECIPES)}")
    rows, known = [], set()
    for number, (first, one) in enumerate(RECIPES[name].beginnings, start=1):
        for start, phase in one.starts:
            before = log.tokens[log.step <= first + start].max() if first + start else 0
            new = [kind for kind in phase.mixture if kind not in known]
            rows.append((number, round(before / 1e6, 1), ", ".join(new), phase.max_length, phase.rate))
            known.update(new)
    return pd.DataFrame(rows, columns=["course", "million tokens", "new documents", "longest", "rate"])


def first_course(name: str, log: pd.DataFrame) -> pd.DataFrame:
    """The rows of the log that belong to the first course of an embedded model."""
    return log[log.step <= RECIPES[name].courses[0].steps]


RISE = 0.25  # a smaller one may be chance: a probe has 64 items


def emergence(log: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """For each ability, the first probe at which it has come half of the way from its first probe to its best; none
    for one that has hardly risen."""
    rows = []
    for name in names:
        probes = log[["step", "tokens", name]].dropna()
        first, best = probes[name].iloc[0], probes[name].max()
        half = probes[probes[name] >= first + (best - first) / 2]
        came = (int(half.step.iloc[0]), round(half.tokens.iloc[0] / 1e6, 1)) if best - first >= RISE else (None, None)
        rows.append((name, first, best, *came))
    return pd.DataFrame(rows, columns=["ability", "at first", "best", "half way at step", "million tokens"])


def taught(log: pd.DataFrame, stretches: pd.DataFrame, pages: Mapping[str, str]) -> pd.DataFrame:
    """For each ability of ``pages`` (ability -> the kind of document that teaches it; those alone that were read and
    probed): the million tokens read when its pages began and when it had come half of the way, how far it had come at
    its best, and where it ended."""
    rows = []
    for ability, kind in pages.items():
        new = stretches["new documents"].str.split(", ").apply(lambda kinds, kind=kind: kind in kinds)
        if ability in log and new.any():
            (found,) = emergence(log, [ability]).itertuples(index=False)
            began, last = stretches["million tokens"][new].iloc[0], log[ability].dropna().iloc[-1]
            rows.append((ability, kind, began, found[-1], found.best, last))
    return pd.DataFrame(rows, columns=["ability", "pages", "they began at", "half way at", "best", "in the end"])


def ask(lm: LM, ability: str, shots: int, world: int, items: int) -> pd.DataFrame:
    """Ask for one ability in one seeded world: one row for each of ``items`` items, as `evidence.evaluate.grid` takes
    them from a measure. An item of a world is the same for every ability."""
    if ability == "instruction":
        found = abilities.instruction(lm, shots, SPLIT, items, world)
    else:
        found = abilities.choices(lm, ability, SPLIT, items, world)
    shared = {"model": lm.name, "method": "in-context"}
    return pd.DataFrame([shared | {"item": f"{world}-{i}", "correct": c} for i, c in enumerate(found.correctness)])


def retrained(steps: int) -> pd.DataFrame:
    """Train a model of 160 thousand weights for some steps, from nothing; its log, one row a step."""
    recipe = replace(
        RECIPES["study"],
        hidden=64,
        layers=2,
        heads=2,
        tokens=4096,
        courses=(Course((Phase(steps, 128, 80, BEGINNING),)),),
    )
    with TemporaryDirectory() as folder:
        pretrain(recipe, tokenizer.train(), Path(folder), torch.device("cpu"), fast=False)
        return pd.read_json(Path(folder) / LOG, lines=True)


def surprise(lm: LM, page: Document) -> pd.DataFrame:
    """What each token of a document costs the model, in nats, and whether the text before determines it."""
    ids, weights = encode(lm.tokenizer, page)
    with torch.inference_mode():
        logits = lm.model(torch.tensor([ids], device=lm.device)).logits[0, :-1]
    nats = torch.nn.functional.cross_entropy(logits.float(), torch.tensor(ids[1:], device=lm.device), reduction="none")
    tokens = [lm.tokenizer.decode([token]) for token in ids[1:]]
    return pd.DataFrame({"token": tokens, "nats": nats.tolist(), "determined": [w == 1 for w in weights[1:]]})


def growth(
    log: pd.DataFrame,
    columns: Sequence[str],
    *,
    chance: Mapping[str, float],
    marks: Sequence[float] = (),
    ax: Axes | None = None,
) -> Axes:
    """Abilities (shares right, one line each) over the tokens read so far; chance levels are dashed, with their names
    beside them, ``marks`` (million tokens) dotted."""
    axes = ax or plt.gca()
    colours = sns.color_palette("colorblind", len(columns))
    for column, colour, marker in zip(columns, colours, "osD^vPX*"[: len(columns)], strict=True):
        probes = log[["tokens", column]].dropna()
        axes.plot(probes.tokens / 1e6, probes[column], marker=marker, markersize=4, color=colour, label=column)
    for name, level in chance.items():
        axes.axhline(level, color="0.5", linestyle="--", linewidth=1, zorder=1)
        axes.text(1.02, level, name, transform=axes.get_yaxis_transform(), va="center")
    _mark(axes, marks)
    axes.set(xlabel="million tokens read", ylabel="share right", ylim=(0, 1.02))
    _finish(axes)
    return axes


def growths(
    log: pd.DataFrame, panels: Sequence[Sequence[str]], *, chance: Mapping[str, float], marks: Sequence[float] = ()
) -> Axes:
    """As `growth`, with a panel for each list of abilities, one above the other; chance is drawn in the first."""
    _, places = plt.subplots(len(panels), sharex=True, figsize=(6.4, 3.4 * len(panels)), layout="constrained")
    for number, (axes, columns) in enumerate(zip(places, panels, strict=True)):
        growth(log, columns, chance={} if number else chance, marks=marks, ax=axes).label_outer()
    return places[0]


def losses(log: pd.DataFrame, *, marks: Sequence[float] = (), ax: Axes | None = None) -> Axes:
    """Mean loss of determined and of open tokens, in nats (log scale), over the tokens read so far; ``marks`` (million
    tokens) are dotted."""
    axes = ax or plt.gca()
    blue, orange = sns.color_palette("colorblind", 2)
    axes.plot(log.tokens / 1e6, log.undetermined, "--", color=orange, label="open", linewidth=1.4)
    axes.plot(log.tokens / 1e6, log.determined, "-", color=blue, label="determined", linewidth=1.4)
    _mark(axes, marks)
    axes.set(xlabel="million tokens read", ylabel="loss (nats a token)", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    _finish(axes)
    return axes


def forest(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Abilities as dots with 95 % intervals, one row each and one colour a model; small bars mark chance."""
    axes = ax or plt.gca()
    names, models = list(frame.name.drop_duplicates()), list(frame.model.drop_duplicates())
    for i, (model, colour) in enumerate(zip(models, sns.color_palette("colorblind"), strict=False)):
        rows = frame[frame.model == model]
        places = rows.name.map(names.index) + 0.75 * ((i + 0.5) / len(models) - 0.5)
        axes.hlines(places, rows.low, rows.high, color=colour, linewidth=2)
        axes.plot(rows.share, places, "osD^v"[i], color=colour, markersize=5, label=model)
    known = frame.dropna(subset="chance")
    axes.plot(known.chance, known.name.map(names.index), "|", color="0.3", markersize=14, label="chance")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="share right, 95 % intervals", xlim=(0, 1.02), ylim=(len(names) - 0.5, -0.5))
    _finish(axes)
    return axes


def surprise_bars(costs: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """A document token by token: how surprised the model was; determined tokens stand out."""
    axes = ax or plt.gca()
    places = np.arange(len(costs))
    for determined, colour, name in ((False, "0.75", "open"), (True, sns.color_palette("colorblind")[0], "determined")):
        chosen = costs.determined.to_numpy() == determined
        axes.bar(places[chosen], costs.nats[chosen], width=0.9, color=colour, label=name)
    axes.set(xlabel="token of the document", ylabel="surprise (nats)", xlim=(-1, len(costs)))
    _finish(axes)
    return axes


COLUMNS = 78  # characters in a line of text
STRONGEST = 6.0  # nats; more surprise than that has the same colour


def surprise_text(costs: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """The document itself, each token on a ground that is the darker the more it surprised the model; determined tokens
    are underlined."""
    places, line, column = [], 0, 0
    for token in costs.token:
        if column + len(token) > COLUMNS and not token.isspace():
            line, column = line + 1, 0
        places.append((line, column))
        line, column = (line + token.count("\n"), 0) if "\n" in token else (line, column + len(token))
    axes = ax or plt.subplots(figsize=(9, 0.6 + 0.3 * (line + 1)), layout="constrained")[1]
    colours = sns.color_palette("YlOrBr", as_cmap=True)
    for (row, start), (token, nats, determined) in zip(places, costs.itertuples(index=False), strict=True):
        said = token.replace("\n", "¶")
        ground = colours(0.55 * min(nats, STRONGEST) / STRONGEST)
        axes.add_patch(plt.Rectangle((start, -row - 0.42), len(said), 0.84, color=ground, linewidth=0))
        for place, letter in enumerate(said):
            axes.text(start + place + 0.5, -row, letter, family="monospace", ha="center", va="center", color="#111111")
        if determined:
            axes.plot((start + 0.1, start + len(said) - 0.1), (-row - 0.42,) * 2, color="#0173b2", linewidth=2)
    axes.set(xlim=(-0.5, COLUMNS + 0.5), ylim=(-line - 0.8, 0.8))
    axes.set_axis_off()
    return axes


def _mark(axes: Axes, places: Sequence[float]) -> None:
    for place in places:
        axes.axvline(place, color="0.6", linestyle=":", linewidth=1, zorder=1)


def _finish(axes: Axes) -> None:
    axes.grid(axis="y", color="0.5", alpha=0.25)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    sns.despine(ax=axes)
