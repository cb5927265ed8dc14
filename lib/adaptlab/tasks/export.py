"""Records as rows for other tools: `datasets`, and TRL's data formats. `reading.read` reads all of them back."""

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptlab.files import whole_file, whole_folder, write_text
from adaptlab.tasks.prompt_formats import FORMATS, PromptFormat
from adaptlab.tasks.records import (
    Conversation,
    FieldError,
    Instruction,
    Labelled,
    Message,
    Preference,
    Text,
    check_choice,
    plain,
    quote,
)

if TYPE_CHECKING:
    from datasets import Dataset

CHAT = "chat"
Record = Instruction | Conversation | Labelled


def to_text(record: Record | Text) -> dict[str, str]:
    """{"text"}: TRL's plain language modelling, of a document or of a question with its answer."""
    return {"text": f"{record.query}\n{record.answer}" if record.answer else record.query}


def save(records: Iterable[Any], path: str | Path, shape: str = "fields") -> Path:
    """Write records for other tools, and for `reading.read`: JSON lines (``.jsonl``), a JSON list (``.json``),
    ``.csv``, ``.parquet``, or, for a path without ending, a folder of `datasets`.

    ``shape``: "fields" (one column a field), or TRL's "messages", "prompt-completion" or "text"; pairs of preferences
    have one shape. Raises FileExistsError where something is there already, and FieldError for another ending.
    """
    path, make = Path(path), {"fields": plain, "messages": to_messages, "text": to_text}
    make["prompt-completion"] = partial(to_prompt_completion, prompt_format=CHAT)
    check_choice("shape", shape, tuple(make))
    check_choice("path", path.suffix, ("", ".jsonl", ".json", ".csv", ".parquet"))
    if path.suffix == ".csv":  # a table holds no lists
        check_choice("shape", shape, ("fields", "text"))
    if path.exists():
        raise FileExistsError(f"{path} exists; name a new file or folder")
    rows = [make[shape](record) if not isinstance(record, Preference) else plain(record) for record in records]
    if path.suffix in (".jsonl", ".json"):
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        write_text(path, "\n".join([*lines, ""]) if path.suffix == ".jsonl" else f"[{f',{chr(10)}'.join(lines)}]\n")
        return path
    table = _table(rows)
    with whole_file(path) if path.suffix else whole_folder(path) as new:
        {"": table.save_to_disk, ".csv": table.to_csv, ".parquet": table.to_parquet}[path.suffix](str(new))
    return path


def _table(rows: list[dict[str, Any]]) -> "Dataset":
    """Rows as a table: a column that only some of them have is empty for the others. Needs the extra
    ``adaptlab[data]``."""
    from datasets import Dataset

    columns = list(dict.fromkeys(name for row in rows for name in row))
    return Dataset.from_list([{name: row.get(name) for name in columns} for row in rows])


def to_messages(record: Record, instruction: str = "") -> dict[str, list[dict[str, str]]]:
    """{"messages": [{role, content}, ...]}: TRL's conversational language modelling.

    ``instruction`` becomes the system message of a record without one: say there what is to be done with a Labelled.
    Raises FieldError where there is no answer to learn from.
    """
    if isinstance(record, Conversation):
        messages = record.messages
    else:
        messages = Message("user", record.query), Message("assistant", record.answer)
    roles = [message.role for message in messages]
    if "assistant" not in roles:
        raise FieldError("messages", "an assistant message to learn from", ", ".join(roles))
    if instruction and roles[0] == "system":
        raise FieldError("instruction", "none beside the conversation's own system message", quote(instruction))
    system = (Message("system", instruction),) if instruction else ()
    return {"messages": [plain(message) for message in (*system, *messages)]}


def to_prompt_completion(record: Record, prompt_format: str = "question", instruction: str = "") -> dict[str, Any]:
    """{"prompt", "completion"}, of which TRL trains the completion alone, here the last answer: lists of messages in
    the format ``chat``, else texts in a prompt format, a key of `prompt_formats.FORMATS`.

    The prompt is what `methods.prompting.render` asks with; a conversation's earlier turns stand as demonstrations.
    ``{instruction}`` is ``instruction`` or the system message; without either, an Instruction's own text, and its
    input is the query. The completion begins with the format's separator, so that no token spans the two. Raises
    FieldError where format and record do not fit, and unless user and assistant take turns.
    """
    check_choice("prompt_format", prompt_format, (*FORMATS, CHAT))
    if (
        prompt_format != CHAT
        and isinstance(record, Instruction)
        and not instruction
        and _has_place(FORMATS[prompt_format])
    ):
        return _laid_out(prompt_format, record.instruction, [(record.input, record.output)])
    messages = to_messages(record, instruction)["messages"]
    turns = Conversation("?", tuple(Message(**m) for m in messages if m["role"] != "system")).turns
    if prompt_format == CHAT:
        return {"prompt": messages[:-1], "completion": messages[-1:]}
    return _laid_out(prompt_format, messages[0]["content"] if messages[0]["role"] == "system" else "", turns)


def _has_place(format: PromptFormat) -> bool:
    return "{instruction}" in format.head + format.turn


def _laid_out(prompt_format: str, instruction: str, turns: list[tuple[str, str]]) -> dict[str, str]:
    """Queries and answers in a prompt format, cut before the last answer."""
    format = FORMATS[prompt_format]
    if _has_place(format) and not instruction:
        raise FieldError("instruction", f"text for its place in the format {prompt_format!r}", "none")
    if instruction and not _has_place(format):
        raise FieldError(
            "instruction", f"none, as the format {prompt_format!r} has no place for it", quote(instruction)
        )
    *earlier, (query, answer) = turns
    if "{instruction}" not in format.turn and not turns[0][0].strip():
        raise FieldError("input", f"text that is not blank, as the query of the format {prompt_format!r}", quote(query))
    return {"prompt": format.prompt(instruction, earlier, query), "completion": format.separator + answer}
