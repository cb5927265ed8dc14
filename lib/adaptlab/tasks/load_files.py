"""The file formats of the field, read into records; and records as rows for other tools.

Loaders are strict: every defect is a `FormatError` that names file, line, field, what was expected and what was found.
Handed a list ``rejected``, the loaders of files with rows put each bad row there instead and read on.
Rows without an id get ``NAME-N``: the file's name without its ending, and the record's number from 1.
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptlab.tasks.load_published import load_flan_cot, load_gsm8k, load_mt_bench, load_self_instruct, load_urial
from adaptlab.tasks.prompt_formats import FORMATS, PromptFormat
from adaptlab.tasks.records import (
    Conversation,
    FieldError,
    Instruction,
    Labelled,
    Message,
    PromptCompletion,
    check_choice,
    quote,
)
from adaptlab.tasks.splits import POOL_AND_TEST, LabelledSet, leaked
from adaptlab.tasks.strict_reading import (
    RejectedRows,
    at,
    check_list,
    check_row,
    collect,
    collect_pairs,
    json_items,
    json_lines,
    within,
)

if TYPE_CHECKING:
    from datasets import Dataset

CHAT = "chat"
Record = Instruction | Conversation | PromptCompletion | Labelled


def load_alpaca(path: str | Path, rejected: RejectedRows = None) -> tuple[Instruction, ...]:
    """A JSON list of {instruction, input, output}; `id`, `category` and `rationale` may stand beside them."""

    def build(row: Any, fallback: str) -> Instruction:
        check_row(row, ("instruction", "output"), ("input", "id", "category", "rationale"))
        return Instruction(**{"id": fallback, "input": "", **row})

    return collect(path, json_items(path), build, rejected)


def load_chat(path: str | Path, rejected: RejectedRows = None) -> tuple[Conversation, ...]:
    """JSONL of {messages: [{role, content}, ...]}; `id`, `category` and `references` may stand beside them."""

    def build(row: Any, fallback: str) -> Conversation:
        check_row(row, ("messages",), ("id", "category", "references"))
        references = check_list("references", row["references"]) if "references" in row else ()
        messages = []
        for place, message in enumerate(check_list("messages", row["messages"])):
            with within(f"messages[{place}]"):
                messages.append(Message(**check_row(message, ("role", "content"))))
        return Conversation(**{"id": fallback, **row, "messages": tuple(messages), "references": tuple(references)})

    return collect(path, json_lines(path, rejected), build, rejected)


def load_completions(path: str | Path, rejected: RejectedRows = None) -> tuple[PromptCompletion, ...]:
    """JSONL of {prompt, completion}, with or without `id`; white space where they meet is kept."""

    def build(row: Any, fallback: str) -> PromptCompletion:
        return PromptCompletion(**{"id": fallback, **check_row(row, ("prompt", "completion"), ("id",))})

    return collect(path, json_lines(path, rejected), build, rejected)


def load_labelled(path: str | Path, labels: tuple[str, ...] = (), rejected: RejectedRows = None) -> LabelledSet:
    """JSONL of {id, text, label, split}, where split is "pool" or "test"; the set has the file's name.

    ``labels`` are the classes in their order; left out, they are those of the file, sorted.
    """

    def build(row: Any, _fallback: str) -> Labelled:
        check_row(row, ("id", "text", "label", "split"))
        item = Labelled(row["id"], row["text"], row["label"])
        if labels:
            check_choice("label", item.label, labels)
        check_choice("split", row["split"], POOL_AND_TEST)
        return item

    pairs = collect_pairs(path, json_lines(path, rejected), build, rejected)
    rows = {item.id: row for row, item in pairs}
    pool, test = (tuple(item for row, item in pairs if row.value["split"] == split) for split in POOL_AND_TEST)
    twice = leaked(pool, test)
    for item in twice:
        with at(path, rows[item.id].line, rows[item.id].raw, rejected):
            raise FieldError("text", "a text that is not in the pool as well", quote(item.text))
    test = tuple(item for item in test if item not in twice)
    known = labels or tuple(sorted({item.label for item in pool + test}))
    with at(path, 1):
        return LabelledSet(Path(path).stem, known, pool, test)


LOADERS = {
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
    """Load ``path`` by the name of its format, a key of `LOADERS`."""
    return LOADERS[check_choice("format", format, tuple(LOADERS))](path)


def to_dataset(records: Iterable[Record]) -> "Dataset":
    """A Hugging Face Dataset in memory, one row a record, one column a field. Needs the extra ``adaptlab[data]``."""
    from datasets import Dataset

    return Dataset.from_list([asdict(record) for record in records])


def to_messages(record: Record, instruction: str = "") -> dict[str, list[dict[str, str]]]:
    """{"messages": [{role, content}, ...]}: TRL's conversational language modelling.

    ``instruction`` becomes the system message of a record without one: say there what is to be done with a Labelled.
    Raises FieldError for a PromptCompletion, which has no roles, and where there is no answer to learn from.
    """
    if isinstance(record, PromptCompletion):
        raise FieldError("record", "a Conversation, Instruction or Labelled, which have roles", "PromptCompletion")
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
    return {"messages": [asdict(message) for message in (*system, *messages)]}


def to_prompt_completion(record: Record, prompt_format: str = "question", instruction: str = "") -> dict[str, Any]:
    """{"prompt", "completion"}, of which TRL trains the completion alone, here the last answer: lists of messages in
    the format ``chat``, else texts in a prompt format, a key of `prompt_formats.FORMATS`.

    The prompt is what `methods.prompting.render` asks with; a conversation's earlier turns stand as demonstrations.
    ``{instruction}`` is ``instruction`` or the system message; without either, an Instruction's own text, and its
    input is the query. A PromptCompletion is taken as it is. The completion begins with the format's separator, so
    that no token spans the two. Raises FieldError where format and record do not fit, and unless user and assistant
    take turns.
    """
    check_choice("prompt_format", prompt_format, (*FORMATS, CHAT))
    if prompt_format != CHAT and isinstance(record, PromptCompletion):
        if instruction:
            raise FieldError("instruction", "none for a PromptCompletion, whose prompt is complete", quote(instruction))
        return {"prompt": record.prompt, "completion": record.completion}
    if (
        prompt_format != CHAT
        and isinstance(record, Instruction)
        and not instruction
        and _has_place(FORMATS[prompt_format])
    ):
        return _laid_out(prompt_format, record.instruction, [(record.input, record.output)])
    messages = to_messages(record, instruction)["messages"]
    turns = Conversation(record.id, tuple(Message(**m) for m in messages if m["role"] != "system")).turns
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
