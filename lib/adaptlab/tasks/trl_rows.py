"""Records as rows that TRL's trainers take; what each shape keeps and loses is told at the top of `export`.

`from_messages` and `from_prompt_completion` give a Conversation's messages and a Completion's texts back exactly.
Nothing takes a laid-out page apart again: a text may hold the layout's own marks.
"""

from dataclasses import asdict
from typing import Any

from adaptlab.tasks.export import Record, revived
from adaptlab.tasks.formats_io import check_row
from adaptlab.tasks.prompts import FORMATS
from adaptlab.tasks.records import (
    Completion,
    Conversation,
    FieldError,
    Instruction,
    Labelled,
    Message,
    check_choice,
    shown,
)

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
    if style != CHAT and isinstance(record, Completion):
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


def from_prompt_completion(row: Any, id: str) -> Conversation | Completion:
    """The Conversation of a row of lists of messages, the Completion of a row of texts. Raises `FieldError`."""
    prompt, completion = (check_row(row, ("prompt", "completion"))[name] for name in ("prompt", "completion"))
    if isinstance(prompt, str):
        return Completion(id, prompt, completion)
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
    return {"prompt": layout.page(instruction, earlier, query), "completion": layout.seam + answer}
