"""The file formats of the field, read into records and written back.

Loaders are strict: every defect is a `FormatError` that names file, line, field, what was expected and what was found.
Handed a list `aside`, those of files with rows put each bad row there instead (see `curate.load_setting_aside`).
Rows without an id get ``NAME-N``: the file's name without its ending, and the record's number from 1.
Writers are atomic, and what they write loads to an equal value.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from adaptlab.files import write_text
from adaptlab.tasks.formats_published import load_flan_cot, load_gsm8k, load_mt_bench, load_self_instruct, load_urial
from adaptlab.tasks.reading import (
    Aside,
    at,
    check_list,
    check_row,
    collect,
    collect_pairs,
    json_items,
    json_lines,
    within,
)
from adaptlab.tasks.records import (
    Conversation,
    FieldError,
    Instruction,
    Labelled,
    LabelledSet,
    Message,
    PromptCompletion,
    check_choice,
    check_unique,
    leaked,
    shown,
)

SPLITS = ("pool", "test")


def load_alpaca(path: str | Path, aside: Aside = None) -> tuple[Instruction, ...]:
    """A JSON list of {instruction, input, output}; `id`, `category` and `rationale` may stand beside them."""

    def build(row: Any, fallback: str) -> Instruction:
        check_row(row, ("instruction", "output"), ("input", "id", "category", "rationale"))
        return Instruction(**{"id": fallback, "input": "", **row})

    return collect(path, json_items(path), build, aside)


def load_chat(path: str | Path, aside: Aside = None) -> tuple[Conversation, ...]:
    """JSONL of {messages: [{role, content}, ...]}; `id`, `category` and `references` may stand beside them."""

    def build(row: Any, fallback: str) -> Conversation:
        check_row(row, ("messages",), ("id", "category", "references"))
        references = check_list("references", row["references"]) if "references" in row else ()
        messages = check_list("messages", row["messages"])
        parts = {"messages": _messages(messages), "references": tuple(references)}
        return Conversation(**{"id": fallback, **row, **parts})

    return collect(path, json_lines(path, aside), build, aside)


def _messages(rows: list) -> tuple[Message, ...]:
    messages = []
    for place, row in enumerate(rows):
        with within(f"messages[{place}]"):
            messages.append(Message(**check_row(row, ("role", "content"))))
    return tuple(messages)


def load_completions(path: str | Path, aside: Aside = None) -> tuple[PromptCompletion, ...]:
    """JSONL of {prompt, completion}, with or without `id`; white space at the seam is kept."""

    def build(row: Any, fallback: str) -> PromptCompletion:
        return PromptCompletion(**{"id": fallback, **check_row(row, ("prompt", "completion"), ("id",))})

    return collect(path, json_lines(path, aside), build, aside)


def load_labelled(path: str | Path, labels: tuple[str, ...] = (), name: str = "", aside: Aside = None) -> LabelledSet:
    """JSONL of {id, text, label, split}, where split is "pool" or "test".

    `labels` are the classes in their order; left out, they are those of the file, sorted. `name` is the file's.
    """

    def build(row: Any, _fallback: str) -> Labelled:
        check_row(row, ("id", "text", "label", "split"))
        item = Labelled(row["id"], row["text"], row["label"])
        if labels:
            check_choice("label", item.label, labels)
        check_choice("split", row["split"], SPLITS)
        return item

    pairs = collect_pairs(path, json_lines(path, aside), build, aside)
    rows = {item.id: row for row, item in pairs}
    pool, test = (tuple(item for row, item in pairs if row.value["split"] == split) for split in SPLITS)
    twice = leaked(pool, test)
    for item in twice:
        with at(path, rows[item.id].line, rows[item.id].raw, aside):
            raise FieldError("text", "a text that is not in the pool as well", shown(item.text))
    test = tuple(item for item in test if item not in twice)
    known = labels or tuple(sorted({item.label for item in pool + test}))
    with at(path, 1):
        return LabelledSet(name or Path(path).stem, known, pool, test)


def write_alpaca(path: str | Path, records: Iterable[Instruction]) -> None:
    """Write instructions as a JSON list."""
    write_text(Path(path), json.dumps(_rows(records), ensure_ascii=False, indent=1) + "\n")


def write_chat(path: str | Path, records: Iterable[Conversation]) -> None:
    """Write conversations as JSONL."""
    _write_lines(path, _rows(records))


def write_completions(path: str | Path, records: Iterable[PromptCompletion]) -> None:
    """Write prompt/completion pairs as JSONL."""
    _write_lines(path, _rows(records))


def write_labelled(path: str | Path, items: LabelledSet) -> None:
    """Write a labelled set as JSONL, the pool first. Name, instruction and the order of labels are not in the file."""
    _write_lines(path, [{**asdict(i), "split": s} for s in SPLITS for i in getattr(items, s)])


def _rows(records: Iterable[Any]) -> list[dict[str, Any]]:
    rows = [{key: value for key, value in asdict(r).items() if value or key == "input"} for r in records]
    if not rows:
        raise FieldError("records", "at least one record", "none")
    check_unique("id", (row["id"] for row in rows))
    return rows


def _write_lines(path: str | Path, rows: list[dict[str, Any]]) -> None:
    write_text(Path(path), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


FORMATS = {
    "alpaca": load_alpaca,
    "chat": load_chat,
    "completions": load_completions,
    "flan-cot": load_flan_cot,
    "gsm8k": load_gsm8k,
    "labelled": load_labelled,
    "mt-bench": load_mt_bench,
    "self-instruct": load_self_instruct,
    "urial": load_urial,
}


def load(path: str | Path, format: str) -> Any:
    """Load `path` by the name of its format, a key of `FORMATS`."""
    return FORMATS[check_choice("format", format, tuple(FORMATS))](path)
