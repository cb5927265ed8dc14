"""What a task is made of: small frozen records that check themselves.

Every record raises a `FieldError`, a ValueError, that names the field, what is allowed there and what was found.
Texts are kept as they are: no record strips, folds or re-encodes what it is given.
"""

import hashlib
import random
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

ROLES = ("system", "user", "assistant")


class FieldError(ValueError):
    """A value that does not belong in its field. `found` is how the value is shown, not the value itself."""

    def __init__(self, field: str, expected: str, found: str):
        super().__init__(field, expected, found)
        self.field, self.expected, self.found = field, expected, found

    def __str__(self) -> str:
        place = f"field '{self.field}': " if self.field else ""
        return f"{place}expected {self.expected}, found {self.found}"


def shown(value: object, width: int = 60) -> str:
    """A value as an error message quotes it: its repr, cut to `width` characters."""
    text = repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def check_text(field: str, value: object, blank: bool = False) -> str:
    """The value itself, if it is text that UTF-8 can hold and, unless `blank`, more than white space."""
    if not isinstance(value, str):
        raise FieldError(field, "text", shown(value))
    if not blank and not value.strip():
        raise FieldError(field, "text that is not blank", shown(value))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FieldError(field, "text without lone surrogates", shown(value)) from None
    return value


def check_choice(field: str, value: object, allowed: tuple[str, ...]) -> str:
    """The value itself, if it is one of the allowed ones."""
    if value not in allowed:
        raise FieldError(field, "one of " + ", ".join(map(repr, allowed)), shown(value))
    return value


def check_unique(field: str, values: Iterable[str]) -> None:
    """Refuse the first value that occurs twice."""
    seen = set()
    for value in values:
        if value in seen:
            raise FieldError(field, "values that differ from each other", f"{shown(value)} twice")
        seen.add(value)


def _check_texts(record: object, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    for field in required + optional:
        check_text(field, getattr(record, field), blank=field in optional)


def _check_tuple(field: str, value: object, kind: type, empty: bool = False) -> None:
    fits = isinstance(value, tuple) and all(isinstance(part, kind) for part in value)
    if not fits or not (value or empty):
        raise FieldError(field, f"a tuple of {kind.__name__}" + ("" if empty else ", not empty"), shown(value))


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


@dataclass(frozen=True)
class Labelled:
    """One short text with its class."""

    id: str
    text: str
    label: str

    def __post_init__(self):
        _check_texts(self, ("id", "text", "label"))

    @property
    def query(self) -> str:
        return self.text

    @property
    def answer(self) -> str:
        return self.label


def leaked(pool: Iterable[Labelled], test: Iterable[Labelled]) -> tuple[Labelled, ...]:
    """The test items whose content, by `content_key`, stands in the pool as well."""
    known = {content_key(item.text) for item in pool}
    return tuple(item for item in test if content_key(item.text) in known)


@dataclass(frozen=True)
class LabelledSet:
    """A classification task: demonstrations are drawn from `pool`, methods are judged on `test`.

    Labels are known, ids are unique over both splits, and no content stands in both. `instruction` tells a model what
    to do; ``{names}`` in it stands for the classes' names.
    """

    name: str
    labels: tuple[str, ...]
    pool: tuple[Labelled, ...]
    test: tuple[Labelled, ...]
    instruction: str = "Each text has one label: {names}."

    def __post_init__(self):
        _check_texts(self, ("name", "instruction"))
        _check_tuple("labels", self.labels, str)
        check_unique("labels", self.labels)
        _check_tuple("pool", self.pool, Labelled, empty=True)
        _check_tuple("test", self.test, Labelled)
        check_unique("id", (item.id for item in self.pool + self.test))
        for item in self.pool + self.test:
            check_choice(f"label of item {item.id}", item.label, self.labels)
        for item in leaked(self.pool, self.test):
            raise FieldError("test", "texts that are not in the pool", f"that of item {shown(item.id)}")

    def sample(self, k: int, seed: int) -> list[Labelled]:
        return _balanced(self.pool, k, seed)

    def items(self, n: int = 0) -> list[Labelled]:
        if not 0 <= n <= len(self.test):
            raise ValueError(
                f"items must be at most {len(self.test)}, the number of test items, or 0 for all; found {n}"
            )
        return _balanced(self.test, n, seed=0) if n else list(self.test)


def _balanced(pool, k: int, seed: int) -> list[Labelled]:
    if k < 0:
        raise ValueError(f"shots cannot be negative; found {k}")
    rng = random.Random(f"demonstrations {seed}")
    classes: dict[str, list[Labelled]] = {}
    for item in pool:
        classes.setdefault(item.label, []).append(item)
    rounds = min(map(len, classes.values()))
    if k > rounds * len(classes):
        raise ValueError(f"cannot draw {k} balanced demonstrations: the pool holds {rounds} of its rarest class")
    shuffled = [rng.sample(items, rounds) for items in classes.values()]
    drawn = []
    for one_of_each in zip(*shuffled, strict=True):
        drawn += rng.sample(one_of_each, len(one_of_each))
    return drawn[:k]


@dataclass(frozen=True)
class Instruction:
    """An instruction with its input (may be blank) and the wanted output.

    `rationale` is the worked reasoning that leads to `output`, where a data set has one.
    """

    id: str
    instruction: str
    input: str
    output: str
    category: str = ""
    rationale: str = ""

    def __post_init__(self):
        _check_texts(self, ("id", "instruction", "output"), ("input", "category", "rationale"))

    @property
    def query(self) -> str:
        return f"{self.instruction}\n{self.input}" if self.input.strip() else self.instruction

    @property
    def answer(self) -> str:
        return self.output

    @property
    def turns(self) -> list[tuple[str, str]]:
        return [(self.query, self.output)]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; `role` is system, user or assistant."""

    role: str
    content: str

    def __post_init__(self):
        check_choice("role", self.role, ROLES)
        _check_texts(self, ("content",))


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
        _check_texts(self, ("id",), ("category",))
        _check_tuple("messages", self.messages, Message)
        _check_tuple("references", self.references, str, empty=True)
        for place, text in enumerate(self.references):
            check_text(f"references[{place}]", text, blank=True)
        for place, message in enumerate(self.messages[1:], start=1):
            if message.role == "system":
                raise FieldError(f"messages[{place}].role", "'user' or 'assistant' after the first message", "'system'")

    @property
    def turns(self) -> list[tuple[str, str]]:
        roles, said = zip(*((message.role, message.content) for message in self.messages), strict=True)
        if list(roles) != ["user", "assistant"] * (len(roles) // 2):
            raise FieldError("messages", f"user and assistant in turns (conversation {self.id})", ", ".join(roles))
        return list(zip(said[::2], said[1::2], strict=True))


@dataclass(frozen=True)
class PromptCompletion:
    """A prompt and the text that is to follow it, white space at the seam included."""

    id: str
    prompt: str
    completion: str

    def __post_init__(self):
        _check_texts(self, ("id", "prompt", "completion"))


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
        _check_texts(self, (), ("system",))
        _check_tuple("demonstrations", self.demonstrations, Demonstration, empty=True)
        for place, (query, answer) in enumerate(self.demonstrations):
            check_text(f"demonstrations[{place}].query", query)
            check_text(f"demonstrations[{place}].answer", answer)
        if not (self.system.strip() or self.demonstrations):
            raise FieldError("system", "text, where there are no demonstrations", shown(self.system))
