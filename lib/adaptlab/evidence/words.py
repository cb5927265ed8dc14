"""A tested claim in words.

Each function takes a row as `claims.Verdicts.rows` and `published` give it: verdict, effect and interval (None where
nothing could be said), the metric and whether it counts right answers (``points``), items and seeds. `prediction` and
`detectable` need what only the former tell.
"""

from collections.abc import Mapping
from typing import Any

HOLDS, OPPOSITE, UNRESOLVED, NO_HEADROOM = "holds here", "opposite here", "not resolved", "no headroom"
SYMBOLS = {HOLDS: "✓", OPPOSITE: "✗", UNRESOLVED: "○", NO_HEADROOM: "⊘"}
_UNITS = {"token_logprob": "nats a token", "kl": "nats a token", "log_p": "nats", "log2_lr": "doublings"}
Row = Mapping[str, Any]


def said(row: Row) -> str:
    """The verdict, the effect with its interval, and how much stands behind it."""
    return f"{row['verdict']}: {interval(row)} ({count(row)})"


def interval(row: Row) -> str:
    """The effect with its unit, and its 95 % interval."""
    return f"{quantity(row, 'effect')} {unit(row)} [{quantity(row, 'low')}, {quantity(row, 'high')}]"


def count(row: Row) -> str:
    """Items and seeds."""
    return f"{row['n_items']} items × {row['n_seeds']} seed{'s' * (row['n_seeds'] != 1)}"


def quantity(row: Row, name: str, sign: str = "+") -> str:
    """A number of a claim: right/wrong metrics in percentage points, others in the metric's unit."""
    value = row[name]
    if value is None:
        return "unbounded"
    digits = ".1e" if 0 < abs(value) < 0.001 else ".3f"
    text = f"{100 * value:{sign}.1f}" if row["points"] else f"{value:{sign}{digits}}"
    return text.replace("-", "−")


def unit(row: Row) -> str:
    """The unit of an effect and of its interval."""
    return "points" if row["points"] else _UNITS.get(row["metric"], f"in {measure(row)}")


def measure(row: Row) -> str:
    """The metric of a claim, for a reader."""
    return "right answers" if row["metric"] == "correct" else row["metric"].replace("_", " ")


def prediction(row: Row) -> str:
    """What a claim predicts, in words and in the unit of its metric."""
    if row["predicted"] != "same":
        return {"greater": "higher", "less": "lower"}[row["predicted"]]
    return f"the same within {100 * row['margin']:g} points" if row["points"] else f"the same within {row['margin']:g}"


def detectable(row: Row) -> str:
    """The smallest effect that the run would have seen; in words where no effect can be as large."""
    value, reach = row["detectable"], row["reach"]
    if value is not None and reach is not None and value > reach:
        return "more than the scale allows"
    return "unbounded" if value is None else f"{quantity(row, 'detectable', '')} {unit(row)}"
