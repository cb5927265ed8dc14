"""Scores of prompts on items, with a memory and a meter: what every search for demonstrations asks.

A search may ask for the same pair of prompt and item again and again. It is scored once, and may be kept in a file. The
meter counts each pair once for every search, whether another search has scored it or not: so searches can be compared.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax

from adaptlab.engine import kv_sharing
from adaptlab.engine.generation import generate
from adaptlab.engine.kv_sharing import EMPTY
from adaptlab.engine.scoring import Cost, Request, score
from adaptlab.methods.answering import Chooser, Generator
from adaptlab.tasks.records import FieldError, Instruction, Labelled, quote

Shown = tuple[int, ...]  # places in the pool, in prompt order
Item = Labelled | Instruction
Method = Chooser | Generator
Metric = str | Callable[[Item, str], float]
METRICS = ("log-p", "accuracy")
PAIRS = 256  # pairs of prompt and item that are scored, and kept, at a time


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

    ``show``: a function that gives the model behind a prompt (`demo_search.showing`). ``metric``: *log-p*, the
    log-probability of the right answer in nats, among the options where there are some; *accuracy*, whether it is the
    most probable option, or what greedy decoding begins with; or a function of an item and the label or the text that
    the model answers. ``file``: where scores are kept while they come in, so that a search which was killed goes on
    where it was; without one, they are kept in memory.

    Scores that were damaged in it are computed anew. Raises ValueError for a file that holds scores of another model or
    metric, or that is none of ours.
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
    """Scores by the content of prompt and item, in a SQLite file: a block of them is in it whole or not at all.

    Every row has a checksum: a score that was damaged is not known.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        with self._readable():
            self._base = sqlite3.connect(file)
            for table in ("about", "pairs"):
                columns = "name TEXT PRIMARY KEY, value TEXT, sha256 TEXT"
                self._base.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")

    def belongs_to(self, origin: str) -> None:
        known = self._get("about", "origin")
        if known and known != origin:
            raise ValueError(f"{self._file} has scores of another model or metric; name another file, or delete it")
        self._put(about={"origin": origin})

    def prefix(self) -> list[int]:
        return self._get("about", "prefix") or []

    def read(self, keys: Iterable[str]) -> dict[str, tuple[float, ...]]:
        return {key: tuple(row) for key in keys if (row := self._get("pairs", key))}

    def write(self, rows: dict[str, tuple[float, ...]], prefix: Sequence[int]) -> None:
        self._put(pairs=rows, about={"prefix": list(prefix)})

    def _get(self, table: str, name: str) -> Any:
        with self._readable():
            found = self._base.execute(f"SELECT value, sha256 FROM {table} WHERE name = ?", (name,)).fetchone()
        return json.loads(found[0]) if found and found[1] == _checksum(name, found[0]) else None

    def _put(self, **tables: dict[str, Any]) -> None:
        with self._readable(), self._base:
            for table, values in tables.items():
                texts = {name: json.dumps(value) for name, value in values.items()}
                rows = [(name, text, _checksum(name, text)) for name, text in texts.items()]
                self._base.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", rows)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"{self._file} is not a file of kept scores, or is damaged: {error}; name another one"
            ) from error


def _checksum(name: str, text: str) -> str:
    return hashlib.sha256(f"{name} {text}".encode(errors="replace")).hexdigest()
