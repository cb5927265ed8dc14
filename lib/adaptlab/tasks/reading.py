"""The one reader: any ordinary file of the field, a folder or a data set of the Hub becomes records; it is said how.

Rows come from `rows`, what they mean from `shapes`. Columns are found by their names, or given. What is not used stays
as metadata; ids and splits that are missing are made from the content; bad rows are set aside, each with its reason, in
a file of their own.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from adaptlab import paths
from adaptlab.files import write_text
from adaptlab.tasks import shapes
from adaptlab.tasks.records import (
    Conversation,
    Demonstration,
    FieldError,
    Instruction,
    Labelled,
    Message,
    Preference,
    PromptFile,
    Text,
    check_choice,
    content_key,
    quote,
)
from adaptlab.tasks.rows import FormatError, RejectedRow, Row, at, rows
from adaptlab.tasks.shapes import ALIASES, as_text, missing, plain_name
from adaptlab.tasks.splits import LabelledSet, OpenSet, leaked

KINDS = ("labelled", "instructions", "chat", "documents", "preferences")
TEST = 0.5  # share of the records that a made split holds back, as in the kit's own sets
_SPLITS = {
    **dict.fromkeys(("pool", "train", "training"), "pool"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
}
_ROLE = {"question": "instruction", "prompt": "instruction", "answer": "output", "passage": "document"}
_NESTED = ("messages", "conversations", "turns", "instances", "data", "chosen", "rejected")
# Which columns make a record of a kind: for each role, the roles whose columns can play it, the best first.
_SEARCH = {
    "labelled": {"label": ("label", "category", "output"), "text": ("text", "instruction", "document")},
    "instructions": {"instruction": ("instruction", "text"), "input": ("input",), "output": ("output", "label")},
    "documents": {"document": ("document", "text"), "instruction": ("instruction",), "output": ("output",)},
}
_SEARCH["chat"] = _SEARCH["instructions"]
_NEEDED = {
    "labelled": ("text", "label"),
    "instructions": ("instruction", "output"),
    "chat": ("instruction", "output"),
    "documents": ("document",),
}
_BESIDE = ("id", "split", "cluster", "category", "rationale")  # roles that a row of any shape can have
# As what shapes are read where nobody says; the others are conversations.
_OF_SHAPE = {"preferences": "preferences", "SQuAD": "documents"}
_OF_SHAPE |= dict.fromkeys(("Self-Instruct", "GSM8K", "FLAN chain of thought"), "instructions")
_ORDER = ("text", "label", "document", "instruction", "input", "output", "rationale", *ALIASES)
_HEADER = {"adaptlab": "rejected rows"}  # the first line of a file of rejected rows, by which it is known

Record = Labelled | Instruction | Conversation | Text | Preference


@dataclass(frozen=True)
class Reading:
    """Records in the order of their file, those of the test by their ids, and all that was understood of the file.

    ``shape`` and ``columns`` (role: column) tell how it was read, ``said`` in sentences. ``metadata``: {id: the columns
    that were not used}. ``questions``: those that stand beside documents, each in the ``cluster`` of its document.
    ``rejected`` rows stand in the file ``rejects``. ``system``: the system text of a prompt file.
    """

    name: str
    path: Path
    form: str
    shape: str
    kind: str
    columns: Mapping[str, str]
    records: tuple[Record, ...]
    held_back: frozenset[str]
    said: tuple[str, ...]
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    questions: tuple[Instruction, ...] = ()
    rejected: tuple[RejectedRow, ...] = field(default=(), repr=False)
    rejects: Path | None = None
    system: str = ""

    @property
    def pool(self) -> tuple[Record, ...]:
        """The records to show or to train on."""
        return tuple(one for one in self.records if one.id not in self.held_back)

    @property
    def test(self) -> tuple[Record, ...]:
        """The records that are held back."""
        return tuple(one for one in self.records if one.id in self.held_back)

    @property
    def data(self) -> LabelledSet | OpenSet:
        """The records as a set to experiment with. Raises FieldError for other kinds than labelled and instructions."""
        check_choice("as_", self.kind, ("labelled", "instructions"))
        if self.kind == "instructions":
            return OpenSet(self.name, self.pool, self.test, source=self)
        labels = tuple(sorted({record.label for record in self.records}))
        return LabelledSet(self.name, labels, self.pool, self.test, source=self)

    @property
    def prompt(self) -> PromptFile:
        """The records as the demonstrations of a prompt, below the file's system text."""
        return PromptFile(self.system, tuple(Demonstration(one.query, one.answer) for one in self.records))


