"""From a claim and a tidy frame to a matrix: one contrast for every (seed, item)."""

import numpy as np
import pandas as pd

from adaptlab.evidence.ledger import EXTREMES, Claim, Term, Value

_CELL = ["seed", "item"]


def contrast_matrix(claim: Claim, frame: pd.DataFrame) -> tuple[np.ndarray, bool, tuple[float, ...]]:
    """The claim's contrast within each item: a ``(n_seeds, n_items)`` matrix, whether the metric is a mark, and the
    metric's mean in each term.

    A metric is a mark if it is 0 or 1 (False or True) in every row used. A selector value ``max``
    or ``min`` on a numeric column means the largest or smallest among the rows that match the
    term's other conditions, and must mean the same in every term.

    Raises ``ValueError`` naming the claim, the selector and what the frame holds, if a column or a
    value is missing, if rows are not one for every (seed, item), or if terms do not pair up.
    """
    _check_columns(claim, frame)
    terms = _resolve_extremes(claim, frame)
    cells = [_cells(claim, term, frame) for term in terms]
    for term, values in zip(terms, cells, strict=True):
        _check_pairs(claim, terms[0], cells[0], term, values)
    marks = all(bool(values.isin((0, 1)).all(axis=None)) for values in cells)
    matrix = sum(term.weight * values.to_numpy() for term, values in zip(terms, cells, strict=True))
    return matrix, marks, tuple(float(values.to_numpy().mean()) for values in cells)


def contrast_items(claim: Claim, frame: pd.DataFrame) -> list:
    """The items of the contrast's matrix, in the order of its columns."""
    return sorted(_rows(claim, _resolve_extremes(claim, frame)[0], frame)["item"].unique())


def needed(claim: Claim) -> list[str]:
    """The columns that a frame must have to answer the claim."""
    return [claim.metric, *_CELL, *(column for term in claim.contrast for column in term.where)]


def _check_columns(claim: Claim, frame: pd.DataFrame) -> None:
    for column in needed(claim):
        if column not in frame:
            _refuse(claim, f"the frame has no column {column!r}; columns: {', '.join(map(str, frame.columns))}")
    if not pd.api.types.is_numeric_dtype(frame[claim.metric]):
        _refuse(claim, f"metric {claim.metric!r} is neither numeric nor true/false ({frame[claim.metric].dtype})")


def _resolve_extremes(claim: Claim, frame: pd.DataFrame) -> list[Term]:
    resolved = [_resolve(claim, term, frame) for term in claim.contrast]
    meanings: dict[tuple[str, Value], Value] = {}
    for term, made in zip(claim.contrast, resolved, strict=True):
        for column, value in term.where.items():
            if value != made.where[column]:
                known = meanings.setdefault((column, value), made.where[column])
                if known != made.where[column]:
                    problem = f"{column}={value} means {known} in one term and {made.where[column]} in ({term})"
                    _refuse(claim, f"{problem}; the conditions must reach equally far")
    for i, made in enumerate(resolved):
        if made.where in [other.where for other in resolved[:i]]:
            _refuse(claim, f"two terms select the same rows ({made}): there is nothing to compare")
    return resolved


def _resolve(claim: Claim, term: Term, frame: pd.DataFrame) -> Term:
    where = dict(term.where)
    extremes = [c for c, v in where.items() if v in EXTREMES and pd.api.types.is_numeric_dtype(frame[c])]
    for column in extremes:
        others = {c: v for c, v in where.items() if c not in extremes or v not in EXTREMES}
        rows = _rows(claim, Term(term.weight, others), frame)
        where[column] = getattr(rows[column], where[column])().item()
    return Term(term.weight, where)


def _rows(claim: Claim, term: Term, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that a term selects; the error shows the first condition that leaves none."""
    rows = frame
    for column, value in term.where.items():
        kept = rows[rows[column] == value]
        if kept.empty:
            present = ", ".join(sorted(map(str, rows[column].unique())))
            _refuse(claim, f"no rows where {column}={value} (in the term {term}); {column} present: {present}")
        rows = kept
    return rows


def _cells(claim: Claim, term: Term, frame: pd.DataFrame) -> pd.DataFrame:
    """The metric of a term's rows as a table, seeds down and items across."""
    rows = _rows(claim, term, frame)
    if rows.duplicated(_CELL).any():
        _refuse(claim, f"the term ({term}) selects several rows for one (seed, item); {_differing(rows, claim.metric)}")
    cells = rows.pivot(index="seed", columns="item", values=claim.metric).astype(float)
    gaps = np.argwhere(cells.isna().to_numpy())
    if len(gaps):
        seed, item = cells.index[gaps[0][0]], cells.columns[gaps[0][1]]
        problem = f"the term ({term}) has no value of {claim.metric} in {len(gaps)} of {cells.size} (seed, item) cells"
        _refuse(claim, f"{problem}, first: seed {seed}, item {item}; every seed must meet every item")
    return cells


def _differing(rows: pd.DataFrame, metric: str) -> str:
    """Which text or whole-number columns tell doubled rows apart: the conditions that the term lacks."""
    twins = rows[rows.duplicated(_CELL, keep=False)].drop(columns=[metric], errors="ignore")
    one = twins.groupby(_CELL, observed=True).get_group(tuple(twins[_CELL].iloc[0]))
    shown = [
        f"{c} ({', '.join(sorted(map(str, one[c].unique())))})"
        for c in one.columns
        if c not in {*_CELL, "output", "choice"} and not pd.api.types.is_float_dtype(one[c]) and one[c].nunique() > 1
    ]
    return f"they differ in {'; '.join(shown)}" if shown else "they are repeats: the frame holds the same run twice"


def _check_pairs(claim: Claim, first: Term, one: pd.DataFrame, second: Term, two: pd.DataFrame) -> None:
    for name, left, right in (("seed", one.index, two.index), ("item", one.columns, two.columns)):
        unpaired = left.symmetric_difference(right)
        if len(unpaired):
            counts = f"{len(left)} {name}s in ({first}), {len(right)} in ({second}), {len(unpaired)} not in both"
            _refuse(claim, f"{name}s do not pair up: {counts}, e.g. {unpaired[0]}")


def _refuse(claim: Claim, problem: str) -> None:
    raise ValueError(f"claim {claim.id} cannot be tested on this frame: {problem}")
