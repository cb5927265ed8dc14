"""What a task is made of: small frozen records that check themselves, each with its ``query`` and its ``answer``.

Every record raises a `FieldError`, a ValueError, that names the field, what is allowed there and what was found.
Texts are kept as they are: no record strips, folds or re-encodes what it is given.
"""

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from operator import attrgetter
from typing import NamedTuple

ROLES = ("system", "user", "assistant")


class FieldError(ValueError):
    """A value that does not belong in its field. `found` is the value as it is quoted, not the value itself."""

    def __init__(self, field: str, expected: str, found: str):
        super().__init__(field, expected, found)
        self.field, self.expected, self.found = field, expected, found

    def __str__(self) -> str:
        place = f"field '{_cut(self.field, 100)}': " if self.field else ""
        return f"{place}expected {_cut(self.expected, 400)}, found {_cut(self.found, 300)}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def quote(value: object, width: int = 60) -> str:
    """A value as an error message quotes it: its repr, cut to `width` characters."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # brackets nested, or a number written, beyond all use
        text = f"a {type(value).__name__} too deep or too long to show"
    return _cut(text, width)


def check_text(field: str, value: object, blank: bool = False) -> str:
    """The value itself, if it is text that UTF-8 can hold and, unless `blank`, more than white space."""
    if not isinstance(value, str):
        raise FieldError(field, "text", quote(value))
    if not blank and not value.strip():
        raise FieldError(field, "text that is not blank", quote(value))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FieldError(field, "text without lone surrogates", quote(value)) from None
    return value


def check_choice(field: str, value: object, allowed: tuple[str, ...]) -> str:
    """The value itself, if it is one of the allowed ones."""
    if value not in allowed:
        raise FieldError(field, "one of " + ", ".join(map(repr, allowed)), quote(value))
    return value


def check_unique(field: str, values: Iterable[str]) -> None:
    """Refuse the first value that occurs twice."""
    seen = set()
    for value in values:
        if value in seen:
            raise FieldError(field, "values that differ from each other", f"{quote(value)} twice")
        seen.add(value)


def check_texts(record: object, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    """Check the fields of a record that hold text; the optional ones may be blank."""
    for name in required + optional:
        check_text(name, getattr(record, name), blank=name in optional)


def check_tuple(field: str, value: object, kind: type, empty: bool = False) -> None:
    """Refuse a value that is no tuple of ``kind``."""
    fits = isinstance(value, tuple) and all(isinstance(part, kind) for part in value)
    if not fits or not (value or empty):
        raise FieldError(field, f"a tuple of {kind.__name__}" + ("" if empty else ", not empty"), quote(value))


def _folded(sign: str) -> str:
    kind = unicodedata.category(sign)
    if kind == "Cf":  # marks without a width, such as the soft hyphen, do not part a word
        return ""
    return " " if kind[0] in "PZC" else sign  # symbols stay: "2 + 2" is not "2 2"


def content_key(text: str) -> str:
    """Hex sha256 of what a text says: case, white space, punctuation, controls and compatibility forms are folded.

    Two texts of one key count as the same item when splits are kept apart. A text of punctuation alone is
    hashed as it stands, since folding would leave nothing of it.
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    spaced = "".join(map(_folded, plain))
    return hashlib.sha256((" ".join(spaced.split()) or plain).encode("utf-8", "surrogatepass")).hexdigest()


def plain(record: object) -> object:
    """A record as JSON holds it, without the optional fields (``cluster``, ``name``, ``weight``) that are at their
    default: a record that does not use them is the same data as ever."""
    if not is_dataclass(record):
        return record._asdict() if hasattr(record, "_asdict") else record
    unused = {part.name for part in fields(record) if part.kw_only and getattr(record, part.name) == part.default}
    made = {name: value for name, value in asdict(record).items() if name not in unused}
    if isinstance(record, Conversation):
        made["messages"] = [plain(message) for message in record.messages]
    return made


@dataclass(frozen=True)
class Labelled:
    """One short text with its class. Items of one ``cluster`` belong together, as questions on one passage do."""

    id: str
    text: str
    label: str
    cluster: str = field(default="", kw_only=True, repr=False)

    def __post_init__(self):
        check_texts(self, ("id", "text", "label"), ("cluster",))

    query = property(attrgetter("text"), doc="The text.")
    answer = property(attrgetter("label"), doc="The class.")


