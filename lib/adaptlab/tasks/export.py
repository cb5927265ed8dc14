"""Records on their way to the tools of the field and back: Hugging Face Datasets, Parquet and JSONL here, rows for TRL
in `trl_rows`.

| shape | made from | kept | lost |
| --- | --- | --- | --- |
| Dataset, Parquet, JSONL | each of `KINDS` | everything: texts, ids, order, blank fields | nothing |
| messages, and pairs in style ``chat`` | Conversation | messages | id, category, references |
| | Instruction, Labelled | texts | id, category, rationale; where instruction ends and input begins |
| pairs in a layout | Completion | prompt, completion | id |
| | the other three | texts as laid out | id, category, rationale, references; roles; where a text ends |

A column is a field of the record: text, a list of texts, or a list of {role, content}, even where it is blank in all
rows. Only columns with a default in the record may be missing; none may hold nulls. Rows are counted from 1.
Datasets are made and read in memory: no cache folder and no network is touched.
"""

import importlib
import io
import json
from collections.abc import Iterable
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from adaptlab.files import write_bytes, write_text
from adaptlab.tasks.prompts import FORMATS
from adaptlab.tasks.reading import FormatError, Row, check_row, collect, json_lines, within
from adaptlab.tasks.records import (
    Conversation,
    FieldError,
    Instruction,
    Labelled,
    Message,
    PromptCompletion,
    check_choice,
    check_text,
    check_unique,
    shown,
)

if TYPE_CHECKING:
    from datasets import Dataset

KINDS = (Instruction, Conversation, PromptCompletion, Labelled)
Record = TypeVar("Record", bound=Instruction | Conversation | PromptCompletion | Labelled)


def to_dataset(records: Iterable[Record]) -> "Dataset":
    """One row a record, in memory. Raises `FieldError` for no records, for mixed kinds and for an id that occurs twice,
    and ImportError without the extra ``adaptlab[data]``, as does everything here for Datasets and Parquet."""
    return _package("datasets").Dataset(_table(records))


def from_dataset(dataset: "Dataset", kind: type[Record]) -> tuple[Record, ...]:
    """The records of a Dataset. Raises `FormatError` with the row and the column."""
    if not isinstance(dataset, _package("datasets").Dataset):
        raise FieldError("dataset", "a datasets.Dataset (one split of a DatasetDict)", type(dataset).__name__)
    return _records("dataset", _counted(dataset.to_list()), kind)


def write_parquet(path: str | Path, records: Iterable[Record]) -> None:
    """Write Parquet, whole or not at all. Equal records make equal bytes under one version of pyarrow."""
    sink = io.BytesIO()
    _package("pyarrow.parquet").write_table(_table(records), sink)
    write_bytes(Path(path), sink.getvalue())


def load_parquet(path: str | Path, kind: type[Record]) -> tuple[Record, ...]:
    """The records of a Parquet file. Raises `FormatError` with the row and the column."""
    parquet, data = _package("pyarrow.parquet"), Path(path).read_bytes()
    try:  # not read_table, which takes columns from folder names such as "label=a"
        table = parquet.ParquetFile(io.BytesIO(data)).read()
        table.validate(full=True)
    except (_package("pyarrow").ArrowException, OSError) as error:
        raise FormatError(path, 1, "", "a sound Parquet file", shown(str(error), 160)) from None
    if len(set(table.column_names)) < table.num_columns:
        raise FormatError(path, 1, "", "columns of different names", ", ".join(table.column_names))
    return _records(path, _counted(table.to_pylist()), kind)


def write_jsonl(path: str | Path, records: Iterable[Record]) -> None:
    """Write JSONL, whole or not at all, with every field in every line."""
    write_text(Path(path), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(records)[1]))


def load_jsonl(path: str | Path, kind: type[Record]) -> tuple[Record, ...]:
    """The records of a JSONL file. Raises `FormatError` with the line and the field."""
    return _records(path, json_lines(path), kind)


def revived(hint: Any, plain: Any, field: str = "") -> Any:
    """What `asdict` made plain, as what the type ``hint`` asks for: text, a record, or a tuple of one of them.

    Raises `FieldError` with the place inside ``field``.
    """
    if hint is str:
        return check_text(field, plain, blank=True)
    if is_dataclass(hint):
        hints, optional = _columns(hint)
        check_row(plain, tuple(name for name in hints if name not in optional), optional)
        return hint(**{name: revived(hints[name], part, name) for name, part in plain.items()})
    if not isinstance(plain, list):
        raise FieldError(field, "a list", shown(plain))
    parts = []
    for place, part in enumerate(plain):
        with within(f"{field}[{place}]"):
            parts.append(revived(get_args(hint)[0], part))
    return tuple(parts)


@cache
def _columns(kind: type) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The type of every field, and the names of those with a default."""
    return get_type_hints(kind), tuple(field.name for field in fields(kind) if field.default is not MISSING)


def _counted(rows: list[Any]) -> Iterable[Row]:
    return (Row(number, "", plain) for number, plain in enumerate(rows, start=1))


def _records(path: str | Path, rows: Iterable[Row], kind: type) -> tuple:
    if kind not in KINDS:
        raise FieldError("kind", f"one of {_names(KINDS)}", shown(kind))
    records = collect(path, rows, lambda row, _: revived(kind, row))
    if not records:
        raise FormatError(path, 1, "", "at least one record", "no rows")
    return records


def _rows(records: Iterable[Any]) -> tuple[type, list[dict[str, Any]]]:
    """The records' kind, and the records as plain rows."""
    records = tuple(records)
    kinds = tuple(dict.fromkeys(map(type, records)))
    if len(kinds) != 1 or kinds[0] not in KINDS:
        raise FieldError("records", f"at least one record, all of one kind ({_names(KINDS)})", _names(kinds) or "none")
    check_unique("id", (record.id for record in records))
    return kinds[0], [asdict(record) for record in records]


