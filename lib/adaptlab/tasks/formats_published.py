"""Loaders for the files that papers published their data in, each read into the kit's records."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adaptlab.tasks.formats_io import (
    Aside,
    Row,
    at,
    check_list,
    check_row,
    collect,
    json_lines,
    numbered_lines,
    within,
)
from adaptlab.tasks.records import Conversation, FieldError, Instruction, Message, check_text, shown

_CALCULATION = re.compile(r"<<[^<>]*>>")
_FINAL = re.compile(r"(?:^|\n)#### (-?\d[\d,]*(?:\.\d+)?)\s*\Z")
_FLAN_COLUMNS = ("question", "answer", "rationale")


def load_self_instruct(path: str | Path, aside: Aside = None) -> tuple[Instruction, ...]:
    """Seed tasks of Self-Instruct (Wang et al., 2212.10560): one record an instance.

    `is_classification` becomes the category, "classification" or "generation". A task with several instances yields
    the ids ``TASK.1``, ``TASK.2``, ... The task's `name`, a slug of its instruction, is checked and not kept.
    """

    def build(part: dict[str, str], _fallback: str) -> Instruction:
        return Instruction(**part)

    return collect(path, _seed_instances(path, aside), build, aside)


def _seed_instances(path: str | Path, aside: Aside) -> Iterator[Row]:
    for line, raw, row in json_lines(path, aside):
        with at(path, line, raw, aside):
            check_row(row, ("id", "name", "instruction", "instances", "is_classification"))
            instances = check_list("instances", row["instances"])
            for field in ("id", "name", "instruction"):
                check_text(field, row[field])
            if not isinstance(row["is_classification"], bool):
                raise FieldError("is_classification", "true or false", shown(row["is_classification"]))
            parts = [_seed_instance(row, place) for place in range(len(instances))]
            yield from (Row(line, raw, part) for part in parts)


def _seed_instance(row: dict[str, Any], place: int) -> dict[str, str]:
    with within(f"instances[{place}]"):
        pair = check_row(row["instances"][place], ("input", "output"))
        check_text("input", pair["input"], blank=True)
        check_text("output", pair["output"])
    many = f".{place + 1}" if len(row["instances"]) > 1 else ""
    category = "classification" if row["is_classification"] else "generation"
    return {"id": row["id"] + many, "instruction": row["instruction"], "category": category, **pair}


def load_mt_bench(path: str | Path, aside: Aside = None) -> tuple[Conversation, ...]:
    """Questions of MT-Bench (Zheng et al., 2306.05685): `turns` as user messages, `reference` answers where given."""

    def build(row: Any, _fallback: str) -> Conversation:
        check_row(row, ("question_id", "category", "turns"), ("reference",))
        number = row["question_id"]
        if not isinstance(number, int) or isinstance(number, bool):
            raise FieldError("question_id", "a whole number", shown(number))
        turns = [check_text(f"turns[{n}]", turn) for n, turn in enumerate(check_list("turns", row["turns"]))]
        answers = check_list("reference", row["reference"]) if "reference" in row else []
        references = [check_text(f"reference[{n}]", answer, blank=True) for n, answer in enumerate(answers)]
        if references and len(references) != len(turns):
            raise FieldError("reference", f"{len(turns)} answers, one a turn", str(len(references)))
        messages = tuple(Message("user", turn) for turn in turns)
        return Conversation(str(number), messages, row["category"], tuple(references))

    return collect(path, json_lines(path, aside), build, aside)


def load_gsm8k(path: str | Path, aside: Aside = None) -> tuple[Instruction, ...]:
    """GSM8K (Cobbe et al., 2110.14168): question, worked answer as `rationale`, final number as `output`.

    Three things are normalised and nothing else: calculator marks ``<<2+3=5>>`` go, the last line ``#### 1,050``
    leaves the rationale, and its number loses the thousands commas.
    """

    def build(row: Any, fallback: str) -> Instruction:
        check_row(row, ("question", "answer"))
        answer = check_text("answer", row["answer"])
        final = _FINAL.search(answer)
        if final is None:
            raise FieldError("answer", "a last line '#### NUMBER'", shown(answer.rsplit("\n", 1)[-1]))
        rationale = _CALCULATION.sub("", answer[: final.start()])
        check_text("question", row["question"])
        return Instruction(fallback, row["question"], "", final[1].replace(",", ""), rationale=rationale)

    return collect(path, json_lines(path, aside), build, aside)


def load_flan_cot(path: str | Path, aside: Aside = None) -> tuple[Instruction, ...]:
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

    return collect(path, numbered_lines(path, aside), build, aside)