@dataclass(frozen=True)
class Instruction:
    """An instruction with its input (may be blank) and the wanted output.

    `rationale` is the worked reasoning that leads to `output`, where a data set has one. Items of one `cluster` belong
    together, as questions on one passage do.
    """

    id: str
    instruction: str
    input: str
    output: str
    category: str = ""
    rationale: str = ""
    cluster: str = field(default="", kw_only=True, repr=False)

    def __post_init__(self):
        check_texts(self, ("id", "instruction", "output"), ("input", "category", "rationale", "cluster"))

    @property
    def query(self) -> str:
        """What is asked: the instruction, and below it the input where there is one."""
        return f"{self.instruction}\n{self.input}" if self.input.strip() else self.instruction

    answer = property(attrgetter("output"), doc="The wanted output.")

    @property
    def turns(self) -> list[tuple[str, str]]:
        """The one query with its answer."""
        return [(self.query, self.answer)]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; `role` is system, user or assistant, `name` who of them speaks.

    A `weight` of 0 keeps what the assistant says from being trained on, as in OpenAI's format.
    """

    role: str
    content: str
    name: str = field(default="", kw_only=True, repr=False)
    weight: float = field(default=1.0, kw_only=True, repr=False)

    def __post_init__(self):
        check_choice("role", self.role, ROLES)
        check_texts(self, ("content",), ("name",))
        if self.weight not in (0, 1):
            raise FieldError("weight", "0 or 1", quote(self.weight))


@dataclass(frozen=True)
class Conversation:
    """Messages in order; a system message stands first or nowhere.

    Turns need not alternate: a benchmark question is a row of user turns whose answers are yet to be written.
    `references` are model answers to judge by, one a turn, blank where a turn has none.
    """

    id: str
    messages: tuple[Message, ...]
    category: str = ""
    references: tuple[str, ...] = ()

    def __post_init__(self):
        check_texts(self, ("id",), ("category",))
        check_tuple("messages", self.messages, Message)
        check_tuple("references", self.references, str, empty=True)
        for place, text in enumerate(self.references):
            check_text(f"references[{place}]", text, blank=True)
        for place, message in enumerate(self.messages[1:], start=1):
            if message.role == "system":
                raise FieldError(f"messages[{place}].role", "'user' or 'assistant' after the first message", "'system'")

    @property
    def query(self) -> str:
        """What others than the assistant say, one message below the other."""
        return "\n".join(message.content for message in self.messages if message.role != "assistant")

    @property
    def answer(self) -> str:
        """What the assistant says, one message below the other."""
        return "\n".join(message.content for message in self.messages if message.role == "assistant")

    @property
    def read_only(self) -> list[int]:
        """The turns whose answers are not to be trained on: those of weight 0."""
        said = [message for message in self.messages if message.role == "assistant"]
        return [place for place, message in enumerate(said) if not message.weight]

    @property
    def turns(self) -> list[tuple[str, str]]:
        """(query, answer) for each turn; a system text stands in front of the first query. Raises FieldError unless
        user and assistant take turns."""
        roles, said = ([getattr(message, name) for message in self.messages] for name in ("role", "content"))
        if roles[0] == "system" and len(roles) > 1:
            _, said[1] = roles.pop(0), f"{said[0]}\n\n{said[1]}"
            said.pop(0)
        if roles != ["user", "assistant"] * (len(roles) // 2):
            raise FieldError("messages", f"user and assistant in turns (conversation {self.id})", ", ".join(roles))
        return list(zip(said[::2], said[1::2], strict=True))


@dataclass(frozen=True)
class Text:
    """A document."""

    id: str
    text: str

    def __post_init__(self):
        check_texts(self, ("id", "text"))

    query = property(attrgetter("text"), doc="The text.")
    answer = property(lambda self: "", doc="Nothing: a document asks nothing.")


@dataclass(frozen=True)
class Preference:
    """Two answers to one prompt, of which one was chosen."""

    id: str
    prompt: str
    chosen: str
    rejected: str

    def __post_init__(self):
        check_texts(self, ("id", "prompt", "chosen", "rejected"))
        if self.chosen == self.rejected:
            raise FieldError("rejected", "another answer than the chosen one", quote(self.rejected))

    query = property(attrgetter("prompt"), doc="The prompt.")
    answer = property(attrgetter("chosen"), doc="The answer that was chosen.")


class Demonstration(NamedTuple):
    """A worked example for a prompt."""

    query: str
    answer: str


@dataclass(frozen=True)
class PromptFile:
    """A prompt for a base model: system text (may be blank) and demonstrations (may be none)."""

    system: str
    demonstrations: tuple[Demonstration, ...] = ()

    def __post_init__(self):
        check_texts(self, (), ("system",))
        check_tuple("demonstrations", self.demonstrations, Demonstration, empty=True)
        for place, (query, answer) in enumerate(self.demonstrations):
            check_text(f"demonstrations[{place}].query", query)
            check_text(f"demonstrations[{place}].answer", answer)
        if not (self.system.strip() or self.demonstrations):
            raise FieldError("system", "text, where there are no demonstrations", quote(self.system))
