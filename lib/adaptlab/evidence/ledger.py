"""The ledger of claims, ``data/claims.yaml``: its schema, read strictly."""

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from adaptlab.files import Mapping, YamlError, read_yaml
from adaptlab.paths import DATA

LEDGER = DATA / "claims.yaml"
PREDICTIONS = ("greater", "less", "same")
EXTREMES = ("max", "min")
_TEXTS = ("id", "sentence", "paper", "place", "notebook", "metric", "predicted", "refuted_by")
_REQUIRED = (*_TEXTS, "contrast", "registered")
_ALLOWED = (*_REQUIRED, "margin", "control", "figure")
Value = str | int | float | bool


@dataclass(frozen=True)
class Term:
    """``weight`` times the metric in the rows where every column of ``where`` has the given value."""

    weight: float
    where: dict[str, Value]

    def __str__(self) -> str:
        return ", ".join(f"{column}={value}" for column, value in self.where.items())


@dataclass(frozen=True)
class Claim:
    """One claim that a frame can test: a contrast of a metric, and the direction it was predicted to have.

    ``margin`` is the equivalence margin of a claim that predicts *same*, in the metric's unit;
    None otherwise. ``registered`` is the day on which the prediction was written down. ``control``: it has to hold, or
    the test of another claim is worth nothing. ``figure``: of a claim that answers its notebook's question, the number
    of the figure that shows it; None otherwise.
    """

    id: str
    sentence: str
    paper: str
    place: str
    notebook: str
    metric: str
    contrast: tuple[Term, ...]
    predicted: str
    refuted_by: str
    registered: datetime.date
    margin: float | None = None
    control: bool = False
    figure: int | None = None

    def is_about(self, stem: str) -> bool:
        """Whether it names this notebook, by its stem or by the number that it begins with (``2``, ``02``)."""
        return self.notebook == stem or self.notebook.zfill(2) == stem.split("_")[0]

    @property
    def reach(self) -> tuple[float, float]:
        """Range of the contrast when the metric lies in 0..1."""
        weights = [term.weight for term in self.contrast]
        return sum(min(w, 0.0) for w in weights), sum(max(w, 0.0) for w in weights)


class LedgerError(ValueError):
    """The ledger is malformed; the message names the file, line, claim, field and what is allowed."""


def load_ledger(path: Path | None = None) -> dict[str, Claim]:
    """Read and check a ledger; claims by id, in the order of the file.

    Raises `LedgerError` at the first thing that is wrong: unknown, missing or repeated keys,
    repeated ids, a wrong type or value. ``FileNotFoundError`` if there is no such file.
    """
    path = path or LEDGER
    return dict(_read(path.name, path.read_bytes()))


def predictions(ids: Sequence[str]) -> pd.DataFrame:
    """What the ledger predicted of these claims before any result, to bet on: columns predicted and sentence, by id."""
    ledger = load_ledger()
    rows = [(ledger[id].predicted, ledger[id].sentence) for id in ids]
    return pd.DataFrame(rows, columns=["predicted", "sentence"], index=pd.Index(ids, name="claim"))


