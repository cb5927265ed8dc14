"""Which demonstrations to show: searches through a pool, judged by what a prompt makes the model do on race items.

A set of demonstrations is a tuple of places in the pool, in prompt order. Every search asks `trials.Trials` for scores,
which scores each pair of prompt and item once, and counts what that took. `greedy` is the search of Zhao et al. 2024
(arXiv 2405.19874): in every round the demonstration joins that helps the prompt most. Here a round can be a race
(`racing.halving`), so that candidates without hope are left after a few items.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from adaptlab.engine.lm import LM
from adaptlab.methods.answering import Chooser, shown
from adaptlab.methods.prompting import class_prompt
from adaptlab.methods.racing import Race, all_items, halving
from adaptlab.methods.trials import Item, Method, Shown, Spent, Trials
from adaptlab.tasks.records import FieldError, content_key, quote
from adaptlab.tasks.splits import LabelledSet, OpenSet, balanced_sample

# --- what is searched, and on what it is judged -----------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """A task in four parts that have no content in common: candidates (``data.pool``), items to ``race`` on, items to
    ``confirm`` the winner on, and items to test it on (``data.test``).

    Raises FieldError for an item of one part whose query stands in another.
    """

    data: LabelledSet | OpenSet
    race: tuple[Item, ...]
    confirm: tuple[Item, ...] = ()

    def __post_init__(self) -> None:
        owner: dict[str, str] = {}
        parts = {"pool": self.data.pool, "race": self.race, "confirm": self.confirm, "test": self.data.test}
        for part, items in parts.items():
            for item in items:
                if owner.setdefault(content_key(item.query), part) != part:
                    other = owner[content_key(item.query)]
                    raise FieldError(part, f"queries that are not in {other}", f"that of item {quote(item.id)}")


def parts(data: LabelledSet | OpenSet, race: int, confirm: int = 0, pool: int = 0, seed: int = 0) -> Parts:
    """The pool of ``data``, shuffled by the seed: ``race`` items, ``confirm`` items, and ``pool`` candidates (0: all
    that are left). The test stays as it is. Raises ValueError where the pool is too small."""
    wanted = race + confirm + max(pool, 1)
    if race < 2 or wanted > len(data.pool):
        raise ValueError(f"race must be 2 or more, and race, confirm and pool {len(data.pool)} together at most")
    items = random.Random(f"parts {seed}").sample(data.pool, len(data.pool))
    candidates = items[race + confirm :][: pool or None]
    return Parts(replace(data, pool=tuple(candidates)), tuple(items[:race]), tuple(items[race : race + confirm]))


def showing(lm: LM, data: LabelledSet | OpenSet, *, seed: int = 0, **settings) -> Callable[[Shown], Method]:
    """A function that gives the model behind a prompt with these items of the pool: a `Chooser` of labels, or a
    `Generator` of answers. ``seed`` hands out letters; ``settings``: those of `class_prompt`, or of `Generator`."""

    def show(places: Shown) -> Method:
        items = [data.pool[place] for place in places]
        if isinstance(data, LabelledSet):
            return Chooser(lm, class_prompt(data, items, seed, **settings), len(items))
        return shown(lm, items, **{"prompt_format": data.prompt_format, **settings})

    return show


# --- searches ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """The demonstrations that a search found; ``claimed``: their mean score on the race items, which flatters them;
    ``path``: what was best after each round, and its score; ``spent``: what the search took."""

    shown: Shown
    claimed: float
    spent: Spent
    path: tuple[tuple[Shown, float], ...] = field(default=(), compare=False)


def greedy(
    trials: Trials, pool: Sequence[int], k: int, *, start: Shown = (), race: Race = halving, first: bool = False
) -> Found:
    """Greedy forward selection: in each of ``k`` rounds the candidate of ``pool`` joins with which the prompt is best.

    ``start``: demonstrations that are there already, as in the paper, whose search starts from three. ``first``: new
    ones go to the front (the paper's), else to the end, where the prompt so far is computed once for all candidates.
    """
    before, chosen, path = trials.spent, tuple(start), []
    for _ in range(k):
        arms = [(c, *chosen) if first else (*chosen, c) for c in pool if c not in chosen]
        ranking = race(trials, arms, len(trials.items))
        chosen = ranking.best
        path.append((chosen, ranking.means[0]))
    return _found(trials, chosen, before, path)


def sort_once(trials: Trials, pool: Sequence[int], k: int, *, start: Shown = (), race: Race = all_items) -> Found:
    """The cheap variant of the paper's repository: candidates are sorted once, by their score as the only new one, and
    the best ``k`` are shown, the best of them last."""
    before = trials.spent
    ranking = race(trials, [(*start, c) for c in pool if c not in start], len(trials.items))
    best = [arm[-1] for arm in ranking.arms[:k]]
    return _found(trials, (*start, *reversed(best)), before)


def raced(trials: Trials, arms: Sequence[Shown], *, race: Race = halving) -> Found:
    """The best of whole sets, such as `balanced_sets`, by one race."""
    before = trials.spent
    return _found(trials, race(trials, list(arms), len(trials.items)).best, before)


def best_of_random(
    trials: Trials, pool: Sequence[int], k: int, tokens: float, *, start: Shown = (), seed: int = 0
) -> Found:
    """The best of as many random sets as ``tokens`` pay for, at least one; each meets all items."""
    before, best, claimed = trials.spent, (), -np.inf
    rng = random.Random(f"sets {seed}")
    while not best or (trials.spent - before).tokens < tokens:
        arm = (*start, *rng.sample([c for c in pool if c not in start], k))
        if (mean := trials.mean(arm)) > claimed:
            best, claimed = arm, mean
    return _found(trials, best, before)


def swaps(trials: Trials, pool: Sequence[int], start: Shown, *, race: Race = halving) -> Found:
    """One pass over the places of ``start``: at each, the candidate stays or comes with which the prompt is best."""
    before, chosen, path = trials.spent, tuple(start), []
    for place in range(len(chosen)):
        others = [c for c in pool if c not in chosen]
        arms = [chosen, *((*chosen[:place], c, *chosen[place + 1 :]) for c in others)]
        ranking = race(trials, arms, len(trials.items))
        chosen = ranking.best
        path.append((chosen, ranking.means[0]))
    return _found(trials, chosen, before, path)


def _found(trials: Trials, chosen: Shown, before: Spent, path: Sequence = ()) -> Found:
    """The claim is the score on all race items; where a race has not asked for it, it is scored now, and counted."""
    claimed = trials.mean(chosen)
    return Found(chosen, claimed, trials.spent - before, tuple(path))


def random_sets(pool: Sequence[int], k: int, n: int, seed: int = 0) -> list[Shown]:
    """``n`` sets of ``k`` candidates, drawn at random."""
    rng = random.Random(f"sets {seed}")
    return [tuple(rng.sample(list(pool), k)) for _ in range(n)]


def balanced_sets(data: LabelledSet, k: int, n: int, seed: int = 0) -> list[Shown]:
    """``n`` random sets of ``k`` items of the pool, each balanced over the labels that the pool shows."""
    place = {item.id: i for i, item in enumerate(data.pool)}
    return [tuple(place[item.id] for item in balanced_sample(data.pool, k, f"{seed} {i}")) for i in range(n)]


def orders(chosen: Shown, n: int, seed: int = 0) -> list[Shown]:
    """``n`` random orders of a set, the set as it is first."""
    rng = random.Random(f"orders {seed}")
    return [tuple(chosen), *(tuple(rng.sample(chosen, len(chosen))) for _ in range(n - 1))]
