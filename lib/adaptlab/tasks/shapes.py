"""The shapes in which the field writes its data: each is told by its columns, and read into plain fields.

What a row says, whatever its shape, becomes a dictionary with some of the fields: ``id``, ``category``, ``cluster``;
``text``, ``label``; ``instruction``, ``input``, ``output``, ``rationale``; ``messages``, ``references``; ``prompt``,
``chosen``, ``rejected``; ``document``. A shape is a function from a row to such dictionaries (one, or several). Raises
`FieldError` for what a row lacks, has wrongly, or holds beyond text (tools, images).
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pydantic

from adaptlab.tasks.records import Demonstration, FieldError, Message, PromptFile, check_text, quote

Fields = dict[str, Any]
Shape = Callable[[dict[str, Any]], list[Fields]]

# What columns are called in files of the field, the most telling name first.
ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("id", "_id", "uuid", "idx", "prompt_id", "question_id", "conversation_id", "message_tree_id"),
    "split": ("split", "fold", "partition"),
    "cluster": ("cluster", "cluster_id", "passage_id", "document_id", "doc_id", "context_id", "group"),
    "category": ("category", "task", "task_name", "topic", "domain"),
    "instruction": ("instruction", "question", "prompt", "query", "problem", "request", "user", "source", "input"),
    "input": ("input", "context"),
    "output": ("output", "response", "completion", "answer", "target", "solution", "reply", "assistant", "gold"),
    "rationale": ("rationale", "reasoning", "explanation", "chain_of_thought", "cot"),
    "text": ("text", "sentence", "message", "review", "utterance", "content", "comment", "tweet", "headline", "title"),
    "label": ("label", "labels", "label_text", "class", "intent", "sentiment", "emotion", "desk", "stars", "rating"),
    "document": ("document", "passage", "article", "context", "body", "page", "abstract"),
}
_PLAIN = re.compile(r"[^a-z0-9]+")


def plain_name(column: str) -> str:
    return _PLAIN.sub("_", column.lower()).strip("_")


def known_column(name: str) -> bool:
    """Whether a name, or a word of it, is one that files of the field have for a column."""
    plain = plain_name(name)
    return any(word in of for word in (plain, *plain.split("_")) for of in ALIASES.values())


def missing(value: Any) -> bool:
    """Whether a cell holds nothing: null, NaN, or no text."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def as_text(field: str, value: Any, strict: bool = False) -> str:
    """A value as text: numbers, and true and false, as JSON writes them; unless ``strict``, which takes text alone."""
    if isinstance(value, bool) and not strict:
        return str(value).lower()
    return str(value) if isinstance(value, int | float) and not strict else check_text(field, value)


@contextmanager
def within(part: str) -> Iterator[None]:
    """Say of every `FieldError` raised inside that its field belongs to `part`, such as ``messages[1]``."""
    try:
        yield
    except FieldError as error:
        field = f"{part}.{error.field}" if error.field else part
        raise FieldError(field, error.expected, error.found) from None


def needed(row: Mapping[str, Any], name: str) -> str:
    """The text in a column that must be there."""
    if name not in row:
        raise FieldError(name, "a value", f"only the fields {', '.join(map(quote, row)) or 'of an empty object'}")
    return check_text(name, row[name])


# --- nested shapes: their schemas -------------------------------------------------------------------------------------


class _Said(pydantic.BaseModel):
    """A message of OpenAI's chat format."""

    role: str
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    weight: int | float | None = None
    tool_calls: Any = None
    function_call: Any = None


class _Chat(pydantic.BaseModel):
    messages: list[_Said] = pydantic.Field(min_length=1)
    tools: Any = None
    functions: Any = None


class _ShareGpt(pydantic.BaseModel):
    conversations: list[dict[str, Any]] = pydantic.Field(min_length=1)
    system: str | None = None


class _Turns(pydantic.BaseModel):
    turns: list[str] = pydantic.Field(min_length=1)
    reference: list[str] | None = None


class _UltraChat(pydantic.BaseModel):
    data: list[str] = pydantic.Field(min_length=1)


class _Instance(pydantic.BaseModel):
    input: str | None = None
    output: str


class _SelfInstruct(pydantic.BaseModel):
    instruction: str
    instances: list[_Instance] = pydantic.Field(min_length=1)
    is_classification: bool | None = None


class _Tree(pydantic.BaseModel):
    """A message of an OASST tree, with its replies."""

    text: str
    role: str
    rank: int | float | None = None
    replies: list["_Tree"] = []


_LEXICON = {
    "missing": "a value",
    "string_type": "text",
    "list_type": "a list, not empty",
    "too_short": "a list, not empty",
    "bool_type": "true or false",
    "dict_type": "an object",
    "model_type": "an object",
}