@lru_cache(maxsize=4)  # a notebook asks for it at every claim, and YAML takes a tenth of a second
def _read(file: str, content: bytes) -> dict[str, Claim]:
    try:
        entries = read_yaml(content)
    except YamlError as error:
        raise LedgerError(f"{file}{f':{error.line}' if error.line else ''}: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise LedgerError(f"{file}: expected a list of claims, got {type(entries).__name__}")
    ledger: dict[str, Claim] = {}
    for number, entry in enumerate(entries, start=1):
        claim = _Entry(file, number, entry).claim()
        if claim.id in ledger:
            raise LedgerError(f"{file}:{entry.line}: claim {claim.id}, field 'id': used twice, ids must differ")
        ledger[claim.id] = claim
    return ledger


@dataclass(frozen=True)
class _Entry:
    """One claim as it stands in the file, with what an error message needs."""

    file: str
    number: int
    raw: Any

    def claim(self) -> Claim:
        if not isinstance(self.raw, Mapping):
            raise LedgerError(f"{self.file}: claim number {self.number} is not a mapping with the keys {_ALLOWED}")
        self._check_keys(self.raw, _REQUIRED, _ALLOWED, "")
        for field in _TEXTS:
            if not isinstance(self.raw[field], str) or not self.raw[field].strip():
                self._refuse(field, f"expected a text (in quotes if it looks like a number), got {self.raw[field]!r}")
        if self.raw["predicted"] not in PREDICTIONS:
            self._refuse("predicted", f"{self.raw['predicted']!r} is not one of {', '.join(PREDICTIONS)}")
        if type(self.raw["registered"]) is not datetime.date:
            self._refuse("registered", f"expected a date such as 2026-01-31, got {self.raw['registered']!r}")
        if self.raw.get("control", True) is not True:
            self._refuse("control", f"is true or left out, got {self.raw['control']!r}")
        figure = self.raw.get("figure", 1)
        if type(figure) is not int or figure < 1 or {"control", "figure"} <= set(self.raw):
            self._refuse("figure", f"expected a number from 1, of a claim that is no control, got {figure!r}")
        return Claim(**{**self.raw, "contrast": self._contrast(), "margin": self._margin()})

    def _margin(self) -> float | None:
        margin = self.raw.get("margin")
        if self.raw["predicted"] != "same":
            if "margin" in self.raw:
                self._refuse("margin", f"belongs to predicted: same only, not to {self.raw['predicted']}")
            return None
        if not _is_number(margin) or margin <= 0:
            self._refuse("margin", f"predicted: same needs a number above 0, got {margin!r}")
        return float(margin)

    def _contrast(self) -> tuple[Term, ...]:
        terms = self.raw["contrast"]
        if not isinstance(terms, list) or not terms:
            self._refuse("contrast", "expected a list of terms {weight: 1, where: {column: value}}")
        made = tuple(self._term(i, term) for i, term in enumerate(terms, start=1))
        total = math.fsum(term.weight for term in made)
        if len(made) > 1 and abs(total) > 1e-9:
            self._refuse("contrast", f"the weights of a contrast add up to 0, these add up to {total:g}")
        return made

    def _term(self, number: int, term: Any) -> Term:
        field = f"contrast, term {number}"
        if not isinstance(term, dict):
            self._refuse(field, f"expected {{weight: 1, where: {{column: value}}}}, got {term!r}")
        self._check_keys(term, ("weight", "where"), ("weight", "where"), f"{field}, ")
        if not _is_number(term["weight"]) or term["weight"] == 0:
            self._refuse(f"{field}, weight", f"expected a number other than 0, got {term['weight']!r}")
        where = term["where"]
        if not isinstance(where, dict) or not where:
            self._refuse(f"{field}, where", f"expected {{column: value}}, got {where!r}")
        for column, value in where.items():
            if not isinstance(column, str) or not isinstance(value, str | int | float | bool):
                allowed = f"a text, a number, true/false, or {' / '.join(EXTREMES)}"
                self._refuse(f"{field}, where, {column}", f"expected {allowed}, got {value!r}")
        return Term(float(term["weight"]), dict(where))

    def _check_keys(self, found: dict, required: tuple[str, ...], allowed: tuple[str, ...], prefix: str) -> None:
        for key in found:
            if key not in allowed:
                self._refuse(f"{prefix}{key}", f"unknown; allowed: {', '.join(allowed)}")
        for key in required:
            if key not in found:
                self._refuse(f"{prefix}{key}", f"missing; required: {', '.join(required)}")

    def _refuse(self, field: str, problem: str) -> None:
        name = self.raw.get("id", f"number {self.number}")
        raise LedgerError(f"{self.file}:{self.raw.line}: claim {name}, field '{field}': {problem}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
