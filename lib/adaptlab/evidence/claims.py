"""Claims and verdicts: a frame of results in, *holds here*, *opposite here*, *not resolved* or *no headroom* out.

The ledger (``data/claims.yaml``) states each claim, its source and its predicted direction before
the result is seen. The verdict follows from a fixed rule on a 95 % interval; no notebook decides it.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from adaptlab.evidence import published, words
from adaptlab.evidence.contrast import contrast_items, contrast_matrix
from adaptlab.evidence.ledger import Claim, load_ledger
from adaptlab.evidence.record import Record, html_table
from adaptlab.evidence.stats import Interval, crossed_interval, detectable_effect, item_clusters, require
from adaptlab.evidence.words import HOLDS, NO_HEADROOM, OPPOSITE, UNRESOLVED

END = 0.1  # a share of right answers that is as near to 0 or 1 may leave no room for an effect


@dataclass(frozen=True)
class Verdict:
    """What one frame says about one claim.

    ``interval`` is in the unit of the claim's metric. ``marks`` tells that the metric is right/wrong, so that effects
    read as percentage points. ``levels``: the metric's mean in each term of the contrast.
    """

    claim: Claim
    model: str
    interval: Interval
    marks: bool
    levels: tuple[float, ...] = ()

    @property
    def verdict(self) -> str:
        """The fixed rule on the interval: see `judge`."""
        return judge(self.claim.predicted, self.interval.low, self.interval.high, self.claim.margin)

    @property
    def outcome(self) -> str:
        """The verdict, or *no headroom* where the test could not come out; what tables and reports tell."""
        return NO_HEADROOM if self.headroom else self.verdict

    @property
    def detectable(self) -> float:
        """Smallest true effect that this frame would have resolved with 80 % power, in the metric's unit."""
        return detectable_effect(self.interval.se, self.interval.df)

    @property
    def reach(self) -> float | None:
        """The largest effect that the metric's scale allows, where it has one."""
        return max(map(abs, self.claim.reach)) if self.marks else None

    @property
    def headroom(self) -> str:
        """Why the test could not come out, in words, where all sides are at the same end of the scale; else empty.

        They are if what separates the farthest from the end is less than this frame could have seen, or for *same*
        less than the margin: then they could hardly have been found to differ.
        """
        same = self.claim.predicted == "same"
        if not self.marks or len(self.levels) < 2 or (self.verdict != UNRESOLVED and not same):
            return ""
        low, high = min(self.levels), max(self.levels)
        end, room = ("ceiling", 1 - low) if low >= 1 - END else ("floor", high)
        if room > min(END, self.claim.margin if same else self.detectable) + 1e-9:
            return ""
        said = "that they are the same says little" if same else "the test cannot come out"
        remedy = "harder items" if end == "ceiling" else "easier items, or a stronger model"
        return f"all sides are at the {end} ({100 * low:.0f} to {100 * high:.0f} % right), so {said}; take {remedy}"

    def __str__(self) -> str:
        return str(Verdicts([self]))

    __repr__ = __str__

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return Verdicts([self])._repr_mimebundle_()


