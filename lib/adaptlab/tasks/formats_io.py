"""Files read strictly and written whole: the ground under `formats`.

A file is UTF-8 (a byte-order mark is accepted) or it is refused. Lines end in LF or CRLF; the last line end may be
missing; empty lines are skipped. JSON is the standard's: no NaN or Infinity, no name twice in one object.
Whatever is wrong with a file is a `FormatError`.
"""

import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adaptlab.tasks.records import FieldError, check_choice, shown

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


@contextmanager
def at(path: str | Path, line: int) -> Iterator[None]:
    """Give every `FieldError` raised inside its place in a file."""
    try:
        yield
    except FormatError:
        raise
    except FieldError as error:
        raise FormatError(path, line, error.field, error.expected, error.found) from None


@contextmanager
def within(part: str) -> Iterator[None]:
    """Say of every `FieldError` raised inside that its field belongs to `part`, such as ``messages[1]``."""
    try:
        yield
    except FieldError as error:
        field = f"{part}.{error.field}" if error.field else part
        raise FieldError(field, error.expected, error.found) from None


def read_text(path: str | Path) -> str:
    """The file's text, which must be UTF-8 and hold more than white space."""
    data = Path(path).read_bytes().removeprefix(_BOM)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(path, line, "", "UTF-8 text", f"the byte 0x{data[error.start]:02x}") from None
    if not text.strip():
        raise FormatError(path, 1, "", "at least one record", "an empty file")
    return text


def numbered_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """(line number, line without its end) for every line that is not empty."""
    # Not str.splitlines: it also cuts at U+2028 and others, which are legal inside a JSON string.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line := line.removesuffix("\r"):
            yield number, line


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


def json_lines(path: str | Path) -> Iterator[tuple[int, Any]]:
    """(line number, value) of a file with one JSON value a line."""
    for number, line in numbered_lines(path):
        with at(path, number):
            value, end = _decode(line, _GAP.match(line).end())
            if rest := line[end:].strip():
                raise FieldError("", "one JSON value a line", f"{shown(rest)} after it")
        yield number, value


def json_items(path: str | Path) -> Iterator[tuple[int, Any]]:
    """(line number where it starts, value) for each item of a file that is one JSON list."""
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
        yield line, value
        mark, inside = step(end), ","
    if mark != "]" or inside == "[":
        wanted = "a JSON list" if inside == "[" else "',' or ']' after an item"
        raise FormatError(path, line, "", wanted, shown(mark) if mark else "the end of the file")
    if step(place + 1):
        raise FormatError(path, line, "", "nothing after the list", shown(text[place:]))


def check_row(row: Any, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """The row itself, if it is an object with all required fields and no unknown ones.

    An unknown field is refused, not dropped: it is a misspelling, or something the reader should know is not used.
    """
    if not isinstance(row, dict):
        raise FieldError("", "a JSON object", shown(row))
    for name in required:
        if name not in row:
            raise FieldError(name, "a value", f"only the fields {', '.join(map(shown, row)) or 'of an empty object'}")
    for name in row:
        check_choice(shown(name)[1:-1], name, required + optional)
    return row


def check_list(field: str, value: Any) -> list:
    """The value itself, if it is a list with something in it."""
    if not isinstance(value, list) or not value:
        raise FieldError(field, "a list, not empty", shown(value))
    return value


def collect(path: str | Path, rows: Iterable[tuple[int, Any]], build: Callable[[Any, str], Any]) -> tuple:
    """The records that `build(row, fallback id)` makes of the rows; no id may occur twice."""
    lines: dict[str, int] = {}
    records = []
    for number, (line, row) in enumerate(rows, start=1):
        with at(path, line):
            record = build(row, f"{Path(path).stem}-{number}")
            if record.id in lines:
                raise FieldError("id", f"an id other than that of line {lines[record.id]}", shown(record.id))
        lines[record.id] = line
        records.append(record)
    return tuple(records)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 so that `path` holds the old content or all of the new, whenever the process dies."""
    data = text.encode()
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
