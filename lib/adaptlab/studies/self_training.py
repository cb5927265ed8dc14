"""For notebooks 06b and 06c: what samples are rewarded for, and what a trained model has gained and lost."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from adaptlab.evidence.figures import points
from adaptlab.methods.self_training import Reward, kl, rescored
from adaptlab.methods.sharpening import Pool, votes
from adaptlab.studies.sharpening import Asked, Attempts, by_item, samples
from adaptlab.studymodel.abilities import OTHERS, others
from adaptlab.tasks.records import check_choice

Frame = pd.DataFrame
REWARDS = ("log-p", "right", "majority", "format", "shortest", "random")


def reward_named(name: str, asked: Sequence[Asked]) -> Reward:
    """What samples of these problems are rewarded for, by its name (`REWARDS`); only *right* is told what is right."""
    check_choice("reward", name, REWARDS)

    def rewarded(pool: Pool, which: Sequence[int], reference: np.ndarray) -> np.ndarray:
        made = Attempts(None, [asked[i] for i in which], pool, [])
        if name == "log-p":
            return reference
        if name == "right":
            return made.right.astype(float)
        if name == "majority":
            return votes(made.answers)
        if name == "format":  # worked in steps, right or wrong
            return np.array([[float(one.text.count(".") > 1) for one in row] for row in pool.samples])
        if name == "shortest":
            return -pool.tokens.astype(float)
        texts = "".join(one.text for row in pool.samples for one in row)
        return np.random.default_rng(list(texts.encode()[:4096])).random(pool.tokens.shape)

    rewarded.__qualname__ = f"reward of {name}"
    return rewarded


def grade(made: Attempts, n_others: int = 0) -> Frame:
    """A trained model on new problems; one row for each.

    ``accuracy``: share of right ones among its samples; ``greedy``; ``any`` of the samples is right; ``distinct``:
    different texts among them; ``kl``: KL(base, model) on the samples of base, in nats; ``own``: log p of its samples
    under base; and accuracy in other abilities (``n_others`` items each; see `abilities.others`).
    """
    base = made.base or made
    # Both by the same kind of pass: in fewer digits than float32, the sampler's own numbers differ a little.
    apart = rescored(base.lm, base.pool), rescored(made.lm, base.pool)
    return by_item(made, made.right.mean(1)).assign(
        model=base.lm.name,
        greedy=made.greedy_right.astype(float),
        any=made.right.any(1).astype(float),
        distinct=[float(len({one.text for one in row})) for row in made.pool.samples],
        tokens=made.pool.tokens.mean(1),
        own=rescored(base.lm, made.pool).mean(1),
        kl=kl(*apart),
        **(others(made.lm, n_others) if n_others else {}),
    )


def forgetting(graded: Frame) -> Frame:
    """One row for each trained model and seed: its accuracy, its KL from base, and how much accuracy is lost in each
    other ability, and on average (``forgotten``)."""
    known = [name for name in OTHERS if name in graded]
    means = graded.groupby(["seed", "family", "trained"], sort=False)[["accuracy", "kl", *known]].mean().reset_index()
    before = means[means.trained == "nothing"].set_index(["seed", "family"])[known]
    trained = means[means.trained != "nothing"].reset_index(drop=True)
    lost = before.loc[list(zip(trained.seed, trained.family, strict=True))].to_numpy() - trained[known]
    return trained.assign(**lost, forgotten=lost.mean(axis=1) if known else float("nan"))


def kl_and_forgetting(lost: Frame, model: str) -> Frame:
    """The rank correlation of KL and what is lost of each other ability, over the trained models of each seed; and,
    to compare with, nothing. An ability of which every model lost the same has no relation to KL: 0."""
    rows = []
    for seed, models in lost.groupby("seed"):
        for ability in (name for name in OTHERS if name in lost):
            constant = models[ability].nunique() < 2 or models.kl.nunique() < 2
            found = 0.0 if constant else float(spearmanr(models.kl, models[ability]).statistic)
            for of, value in (("KL and forgetting", found), ("nothing", 0.0)):
                rows.append({"model": model, "of": of, "seed": seed, "item": ability, "correlation": value})
    return pd.DataFrame(rows)


def before_and_after(rows: Frame, ax: Axes) -> None:
    """Shares right by what was trained on, of one sample and greedy; the dashed line is the best of n of the base."""
    points(rows, x="trained", y="share right", hue="asked", ax=ax)
    ax.axhline(rows["best of n"].iloc[0], color="0.5", linestyle="--", linewidth=1.2)


def lengths(made: Attempts, ax: Axes) -> None:
    """How long right and wrong samples are."""
    texts, colors = samples(made), ["tab:blue", "tab:orange"]
    parts = [texts[texts.right == value].tokens for value in (True, False)]
    ax.hist(
        parts, bins=range(0, max(44, texts.tokens.max() + 3), 2), stacked=True, color=colors, label=["right", "wrong"]
    )
    ax.set(xlabel="tokens of the solution", ylabel="samples")
    ax.legend(frameon=False)


def pareto(lost: Frame) -> Axes:
    """Of each trained model (a row of `forgetting`) what is forgotten, against its KL; the size of a mark: accuracy."""
    _, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    for (family, rows), marker in zip(lost.groupby("family", sort=False), "oDs^v", strict=False):
        ax.scatter(rows.kl, rows.forgotten, s=20 + 120 * rows.accuracy, marker=marker, alpha=0.6, label=family)
    ax.axhline(0, color="0.6", linewidth=1)
    ax.set(xlabel="KL from the base on the problems trained for, in nats", ylabel="accuracy lost elsewhere")
    ax.set_xscale("symlog", linthresh=0.1)
    left, right = min(-0.02, 2 * lost.kl.min()), max(0.1, 2 * lost.kl.max())  # an estimate of KL may fall below 0
    ticks = [tick for tick in (0, 0.1, 1, 10, 100) if tick <= right]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlim(left, right)
    ax.set_ylim(min(-0.05, ax.get_ylim()[0]), max(0.2, ax.get_ylim()[1]))
    ax.legend(frameon=False)
    return ax


def by_family(graded: Frame, **labels: str) -> Figure:
    """Shares right by what was trained, a row of marks for each family; labels as `Axes.set`."""
    families = list(graded["family"].drop_duplicates())
    size = (10, 1.6 + 3 * len(families))
    figure, axes = plt.subplots(len(families), 1, figsize=size, layout="constrained", sharex=True, squeeze=False)
    for family, ax in zip(families, axes[:, 0], strict=True):
        points(graded[graded["family"] == family], x="trained", y="accuracy", ax=ax)
        ax.set(title=family, ylim=(0, 1.02), **labels)
        ax.tick_params(axis="x", rotation=30)
    return figure