def read(
    path_or_id: str | Path,
    as_: str = "",
    columns: Mapping[str, str] | str | None = None,
    strict: bool = False,
    *,
    encoding: str = "",
    rejects: str | Path | None = None,
) -> Reading:
    """Read JSON lines, a JSON list, CSV, TSV, Parquet, plain text (each gzipped or not), a folder of such files or of
    `datasets`, or a data set of the Hub, as one of `KINDS`; which one is told by the content, unless ``as_`` says.

    ``columns`` maps roles (text, label, instruction, input, output, document, id, split, cluster ...) to columns, as a
    mapping or as "text: review, label: stars". ``strict``: a bad row, or a column without a use, is an error; else bad
    rows go to ``rejects``, or to a file in the build folder. Raises `FormatError`, which names file, line and field, a
    FieldError for arguments that cannot be, and OSError where nothing can be read.
    """
    if as_:
        check_choice("as_", as_, KINDS)
    path, given = Path(path_or_id), _given_columns(columns)
    rejected: list[RejectedRow] | None = None if strict else []
    form, found = rows(path_or_id, rejected, encoding, given.values())
    reader = _Reader(path, as_, given, strict, rejected)
    known = list(found)
    if form == "text" and shapes.is_prompt_file(known[0].value):
        return _of_prompt_file(path, as_, known[0].value)
    if form.startswith(("text", "folder")) and path.suffix not in (".json", ".jsonl"):
        known = [row._replace(value={"text": row.value}) if isinstance(row.value, str) else row for row in known]
    made = reader.read(known, form)
    if not made.rejected:
        return made
    place, told = _write_rejected(made, rejects)
    return replace(made, rejects=place, said=(*made.said, told))


def _given_columns(columns: Mapping[str, str] | str | None) -> dict[str, str]:
    if isinstance(columns, str):
        pairs = [part.partition(":") for part in columns.split(",") if part.strip()]
        columns = {role.strip(): column.strip() for role, _, column in pairs}
    named = {_ROLE.get(role, role): column for role, column in (columns or {}).items()}
    for role, column in named.items():
        check_choice("columns", role, (*ALIASES, *_NESTED))
        if not isinstance(column, str) or not column:
            raise FieldError(f"columns.{role}", "the name of a column", quote(column))
    return named


def _name(path: Path) -> str:
    return re.sub(r"\.(gz|jsonl?|csv|tsv|tab|parquet|txt|md)$", "", path.stem) or path.name or "data"


def _of_prompt_file(path: Path, as_: str, text: str) -> Reading:
    prompt = shapes.prompt_file(text, partial(at, path))
    if as_ not in ("", "instructions"):
        raise FormatError(
            path, 1, "", f"data to read as {as_}", "a prompt file of URIAL, which is read as instructions"
        )
    shown = tuple(Instruction(f"{_name(path)}-{n}", q, "", a) for n, (q, a) in enumerate(prompt.demonstrations, 1))
    said = (f"{path.name}: a prompt file of URIAL with {len(shown)} demonstrations, all in the pool",)
    return Reading(
        _name(path), path, "text", "URIAL", "instructions", {}, shown, frozenset(), said, system=prompt.system
    )


