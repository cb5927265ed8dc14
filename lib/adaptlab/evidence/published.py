"""The published results, ``data/results/``: what the kit's claims gave in runs of one profile and model, a file each.

`adaptlab publish` writes them from finished reports. README, report and notebooks take their figures from here. (What
`make bench` measured lies there too, in ``bench.yaml``.)
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from adaptlab import paths
from adaptlab.evidence import words
from adaptlab.evidence.ledger import Claim, load_ledger
from adaptlab.files import YamlError, read_yaml

ORDER = ("study", "real", "paper")  # in which profiles are told
QUICK = "quick"  # its runs tell how long notebooks take; what they find is for the reader to run
_NUMBERS = ("effect", "low", "high")


class ResultsError(ValueError):
    """A file of results that is not one; the message names the file and what to do."""


@dataclass(frozen=True)
class Results:
    """What one file holds.

    ``digest``: of the model's weights, empty where the run did not tell. ``notebooks``: by stem, the commit and version
    of the kit that ran it, and how many minutes it took. ``rows``: by the id of the claim, as `words` reads them.
    """

    profile: str
    model: str
    digest: str
    notebooks: dict[str, dict[str, Any]]
    rows: dict[str, dict[str, Any]]

    def as_yaml(self) -> dict[str, Any]:
        """The content of the file: three digits, and effects on right answers in percentage points."""
        facts = {"profile": self.profile, "model": self.model, "digest": self.digest, "notebooks": self.notebooks}
        return facts | {"claims": {id: _to_file(row) for id, row in self.rows.items()}}


def folder() -> Path:
    """Where they lie."""
    return paths.DATA / "results"


def load() -> list[Results]:
    """All published results, those of the study model first. Raises `ResultsError`."""
    found = [read(path) for path in sorted(folder().glob("*-*.yaml"))]
    return sorted(found, key=lambda one: (ORDER.index(one.profile) if one.profile in ORDER else len(ORDER), one.model))


def read(path: Path) -> Results:
    """One file of results. Raises `ResultsError`."""
    return _read(path.name, path.read_bytes())


def sentences(claim: Claim) -> list[str]:
    """What the published runs gave for a claim of the kit's ledger, a sentence for each profile and model; nothing for
    a claim of the user's, though it may have the same id."""
    if load_ledger().get(claim.id) != claim:
        return []
    found = (one for one in load() if one.profile != QUICK and claim.id in one.rows)
    return [f"{one.model} (profile {one.profile}) {words.said(one.rows[claim.id])}" for one in found]


@lru_cache(maxsize=16)  # every table of verdicts asks for all, and YAML takes a tenth of a second
def _read(file: str, content: bytes) -> Results:
    ledger = load_ledger()
    try:
        facts = dict(read_yaml(content))
        rows = {id: _from_file(ledger[id], one) for id, one in facts.pop("claims").items()}
        runs = {stem: dict(run) for stem, run in facts.pop("notebooks").items()}
        return Results(**facts, notebooks=runs, rows=rows)
    except (YamlError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ResultsError(
            f"{file}: not what `adaptlab publish` writes, or about claims that the ledger does not hold ({error!r}); "
            "delete it, and publish its report again"
        ) from error


def _to_file(row: dict[str, Any]) -> dict[str, Any]:
    numbers = {name: _rounded(row[name], row["points"]) for name in _NUMBERS}
    counts = {"items": row["n_items"], "seeds": row["n_seeds"]}
    return {"verdict": row["verdict"], **numbers, "unit": "points" if row["points"] else row["metric"], **counts}


def _rounded(number: float | None, points: bool) -> float | None:
    return None if number is None else round(100 * number, 1) if points else float(f"{number:.3g}")


def _from_file(claim: Claim, one: dict[str, Any]) -> dict[str, Any]:
    points = one["unit"] == "points"
    numbers = {name: one[name] / 100 if points and one[name] is not None else one[name] for name in _NUMBERS}
    if one["verdict"] not in words.SYMBOLS or not (points or one["unit"] == claim.metric):
        raise ValueError(f"claim {claim.id}: {one['verdict']!r}, {one['unit']!r}")
    counts = {"n_items": one["items"], "n_seeds": one["seeds"]}
    return {"verdict": one["verdict"], **numbers, **counts, "points": points, "metric": claim.metric}
