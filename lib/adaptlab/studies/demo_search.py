"""For notebook 03: pools of four kinds, searches by name, and what the sets that they find are worth on new items."""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adaptlab.engine.lm import LM
from adaptlab.engine.loss_mask import TrainingExample, tokenize_with_mask
from adaptlab.evidence.evaluate import evaluate
from adaptlab.methods import demo_search
from adaptlab.methods.answering import Generator
from adaptlab.methods.demo_search import Found, Parts
from adaptlab.methods.racing import all_items, elimination, winners_curse
from adaptlab.methods.selection import SELECTIONS
from adaptlab.methods.trials import Method, Shown, Spent, Trials
from adaptlab.methods.tuning import build_examples
from adaptlab.methods.urial import RESPONSE_STYLES, apply_style
from adaptlab.tasks.notes import load_notes
from adaptlab.tasks.reading import read
from adaptlab.tasks.records import check_choice, content_key
from adaptlab.tasks.sets import load_messages, load_open
from adaptlab.tasks.splits import LabelledSet, OpenSet

Frame = pd.DataFrame
POOLS = ("styles", "noisy", "clean", "messages")
NOISE = 0.4  # how often a label of a noisy pool is drawn anew; one in four of these stays right by chance
SETS = 24  # whole sets that race
DRAWS = 3  # sets of which a random baseline is the mean
STUDY_WORDINGS = 3  # of requests that the study model has read


Data = LabelledSet | OpenSet


def own(name: str, columns: str = "") -> Data:
    """A user's data as a set: of classes, if it has some, else of questions and answers."""
    made = read(name, "", columns)
    return made.data if made.kind == "labelled" else read(name, "instructions", columns).data


def task(
    pool: str, seed: int, candidates: int, race: int, confirm: int, items: int, given: Data | None = None
) -> Parts:
    """One of `POOLS`, with other texts for each seed (`messages`: the same 400, divided anew); or a user's data
    (``given``), divided anew for each seed, with smaller parts where it is small.

    *styles*: requests, the candidates' answers in four response styles, those of all other items plain. *noisy*: notes,
    about a third of the candidates' labels wrong. *clean*: notes. *messages*: English, to four desks.
    """
    if given:
        once = {content_key(one.query): one for one in reversed(given.pool)}
        given = replace(given, pool=tuple(reversed(once.values())))
        share = min(1.0, len(given.pool) / (candidates + race + confirm))
        race, confirm, candidates = (n and max(2, int(share * n)) for n in (race, confirm, candidates))
        test = random.Random(f"test {seed}").sample(given.test, min(items, len(given.test)))
        return demo_search.parts(replace(given, test=tuple(test)), race, confirm, candidates, seed)
    check_choice("pool", pool, POOLS)
    if pool == "styles":
        data = load_open("requests", pool=candidates + race + confirm, test=items, seed=seed, wordings=STUDY_WORDINGS)
    else:
        data = load_messages() if pool == "messages" else load_notes(seed=seed, test=max(200, items))
        data = replace(data, test=tuple(random.Random(f"test {seed}").sample(data.test, items)))
    made, rng = demo_search.parts(data, race, confirm, candidates, seed), random.Random(f"{pool} {seed}")
    shown = list(made.data.pool)
    if pool == "styles":
        shown = [replace(one, output=apply_style(one, rng.choice(RESPONSE_STYLES))) for one in shown]
    if pool == "noisy":
        shown = [replace(one, label=rng.choice(data.labels)) if rng.random() < NOISE else one for one in shown]
    return replace(made, data=replace(made.data, pool=tuple(shown)))


def settings(pool: str, seed: int, given: Data | None = None) -> dict[str, object]:
    """How a pool's demonstrations are shown: notes with letters as labels, messages and a user's classes with words."""
    if given:
        return {"seed": seed} | ({"label_mapping": "words"} if isinstance(given, LabelledSet) else {})
    names = {"styles": {}, "messages": {"label_mapping": "words"}}
    return names.get(pool, {"label_mapping": "letters"}) | {"seed": seed}


# --- searches by name -------------------------------------------------------------------------------------------------

Search = Callable[[Trials, Parts, int, int], Found]  # (trials, parts, how many are shown, seed)


def _greedy_tokens(trials: Trials, parts: Parts, k: int) -> float:
    return demo_search.greedy(trials.again(), _places(parts), k).spent.tokens


def _places(parts: Parts) -> range:
    return range(len(parts.data.pool))


