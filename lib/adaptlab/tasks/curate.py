"""From records as they were found to records that a study can stand on: filter and split; nothing is lost.

A filter is a function from records to {place: reason} for those that it rejects. `curate` runs filters in order and
keeps every record that one of them rejected, with the filter's name and the reason.
"""

import hashlib
import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import Any, NamedTuple

from adaptlab.tasks.records import FieldError, check_text, content_key, quote
from adaptlab.tasks.similarity import Key, exact_duplicates, near_duplicates, query_of, shared_runs

Filter = Callable[[Sequence[Any]], Mapping[int, str]]


@dataclass(frozen=True)
class Rejected:
    """A record that was turned down, or a text that made no record, with the filter's name and its reason."""

    row: Any
    filter: str
    reason: str


def _name(record: Any) -> str:
    return getattr(record, "id", None) or quote(query_of(record))


def blank_output(records: Sequence[Any]) -> dict[int, str]:
    """Filter: nothing of the answer is visible: white space, controls and marks without a width at most."""
    blank = (all(unicodedata.category(sign)[0] in "ZC" for sign in record.answer) for record in records)
    return {place: "output is blank" for place, is_blank in enumerate(blank) if is_blank}


def exact_duplicate(records: Sequence[Any], key: Key = query_of) -> dict[int, str]:
    """Filter: the content stood before, in other case, spacing or punctuation perhaps."""
    return {m.place: f"same content as {_name(m.other)}" for m in exact_duplicates(records, key)}


def near_duplicate(records: Sequence[Any], threshold: float = 0.7, key: Key = query_of) -> dict[int, str]:
    """Filter: the Jaccard index of word 3-grams with a record before is `threshold` or more."""
    found = near_duplicates(records, threshold, key)
    return {m.place: f"Jaccard {m.value:.2f} with {_name(m.other)}" for m in found}


def contaminated(records: Sequence[Any], test: Sequence[Any], n: int = 8, key: Key = query_of) -> dict[int, str]:
    """Filter: a run of n words stands in the query of a test item as well."""
    found = shared_runs(records, test, n, key)
    return {m.place: f"shares {quote(m.value)} with test item {_name(m.other)}" for m in found}


FILTERS: Mapping[str, Filter] = MappingProxyType(
    {"blank output": blank_output, "exact duplicate": exact_duplicate, "near-duplicate": near_duplicate}
)


class Curated(NamedTuple):
    """Records kept and rejected, both in their order, and the filters' names in theirs."""

    kept: tuple[Any, ...]
    rejected: tuple[Rejected, ...]
    filters: tuple[str, ...]


def curate(records: Iterable[Any], filters: Mapping[str, Filter] = FILTERS) -> Curated:
    """Run the filters in order, each on what the ones before have kept; every record is in the result once.

    Filters take their settings by `functools.partial`:
    ``curate(records, FILTERS | {"contaminated": partial(contaminated, test=test, n=13)})``.
    """
    kept, rejected = list(records), []
    for name, reasons_of in filters.items():
        reasons = reasons_of(kept)
        rejected += [Rejected(record, name, reasons[place]) for place, record in enumerate(kept) if place in reasons]
        kept = [record for place, record in enumerate(kept) if place not in reasons]
    return Curated(tuple(kept), tuple(rejected), tuple(filters))


def survival(curated: Curated) -> list[dict[str, Any]]:
    """A row a filter, in order: {filter, in, out, share}; share is out / in, None where nothing came in."""
    left = len(curated.kept) + len(curated.rejected)
    rows = []
    for name in curated.filters:
        out = left - sum(one.filter == name for one in curated.rejected)
        rows.append({"filter": name, "in": left, "out": out, "share": out / left if left else None})
        left = out
    return rows


def split(
    records: Iterable[Any], shares: Mapping[str, float], seed: int, key: Key = query_of
) -> dict[str, tuple[Any, ...]]:
    """Records by split, each in the split that its content and the seed call for: {name: records in their order}.

    The hash of `content_key` and seed is a number in [0, 1); the shares, in their order, divide that range. So one
    content is in one split only, and a record that is added or removed moves no other. The price: shares are met on
    average, give or take sqrt(s (1 - s) / n), over all and within every stratum alike.
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
            raise FieldError(f"shares.{name}", "a share above 0, at most 1", quote(share))
    if not math.isclose(sum(shares.values()), 1, abs_tol=1e-9):
        raise FieldError("shares", "shares that add up to 1", f"a sum of {sum(shares.values()):.6g}")
