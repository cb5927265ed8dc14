"""Which demonstrations to show: searches through a pool, judged by what a prompt makes the model do on race items.

A set of demonstrations is a tuple of places in the pool, in prompt order. Every search asks `Trials` for scores, which
scores each pair of prompt and item once, and counts what that took. `greedy` is the search of Zhao et al. 2024 (arXiv
2405.19874): in every round the demonstration joins that helps the prompt most. Here a round can be a race
(`racing.halving`), so that candidates without hope are left after a few items.
"""

import hashlib
import json
import random
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.special import log_softmax

from adaptlab.engine import kv_sharing
from adaptlab.engine.generation import generate
from adaptlab.engine.kv_sharing import EMPTY
from adaptlab.engine.lm import LM
from adaptlab.engine.scoring import Cost, Request, score
from adaptlab.methods.answering import Chooser, Generator, shown
from adaptlab.methods.prompting import class_prompt
from adaptlab.methods.racing import Race, all_items, halving
from adaptlab.tasks.records import FieldError, Instruction, Labelled, content_key, quote
from adaptlab.tasks.splits import LabelledSet, OpenSet, balanced_sample

Shown = tuple[int, ...]  # places in the pool, in prompt order
Item = Labelled | Instruction
Method = Chooser | Generator
Metric = str | Callable[[Item, str], float]
METRICS = ("log-p", "accuracy")
PAIRS = 256  # pairs of prompt and item that are scored, and kept, at a time


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


# --- the meter and the memory -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spent:
    """What scores took: pairs of prompt and item; tokens that went through the model; and tokens of one request for
    each item, and for each of its options (as in `scoring.Cost`)."""

    pairs: int = 0
    tokens: float = 0
    per_item: float = 0
    per_option: float = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


class Trials:
    """Scores of prompts on items. Each pair of prompt and item is scored once; what a search asks for again is known.

    ``show``: see `showing`. ``metric``: *log-p*, the log-probability of the right answer in nats, among the options
    where there are some; *accuracy*, whether it is the most probable option, or what greedy decoding begins with; or a
    function of an item and the label or the text that the model answers. ``file``: where scores are kept while they
    come in, so that a search which was killed goes on where it was; without one, they are kept in memory.

    Raises ValueError for a file that holds scores of another model or metric, or that is none of ours.
    """

    def __init__(
        self,
        show: Callable[[Shown], Method],
        items: Sequence[Item],
        metric: Metric = "log-p",
        file: str | Path = "",
    ) -> None:
        if isinstance(metric, str) and metric not in METRICS:
            raise FieldError("metric", f"one of {METRICS}, or a function", quote(metric))
        self.items, self._show, self._metric = list(items), show, metric
        self._kept, self._prefix, self._lm = _Kept(str(file or ":memory:")), EMPTY, show(()).lm
        self.spent, self._known = Spent(), {}
        what = metric if isinstance(metric, str) else f"{metric.__module__}.{metric.__qualname__}"
        how = getattr(show(()), "decoding", "") if callable(metric) else ""  # what is written depends on it
        self._kept.belongs_to(f"{self._lm.digest} {self._lm.dtype} {what} {how}")
        if ids := self._kept.prefix():  # what was computed before the kill is not counted twice
            owner = f"{self._lm.digest} {self._lm.dtype} {self._lm.device}"
            self._prefix = kv_sharing.extend(self._lm.model, replace(EMPTY, owner=owner), ids)

    def again(self) -> "Trials":
        """The same memory with a meter at zero: another search is charged for what it asks, known or not."""
        other = object.__new__(Trials)
        other.__dict__ |= self.__dict__ | {"spent": Spent(), "_known": {}}
        return other

    def __call__(self, arms: Sequence[Shown], places: Sequence[int] | None = None) -> np.ndarray:
        """Scores [arms, items at ``places``]; all items if no place is named."""
        places = range(len(self.items)) if places is None else places
        pairs = [(arm, place) for arm in arms for place in places]
        for start in range(0, len(pairs), PAIRS):
            self._meet([pair for pair in pairs[start : start + PAIRS] if pair not in self._known])
        return np.array([self._known[pair] for pair in pairs]).reshape(len(arms), len(places))

    def mean(self, arm: Shown) -> float:
        """The mean score of one prompt on all items."""
        return float(self([arm]).mean())

    def _meet(self, pairs: list[tuple[Shown, int]]) -> None:
        methods = {arm: self._show(arm) for arm, _ in pairs}
        asked = {pair: _asked(methods[pair[0]], self.items[pair[1]]) for pair in pairs}
        keys = {pair: _key(request, self.items[pair[1]]) for pair, (request, _) in asked.items()}
        kept = self._kept.read(keys.values())
        new = {keys[pair]: pair for pair in pairs if keys[pair] not in kept}
        if new:
            values, cost = self._scored(list(new.values()), methods, asked)
            share = [amount / len(new) for amount in (cost.computed, cost.per_item, cost.per_option)]
            rows = {key: (value, *share) for key, value in zip(new, values, strict=True)}
            self._kept.write(rows, self._prefix.ids)
            kept |= rows
        for pair in pairs:
            value, *share = kept[keys[pair]]
            self._known[pair] = value
            self.spent += Spent(1, *share)

    def _scored(self, pairs: list, methods: dict, asked: dict) -> tuple[list[float], Cost]:
        requests = [asked[pair][0] for pair in pairs]
        if isinstance(self._metric, str) or requests[0].options[1:]:
            found = score(self._lm, requests, prefix_cache=self._prefix)
            self._prefix = found.prefix_cache
            rows = zip(pairs, found.options, strict=True)
            return [self._value(pair, options, asked[pair][1]) for pair, options in rows], found.cost
        decoding, seed = methods[pairs[0][0]].decoding, methods[pairs[0][0]].seed
        prompts = [request.context for request in requests]
        made = generate(self._lm, prompts, decoding, seed=seed, prefix_cache=self._prefix)
        self._prefix = made.prefix_cache
        texts = zip(pairs, made.completions, strict=True)
        return [float(self._metric(self.items[place], one.text.strip())) for (_, place), one in texts], made.cost

    def _value(self, pair: tuple[Shown, int], options: Sequence, labels: Sequence[str]) -> float:
        """The metric of a scored pair, whose first option is the right one."""
        logprobs = np.array([option.logprob for option in options])
        if callable(self._metric):
            return float(self._metric(self.items[pair[1]], labels[int(logprobs.argmax())]))
        if len(options) == 1:
            return float(logprobs[0]) if self._metric == "log-p" else float(options[0].greedy)
        return float(log_softmax(logprobs)[0] if self._metric == "log-p" else logprobs[0] > logprobs[1:].max())