def _checked(schema: type[pydantic.BaseModel], row: Mapping[str, Any]) -> Any:
    """The row by its schema; what does not fit is a `FieldError` that names the place, such as ``messages[1].role``."""
    try:
        return schema.model_validate(row, strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        kept = [part for part in first["loc"] if isinstance(part, int) or not re.search(r"[^\w]|^(str|list)$", part)]
        field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in kept).removeprefix(".")
        found = quote(first["input"])
        if first["type"] == "missing":
            found = f"only the fields {', '.join(map(quote, first['input'])) or 'of an empty object'}"
        raise FieldError(field, _LEXICON.get(first["type"], first["msg"]), found) from None
    except RecursionError:
        raise FieldError("", "values that are not nested without end", "more levels than can be read") from None


_ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "instruction", "input"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "bing", "output", "response"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}


def message(role: Any, content: Any, name: str = "", weight: float | None = None) -> Message:
    """One message; roles of other tools by the kit's names. Refuses roles and contents of tools, and images."""
    if role in ("tool", "function", "function_call", "observation", "ipython"):
        raise FieldError("role", "user, assistant or system: the kit does not read tools", quote(role))
    if isinstance(content, list):
        kinds = {str(part.get("type")) if isinstance(part, dict) else type(part).__name__ for part in content}
        if kinds - {"text", "input_text", "output_text"}:
            raise FieldError("content", "text: the kit does not read images, sound or files", ", ".join(sorted(kinds)))
        content = "\n".join(check_text("text", part.get("text")) for part in content)
    known = _ROLES.get(role.lower() if isinstance(role, str) else "", role)
    return Message(known, content, name=name or "", weight=1.0 if weight is None else float(weight))


def _messages(said: Iterable[tuple[Any, ...]], part: str = "messages") -> tuple[Message, ...]:
    made = []
    for place, one in enumerate(said):
        with within(f"{part}[{place}]"):
            made.append(message(*one))
    return tuple(made)


def _openai(row: dict[str, Any]) -> list[Fields]:
    chat = _checked(_Chat, row)
    for place, said in enumerate(chat.messages):
        if said.tool_calls or said.function_call:
            raise FieldError(f"messages[{place}]", "text: the kit does not read tools", "a call of a tool")
    if chat.tools or chat.functions:
        raise FieldError("tools", "none: the kit does not read tools", quote(chat.tools or chat.functions))
    said = _messages((m.role, m.content, m.name, m.weight) for m in chat.messages)
    references = row.get("references") or ()
    return [{"messages": said, "references": tuple(references) if isinstance(references, list) else references}]


def _sharegpt(row: dict[str, Any]) -> list[Fields]:
    chat = _checked(_ShareGpt, {**row, "conversations": row.get("conversations", row.get("conversation"))})
    if row.get("tools"):
        raise FieldError("tools", "none: the kit does not read tools", quote(row["tools"]))
    pairs = [(one.get("from", one.get("role")), one.get("value", one.get("content"))) for one in chat.conversations]
    made = _messages(pairs, "conversations")
    return [{"messages": (*((Message("system", chat.system),) if chat.system else ()), *made)}]


def _ultrachat(row: dict[str, Any]) -> list[Fields]:
    said = _checked(_UltraChat, row).data
    return [{"messages": _messages([(("user", "assistant")[i % 2], text) for i, text in enumerate(said)], "data")}]


def _best(node: _Tree) -> Iterator[tuple[str, str]]:
    """From the root down, each time the reply that was ranked best."""
    while True:
        yield node.role, node.text
        if not node.replies:
            return
        node = min(node.replies, key=lambda one: math.inf if one.rank is None else one.rank)


def _oasst_tree(row: dict[str, Any]) -> list[Fields]:
    with within("prompt"):
        return [{"messages": _messages(_best(_checked(_Tree, row.get("prompt"))), "replies")}]


def gathered(rows: Iterable[Any]) -> list[Any]:
    """OASST's single messages as trees, one row a tree, where the first of them stood; anything else as it is."""
    rows = list(rows)
    nodes = {_id(row.value): {**row.value, "replies": []} for row in rows if isinstance(row.value, dict)}
    roots = []
    for row in rows:
        node = nodes.get(_id(row.value)) if isinstance(row.value, dict) else None
        above = nodes.get(quote(node.get("parent_id"), 500)) if node and node.get("parent_id") else None
        if above is not None:
            above["replies"].append(node)
        elif node:
            tree = {"message_tree_id": node.get("message_tree_id") or node.get("message_id"), "prompt": node}
            roots.append(row._replace(value=tree))
        else:
            roots.append(row)
    reached = [row.value["prompt"] for row in roots if isinstance(row.value, dict)]
    for node in reached:  # grows while it is walked
        reached += node["replies"]
    known = set(map(_id, reached))
    return roots + [row for row in rows if isinstance(row.value, dict) and _id(row.value) not in known]  # in circles