SEARCHES: dict[str, Search] = {
    "greedy": lambda t, p, k, seed: demo_search.greedy(t, _places(p), k),
    "greedy, all items": lambda t, p, k, seed: demo_search.greedy(t, _places(p), k, race=all_items),
    "greedy, new first": lambda t, p, k, seed: demo_search.greedy(t, _places(p), k, first=True),
    "greedy, elimination": lambda t, p, k, seed: demo_search.greedy(t, _places(p), k, race=elimination),
    "sort once": lambda t, p, k, seed: demo_search.sort_once(t, _places(p), k),
    "best of random": lambda t, p, k, seed: demo_search.best_of_random(
        t, _places(p), k, _greedy_tokens(t, p, k), seed=seed
    ),
    "race of sets": lambda t, p, k, seed: demo_search.raced(t, sets(p, k, SETS, seed)),
    "sets, then swaps": lambda t, p, k, seed: demo_search.swaps(
        t, _places(p), demo_search.raced(t, sets(p, k, SETS, seed)).shown
    ),
}
BASELINES = ("random", "balanced")
NEAREST = ("nearest, words", "nearest, states")  # as in `selection.SELECTIONS`: for each item its own


def sets(parts: Parts, k: int, n: int, seed: int) -> list[Shown]:
    """Random sets, balanced over labels where there are labels."""
    if hasattr(parts.data, "labels"):
        return demo_search.balanced_sets(parts.data, k, n, seed)
    return demo_search.random_sets(_places(parts), k, n, seed)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Sets of demonstrations and how they are shown; what their search claims for them, and what it took.

    ``each``: whether there is one set for each test item, to be shown to it alone.
    """

    show: Callable[[Shown], Method]
    parts: Parts
    sets: list[Shown]
    claimed: float = float("nan")
    spent: Spent = field(default_factory=Spent)
    each: bool = False

    @cached_property
    def on_new_items(self) -> Frame:
        """One row for each test item, the mean over sets: ``correct``; ``log_p`` of the right answer, among the options
        where there are some; what was ``claimed`` of the set on race items, and what it has on those to ``confirm``."""
        test = self.parts.data.test
        asked = zip(self.sets, ([item] for item in test) if self.each else itertools.repeat(test), strict=False)
        rows = [evaluate(self.show(shown), items)[0] for shown, items in asked]
        together = pd.concat([row.assign(log_p=np.log(row.gold_prob.clip(1e-300))) for row in rows])
        together["correct"] = together.correct.astype(float)
        if (together.output != "").any():  # an answer in another style says what is asked, but not as it was wanted
            together["correct"] = together.output.str.strip() == together.gold
        means = together.groupby(["model", "item"], sort=False)[["correct", "log_p"]].mean().reset_index()
        confirmed = float("nan")
        if self.parts.confirm and not np.isnan(self.claimed):
            confirmed = Trials(self.show, self.parts.confirm).mean(self.sets[0])
        # Other texts for each seed: they are named by their places.
        items = "item " + (means.item.factorize()[0] + 1).astype(str)
        more = {"claimed": self.claimed, "confirmed": confirmed, "tokens": self.spent.tokens}
        return means.assign(item=items, **more, per_item=self.spent.per_item)


def outcome(search: str, trials: Trials, show: Callable[[Shown], Method], parts: Parts, k: int, seed: int) -> Outcome:
    """What a search of `SEARCHES` finds, or sets of a baseline: random ones, such as are balanced over labels, or, for
    each test item, the nearest."""
    check_choice("search", search, (*SEARCHES, *BASELINES, *NEAREST))
    if search == "random":
        return Outcome(show, parts, demo_search.random_sets(_places(parts), k, DRAWS, seed))
    if search == "balanced":
        return Outcome(show, parts, sets(parts, k, DRAWS, seed))
    if search in NEAREST:
        pool, queries = ([one.query for one in items] for items in (parts.data.pool, parts.data.test))
        nearest = SELECTIONS[search](show(()).lm, pool, queries, k, seed)
        return Outcome(show, parts, list(map(tuple, nearest)), each=True)
    meter = trials.again()
    found = SEARCHES[search](meter, parts, k, seed)
    return Outcome(show, parts, [found.shown], found.claimed, meter.spent)


def worth(made: Outcome, _: Sequence = ()) -> Frame:
    """As `Outcome.on_new_items`, for `grid`: what an outcome was tested on once, it is not tested on again."""
    return made.on_new_items


def optimism(made: Outcome) -> Frame:
    """The score of a found set on race items beside that on test items, in nats: one row for each item of both."""
    race, new = (Trials(made.show, items)([made.sets[0]])[0] for items in (made.parts.race, made.parts.data.test))
    n, name = min(len(race), len(new)), made.show(()).lm.name
    rows = [("race", race[:n]), ("new", new[:n])]
    return pd.concat([_by_place(name, values).assign(on=on) for on, values in rows], ignore_index=True)


def shown_by(made: Outcome, show: Callable[[Shown], Method]) -> Outcome:
    """The same sets in front of another model."""
    return replace(made, show=show, claimed=float("nan"))


def training_examples(lm: LM, parts: Parts, show: Callable[[Shown], Method]) -> list[TrainingExample]:
    """Each candidate as it is asked without demonstrations, with its answer trained."""
    asked = show(())
    if isinstance(asked, Generator):
        return build_examples(lm, parts.data.pool, parts.data.prompt_format)
    prompts = ((*asked.ask(one), one.label) for one in parts.data.pool)
    return [tokenize_with_mask(lm, [(context, False), (options[label], True)]) for context, options, label in prompts]


def right_labels(made: Outcome, clean: Parts) -> Frame:
    """Whether each demonstration of a found set has its right label, beside the share of the pool that has."""
    right = [a.label == b.label for a, b in zip(made.parts.data.pool, clean.data.pool, strict=True)]
    chosen, name = np.array([right[place] for place in made.sets[0]], float), made.show(()).lm.name
    rows = [("found", chosen), ("pool", np.full(len(chosen), np.mean(right)))]
    return pd.concat([_by_place(name, values, "right").assign(of=of) for of, values in rows], ignore_index=True)


def _by_place(model: str, values: np.ndarray, column: str = "log_p") -> Frame:
    items = [f"item {i + 1}" for i in range(len(values))]
    return pd.DataFrame({"model": model, "item": items, column: values})


# --- the winner's curse -----------------------------------------------------------------------------------------------


def curse(show: Callable[[Shown], Method], parts: Parts, k: int, ns: Sequence[int], seed: int) -> Frame:
    """Of the best of the first n random sets, judged on the race items: what it *claims* there, and what it *has* on
    the items to confirm; both above the mean set, in nats. One row for each n, and what is *expected* of normal sets
    and items with the same spread and noise."""
    arms = demo_search.random_sets(range(len(parts.data.pool)), k, max(ns), seed)
    both = Trials(show, [*parts.race, *parts.confirm])(arms)
    size = len(parts.race)
    race, confirm = both[:, :size].mean(1), both[:, size:].mean(1)
    rest = both - both.mean(0) - both.mean(1, keepdims=True) + both.mean()
    noise = np.sqrt((rest**2).sum() / ((len(arms) - 1) * (both.shape[1] - 1)))
    spread = np.sqrt(max(0.0, both.mean(1).var(ddof=1) - noise**2 / both.shape[1]))
    rows = []
    for n in ns:
        best = int(race[:n].argmax())
        claims, has = winners_curse(n, spread, noise, size)
        rows.append({"n": n, "claims": race[best] - race.mean(), "has": confirm[best] - confirm.mean()})
        rows[-1] |= {"expected to claim": claims, "expected to have": has}
    return pd.DataFrame(rows)


def curse_figure(curses: Frame) -> Figure:
    """Means of `curse` over seeds: points; and what is expected: lines."""
    means = curses.drop(columns="seed").groupby("n").mean()
    figure, ax = plt.subplots(figsize=(8, 4.4), layout="constrained")
    for color, name, what in (("tab:orange", "claims", "to claim"), ("tab:blue", "has", "to have")):
        ax.plot(means.index, means[name], "o", color=color, label=f"the best {name}")
        ax.plot(means.index, means[f"expected {what}"], "-", color=color, label=f"expected {what}")
    ax.set(xscale="log", xlabel="random sets to choose from (log scale)", ylabel="nats above the mean set")
    ax.set_xticks(means.index, [str(n) for n in means.index])
    ax.minorticks_off()
    ax.legend(frameon=False)
    return figure


def gain_and_tokens(rows: Frame, ax: Axes) -> None:
    """Each way to search (a row with ``way``, ``tokens``, ``gain``) as a mark with its name."""
    ordered = rows.sort_values("tokens").reset_index(drop=True)
    for i, one in ordered.iterrows():
        near = ordered[(ordered.tokens / one.tokens).between(0.6, 1.7)]
        above = one.gain >= near.gain.max()
        ax.plot(one.tokens, one.gain, "o", color=f"C{i}")
        ax.annotate(one.way, (one.tokens, one.gain), (0, 7 if above else -14), textcoords="offset points", ha="center")
    ax.axhline(0, color="0.6", linewidth=1)
    ax.set_xscale("log")
    ax.margins(0.3)
    low, high = ax.get_xlim()
    ticks = [m * 10**e for e in range(2, 7) for m in (1, 2, 5) if low <= m * 10**e <= high]
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()


def by_hand(made: Outcome, shown: Shown, ax: Axes, *, bars: dict[str, float]) -> None:
    """Scores of one set on the race items, its mean with an interval, and ``bars`` to compare with, in nats."""
    values = Trials(made.show, made.parts.race)([shown])[0]
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    ax.plot(values, np.zeros(len(values)), "|", color="0.6", markersize=16)
    ax.errorbar(values.mean(), 0, xerr=half, fmt="o", color="tab:blue", capsize=4)
    for i, (name, value) in enumerate(bars.items()):
        ax.axvline(value, color=f"C{i + 1}", linestyle="--", label=name)
    ax.set(yticks=[], xlabel="log p of the right answer (nats)", title=f"{values.mean():.2f} with {shown}")
    ax.legend(frameon=False, loc="upper left")
