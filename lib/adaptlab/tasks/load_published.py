"""Loaders for the files that papers published their data in, each read into the kit's records."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adaptlab.tasks.records import (
    Conversation,
    Demonstration,
    FieldError,
    Instruction,
    Message,
    PromptFile,
    check_text,
    quote,
)
from adaptlab.tasks.strict_reading import (
    RejectedRows,
    Row,
    at,
    check_list,
    check_row,
    collect,
    json_lines,
    numbered_lines,
    read_text,
    within,
)

_CALCULATION = re.compile(r"<<[^<>]*>>")
_FINAL = re.compile(r"(?:^|\n)#### (-?\d[\d,]*(?:\.\d+)?)\s*\Z")
_FLAN_COLUMNS = ("question", "answer", "rationale")


def load_self_instruct(path: str | Path, rejected: RejectedRows = None) -> tuple[Instruction, ...]:
    """Seed tasks of Self-Instruct (Wang et al., 2212.10560): one record an instance.

    `is_classification` becomes the category, "classification" or "generation". A task with several instances yields
    the ids ``TASK.1``, ``TASK.2``, ... The task's `name`, a slug of its instruction, is checked and not kept.
    """

    def rows() -> Iterator[Row]:
        for line, raw, task in json_lines(path, rejected):
            with at(path, line, raw, rejected):
                yield from [Row(line, raw, instance) for instance in _instances(task)]

    return collect(path, rows(), lambda instance, _fallback: Instruction(**instance), rejected)


def _instances(task: Any) -> list[dict[str, str]]:
    """The fields of an Instruction for each instance of a seed task."""
    check_row(task, ("id", "name", "instruction", "instances", "is_classification"))
    pairs = check_list("instances", task["instances"])
    for field in ("id", "name", "instruction"):
        check_text(field, task[field])
    if not isinstance(task["is_classification"], bool):
        raise FieldError("is_classification", "true or false", quote(task["is_classification"]))
    for place, pair in enumerate(pairs):
        with within(f"instances[{place}]"):
            check_row(pair, ("input", "output"))
            check_text("input", pair["input"], blank=True)
            check_text("output", pair["output"])
    category = "classification" if task["is_classification"] else "generation"
    ids = [task["id"]] if len(pairs) == 1 else [f"{task['id']}.{place}" for place in range(1, len(pairs) + 1)]
    shared = {"instruction": task["instruction"], "category": category}
    return [{"id": id, **shared, **pair} for id, pair in zip(ids, pairs, strict=True)]


def load_mt_bench(path: str | Path, rejected: RejectedRows = None) -> tuple[Conversation, ...]:
    """Questions of MT-Bench (Zheng et al., 2306.05685): `turns` as user messages, `reference` answers where given."""

    def build(row: Any, _fallback: str) -> Conversation:
        check_row(row, ("question_id", "category", "turns"), ("reference",))
        number = row["question_id"]
        if not isinstance(number, int) or isinstance(number, bool):
            raise FieldError("question_id", "a whole number", quote(number))
        turns = [check_text(f"turns[{n}]", turn) for n, turn in enumerate(check_list("turns", row["turns"]))]
        answers = check_list("reference", row["reference"]) if "reference" in row else []
        references = [check_text(f"reference[{n}]", answer, blank=True) for n, answer in enumerate(answers)]
        if references and len(references) != len(turns):
            raise FieldError("reference", f"{len(turns)} answers, one a turn", str(len(references)))
        messages = tuple(Message("user", turn) for turn in turns)
        return Conversation(str(number), messages, row["category"], tuple(references))

    return collect(path, json_lines(path, rejected), build, rejected)


def load_gsm8k(path: str | Path, rejected: RejectedRows = None) -> tuple[Instruction, ...]:
    """GSM8K (Cobbe et al., 2110.14168): question, worked answer as `rationale`, final number as `output`.

    Three things are normalised and nothing else: calculator marks ``<<2+3=5>>`` go, the last line ``#### 1,050``
    leaves the rationale, and its number loses the thousands commas.
    """

    def build(row: Any, fallback: str) -> Instruction:
        check_row(row, ("question", "answer"))
        answer = check_text("answer", row["answer"])
        final = _FINAL.search(answer)
        if final is None:
            raise FieldError("answer", "a last line '#### NUMBER'", quote(answer.rsplit("\n", 1)[-1]))
        rationale = _CALCULATION.sub("", answer[: final.start()])
        check_text("question", row["question"])
        return Instruction(fallback, row["question"], "", final[1].replace(",", ""), rationale=rationale)

    return collect(path, json_lines(path, rejected), build, rejected)


def load_flan_cot(path: str | Path, rejected: RejectedRows = None) -> tuple[Instruction, ...]:
    r"""Chain-of-thought TSV of FLAN (Chung et al., 2210.11416): question, answer, rationale, without a header.

    A literal ``\n`` in a field is a newline; quotation marks mean themselves. Of a file that was cut, a row that
    ends within its rationale looks whole: the format has nothing to tell it by.
    """

    def build(row: str, fallback: str) -> Instruction:
        columns = row.split("\t")
        if len(columns) != len(_FLAN_COLUMNS):
            wanted = f"{len(_FLAN_COLUMNS)} tab-separated columns ({', '.join(_FLAN_COLUMNS)})"
            raise FieldError("", wanted, str(len(columns)))
        pairs = zip(_FLAN_COLUMNS, columns, strict=True)
        question, answer, rationale = (check_text(name, text.replace("\\n", "\n")) for name, text in pairs)
        return Instruction(fallback, question, "", answer, rationale=rationale)

    return collect(path, numbered_lines(path, rejected), build, rejected)


_FENCE = "```"
# A heading is alone on its line: the system text speaks of "# Query:" too.
_HEADING = re.compile(r"^# (Query|Answer):[ \t]*$", re.MULTILINE)


def load_urial(path: str | Path) -> PromptFile:
    """Read a prompt file: system text without the newlines around it, queries and answers as they stand.

    From the first fence of a part to its last, everything belongs to it, so an answer keeps code fences of its own.
    One newline inside each fence is layout; a query may as well stand on the fence's line. A file without blocks is a
    system text alone; one that opens with a block has none. Errors: `FormatError` at the heading of the bad part.
    """
    text = read_text(path).replace("\r\n", "\n")
    first = _HEADING.search(text)
    system = text[: first.start()] if first else text
    parts = list(_parts(path, text))
    blocks = zip(parts[::2], parts[1::2], strict=True)
    with at(path, 1):
        return PromptFile(system.strip("\n"), tuple(Demonstration(query, answer) for query, answer in blocks))


def _parts(path: str | Path, text: str) -> Iterator[str]:
    """Query, answer, query, answer, ...: what stands in the fences below each heading."""
    heads = list(_HEADING.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    for place, (head, end) in enumerate(zip(heads, ends, strict=False)):
        field = ("query", "answer")[place % 2]
        with at(path, text.count("\n", 0, head.start()) + 1):
            if head[1].lower() != field:
                raise FieldError(field, f"a line '# {field.capitalize()}:' first", quote(head[0]))
            body = _inside(field, text[head.end() : end])
            if field == "query" and end == len(text):
                raise FieldError("answer", "a line '# Answer:' after the query", "the end of the file")
        yield body


def _inside(field: str, fenced: str) -> str:
    """What stands between the first fence and the last."""
    fenced = fenced.strip()
    if len(fenced) < 2 * len(_FENCE) or not (fenced.startswith(_FENCE) and fenced.endswith(_FENCE)):
        raise FieldError(field, f"text between a fence {_FENCE} and another", quote(fenced))
    body = fenced.removeprefix(_FENCE).removesuffix(_FENCE).removeprefix("\n").removesuffix("\n")
    if not body.strip():
        raise FieldError(field, "text that is not blank", quote(body))
    return body