def _id(row: dict[str, Any]) -> str:
    return quote(row.get("message_id"), 500)


def _mt_bench(row: dict[str, Any]) -> list[Fields]:
    asked = _checked(_Turns, row)
    if asked.reference and len(asked.reference) != len(asked.turns):
        raise FieldError("reference", f"{len(asked.turns)} answers, one a turn", str(len(asked.reference)))
    said = _messages((("user", turn) for turn in asked.turns), "turns")
    return [{"messages": said, "references": tuple(asked.reference or ())}]


def _self_instruct(row: dict[str, Any]) -> list[Fields]:
    task = _checked(_SelfInstruct, row)
    kind = {True: "classification", False: "generation", None: ""}[task.is_classification]
    shared = {"instruction": task.instruction, "category": kind}
    made = []
    for place, one in enumerate(task.instances):
        with within(f"instances[{place}]"):
            check_text("output", one.output)
        made.append({**shared, "input": one.input or "", "output": one.output})
    if "id" in row and len(made) > 1:
        made = [{"id": f"{row['id']}.{place}", **one} for place, one in enumerate(made, start=1)]
    return made


def _squad(row: dict[str, Any]) -> list[Fields]:
    """A question on a passage, with one answer or several, of which the first is taken."""
    answers = row.get("answers", row.get("answer"))
    texts = answers.get("text") if isinstance(answers, dict) else answers
    texts = texts if isinstance(texts, list) else [texts]
    if not texts:
        raise FieldError("answers", "an answer: the passage does not hold one", "none")
    context, asked = needed(row, "context"), needed(row, "question")
    return [{"document": context, "instruction": asked, "output": as_text("answers", texts[0])}]


_CALCULATION = re.compile(r"<<[^<>]*>>")
_FINAL = re.compile(r"(?:^|\n)#### (-?\d[\d,]*(?:\.\d+)?)\s*\Z")


def _gsm8k(row: dict[str, Any]) -> list[Fields]:
    """Question, worked answer as ``rationale``, final number as ``output`` (Cobbe et al., 2110.14168).

    Three things are normalised and nothing else: calculator marks ``<<2+3=5>>`` go, the last line ``#### 1,050`` leaves
    the rationale, and its number loses the thousands commas.
    """
    asked, answer = needed(row, "question"), needed(row, "answer")
    final = _FINAL.search(answer)
    if final is None:
        raise FieldError("answer", "a last line '#### NUMBER'", quote(answer.rsplit("\n", 1)[-1]))
    worked = _CALCULATION.sub("", answer[: final.start()])
    return [{"instruction": asked, "output": final[1].replace(",", ""), "rationale": worked}]


def _flan(row: dict[str, Any]) -> list[Fields]:
    r"""FLAN's chain-of-thought table without a header (2210.11416): question, answer, rationale; ``\n`` ends a line."""
    named = zip(("question", "answer", "rationale"), "123", strict=True)
    asked, answer, why = (check_text(name, needed(row, column).replace("\\n", "\n")) for name, column in named)
    return [{"instruction": asked, "output": answer, "rationale": why}]


_SPEAKER = re.compile(r"\n\n(Human|Assistant): ?")


def _preferences(row: dict[str, Any]) -> list[Fields]:
    """Two answers to one prompt: texts, message lists that share their beginning, or HH-RLHF's dialogues."""
    sides = [row.get("chosen"), row.get("rejected")]
    if all(isinstance(side, list) for side in sides):
        one, other = (_openai({"messages": side})[0]["messages"] for side in sides)
        prompt = row.get("prompt")
        asked = _openai({"messages": prompt})[0]["messages"] if isinstance(prompt, list) else one[:-1]
        said = "\n".join(m.content for m in asked) or check_text("prompt", prompt)
        return [{"prompt": said, "chosen": one[-1].content, "rejected": other[-1].content}]
    chosen, rejected = needed(row, "chosen"), needed(row, "rejected")
    prompt = next((row[name] for name in ("prompt", *ALIASES["instruction"]) if not missing(row.get(name))), None)
    if prompt is None:
        parts, others = _SPEAKER.split(chosen), _SPEAKER.split(rejected)
        if len(parts) < 5 or len(others) < 5:
            raise FieldError("prompt", "a value", f"only the fields {', '.join(map(quote, row))}")
        cut = len(chosen) - len(parts[-1])
        return [{"prompt": chosen[:cut].strip(), "chosen": parts[-1].strip(), "rejected": others[-1].strip()}]
    return [{"prompt": check_text("prompt", prompt), "chosen": chosen, "rejected": rejected}]