class _Reader:
    """One reading of one file: rows in, a `Reading` out, and sentences on the way."""

    def __init__(self, path: Path, kind: str, given: dict[str, str], strict: bool, rejected: list[RejectedRow] | None):
        self.path, self.kind, self.given, self.strict, self.rejected = path, kind, given, strict, rejected
        self.said: list[str] = []
        self.columns: dict[str, str] = {}
        self.shape, self.used, self.build = "", frozenset(), self._flat
        self.metadata: dict[str, dict[str, Any]] = {}
        self.questions: list[Instruction] = []
        self.turns = Counter()

    def read(self, found: list[Row], form: str) -> Reading:
        found = [self._renamed(row) for row in found]
        if not found and self.rejected:
            raise self.rejected[0].error
        if not found:
            raise FormatError(self.path, 1, "", "at least one record", "none")
        self._tell(found)
        if self.shape == "OASST messages":
            found = shapes.gathered(found)
        records = self._records(found)
        if self.kind == "labelled":
            self._check_classes([one for _, one in records.values()])
        pool, test = self._divide(records)
        kept = {record.id for record in (*pool, *test)}
        made = tuple(record for _, record in records.values() if record.id in kept)
        count = f"{len(found)} rows, {len(made)} records read as {self.kind}"
        how = f"{form}, {self.shape}: {count}" + (f"; {_told_columns(self.columns)}" if self.columns else "")
        self.said.insert(0, f"{self.path.name}: {how}")
        rejected = tuple(sorted(self.rejected or (), key=lambda one: one.error.line))
        facts = (form, self.shape, self.kind, self.columns, made, frozenset(one.id for one in test), tuple(self.said))
        return Reading(_name(self.path), self.path, *facts, self.metadata, tuple(self.questions), rejected)

    def _renamed(self, row: Row) -> Row:
        """The row with the columns that were given for lists under the names by which these are known."""
        moved = {self.given[role]: role for role in _NESTED if role in self.given}
        if not moved or not isinstance(row.value, dict):
            return row
        return row._replace(value={moved.get(name, name): value for name, value in row.value.items()})

    # --- what the columns mean ----------------------------------------------------------------------------------------

    def _tell(self, found: list[Row]) -> None:
        """Which shape the rows have, as what they are read, and which columns mean what."""
        names = list(dict.fromkeys(name for row in found if isinstance(row.value, dict) for name in row.value))
        flat = [role for role in ("text", "instruction", "document") if role in self.given]
        own = [role for role in flat if role in _SEARCH.get(self.kind, flat) or self.given[role] in names]
        shape = None if own else shapes.told(found)
        if shape:
            self.shape, self.used, self.build = shape
            self.kind = self.kind or _OF_SHAPE.get(self.shape, "chat")
            taken: dict[str, str] = {}
        else:
            taken = self._flat_columns(names, found)
        for role in _BESIDE:
            if column := self._column(names, role, (role,), {*taken.values(), *self.used}):
                taken[role] = column
        if "id" in taken and "id" not in self.given and plain_name(taken["id"]) != "id":
            values = [row.value.get(taken["id"]) for row in found if isinstance(row.value, dict)]
            if len({quote(value) for value in values}) < len(values):
                del taken["id"]  # a number of a group, not of a row
        self.columns = {role: taken[role] for role in sorted(taken, key=_ORDER.index)}
        self.used |= set(taken.values())

    def _flat_columns(self, names: list[str], found: list[Row]) -> dict[str, str]:
        """The columns of rows without lists: by what was given, by their names, and for two classes of texts by what
        they hold."""
        for kind in [self.kind] if self.kind else ["labelled", "instructions", "documents"]:
            search, taken = _SEARCH.get(kind, {}), {}
            if kind == "labelled" and not self.kind:
                search = {role: (role,) for role in search}  # a guess is a safe one
            played = {one for roles in search.values() for one in roles}
            others = [role for role, column in self.given.items() if column in names and role not in _BESIDE]
            if other := next((role for role in others if role not in (*played, *_NESTED)), ""):
                if self.kind in _SEARCH:
                    raise FieldError("columns", f"columns for {', '.join(search)} of {kind}", f"one for {other}")
                continue
            for role, roles in search.items():
                if column := self._column(names, role, roles, {*taken.values()}):
                    taken[role] = column
            if set(_NEEDED.get(kind, ("?",))) <= set(taken) and self._fits(kind, taken, found):
                self.kind, self.shape = kind, _flat_shape(kind, taken)
                return taken
        taken = self._by_content(found) if self.kind in ("", "labelled") else {}
        if not taken:
            wanted = " and ".join(_NEEDED.get(self.kind or "instructions", ("chosen", "rejected")))
            remedy = f"columns for {wanted} (name them: columns='{wanted.split()[0]}: NAME, ...')"
            raise FormatError(self.path, found[0].line, "", remedy, ", ".join(map(quote, names[:20])) or "none")
        self.kind, self.shape = "labelled", "text and label"
        self.said.append(f"no column has a known name: {_told_columns(taken)} were chosen by what they hold")
        return taken

    def _fits(self, kind: str, taken: dict[str, str], found: list[Row]) -> bool:
        """Whether a kind that was not asked for is plausible: classes are few."""
        if self.kind or kind != "labelled":
            return True
        values = [quote(row.value.get(taken["label"])) for row in found if isinstance(row.value, dict)]
        return len(set(values)) <= max(2, len(values) // 2)

    def _by_content(self, found: list[Row]) -> dict[str, str]:
        """The column of few different texts as label, the one of the longest as text, where there are both."""
        some = [row.value for row in found if isinstance(row.value, dict)]
        columns = {name: [str(row.get(name, "")) for row in some] for name in (some[0] if some else ())}
        few = [name for name, texts in columns.items() if 2 <= len(set(texts)) <= max(2, len(texts) // 2)]
        rest = {name: sum(map(len, texts)) for name, texts in columns.items() if name not in few[:1]}
        long = [name for name in rest if len(set(columns[name])) > len(some) // 2]
        return {"text": max(long, key=rest.get), "label": few[0]} if few and long else {}

    def _column(self, names: list[str], role: str, roles: tuple[str, ...], taken: set[str]) -> str:
        """The column for a role: one that was given, for it or for another of ``roles``, or one of a known name.

        What was given for another role may be a column of another file, which the same notebook reads.
        """
        given = [self.given[one] for one in roles if one in self.given]
        if role in self.given and given[0] not in names:
            listed = ", ".join(map(quote, names[:20])) or "none"
            raise FormatError(self.path, 1, given[0], f"a column of this name, for {role}", listed)
        if column := next((column for column in given if column in names), ""):
            return column
        plain = {}
        for name in names:
            if name not in taken:
                plain.setdefault(plain_name(name), name)
        return next((plain[alias] for one in roles for alias in ALIASES[one] if alias in plain), "")

    # --- rows into records --------------------------------------------------------------------------------------------

    def _flat(self, row: dict[str, Any]) -> list[shapes.Fields]:
        made: shapes.Fields = {}
        for role in ("text", "label", "instruction", "input", "output", "document", "rationale"):
            if role not in self.columns:
                continue
            value = row.get(self.columns[role])
            optional = role in ("input", "rationale") or (
                self.kind == "documents" and role in ("instruction", "output")
            )
            if missing(value) and optional:
                continue
            if self.columns[role] not in row:
                listed = ", ".join(map(quote, row)) or "of an empty object"
                raise FieldError(self.columns[role], "a value", f"only the fields {listed}")
            made[role] = as_text(self.columns[role], value, self.strict)
        return [made]

    def _records(self, found: list[Row]) -> dict[str, tuple[str, Record]]:
        """{id: (the split that the file names, the record)}."""
        records: dict[str, tuple[str, Record]] = {}
        self.rows: dict[str, Row] = {}
        self.documents: dict[str, Text] = {}
        for row in found:
            with at(self.path, row.line, row.raw, self.rejected):
                new = list(self._of_row(row.value, records))
                for id in (one[0] for one in new if one[0] in self.rows):
                    raise FieldError("id", f"an id other than that of line {self.rows[id].line}", quote(id))
                for id, split, record, more in new:
                    records[id], self.rows[id] = (split, record), row
                    self.metadata |= {id: more} if more else {}
        if not records and self.rejected:
            raise min(self.rejected, key=lambda one: one.error.line).error
        if self.turns["more"]:
            self.said.append(f"of {self.turns['more']} conversations with several turns, the first turn was taken")
        if made := self.turns["ids"]:
            self.said.append(f"{made} ids were made, from the content")
        return records

    def _of_row(self, value: Any, known: Mapping[str, Any]):
        if isinstance(value, str):
            value = {"text": value}
        if not isinstance(value, dict):
            raise FieldError("", "a JSON object", quote(value))
        more = {name: cell for name, cell in value.items() if name not in self.used and not missing(cell)}
        if self.strict and more:
            name = next(iter(more))
            raise FieldError(quote(name)[1:-1], f"one of {', '.join(map(repr, sorted(self.used)))}", quote(name))
        split = self._split(value)
        own = value.get(self.columns.get("id", "\0"))
        base = "" if missing(own) else as_text(self.columns["id"], own, self.strict and type(own) is not int)
        for fields in self.build({**value, "id": base} if base else value):
            shared = {"category": self._optional(value, "category"), "cluster": self._optional(value, "cluster")}
            fields = {**{name: text for name, text in shared.items() if text}, **fields}
            record = _KINDS[self.kind](self, fields.get("id") or base or "?", fields)
            if record is None:
                continue
            if record.id == "?":
                record = replace(record, id=self._fresh(record, known))
            yield record.id, split, record, more

    def _optional(self, row: dict[str, Any], role: str) -> str:
        value = row.get(self.columns.get(role, "\0"))
        return "" if missing(value) or isinstance(value, list | dict) else as_text(role, value, self.strict)

    def _fresh(self, record: Record, known: Mapping[str, Any]) -> str:
        """An id from what a record says; a record that says the same as others gets their id with a number."""
        self.turns["ids"] += 1
        key, number = content_key(f"{record.query}\n{record.answer}")[:12], 1
        while (id := key if number == 1 else f"{key}.{number}") in known:
            number += 1
        return id

    def _split(self, row: dict[str, Any]) -> str:
        value = row.get(self.columns.get("split", "\0"))
        if missing(value):
            return ""
        name = str(value).lower().partition("[")[0].strip()
        if name not in _SPLITS:
            raise FieldError(self.columns["split"], f"one of {', '.join(map(repr, _SPLITS))}", quote(value))
        return _SPLITS[name]

    # --- pool and test ------------------------------------------------------------------------------------------------

    def _divide(self, records: dict[str, tuple[str, Record]]) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
        named = Counter(split for split, _ in records.values())
        if named["test"] and named["validation"]:
            records = {id: ("pool" if split == "validation" else split, one) for id, (split, one) in records.items()}
            self.said.append(f"{named['validation']} records for validation are in the pool, as there is a test")
        sides = {"pool": [], "test": [], "": []}
        for split, record in records.values():
            sides["test" if split == "validation" else split].append(record)
        if sides["pool"] and sides["test"]:
            sides["pool"] += sides[""]
            if sides[""]:
                self.said.append(f"{len(sides[''])} records that name no split are in the pool")
        else:
            everything = [record for _, record in records.values()]
            if self.kind == "documents":
                return tuple(everything), ()
            sides = dict(zip(("pool", "test"), halves(everything), strict=True))
            strata = ", by label" if self.kind == "labelled" else ""
            self.said.append(
                f"the split was made{strata}: {len(sides['pool'])} in the pool, {len(sides['test'])} in the test"
            )
        twice = leaked(sides["pool"], sides["test"])
        for record in twice:
            row = self.rows[record.id]
            with at(self.path, row.line, row.raw, self.rejected):
                raise FieldError("text", "a test text that is not in the pool as well", f"that of {quote(record.id)}")
        known = {record.id for record in twice}
        test = tuple(record for record in sides["test"] if record.id not in known)
        return tuple(sides["pool"]), test

    def _check_classes(self, records: list[Labelled]) -> None:
        counts = Counter(record.label for record in records)
        if len(counts) < 2:
            raise FormatError(self.path, 1, "label", "two classes or more", quote(next(iter(counts))))
        if len(counts) > max(2, len(records) // 2):
            wanted = "classes that several rows share; read free answers with as_='instructions'"
            raise FormatError(self.path, 1, "label", wanted, f"{len(counts)} in {len(records)} rows")


def halves(records: Sequence[Record], share: float = TEST) -> tuple[list[Record], list[Record]]:
    """A pool and a test of which each has its ``share``, in every class: by the hash of the content, so that the same
    records are divided alike in any order. Records of one content or of one cluster are on one side only; a class that
    has one content is in the pool."""
    groups: dict[str, str] = {}  # content, or cluster -> another of its group, and in the end the least

    def group(key: str) -> str:
        while groups.setdefault(key, key) != key:
            key = groups[key]
        return key

    contents = [content_key(one.query) for one in records]
    for content, record in zip(contents, records, strict=True):
        cluster = getattr(record, "cluster", "")
        one, other = sorted((group(content), group(content_key(f"cluster {cluster}") if cluster else content)))
        groups[other] = one
    strata: dict[str, set[str]] = defaultdict(set)
    for content, record in zip(contents, records, strict=True):
        strata[getattr(record, "label", "")].add(group(content))
    test: set[str] = set()
    for found in strata.values():
        ranked = sorted(found, key=lambda key: hashlib.sha256(f"split {key}".encode()).digest())
        test |= set(ranked[: int(share * len(ranked))])  # of an odd number, the pool has one more
    sides: tuple[list[Record], list[Record]] = ([], [])
    for content, record in zip(contents, records, strict=True):
        sides[group(content) in test].append(record)
    return sides


def _told_columns(columns: Mapping[str, str]) -> str:
    return ", ".join(role if role == column else f"{role} is {quote(column)}" for role, column in columns.items())


def _flat_shape(kind: str, taken: Mapping[str, str]) -> str:
    names = {plain_name(column) for column in taken.values()}
    if kind == "labelled":
        return "text and label"
    if kind == "documents":
        return "documents"
    known = {"Alpaca": {"instruction", "output"}, "Dolly": {"instruction", "response"}}
    known["prompt and completion"] = {"prompt", "completion"}
    return next((shape for shape, needed in known.items() if needed <= names), "question and answer")


# --- fields into records, by kind -------------------------------------------------------------------------------------


def _pair(reader: _Reader, fields: shapes.Fields) -> tuple[str, str, str]:
    """Instruction, input and output: of a conversation those of its first turn, the system text in front."""
    if "messages" not in fields:
        if "text" in fields:
            return fields["text"], "", fields["label"]
        if "chosen" in fields:
            return fields["prompt"], "", fields["chosen"]
        if "instruction" not in fields or "output" not in fields:
            raise FieldError("", "a question and its answer", "a document alone")
        return fields["instruction"], fields.get("input", fields.get("document", "")), fields["output"]
    said = list(fields["messages"])
    system = said.pop(0).content if said[0].role == "system" else ""
    answers = [m.content for m in said[1:2] if m.role == "assistant"] or [a for a in fields.get("references", ()) if a]
    if not said or said[0].role != "user" or not answers:
        raise FieldError("messages", "a user's message, and an answer to it", ", ".join(m.role for m in said) or "none")
    reader.turns["more"] += sum(m.role == "user" for m in said) > 1
    return f"{system}\n\n{said[0].content}" if system else said[0].content, "", answers[0]


def _labelled(reader: _Reader, id: str, fields: shapes.Fields) -> Labelled:
    instruction, given, output = _pair(reader, fields)
    text = f"{instruction}\n{given}" if given.strip() else instruction
    return Labelled(id, text, output.strip() if not reader.strict else output, cluster=fields.get("cluster", ""))


def _instruction(reader: _Reader, id: str, fields: shapes.Fields) -> Instruction:
    more = {name: fields.get(name, "") for name in ("category", "rationale")}
    cluster = fields.get("cluster") or (content_key(fields["document"])[:12] if "document" in fields else "")
    return Instruction(id, *_pair(reader, fields), **more, cluster=cluster)


def _conversation(reader: _Reader, id: str, fields: shapes.Fields) -> Conversation:
    said = fields.get("messages")
    if said is None:
        instruction, given, output = _pair(reader, fields)
        query = f"{instruction}\n{given}" if given.strip() else instruction
        said = (Message("user", query), Message("assistant", output))
    return Conversation(id, said, fields.get("category", ""), fields.get("references", ()))


def _document(reader: _Reader, id: str, fields: shapes.Fields) -> Text | None:
    """The document of a row, if it is a new one; its questions are kept beside it, in its cluster."""
    asked = [(fields["instruction"], fields["output"])] if {"instruction", "output"} <= set(fields) else []
    text = fields.get("document", fields.get("text"))
    if text is None and "messages" in fields:  # a system text that is asked about, or what was said
        one = Conversation("?", fields["messages"])
        asked = Conversation("?", tuple(m for m in one.messages if m.role != "system")).turns
        text = one.messages[0].content if one.messages[0].role == "system" else f"{one.query}\n{one.answer}"
    if text is None:
        asked = [_pair(reader, fields)[::2]]
        text = fields.get("input") or "\n".join(asked[0])
    key = content_key(text)[:12]
    new = key not in reader.documents
    record = reader.documents.setdefault(key, Text(key if asked or id == "?" else id, text))
    for question, answer in asked:
        number = len(reader.questions) + 1
        reader.questions.append(Instruction(f"q{number}", question, "", answer, cluster=record.id))
    return record if new else None


def _preference(reader: _Reader, id: str, fields: shapes.Fields) -> Preference:
    if "chosen" not in fields:
        raise FieldError("chosen", "a chosen and a rejected answer", "one answer")
    return Preference(id, fields["prompt"], fields["chosen"], fields["rejected"])


_KINDS = dict(zip(KINDS, (_labelled, _instruction, _conversation, _document, _preference), strict=True))


# --- what was set aside -----------------------------------------------------------------------------------------------


def _write_rejected(made: Reading, place: str | Path | None) -> tuple[Path | None, str]:
    """Write the rejected rows to a file, and say where. A file that the kit did not write is never replaced."""
    first = made.rejected[0].error
    lines = [{"line": one.error.line, "reason": str(one.error), "row": one.raw} for one in made.rejected]
    text = "".join(json.dumps(line) + "\n" for line in [_HEADER, *lines])
    told = f"{len(lines)} rows were set aside, the first because of {first}"
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    path = Path(place) if place else paths.BUILD / "rejected" / f"{made.name}-{mark}.jsonl"
    if path.exists() and not _is_ours(path):
        raise FieldError("rejects", "a new file, or one of rejected rows", f"{path.name}, which is something else")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        if place:
            raise
        return None, f"{told}; they could not be written to {path.parent}: {error.strerror}"
    return path, f"{told}; all stand in {path}"


def _is_ours(path: Path) -> bool:
    with suppress(OSError, ValueError, UnicodeError), path.open(encoding="utf-8") as file:
        return json.loads(file.readline()) == _HEADER
    return False
