"""Files read strictly: the ground under `formats`.

A file is UTF-8 (a byte-order mark is accepted) or it is refused. Lines end in LF or CRLF; the last line end may be
missing; empty lines are skipped. JSON is the standard's: no NaN or Infinity, no name twice in one object.
Whatever is wrong with a file is a `FormatError`. A reader that is handed a list `rejected` puts each bad row there and
reads on; what is wrong with the file as a whole stays an error.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from adaptlab.tasks.records import FieldError, check_choice, quote

_BOM = b"\xef\xbb\xbf"
_GAP = re.compile(r"[ \t\r\n]*")


class FormatError(FieldError):
    """Bad input: which file, line (from 1) and field ("" for the line as a whole), what was expected, what found."""

    def __init__(self, path: str | Path, line: int, field: str, expected: str, found: str):
        super().__init__(field, expected, found)
        self.args = (path, line, field, expected, found)
        self.path, self.line = Path(path), line

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}: {super().__str__()}"


class Row(NamedTuple):
    """A row of a file: the line where it starts, its text there, and the value that the text stands for."""

    line: int
    raw: str
    value: Any


class RejectedRow(NamedTuple):
    r"""A row that was rejected: its text (``\xff`` stands for a byte that is none) and what strict reading raises."""

    raw: str
    error: FormatError


RejectedRows = list[RejectedRow] | None


@contextmanager
def at(path: str | Path, line: int, raw: str = "", rejected: RejectedRows = None) -> Iterator[None]:
    """Give every `FieldError` raised inside its place in a file; where there is a list for it, end there instead."""
    try:
        yield
    except FieldError as error:
        if not isinstance(error, FormatError):
            error = FormatError(path, line, error.field, error.expected, error.found)
        if rejected is None:
            raise error from None
        rejected.append(RejectedRow(raw, error))


@contextmanager
def within(part: str) -> Iterator[None]:
    """Say of every `FieldError` raised inside that its field belongs to `part`, such as ``messages[1]``."""
    try:
        yield
    except FieldError as error:
        field = f"{part}.{error.field}" if error.field else part
        raise FieldError(field, error.expected, error.found) from None


def _text_lines(path: str | Path, rejected: RejectedRows = None) -> Iterator[Row]:
    """Every line, without its LF; the file must hold more than white space."""
    data = Path(path).read_bytes().removeprefix(_BOM)
    if not data.strip():
        raise FormatError(path, 1, "", "at least one record", "an empty file")
    # Not str.splitlines: it also cuts at U+2028 and others, which are legal inside a JSON string.
    for number, line in enumerate(data.split(b"\n"), start=1):
        raw = line.decode(errors="backslashreplace")
        with at(path, number, raw, rejected):
            try:
                yield Row(number, raw, line.decode())
            except UnicodeDecodeError as error:
                raise FieldError("", "UTF-8 text", f"the byte 0x{line[error.start]:02x}") from None


def read_text(path: str | Path) -> str:
    """The file's text, which must be UTF-8 and hold more than white space."""
    return "\n".join(row.value for row in _text_lines(path))


def numbered_lines(path: str | Path, rejected: RejectedRows = None) -> Iterator[Row]:
    """Every line that is not empty, without its end."""
    for number, _, text in _text_lines(path, rejected):
        if line := text.removesuffix("\r"):
            yield Row(number, line, line)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        name = next(name for name in names if names.count(name) > 1)
        raise FieldError(name, "one value", f"{names.count(name)} values")
    return row


def _no_constant(name: str) -> None:
    raise FieldError("", "a JSON number", name)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)


def _decode(text: str, start: int = 0) -> tuple[Any, int]:
    """The JSON value at `start` and where it ends."""
    try:
        return _DECODER.raw_decode(text, start)
    except FieldError:
        raise
    except json.JSONDecodeError as error:
        raise FieldError("", "valid JSON", f"{error.msg} at column {error.colno}") from None
    except (RecursionError, ValueError) as error:  # brackets nested, or a number written, beyond all use
        raise FieldError("", "valid JSON", str(error)) from None


def json_lines(path: str | Path, rejected: RejectedRows = None) -> Iterator[Row]:
    """The rows of a file with one JSON value a line."""
    for number, line, _ in numbered_lines(path, rejected):
        with at(path, number, line, rejected):
            value, end = _decode(line, _GAP.match(line).end())
            if rest := line[end:].strip():
                raise FieldError("", "one JSON value a line", f"{quote(rest)} after it")
            yield Row(number, line, value)


def json_items(path: str | Path) -> Iterator[Row]:
    """The items of a file that is one JSON list."""
    text = read_text(path)
    place, line = 0, 1

    def step(to: int) -> str:
        """Move to the next sign from `to` on that is not white space, and return it."""
        nonlocal place, line
        after = _GAP.match(text, to).end()
        line += text.count("\n", place, after)
        place = after
        return text[place : place + 1]

    mark, inside = step(0), "["
    while mark == inside:
        if step(place + 1) == "]" and inside == "[":
            raise FormatError(path, line, "", "at least one record", "an empty list")
        with at(path, line):
            value, end = _decode(text, place)
        yield Row(line, text[place:end], value)
        mark, inside = step(end), ","
    if mark != "]" or inside == "[":
        wanted = "a JSON list" if inside == "[" else "',' or ']' after an item"
        raise FormatError(path, line, "", wanted, quote(mark) if mark else "the end of the file")
    if step(place + 1):
        raise FormatError(path, line, "", "nothing after the list", quote(text[place:]))


def check_row(row: Any, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """The row itself, if it is an object with all required fields and no unknown ones.

    An unknown field is refused, not dropped: it is a misspelling, or something the reader should know is not used.
    """
    if not isinstance(row, dict):
        raise FieldError("", "a JSON object", quote(row))
    for name in required:
        if name not in row:
            raise FieldError(name, "a value", f"only the fields {', '.join(map(quote, row)) or 'of an empty object'}")
    for name in row:
        check_choice(quote(name)[1:-1], name, required + optional)
    return row


def check_list(field: str, value: Any) -> list:
    """The value itself, if it is a list with something in it."""
    if not isinstance(value, list) or not value:
        raise FieldError(field, "a list, not empty", quote(value))
    return value


def collect_pairs(
    path: str | Path, rows: Iterable[Row], build: Callable[[Any, str], Any], rejected: RejectedRows = None
) -> list[tuple[Row, Any]]:
    """(row, the record that `build(value, fallback id)` makes of it) for every row; no id may occur twice.

    The fallback id counts the rows that were rejected. Where that was every row, the first one's error is raised.
    """
    lines: dict[str, int] = {}
    pairs: list[tuple[Row, Any]] = []
    for row in rows:
        with at(path, row.line, row.raw, rejected):
            record = build(row.value, f"{Path(path).stem}-{len(pairs) + len(rejected or ()) + 1}")
            if record.id in lines:
                raise FieldError("id", f"an id other than that of line {lines[record.id]}", quote(record.id))
            lines[record.id] = row.line
            pairs.append((row, record))
    if rejected and not pairs:
        raise rejected[0].error
    return pairs


def collect(
    path: str | Path, rows: Iterable[Row], build: Callable[[Any, str], Any], rejected: RejectedRows = None
) -> tuple:
    """The records alone of `collect_pairs`."""
    return tuple(record for _, record in collect_pairs(path, rows, build, rejected))