def _names(kinds: Iterable[type]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)


def _table(records: Iterable[Any]) -> Any:
    arrow = _package("pyarrow")

    def column(hint: Any) -> Any:
        if hint is str:
            return arrow.string()
        if is_dataclass(hint):
            return arrow.struct([(name, column(part)) for name, part in _columns(hint)[0].items()])
        return arrow.list_(column(get_args(hint)[0]))

    kind, rows = _rows(records)
    return arrow.Table.from_pylist(rows, schema=arrow.schema(column(kind)))


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(f"the package {error.name!r} is missing: install the extra adaptlab[data]") from error


CHAT = "chat"
_MESSAGES = tuple[Message, ...]


def to_messages(record: Record, instruction: str = "") -> dict[str, list[dict[str, str]]]:
    """{"messages": [{role, content}, ...]}: TRL's conversational language modelling.

    ``instruction`` becomes the system message of a record without one: say there what is to be done with a Labelled.
    Raises `FieldError` for a Completion, which has no roles, and where there is no answer to learn from, as in a
    benchmark's questions.
    """
    messages = _messages(record)
    roles = [message.role for message in messages]
    if "assistant" not in roles:
        raise FieldError("messages", "an assistant message to learn from", ", ".join(roles))
    if instruction and roles[0] == "system":
        raise FieldError("instruction", "none beside the conversation's own system message", shown(instruction))
    system = (Message("system", instruction),) if instruction else ()
    return {"messages": [asdict(message) for message in system + messages]}


def to_prompt_completion(record: Record, style: str = "question", instruction: str = "") -> dict[str, Any]:
    """{"prompt", "completion"}, of which TRL trains the completion alone, here the last answer: lists of messages in
    style ``chat``, else texts in a layout, a key of `FORMATS`.

    The prompt is what `methods.prompting.render` asks with. A conversation's earlier turns stand as demonstrations.
    ``{instruction}`` is ``instruction`` or the system message; without either, an Instruction's own text, and its
    input is the query. The completion begins with the layout's seam, so that no token spans the two, and ends with
    the answer. TRL puts the end token after texts; after messages the chat template has to.

    A Completion is taken as it is, in any layout. Raises `FieldError` where layout and record do not fit, and unless
    user and assistant take turns.
    """
    check_choice("style", style, (*FORMATS, CHAT))
    if style != CHAT and isinstance(record, PromptCompletion):
        if instruction:
            raise FieldError("instruction", "none for a Completion, whose prompt is complete", shown(instruction))
        return {"prompt": record.prompt, "completion": record.completion}
    if style != CHAT and isinstance(record, Instruction) and not instruction and _has_place(style):
        return _laid_out(style, record.instruction, [record.input, record.output])
    messages = to_messages(record, instruction)["messages"]
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    turns = messages[bool(system) :]
    roles = [turn["role"] for turn in turns]
    if roles != ["user", "assistant"] * (len(turns) // 2):
        raise FieldError("messages", "user and assistant in turns, the assistant last", ", ".join(roles))
    if style == CHAT:
        return {"prompt": messages[:-1], "completion": messages[-1:]}
    return _laid_out(style, system, [turn["content"] for turn in turns])


def from_messages(row: Any, id: str) -> Conversation:
    """The Conversation of a row of `to_messages`. Raises `FieldError` as records and loaders do."""
    check_row(row, ("messages",))
    return Conversation(id, revived(_MESSAGES, row["messages"], "messages"))


def from_prompt_completion(row: Any, id: str) -> Conversation | PromptCompletion:
    """The Conversation of a row of lists of messages, the Completion of a row of texts. Raises `FieldError`."""
    prompt, completion = (check_row(row, ("prompt", "completion"))[name] for name in ("prompt", "completion"))
    if isinstance(prompt, str):
        return PromptCompletion(id, prompt, completion)
    return Conversation(id, revived(_MESSAGES, prompt, "prompt") + revived(_MESSAGES, completion, "completion"))


def _messages(record: Any) -> tuple[Message, ...]:
    if isinstance(record, Conversation):
        return record.messages
    if isinstance(record, Labelled):
        return Message("user", record.text), Message("assistant", record.label)
    if isinstance(record, Instruction):
        query = f"{record.instruction}\n{record.input}" if record.input.strip() else record.instruction
        return Message("user", query), Message("assistant", record.output)
    raise FieldError("record", "a Conversation, Instruction or Labelled, which have roles", type(record).__name__)


def _has_place(style: str) -> bool:
    return "{instruction}" in FORMATS[style].head + FORMATS[style].turn


def _laid_out(style: str, instruction: str, texts: list[str]) -> dict[str, str]:
    """Queries and answers in turns as a page, cut before the last answer."""
    layout = FORMATS[style]
    if _has_place(style) and not instruction:
        raise FieldError("instruction", f"text for its place in the layout {style!r}", "none")
    if instruction and not _has_place(style):
        raise FieldError("instruction", f"none, as the layout {style!r} has no place for it", shown(instruction))
    if "{instruction}" not in layout.turn and not texts[0].strip():
        raise FieldError("input", f"text that is not blank, as the query of the layout {style!r}", shown(texts[0]))
    *earlier, (query, answer) = zip(texts[::2], texts[1::2], strict=True)
    return {"prompt": layout.prompt(instruction, earlier, query), "completion": layout.separator + answer}