def _asked(method: Method, item: Item) -> tuple[Request, list[str]]:
    """The item's request with the right option first, and the labels of the options."""
    if isinstance(method, Generator):
        return method.request(item), [item.output]
    context, options = method.ask(item)
    labels = sorted(options, key=lambda label: label != item.label)
    return Request(context, tuple(options[label] for label in labels)), labels


def _key(request: Request, item: Item) -> str:
    return hashlib.sha256(repr((request, item)).encode()).hexdigest()


class _Kept:
    """Scores by the content of prompt and item, in a SQLite file: a block of them is in it whole or not at all."""

    def __init__(self, file: str) -> None:
        self._file = file
        try:
            self._base = sqlite3.connect(file)
            self._base.execute("CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT)")
            columns = "pair TEXT PRIMARY KEY, value REAL, tokens REAL, per_item REAL, per_option REAL"
            self._base.execute(f"CREATE TABLE IF NOT EXISTS pairs ({columns})")
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{file} is not a file of kept scores: {error}; name another one") from error

    def belongs_to(self, origin: str) -> None:
        known = self._about("origin")
        if known and known != origin:
            raise ValueError(f"{self._file} has scores of another model or metric; name another file, or delete it")
        with self._base:
            self._base.execute("INSERT OR REPLACE INTO about VALUES ('origin', ?)", (origin,))

    def prefix(self) -> list[int]:
        return json.loads(self._about("prefix") or "[]")

    def read(self, keys: Sequence[str]) -> dict[str, tuple[float, ...]]:
        found = {}
        for key in keys:
            if row := self._base.execute("SELECT * FROM pairs WHERE pair = ?", (key,)).fetchone():
                found[key] = row[1:]
        return found

    def write(self, rows: dict[str, tuple[float, ...]], prefix: Sequence[int]) -> None:
        with self._base:
            self._base.executemany(
                "INSERT INTO pairs VALUES (?, ?, ?, ?, ?)", [(key, *row) for key, row in rows.items()]
            )
            self._base.execute("INSERT OR REPLACE INTO about VALUES ('prefix', ?)", (json.dumps(list(prefix)),))

    def _about(self, name: str) -> str:
        row = self._base.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return row[0] if row else ""


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