# Name, the columns that tell it (any set of them), the columns that it uses beside these, and how it is read.
SHAPES: tuple[tuple[str, tuple[frozenset[str], ...], frozenset[str], Shape], ...] = tuple(
    (name, tuple(frozenset(one.split()) for one in told), frozenset(more.split()), shape)
    for name, told, more, shape in (
        ("OpenAI chat", ("messages",), "tools functions references", _openai),
        ("OASST messages", ("message_id parent_id text role",), "", _oasst_tree),
        ("OASST trees", ("message_tree_id prompt",), "", _oasst_tree),
        ("ShareGPT", ("conversations", "conversation"), "system tools", _sharegpt),
        ("preferences", ("chosen rejected",), "prompt question instruction", _preferences),
        ("Self-Instruct", ("instruction instances",), "is_classification name", _self_instruct),
        ("MT-Bench", ("turns",), "reference", _mt_bench),
        ("UltraChat", ("data",), "", _ultrachat),
        ("SQuAD", ("context question answers",), "", _squad),
    )
)


def told(rows: list[Any]) -> tuple[str, frozenset[str], Shape] | None:
    """The shape of rows by their columns and contents: its name, the columns that it uses, and how it is read; None
    for plain columns, whose meaning their names must tell."""
    some = [row.value for row in rows[:50] if isinstance(row.value, dict)]
    columns = {name for row in some for name in row}
    for name, signs, more, shape in SHAPES:
        for sign in signs:
            if sum(sign <= set(row) for row in some) * 2 > len(some):
                if name == "UltraChat" and not any(isinstance(row.get("data"), list) for row in some):
                    continue
                return name, sign | more, shape
    if {"question", "answer"} <= columns:
        final = sum(isinstance(row.get("answer"), str) and bool(_FINAL.search(row["answer"])) for row in some)
        if final * 2 > len(some):
            return "GSM8K", frozenset(("question", "answer")), _gsm8k
    if columns == {"1", "2", "3"}:
        return "FLAN chain of thought", frozenset("123"), _flan
    return None


# --- prompt files of URIAL --------------------------------------------------------------------------------------------

_FENCE = "```"
# A heading is alone on its line: the system text speaks of "# Query:" too.
_HEADING = re.compile(r"^# (Query|Answer):[ \t]*$", re.MULTILINE)


def is_prompt_file(text: str) -> bool:
    """Whether a text has the headings of a URIAL prompt file, or is its system text alone."""
    return bool(_HEADING.search(text.replace("\r\n", "\n"))) or text.lstrip().startswith("# Instruction")


def prompt_file(text: str, line: Callable[[int], Any]) -> PromptFile:
    """A prompt file of URIAL (Lin et al., 2312.01552): system text without the newlines around it, queries and answers
    as they stand. ``line(n)`` is a context that puts errors in their place.

    From the first fence of a part to its last, everything belongs to it, so an answer keeps code fences of its own.
    One newline inside each fence is layout; a query may as well stand on the fence's line. A file without blocks is a
    system text alone; one that opens with a block has none.
    """
    text = text.replace("\r\n", "\n")
    heads = list(_HEADING.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    parts = []
    for place, (head, end) in enumerate(zip(heads, ends, strict=False)):
        field = ("query", "answer")[place % 2]
        with line(text.count("\n", 0, head.start()) + 1):
            if head[1].lower() != field:
                raise FieldError(field, f"a line '# {field.capitalize()}:' first", quote(head[0]))
            parts.append(_inside(field, text[head.end() : end]))
            if field == "query" and end == len(text):
                raise FieldError("answer", "a line '# Answer:' after the query", "the end of the file")
    with line(1):
        system = text[: heads[0].start()] if heads else text
        return PromptFile(system.strip("\n"), tuple(map(Demonstration, parts[::2], parts[1::2])))


def _inside(field: str, fenced: str) -> str:
    """What stands between the first fence and the last."""
    fenced = fenced.strip()
    if len(fenced) < 2 * len(_FENCE) or not (fenced.startswith(_FENCE) and fenced.endswith(_FENCE)):
        raise FieldError(field, f"text between a fence {_FENCE} and another", quote(fenced))
    body = fenced.removeprefix(_FENCE).removesuffix(_FENCE).removeprefix("\n").removesuffix("\n")
    if not body.strip():
        raise FieldError(field, "text that is not blank", quote(body))
    return body
