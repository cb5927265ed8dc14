"""A user's own claims: a ledger of the same form and under the same rule, shown apart from the kit's."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

import pandas as pd

from adaptlab.evidence import frames, words
from adaptlab.evidence.claims import Verdict, Verdicts, verdict
from adaptlab.evidence.contrast import needed
from adaptlab.evidence.ledger import EXTREMES, Claim, load_ledger
from adaptlab.evidence.record import Record
from adaptlab.evidence.stats import require

Found = list[tuple[Claim, str, Verdict | str]]  # claim, model, and the verdict or why there is none


def tested(claims: Iterable[Claim], frame: pd.DataFrame) -> Found:
    """Each claim on the rows of each model that has some for it, in the grids that have its columns. A claim that they
    cannot answer gets the reason in place of a verdict. Raises ValueError for a frame without models or rows."""
    require(frame, "model")
    found: Found = []
    for claim in claims:
        models = {str(model): rows for model, rows in frame.groupby("model", sort=False)}
        # Baselines stand in the frame as models too; where a claim is about none, the first says what is missing.
        asked = {model: rows for model, rows in models.items() if _concerned(claim, rows)}
        for model, rows in (asked or dict([next(iter(models.items()))])).items():
            try:
                found.append((claim, model, verdict(claim, _of_claim(claim, rows))))
            except ValueError as error:
                found.append((claim, model, str(error)))
    return found


def _concerned(claim: Claim, rows: pd.DataFrame) -> bool:
    """Whether any term of the claim selects any of the rows."""
    return any(
        all(column in rows for column in term.where)
        and all((rows[column] == value).any() for column, value in term.where.items() if value not in EXTREMES)
        for term in claim.contrast
    )


def _of_claim(claim: Claim, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the grids in which every column of the claim holds something; all where none does."""
    columns = [column for column in needed(claim) if column in rows]
    grids = rows.groupby("grid") if "grid" in rows else [(1, rows)]
    kept = [part for _, part in grids if part[columns].notna().any().all()]
    # A column that only other grids fill has made room for their gaps: without those, marks are marks again.
    return pd.concat(kept).dropna(axis="columns", how="all").infer_objects() if kept else rows


def of_run(file: str, notebook: str) -> Record:
    """The claims of ``file`` about this notebook, tested on the rows of the run that asks."""
    about = [claim for claim in load_ledger(Path(file)).values() if claim.is_about(notebook)]
    frame = frames.so_far()
    if not about or frame.empty:
        reason = "this run measured no rows" if about else f"it holds no claim about {notebook}"
        return Record(_payload(file, []), f"{Path(file).name}: {reason}", f"<p>{escape(reason)}</p>")
    found = tested(about, frame)
    return Record(_payload(file, found), "\n".join(map(line, found)), _html(found))


def line(one: tuple[Claim, str, Verdict | str]) -> str:
    """One claim on one model in words: verdict, effect, interval, and whether there was headroom."""
    claim, model, got = one
    if isinstance(got, str):
        return f"{claim.id}, {model}: not tested: {got}"
    (row,) = Verdicts([got]).rows
    said = f"{claim.id}, {model}: {words.said(row)}"
    return f"{said}; {got.headroom}" if got.headroom else said


def rows(found: Found) -> list[dict]:
    """The verdicts as rows of the report, each with its model."""
    verdicts = [got for _, _, got in found if isinstance(got, Verdict)]
    return [row | {"model": got.model} for got in verdicts for row in Verdicts([got]).rows]


def _payload(file: str, found: Found) -> dict:
    untested = [{"id": c.id, "model": m, "problem": got} for c, m, got in found if isinstance(got, str)]
    return {"kind": "own_claims", "file": Path(file).name, "rows": rows(found), "untested": untested}


def _html(found: Found) -> str:
    verdicts = [got for _, _, got in found if isinstance(got, Verdict)]
    models = dict.fromkeys(got.model for got in verdicts)
    tables = [Verdicts(v for v in verdicts if v.model == model)._repr_mimebundle_()["text/html"] for model in models]
    problems = [f"<p>{escape(line(one))}</p>" for one in found if isinstance(one[2], str)]
    return "".join([*tables, *problems])
