"""What is in a data set, said in numbers, and the card that travels with it.

A card is one dict, which is JSON; `card_text` renders it. In short, after the data statements of Bender & Friedman
2018 and the datasheets of Gebru et al. (1803.09010).
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import jinja2
import numpy as np

from adaptlab import paths
from adaptlab.tasks.curate import Rejected
from adaptlab.tasks.records import FieldError, Instruction, check_text, plain, quote
from adaptlab.tasks.similarity import exact_duplicates, nearest_rouge_l, query_of, shared_runs, words

PROBES = 200  # records whose nearest neighbour is looked for


def content_hash(records: Iterable[Any]) -> str:
    """Hex sha256 of the records, every field of them, in their order.

    Order counts: the same records in another order are another file, and train another model.
    """
    digest = hashlib.sha256()
    for record in records:
        row = json.dumps(plain(record), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        digest.update(row.encode() + b"\n")
    return digest.hexdigest()


def sample_records(records: Sequence[Any], n: int, seed: int = 0) -> list[Any]:
    """``n`` different records at random, in their order."""
    if not 0 < n <= len(records):
        raise FieldError("sample", f"a number from 1 to {len(records)}, that of the records", quote(n))
    return [records[place] for place in sorted(random.Random(f"sample {seed}").sample(range(len(records)), n))]


def statistics(records: Sequence[Any], sample: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Size, lengths in words, and how diverse the contents (`query_of`) are.

    - ``words``: of each part, {n, mean, median, p5, p95} over the records where it is not blank
    - ``distinct_1``, ``distinct_2``: different word n-grams over all n-grams (Li et al. 2016, 1510.03055)
    - ``first_words``: different first words over records; of an instruction it is most often the verb
    - ``nearest_rouge_l``: mean ROUGE-L with the nearest other record, over at most 200 records sampled by `seed`
    - ``exact_duplicates``: share of records whose content stood before

    A share that nothing can be counted for is None. The last five depend on the number of records: the more there
    are, the fewer n-grams are new and the nearer is the nearest. Compare two sets on equal numbers: that many
    records are sampled by `seed` first, if ``sample`` is given.
    """
    if not records:
        raise FieldError("records", "at least one record", "none")
    if sample is not None:
        records = sample_records(records, sample, seed)
    texts = [query_of(record) for record in records]
    rows = [words(text) for text in texts]
    return {
        "records": len(records),
        "words": _lengths(records),
        "distinct_1": _distinct(rows, 1),
        "distinct_2": _distinct(rows, 2),
        "first_words": len({row[0] for row in rows if row}) / len(rows),
        "nearest_rouge_l": _nearest(texts, seed),
        "exact_duplicates": len(exact_duplicates(records)) / len(records),
    }


def _parts(record: Any) -> dict[str, str]:
    if isinstance(record, Instruction):
        return {"instruction": record.instruction, "input": record.input, "output": record.output}
    return {"text": query_of(record), "answer": "" if isinstance(record, str) else record.answer}


def _lengths(records: Sequence[Any]) -> dict[str, dict[str, float]]:
    sizes: dict[str, list[int]] = {}
    for record in records:
        for part, text in _parts(record).items():
            sizes.setdefault(part, []).append(len(text.split()))
    return {part: _summary([size for size in all_sizes if size]) for part, all_sizes in sizes.items()}


def _summary(sizes: Sequence[int]) -> dict[str, float | None]:
    if not sizes:
        return {"n": 0, "mean": None, "median": None, "p5": None, "p95": None}
    p5, median, p95 = (float(q) for q in np.quantile(sizes, [0.05, 0.5, 0.95]))
    return {"n": len(sizes), "mean": float(np.mean(sizes)), "median": median, "p5": p5, "p95": p95}


def _distinct(rows: Sequence[Sequence[str]], n: int) -> float | None:
    runs = [tuple(row[i : i + n]) for row in rows for i in range(len(row) - n + 1)]
    return len(set(runs)) / len(runs) if runs else None


def _nearest(texts: Sequence[str], seed: int) -> float | None:
    if len(texts) < 2:
        return None
    places = sample_records(range(len(texts)), min(PROBES, len(texts)), seed)
    return float(np.mean(nearest_rouge_l(texts, places)))


def category_of(record: Any) -> str:
    """The record's category or label, "" if it has neither."""
    return getattr(record, "category", "") or getattr(record, "label", "")


def data_card(
    name: str,
    records: Sequence[Any],
    splits: Mapping[str, Sequence[Any]] | None = None,
    *,
    description: str,
    licence: str,
    source: str,
    generator: str = "",
    seed: int | None = None,
    rejected: Iterable[Rejected] = (),
    n: int = 8,
    category: Callable[[Any], str] = category_of,
) -> dict[str, Any]:
    """The card of a data set; what can be counted is counted here. All of it is JSON.

    `licence` and `source` (where it comes from, who wrote it) must not be blank, nor name and description. `splits`
    hold the records, each once. `generator` says what made them, `seed` with which seed. ``contamination`` counts,
    for every two splits, the records of the first that share `n` words in a row with the second.
    """
    stated = {"name": name, "description": description, "licence": licence, "source": source}
    for field, value in stated.items():
        check_text(field, value)
    splits = {"all": records} if splits is None else splits
    if Counter(r for members in splits.values() for r in members) != Counter(records):
        raise FieldError("splits", "every record once, and no other", f"{sum(map(len, splits.values()))} records")
    pairs = {f"{a} / {b}": len(shared_runs(splits[a], splits[b], n)) for a, b in combinations(splits, 2)}
    return stated | {
        "generator": check_text("generator", generator, blank=True),
        "seed": seed,
        "content_hash": content_hash(records),
        "splits": {split: _counted(members, category) for split, members in splits.items()},
        "statistics": statistics(records),
        "contamination": {"words": n, "records": pairs},
        "rejected": dict(Counter(one.filter for one in rejected)),
    }


def _counted(members: Sequence[Any], category: Callable[[Any], str]) -> dict[str, Any]:
    counts = Counter(category(record) for record in members)
    return {"records": len(members), "categories": dict(sorted(counts.items())), "content_hash": content_hash(members)}


def card_text(card: Mapping[str, Any]) -> str:
    """The card in Markdown, by ``data/templates/datacard.md.j2``."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["cell"] = _cell
    template = environment.from_string((paths.DATA / "templates" / "datacard.md.j2").read_text(encoding="utf-8"))
    splits, numbers = card["splits"].values(), card["statistics"]
    names = sorted({name for counts in splits for name in counts["categories"]})
    return template.render(
        card,
        categories=[
            *([name or "(none)", *(counts["categories"].get(name, 0) for counts in splits)] for name in names),
            ["all", *(counts["records"] for counts in splits)],
        ],
        lengths=[[part, *of.values()] for part, of in numbers["words"].items()],
        diversity=[(title, value) for title, value in numbers.items() if title not in ("records", "words")],
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is None else " ".join(str(value).replace("|", "\\|").split())
