"""Two reports beside each other: which verdicts changed, and which effects differ by more than noise.

An effect comes with a 95 % interval in either report. Two effects differ beyond noise if their difference is too large
for what the two intervals allow, judged for all claims together (Holm 1979): where nothing has changed, any claim at
all is named in at most 5 % of comparisons. Reports over the same items are less far apart than that, so the rule is on
the careful side.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

from statsmodels.stats.multitest import multipletests

from adaptlab.files import read_json

REPORT = "report.json"
NUMBERS = ("effect", "low", "high")  # of a claim; None where nothing could be said
LEVEL = 0.05  # of false alarms, over all claims of a comparison
_NORMAL = NormalDist()
_HALF = _NORMAL.inv_cdf(0.975)  # half the width of a 95 % interval, in standard errors


class NotComparable(ValueError):
    """No report, a damaged one, or two that have nothing in common; the message says which."""


@dataclass(frozen=True)
class Pair:
    """One claim in two reports, as rows of their tables. ``p``: the chance of so large a difference without a cause, or
    a larger one. ``beyond``: whether it is too small to be noise, for all claims together."""

    claim: str
    model: str
    before: dict[str, Any]
    after: dict[str, Any]
    p: float
    beyond: bool

    @property
    def changed(self) -> bool:
        """Whether the verdicts differ, within noise or beyond it."""
        return self.before["verdict"] != self.after["verdict"]

    def __str__(self) -> str:
        verdicts = dict.fromkeys((self.before["verdict"], self.after["verdict"]))
        effects = " → ".join(_number(row["effect"]) for row in (self.before, self.after))
        noise = f"beyond noise (p {_p(self.p)})" if self.beyond else "within noise"
        return f"{self.claim} ({self.model}): {' → '.join(verdicts)}; effect {effects}, {noise}"


@dataclass(frozen=True)
class Comparison:
    """All claims that two reports share, and those that stand in one of them alone."""

    pairs: tuple[Pair, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether any effect differs beyond noise."""
        return any(pair.beyond for pair in self.pairs)

    def lines(self) -> list[str]:
        """What to tell: a sentence of numbers, then each claim that differs, the surest first."""
        found = [pair for pair in sorted(self.pairs, key=lambda pair: pair.p) if pair.beyond or pair.changed]
        beyond, changed = sum(pair.beyond for pair in found), sum(pair.changed for pair in found)
        first = f"{len(self.pairs)} claims in both: {beyond} differ beyond noise, {changed} have another verdict"
        alone = [
            f"only in {which}: {', '.join(ids)}"
            for which, ids in (("the first", self.only_before), ("the second", self.only_after))
            if ids
        ]
        return [first, *map(str, found), *alone]


def compare(before: Path, after: Path) -> Comparison:
    """Two reports (their folders, or the files `REPORT` in them), claim by claim and model by model. Of reports on one
    model each, the models may differ.

    Raises `NotComparable`, and OSError where a file cannot be read.
    """
    one, other = _claims(before), _claims(after)
    if set(one) != set(other):
        if not len(one) == len(other) == 1:
            names = " and ".join(f"{path} on {', '.join(found)}" for path, found in ((before, one), (after, other)))
            raise NotComparable(f"{names}: compare reports on the same models, or on one model each")
        name = " → ".join((*one, *other))
        one, other = ({name: next(iter(found.values()))} for found in (one, other))
    shared = [(model, id) for model, rows in one.items() for id in rows if id in other[model]]
    if not shared:
        raise NotComparable(f"{before} and {after} have no claim in common")
    rows = [(one[model][id], other[model][id]) for model, id in shared]
    chances = [_chance(*pair) for pair in rows]
    beyond = multipletests(chances, LEVEL, method="holm")[0]
    pairs = tuple(
        Pair(id, model, *pair, p, bool(sure))
        for (model, id), pair, p, sure in zip(shared, rows, chances, beyond, strict=True)
    )
    return Comparison(pairs, _missing(one, other), _missing(other, one))


def _claims(place: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """{model: {id: row}} of a report."""
    path = place / REPORT if place.is_dir() else place
    if not path.is_file():
        raise NotComparable(f"{place} is no report: it has no {REPORT}; `adaptlab report` writes one")
    try:
        told = read_json(path.read_bytes())["claims"]
        found = {model: {row["id"]: row for row in rows} for model, rows in told.items()}
        for row in (row for rows in found.values() for row in rows.values()):
            if not isinstance(row["verdict"], str) or not all(_is_number(row[name]) for name in NUMBERS):
                raise ValueError(f"claim {row['id']} has no verdict or no numbers")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise NotComparable(f"{path} is not the {REPORT} of a report, or is damaged ({error!r})") from error
    if not found:
        raise NotComparable(f"{path} tests no claim")
    return found


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _chance(before: dict[str, Any], after: dict[str, Any]) -> float:
    if None in (row[name] for row in (before, after) for name in NUMBERS):
        return 1.0  # nothing could be said in one of them
    errors = [(row["high"] - row["low"]) / 2 / _HALF for row in (before, after)]
    apart, error = abs(before["effect"] - after["effect"]), math.hypot(*errors)
    if error == 0:
        return float(apart < 1e-9)
    return 2 * _NORMAL.cdf(-apart / error)


def _missing(one: dict[str, dict], other: dict[str, dict]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(id for model, rows in one.items() for id in rows if id not in other[model]))


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.3f}"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