class Verdicts:
    """Several verdicts on one model as one table, which displays as text (one line a claim, no floats), as HTML, and as
    a record of kind ``claims``."""

    def __init__(self, verdicts: Iterable[Verdict]) -> None:
        self.verdicts = tuple(verdicts)
        models = sorted({v.model for v in self.verdicts})
        if len(models) != 1:
            raise ValueError(f"a table of verdicts is for one model, got {models}")
        self.model = models[0]

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def __getitem__(self, id: str) -> Verdict:
        return {v.claim.id: v for v in self.verdicts}[id]

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One plain-JSON row a claim; numbers that are not finite (nothing could be said) are None."""
        return [_row(verdict) for verdict in self.verdicts]

    def __repr__(self) -> str:
        ids, outcomes = max(len(v.claim.id) for v in self), max(len(v.outcome) for v in self)
        return "\n".join(
            f"{v.claim.id:<{ids}}  {v.outcome:<{outcomes}}  (items={v.interval.n_items}, seeds={v.interval.n_seeds})"
            for v in self
        )

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        effect, seen = "Effect [95 % interval]", "Smallest effect we could have seen"
        header = ["Claim", "Source", "Predicted", effect, "Verdict", seen, "Items × seeds"]
        cells = [_html_cells(row) for row in self.rows]
        # In the HTML only, which is not compared: a new publication must not make a finished notebook differ.
        known = [published.sentences(v.claim) for v in self]
        if any(known):
            header.append("Published runs gave")
            cells = [[*row, "; ".join(said) or "–"] for row, said in zip(cells, known, strict=True)]
        html = html_table(header, cells, caption=f"Claims, model {self.model}")
        payload = {"kind": "claims", "model": self.model, "rows": self.rows}
        return Record(payload, repr(self), html)._repr_mimebundle_()


def judge(predicted: str, low: float, high: float, margin: float | None = None) -> str:
    """The verdict rule on an interval: one of ``holds here``, ``opposite here``, ``not resolved``.

    *greater*: holds if the interval lies above zero, opposite if it lies below. *less*: mirrored.
    *same*: holds if it lies inside ``±margin``, opposite if it lies wholly outside.
    """
    if predicted == "same":
        holds, opposite = -margin < low and high < margin, low > margin or high < -margin
    elif predicted == "greater":
        holds, opposite = low > 0, high < 0
    else:
        holds, opposite = high < 0, low > 0
    return HOLDS if holds else OPPOSITE if opposite else UNRESOLVED


def claim(id: str, frame: pd.DataFrame, *, ledger: Path | None = None) -> Verdict:
    """Test one claim of the ledger on a tidy frame of one model.

    For every (seed, item) the claim's contrast is formed within the item; the interval counts seeds
    and items as samples (`crossed_interval`), or clusters of items where the frame has a column ``cluster``.

    Raises ``ValueError`` for an unknown id, for a frame with several models, and for a frame that
    cannot answer the claim: a missing column or value, or rows that do not pair up.
    """
    known = load_ledger(ledger)
    if id not in known:
        raise ValueError(f"no claim {id!r} in the ledger; known ids: {', '.join(known)}")
    return verdict(known[id], frame)


def verdict(entry: Claim, frame: pd.DataFrame) -> Verdict:
    """What the frame says about a claim of any ledger; raises as `claim` does."""
    model = _one_model(frame)
    matrix, marks, levels = contrast_matrix(entry, frame)
    clusters = item_clusters(frame, contrast_items(entry, frame))
    interval = crossed_interval(matrix, bounds=entry.reach if marks else None, clusters=clusters)
    return Verdict(entry, model, interval, marks, levels)


def claims(ids: Iterable[str], frame: pd.DataFrame, *, ledger: Path | None = None) -> Verdicts:
    """Test several claims on one frame: `claim` for each, as one table."""
    return Verdicts([claim(id, frame, ledger=ledger) for id in ids])


def _one_model(frame: pd.DataFrame) -> str:
    require(frame, "model")
    models = sorted(map(str, frame["model"].unique()))
    if len(models) != 1:
        raise ValueError(f"a verdict is for one model, the frame holds {len(models)}: {', '.join(models)}")
    return models[0]


def _row(verdict: Verdict) -> dict[str, Any]:
    entry, interval = verdict.claim, verdict.interval
    fields = ("id", "sentence", "paper", "place", "predicted", "margin", "metric", "refuted_by", "control", "figure")
    return {name: getattr(entry, name) for name in fields} | {
        "verdict": verdict.outcome,
        "effect": _plain(interval.estimate),
        "low": _plain(interval.low),
        "high": _plain(interval.high),
        "detectable": _plain(verdict.detectable),
        "reach": verdict.reach,
        "points": verdict.marks,
        "headroom": verdict.headroom,
        "n_items": interval.n_items,
        "n_seeds": interval.n_seeds,
    }


def _plain(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _html_cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['id']}: {row['sentence']}",
        row["paper"],
        words.prediction(row),
        words.interval(row),
        ": ".join(filter(None, (row["verdict"], row["headroom"]))),
        words.detectable(row),
        f"{row['n_items']} × {row['n_seeds']}",
    ]
