"""Data of your own: what the kit has understood of it, what fits into the model, and what leaks from pool to test.

The same lines stand in the notebooks, which take a file as a parameter, and at the shell (``adaptlab check FILE``).
"""

from collections import Counter
from collections.abc import Sequence
from html import escape

import numpy as np

from adaptlab.engine.lm import LM
from adaptlab.evidence.record import Record, told
from adaptlab.methods.answering import Chooser, Generator, fitting, in_context, shown
from adaptlab.tasks import datacard
from adaptlab.tasks.reading import Reading
from adaptlab.tasks.similarity import near_duplicates, shared_runs
from adaptlab.tasks.splits import LabelledSet, OpenSet

COMPARED = 2000  # records that are compared with each other, at most
SHOTS = (0, 4, 16, 64)  # numbers of demonstrations, of which it is said whether they fit
NOT_TESTED = (
    "**Your data.** The claims of the ledger are about the kit's own tasks, so they are not tested here. Figures,"
    " intervals and numbers are about your data, except for tasks that it does not replace."
)
Data = LabelledSet | OpenSet | Reading


def describe(data: Data, lm: LM | None = None, shots: Sequence[int] = (), seed: int = 0) -> Record:
    """What was understood of a data set, in sentences: how it was read, rows, classes, lengths in words and tokens,
    which shots fit into the model, copies, and what test and pool share; behind them, in HTML, its data card."""
    lines = list(getattr(_reading(data), "said", ()) or (f"{data.name}: a set of the kit",))
    lines += [_counts(data), *_classes(data), *_lengths(data, lm)]
    if lm and shots and not isinstance(data, Reading):
        lines.append(_fits(data, lm, shots, seed))
    found = told([*lines, *_copies(data)])
    text = datacard.card_text(card(data))
    folded = f"<details><summary>Data card</summary><pre>{escape(text)}</pre></details>"
    return Record(found.payload | {"card": text}, found.text, found.html + folded)


def card(data: Data) -> dict:
    """The data card of a set; a user's own says of licence and source what a file can tell: nothing, and its name."""
    reading = _reading(data)
    records, parts = _sampled([*data.pool, *data.test]), {"pool": data.pool, "test": data.test}
    whole = len(records) == len(data.pool) + len(data.test)
    rejected = Counter("set aside" for _ in reading.rejected) if reading else {}
    made = datacard.data_card(
        data.name,
        records,
        {name: members for name, members in parts.items() if members} if whole else None,
        description=reading.said[0] if reading else "A set of the kit.",
        licence="not stated: ask where it comes from" if reading else "CC BY 4.0",
        source=reading.path.name if reading else "adaptlab",
    )
    return made | {"rejected": dict(rejected)}


def _reading(data: Data) -> Reading | None:
    return data if isinstance(data, Reading) else data.source


def _sampled(records: Sequence) -> list:
    return datacard.sample_records(records, COMPARED) if len(records) > COMPARED else list(records)


def _counts(data: Data) -> str:
    asked = len(getattr(data, "questions", ()))
    more = f", and {asked} questions about them" if asked else ""
    return f"**Rows**: {len(data.pool)} in the pool, {len(data.test)} in the test{more}"


def _classes(data: Data) -> list[str]:
    records = [*data.pool, *data.test]
    names = Counter(datacard.category_of(record) for record in records)
    names.pop("", None)
    if not names:
        return []
    listed = ", ".join(f"{name} {count}" for name, count in names.most_common(10))
    what = "Classes" if hasattr(records[0], "label") else "Categories"
    return [f"**{what}**: {len(names)} ({listed}{', …' if len(names) > 10 else ''})"]


def _lengths(data: Data, lm: LM | None) -> list[str]:
    records = _sampled([*data.pool, *data.test])
    texts = [(record.query, record.answer) for record in records]
    lines = [_spread("words", [[len(text.split()) for text in pair] for pair in texts])]
    if lm:
        sizes = [[len(lm.encode(text)) if text else 0 for text in pair] for pair in texts]
        over = sum(sum(pair) > lm.context_length for pair in sizes)
        room = f"; {lm.name} has room for {lm.context_length:,}"
        lines.append(_spread("tokens", sizes) + room + (f", and {over} records are longer" if over else ""))
    return lines


def _spread(unit: str, sizes: Sequence[Sequence[int]]) -> str:
    parts, columns = [], np.array(sizes).T
    for name, column in zip(("questions" if columns[1].any() else "texts", "answers"), columns, strict=True):
        if column.any():
            parts.append(f"{name} {np.median(column):.0f} in the middle, {column.max()} at most")
    return f"**Length in {unit}**: {'; '.join(parts)}"


def _fits(data: LabelledSet | OpenSet, lm: LM, shots: Sequence[int], seed: int) -> str:
    def make(k: int) -> list[Chooser | Generator]:
        if isinstance(data, LabelledSet):
            return [in_context(lm, data, k, seed)]
        return [shown(lm, data.sample(k, seed), data.prompt_format)]

    try:
        kept, left_out = fitting(make, _sampled(data.test), shots)
    except ValueError as error:
        return f"**Shots**: {error}"
    return f"**Shots** that fit: {', '.join(map(str, kept))}" + (f"; left out: {left_out}" if left_out else "")


def _copies(data: Data) -> list[str]:
    pool, test = _sampled(data.pool), _sampled(data.test)
    shared, near = shared_runs(test, pool), near_duplicates([*pool, *test])
    lines = [
        f"**Contamination**: {len(shared)} of {len(test)} test records share eight words in a row with the pool;"
        f" {len(near)} of {len(pool) + len(test)} records are near-copies of another"
    ]
    return lines if test else [lines[0].partition(";")[2].strip()]
