"""From records as they were found to records that a study can stand on: clean, filter, split; nothing is lost.

A filter is a function from records to {place: reason} for those that it turns down. `curate` runs filters in order
and keeps every record that one of them turned down, with the filter's name and the reason.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from adaptlab.files import write_text
from adaptlab.tasks.formats import FORMATS
from adaptlab.tasks.reading import Aside
from adaptlab.tasks.records import FieldError, check_choice, check_text, content_key, shown
from adaptlab.tasks.similarity import (
    Key,
    answer_of,
    contaminated,
    exact_duplicates,
    near_duplicates,
    rouge_l_duplicates,
    text_of,
)

Filter = Callable[[Sequence[Any]], Mapping[int, str]]
LOADING = "format"  # the name of the loader among the filters
_LINE_END = re.compile(r"\r\n|[\r\v\f\x1c-\x1f\x85\u2028\u2029]")
_TRAILING = re.compile(r"[^\S\n]+$", re.MULTILINE)


def normalise(text: str) -> str:
    """The text in NFC, with LF for every line end, without trailing spaces and other control characters than the tab.

    What it says stays: no case, spelling or punctuation is touched. Normalising twice changes nothing more. Error: a
    text that had something in it and would lose all of it.
    """
    lined = _LINE_END.sub("\n", text)
    plain = "".join(sign for sign in lined if sign in "\n\t" or unicodedata.category(sign) != "Cc")
    done = unicodedata.normalize("NFC", _TRAILING.sub("", plain))
    if text.strip() and not done.strip():
        raise FieldError("text", "more than control characters", shown(text))
    return done


@dataclass(frozen=True)
class Reject:
    """What was turned down, whole: a record, or the text of a row that made none (`line`, from 1, is its place)."""

    row: Any
    filter: str
    reason: str
    line: int = 0


def load_setting_aside(path: str | Path, format: str) -> tuple[Any, tuple[Reject, ...]]:
    """What `formats.load` returns, of the good rows alone, and a reject for every bad one.

    A reject's reason is the error that strict loading raises. Defects of the whole file stay errors: no such file, an
    empty one, a JSON list whose syntax breaks, no good row at all. URIAL files have no rows to set aside.
    """
    rowed = tuple(name for name in FORMATS if name != "urial")
    aside: Aside = []
    records = FORMATS[check_choice("format", format, rowed)](path, aside=aside)
    return records, tuple(Reject(raw, LOADING, str(error), error.line) for raw, error in aside)


def write_rejects(path: str | Path, rejects: Iterable[Reject]) -> None:
    """Write rejects as JSONL of {filter, reason, line (where it has one), row}; no rejects make an empty file."""
    rows = (
        {"filter": r.filter, "reason": r.reason} | ({"line": r.line} if r.line else {}) | {"row": plain(r.row)}
        for r in rejects
    )
    write_text(Path(path), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def plain(record: Any) -> Any:
    """A record as JSON holds it."""
    if isinstance(record, tuple) and hasattr(record, "_asdict"):
        return record._asdict()
    return asdict(record) if is_dataclass(record) else record


def _called(record: Any) -> str:
    return getattr(record, "id", None) or shown(text_of(record))


def same_content(records: Sequence[Any], key: Key = text_of) -> dict[int, str]:
    """Filter: the content stood before, in other case, spacing or punctuation perhaps."""
    return {m.place: f"same content as {_called(m.other)}" for m in exact_duplicates(records, key)}


def near_copy(records: Sequence[Any], threshold: float = 0.7, key: Key = text_of) -> dict[int, str]:
    """Filter: the Jaccard index of word 3-grams with a record before is `threshold` or more."""
    found = near_duplicates(records, threshold, key)
    return {m.place: f"Jaccard {m.value:.2f} with {_called(m.other)}" for m in found}


def in_test(records: Sequence[Any], test: Sequence[Any], n: int = 8, key: Key = text_of) -> dict[int, str]:
    """Filter: a run of n words stands in a test item as well. The test side is always read by `text_of`."""
    found = contaminated(records, test, n, key, text_of)
    return {m.place: f"shares {shown(m.value)} with test item {_called(m.other)}" for m in found}


def not_novel(records: Sequence[Any], threshold: float = 0.7, key: Key = text_of) -> dict[int, str]:
    """Filter: ROUGE-L above `threshold` with a record before that stays (Self-Instruct: that of the instructions)."""
    found = rouge_l_duplicates(records, threshold, key)
    return {m.place: f"ROUGE-L {m.value:.2f} with {_called(m.other)}" for m in found}


def blank_output(records: Sequence[Any], key: Key = answer_of) -> dict[int, str]:
    """Filter: nothing of the answer is visible: white space, controls and marks without a width at most."""
    blank = (all(unicodedata.category(sign)[0] in "ZC" for sign in key(record)) for record in records)
    return {place: "output is blank" for place, is_blank in enumerate(blank) if is_blank}


def odd_length(records: Sequence[Any], least: int = 4, most: int = 150, key: Key = text_of) -> dict[int, str]:
    """Filter: fewer words than `least` or more than `most` (Self-Instruct: 4 to 150, of the instruction alone)."""
    sizes = [len(key(record).split()) for record in records]
    reasons = {p: f"{size} words, fewer than {least}" for p, size in enumerate(sizes) if size < least}
    return reasons | {p: f"{size} words, more than {most}" for p, size in enumerate(sizes) if size > most}


FILTERS: Mapping[str, Filter] = MappingProxyType(
    {"blank output": blank_output, "exact duplicate": same_content, "near-duplicate": near_copy}
)


class Curated(NamedTuple):
    """Records kept and turned down, both in their order, and the filters' names in theirs."""

    kept: tuple[Any, ...]
    rejects: tuple[Reject, ...]
    filters: tuple[str, ...]


