"""For notebook A3: facts to learn, the best learning rate of each way to train, and how much is learned at it.

After "LoRA without regret" (Schulman et al. 2025, Thinking Machines): each way is swept over its own learning rates,
and ways are compared at the best rate of each. A best rate is the top of a parabola in the logarithm of the rate.
"""

import random
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from scipy import stats

from adaptlab.engine.lm import LM
from adaptlab.engine.loss_mask import TrainingExample, losses, tokenize_with_mask
from adaptlab.evidence.stats import LEVEL
from adaptlab.tasks.knowledge import RELATIONS, Fact
from adaptlab.tasks.words import nouns, study

TEN = np.log2(10)  # ten times, in doublings
CELL = ["how", "facts", "seed"]
NEAR = 2  # rates on each side of the best one that a parabola is fitted to


def sample_facts(n: int, seed: int) -> list[Fact]:
    """``n`` independent facts about nouns that the study models never read; a smaller set is the beginning of a larger
    one. No noun stands first in two of them, so that each can be learned; what stands last is random."""
    rng = random.Random(f"facts to learn {seed}")
    ends, firsts = random.Random(f"ends of facts {seed}"), study("test")(rng, n)
    return [Fact(ends.choice(RELATIONS), first, ends.choice(nouns("test"))) for first in firsts]


def fact_examples(lm: LM, facts: Sequence[Fact]) -> list[TrainingExample]:
    """A text for each fact, of which the last noun alone is trained: all else could be guessed or not known."""
    return [tokenize_with_mask(lm, [(fact.stem, False), (f" {fact.b}", True)], ends=False) for fact in facts]


def recall(lm: LM, examples: Sequence[TrainingExample], shared: int) -> pd.DataFrame:
    """How likely the model makes each fact that it was trained on: a row a fact, with ``token_logprob`` of its last
    noun, and whether it is among the first ``shared``, which all numbers of facts have in common."""
    with torch.no_grad():
        nats = losses(lm.model, examples).tolist()
    each = [-nat / one.weight for nat, one in zip(nats, examples, strict=True)]
    places = range(len(each))
    rows = {"item": [f"fact {i + 1}" for i in places], "shared": [i < shared for i in places], "token_logprob": each}
    return pd.DataFrame(rows).assign(model=lm.name)


def top(lrs: Sequence[float], values: Sequence[float]) -> tuple[float, bool]:
    """Where a parabola through the best value and up to `NEAR` on each side is highest, as log2 of the rate, and
    whether that can be told: the best of the rates is not the lowest or highest, and the parabola is highest between
    them. Where it cannot, the best of the rates stands for it."""
    order = np.argsort(lrs)
    x, y = np.log2(np.asarray(lrs, float)[order]), np.asarray(values, float)[order]
    best = int(y.argmax())
    near = slice(max(0, best - NEAR), best + NEAR + 1)
    if 0 < best < len(x) - 1:
        a, b, _ = np.polyfit(x[near], y[near], 2)
        if a < 0 and x[0] < -b / (2 * a) < x[-1]:
            return float(-b / (2 * a)), True
    return float(x[best]), False


def best_rates(frame: pd.DataFrame) -> pd.DataFrame:
    """The best learning rate of every way, number of facts and seed: ``log2_lr``, and whether it was ``inside`` the
    rates tried. The way *ten times full* has those of full tuning times ten. An item is a number of facts."""
    rows = []
    for cell, runs in frame[frame.how != "untrained"].groupby(CELL, sort=False):
        means = runs.groupby("lr").token_logprob.mean()
        rows.append((*cell, *top(means.index, means)))
    table = pd.DataFrame(rows, columns=[*CELL, "log2_lr", "inside"])
    full = table[table.how == "full"]
    table = pd.concat([table, full.assign(how="ten times full", log2_lr=full.log2_lr + TEN)], ignore_index=True)
    return table.assign(item=table.facts.astype(str) + " facts", model=frame.model.iloc[0])


def at_best(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of each way and number of facts at the one of its rates that is best over all seeds."""
    means = frame.groupby(["how", "facts", "lr"], sort=False).token_logprob.mean()
    best = pd.DataFrame(means.groupby(["how", "facts"], sort=False).idxmax().tolist(), columns=["how", "facts", "lr"])
    return frame.merge(best)


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """How many times the best rate of full tuning that of each LoRA is: a row for each way and number of facts of
    `best_rates`, with ``ratio``, and its 95 % t interval over seeds, ``low`` to ``high`` (missing with one seed)."""
    cells = table.pivot(index=["facts", "seed"], columns="how", values="log2_lr")
    apart = cells.drop(columns=["full", "ten times full"]).sub(cells["full"], axis=0)
    found = apart.melt(ignore_index=False).reset_index().groupby(["how", "facts"], sort=False)["value"]
    mean, half = found.mean(), stats.t.ppf((1 + LEVEL) / 2, found.size() - 1) * found.sem()
    return pd.DataFrame({"ratio": 2**mean, "low": 2 ** (mean - half), "high": 2 ** (mean + half)}).reset_index()


def draw_ratios(ax: Axes, table: pd.DataFrame, stated: float = 10) -> Axes:
    """What `ratios` gives, against the number of facts; ``stated``: a ratio to compare with, dashed."""
    ways, numbers = list(table.how.unique()), sorted(table.facts.unique())
    for i, how in enumerate(ways):
        rows = table[table.how == how]
        x = [numbers.index(n) + 0.5 * ((i + 0.5) / len(ways) - 0.5) for n in rows.facts]
        bars = [rows.ratio - rows.low, rows.high - rows.ratio]
        ax.errorbar(x, rows.ratio, bars, fmt="osD^v"[i % 5], capsize=3, label=how)
    ax.axhline(stated, color="0.5", linestyle="--")
    ax.set_xticks(range(len(numbers)), numbers)
    ax.set(yscale="log", xlabel="facts to learn", ylabel="best learning rate, as multiple of that of full tuning")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def draw_parabola(ax: Axes, runs: pd.DataFrame) -> None:
    """Of one way, number of facts and seed: what was learned at each rate, and the best rate as a line, dotted where no
    parabola gives it."""
    means = runs.groupby("lr").token_logprob.mean()
    best, inside = top(means.index, means)
    ax.plot(means.index, means, "o")
    ax.axvline(2**best, color="0.5", linestyle="--" if inside else ":")
    ax.set(xscale="log", xlabel="peak learning rate", ylabel="log p of the facts (nats a token)")
    ax.set_title(f"best rate {2**best:.2g}")