def curate(records: Iterable[Any], filters: Mapping[str, Filter] = FILTERS, rejects: Sequence[Reject] = ()) -> Curated:
    """Run the filters in order, each on what the ones before have kept. `rejects`: those of loading, put in front.

    Every record is in the result once: kept, or as a reject. Filters take their settings by `functools.partial`:
    ``curate(records, FILTERS | {"contaminated": partial(in_test, test=test, n=13)})``.
    """
    kept, turned_down = list(records), list(rejects)
    for name, reasons_of in filters.items():
        reasons = reasons_of(kept)
        turned_down += [Reject(record, name, reasons[p]) for p, record in enumerate(kept) if p in reasons]
        kept = [record for p, record in enumerate(kept) if p not in reasons]
    names = dict.fromkeys([*(reject.filter for reject in rejects), *filters])
    return Curated(tuple(kept), tuple(turned_down), tuple(names))


def survival(curated: Curated) -> list[dict[str, Any]]:
    """A row a filter, in order: {filter, in, out, share}; share is out / in, None where nothing came in."""
    left = len(curated.kept) + len(curated.rejects)
    rows = []
    for name in curated.filters:
        out = left - sum(reject.filter == name for reject in curated.rejects)
        rows.append({"filter": name, "in": left, "out": out, "share": out / left if left else None})
        left = out
    return rows


def split(
    records: Iterable[Any], shares: Mapping[str, float], seed: int, key: Key = text_of
) -> dict[str, tuple[Any, ...]]:
    """Records by split, each in the split that its content and the seed call for: {name: records in their order}.

    The hash of `content_key` and seed is a number in [0, 1); the shares, in their order, divide that range. So one
    content is in one split only, and a record that is added or removed moves no other. The price: shares are met on
    average, give or take sqrt(s (1 - s) / n), over all and within every stratum alike; `shares_obtained` tells.
    Strata have no part in it: with them in the hash, a content of two strata could be in two splits, and exact
    shares within strata would move records when one is added.
    """
    _check_shares(shares)
    bounds = list(accumulate(shares.values()))
    splits: dict[str, list[Any]] = {name: [] for name in shares}
    for record in records:
        digest = hashlib.sha256(f"{seed}:{content_key(key(record))}".encode()).digest()
        point = int.from_bytes(digest[:6], "big") / 2**48
        # The sum of the shares may miss 1 by a rounding: the last split takes what is left.
        place = next((p for p, bound in enumerate(bounds[:-1]) if point < bound), len(bounds) - 1)
        splits[list(shares)[place]].append(record)
    return {name: tuple(members) for name, members in splits.items()}


def _check_shares(shares: Mapping[str, float]) -> None:
    for name, share in shares.items():
        check_text("shares", name)
        if not (isinstance(share, (int, float)) and 0 < share <= 1):
            raise FieldError(f"shares.{name}", "a share above 0, at most 1", shown(share))
    if not math.isclose(sum(shares.values()), 1, abs_tol=1e-9):
        raise FieldError("shares", "shares that add up to 1", f"a sum of {sum(shares.values()):.6g}")


def shares_obtained(
    splits: Mapping[str, Sequence[Any]], strata: Callable[[Any], str] = lambda record: "all"
) -> list[dict[str, Any]]:
    """A row a stratum, sorted: {stratum, n, and the share of it that each split has got}."""
    names = sorted({strata(record) for members in splits.values() for record in members})
    rows = []
    for name in names:
        counts = {split: sum(strata(record) == name for record in members) for split, members in splits.items()}
        n = sum(counts.values())
        rows.append({"stratum": name, "n": n} | {split: count / n for split, count in counts.items()})
    return rows
