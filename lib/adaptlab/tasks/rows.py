"""The rows of a file, with the line and the text of each: JSON lines, a JSON list, CSV, TSV, Parquet, plain text, each
of them gzipped or not, a folder that `datasets` saved, or a data set of the Hub.

JSON is the standard's: no NaN or Infinity, no name twice in one object. Text is UTF-8, or UTF-16 or UTF-32 with a
byte-order mark, or in the encoding that the caller names; else it is refused, and the likely encoding is named.
Whatever is wrong with a file is a `FormatError`. A reader that is handed a list ``rejected`` puts each bad row there
and reads on; what is wrong with the file as a whole stays an error.
"""

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from adaptlab.tasks.records import FieldError, quote
from adaptlab.tasks.shapes import known_column

_GAP = re.compile(r"[ \t\r\n]*")
_MARKS = (  # the longer ones first: the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
TABLES = {".csv": ",;\t|", ".tsv": "\t", ".tab": "\t"}
PROSE = (".txt", ".md")


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


def rows(
    name: str | Path, rejected: RejectedRows = None, encoding: str = "", columns: Collection[str] = ()
) -> tuple[str, Iterator[Row]]:
    """(what the file is, its rows). Of a table, a row's value is {column: text}; a row of plain text is the whole text.

    A folder of plain texts, or of parts of one data set, gives the rows of its files, in the order of their names.
    ``columns``: names by which a table's first row is known as one that names its columns. Raises `FormatError`, and
    OSError where there is no such file.
    """
    path = Path(name)
    if path.is_dir():
        return _folder(path, rejected, encoding, columns)
    if not path.exists() and HUB_ID.fullmatch(str(name)):
        return "data set of the Hub", _records(path, _hub(str(name)))
    data, suffix = path.read_bytes(), path.suffix.lower()
    if data.startswith(b"\x1f\x8b"):
        suffix = Path(path.stem).suffix.lower()
        with _foreign(path, "an undamaged gzip file", (OSError, EOFError, zlib.error)):
            data = gzip.decompress(data)
    if data.startswith(b"PAR1"):
        return "Parquet", _records(path, {"": _parquet(path, data)})
    if suffix in TABLES:
        return ("TSV" if suffix != ".csv" else "CSV"), _table(path, data, TABLES[suffix], rejected, encoding, columns)
    if suffix in PROSE:
        text = _text(path, data, encoding)
        return "text", iter([Row(1, text, text)])
    plain = _recoded(path, data, encoding)
    if plain.lstrip().startswith(b"["):
        return "JSON list", _json_items(path, plain)
    return "JSON lines", _json_lines(path, plain, rejected)


def json_lines(path: str | Path) -> Iterator[Row]:
    """The rows of a file with one JSON value a line, in UTF-8."""
    return _json_lines(path, _recoded(path, Path(path).read_bytes(), ""), None)


# --- bytes and text ---------------------------------------------------------------------------------------------------


def _recoded(path: str | Path, data: bytes, encoding: str) -> bytes:
    """The data in UTF-8, if it is known to be in another encoding; without a byte-order mark, and not empty."""
    known = encoding or next((name for mark, name in _MARKS if data.startswith(mark)), "")
    if known:
        try:
            data = data.decode(known).encode()
        except (UnicodeError, LookupError) as error:
            raise FormatError(path, 1, "", f"text in the encoding {known}", str(error)) from None
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        raise FormatError(path, 1, "", "at least one record", "an empty file")
    if not known and data[:400].count(b"\0") > len(data[:400]) // 3:
        remedy = "UTF-8 text; give encoding='utf-16-le' or 'utf-16-be', or save the file as UTF-8"
        raise FormatError(path, 1, "", remedy, "what looks like UTF-16 without a byte-order mark")
    return data


def _text(path: str | Path, data: bytes, encoding: str) -> str:
    return "\n".join(line.value for line in _lines(path, _recoded(path, data, encoding), None))


def _lines(path: str | Path, data: bytes, rejected: RejectedRows) -> Iterator[Row]:
    """Every line, without its LF."""
    # Not str.splitlines: it also cuts at U+2028 and others, which are legal inside a JSON string.
    for number, line in enumerate(data.split(b"\n"), start=1):
        raw = line.decode(errors="backslashreplace")
        with at(path, number, raw, rejected):
            try:
                yield Row(number, raw, line.decode())
            except UnicodeDecodeError as error:
                found = f"the byte 0x{line[error.start]:02x}{_likely(data)}"
                raise FieldError("", "UTF-8 text", found) from None


def _likely(data: bytes) -> str:
    """In which encoding data that is no UTF-8 probably is, and what to do about it."""
    high = {byte for byte in data if byte > 0x7F}
    undefined = {0x81, 0x8D, 0x8F, 0x90, 0x9D}  # in Windows-1252
    if high & undefined or len(high) > 40:
        return "; save the file as UTF-8, or give its encoding"
    return "; it looks like Windows-1252 or Latin-1: save the file as UTF-8, or give encoding='cp1252'"


@contextmanager
def _foreign(path: str | Path, expected: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn what another library raises about a file into a `FormatError`."""
    try:
        yield
    except FieldError:
        raise
    except errors as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(path, 1, "", expected, said if len(said) < 200 else said[:199] + "…") from None


# --- JSON -------------------------------------------------------------------------------------------------------------


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


def _json_lines(path: str | Path, data: bytes, rejected: RejectedRows) -> Iterator[Row]:
    for number, _, text in _lines(path, data, rejected):
        if not (line := text.removesuffix("\r")):
            continue
        with at(path, number, line, rejected):
            value, end = _decode(line, _GAP.match(line).end())
            if rest := line[end:].strip():
                raise FieldError("", "one JSON value a line", f"{quote(rest)} after it")
            yield Row(number, line, value)


def _json_items(path: str | Path, data: bytes) -> Iterator[Row]:
    """The items of a file that is one JSON list."""
    text = _text(path, data, "")
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
    if mark != "]":
        raise FormatError(path, line, "", "',' or ']' after an item", quote(mark) if mark else "the end of the file")
    if step(place + 1):
        raise FormatError(path, line, "", "nothing after the list", quote(text[place:]))


# --- tables -----------------------------------------------------------------------------------------------------------


def _table(
    path: Path, data: bytes, delimiters: str, rejected: RejectedRows, encoding: str, columns: Collection[str]
) -> Iterator[Row]:
    """The rows of a table whose first row names the columns; of one without names, they are "1", "2" and so on."""
    read = {line.line: line.value for line in _lines(path, _recoded(path, data, encoding), rejected)}
    text = "\n".join(read.get(number, "") for number in range(1, max(read, default=0) + 1))
    delimiter = max(delimiters, key=text.split("\n", 1)[0].count)
    found = list(_cells(path, text, delimiter, rejected))
    if not found:
        return
    header = [cell.strip() for cell in found[0][2]]
    if _is_header(header, [cells for *_, cells in found[1:]], columns):
        if len(set(header)) < len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise FormatError(path, found[0][0], twice, "one column of this name", str(header.count(twice)))
        del found[0]
    else:
        header = [str(number) for number in range(1, len(header) + 1)]
    for line, raw, cells in found:
        with at(path, line, raw, rejected):
            if len(cells) != len(header):
                raise FieldError("", f"{len(header)} columns ({', '.join(header)[:80]})", str(len(cells)))
            yield Row(line, raw, dict(zip(header, cells, strict=True)))


def _is_header(cells: list[str], below: list[list[str]], columns: Collection[str]) -> bool:
    """Whether a first row names the columns: it has a name that was given, or its cells are short, and one is a known
    name, or all are words that end no sentence and do not come again in their columns, as a class would."""
    if set(columns) & set(cells):
        return True
    if not all(len(cell) <= 40 and cell.count(" ") <= 3 for cell in cells):
        return False
    values = [{row[place].strip() for row in below if place < len(row)} for place in range(len(cells))]
    return any(map(known_column, cells)) or all(
        re.search(r"[^\W\d_]", cell) and cell[-1] not in ".!?" and cell not in of
        for cell, of in zip(cells, values, strict=True)
        if cell
    )


def _cells(path: Path, text: str, delimiter: str, rejected: RejectedRows) -> Iterator[tuple[int, str, list[str]]]:
    if delimiter == "\t":  # quotation marks mean themselves, but around a whole field that needs them
        for number, line in enumerate(text.split("\n"), start=1):
            if line := line.removesuffix("\r"):
                yield number, line, [_unquoted(cell) for cell in line.split("\t")]
        return
    csv.field_size_limit(2**31 - 1)
    reader, start = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), 1
    while True:
        try:
            cells = next(reader, None)
            if cells is None:
                return
            if cells:
                yield start, delimiter.join(cells), cells
        except csv.Error as error:
            with at(path, start, "\n".join(text.split("\n")[start - 1 : reader.line_num]), rejected):
                raise FieldError("", "a row of a table, with closed quotation marks", str(error)) from None
        start = reader.line_num + 1


def _unquoted(cell: str) -> str:
    inner = cell[1:-1].replace('""', "") if len(cell) > 1 and cell[0] == cell[-1] == '"' else '"'
    return cell if '"' in inner else cell[1:-1].replace('""', '"')


def _records(path: Path, splits: dict[str, Iterable[dict[str, Any]]]) -> Iterator[Row]:
    """Rows of tables that are read whole, by split; their lines are their numbers."""
    number = 0
    for split, records in splits.items():
        for value in records:
            number += 1
            value = {**value, "split": value.get("split", split)} if split else dict(value)
            yield Row(number, quote(value, 2000), value)


def _parquet(path: Path, data: bytes) -> list[dict[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise _no_library(path, "Parquet") from None
    with _foreign(path, "an undamaged Parquet file", (pyarrow.ArrowException, OSError, ValueError)):
        return parquet.read_table(pyarrow.BufferReader(data)).to_pylist()


def _folder(path: Path, rejected: RejectedRows, encoding: str, columns: Collection[str]) -> tuple[str, Iterator[Row]]:
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        try:
            import datasets
        except ImportError:
            raise _no_library(path, "a folder of datasets") from None
        with _foreign(path, "an undamaged folder of `datasets`", (Exception,)):
            return "datasets folder", _records(path, _by_split(datasets.load_from_disk(str(path))))
    files = sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
    known = [one for one in files if one.suffix in (*PROSE, *TABLES, ".json", ".jsonl", ".parquet", ".gz")]
    found = [one for one in known if one.suffix in PROSE] or known
    if not found:
        raise FormatError(path, 1, "", "a folder with data files (.jsonl, .json, .csv, .parquet, .txt)", "none")
    return f"folder of {len(found)} files", (
        row for one in found for row in rows(one, rejected, encoding, columns)[1]
    )  # each file is read when its turn comes


def _hub(name: str) -> dict[str, Iterable[dict[str, Any]]]:
    try:
        import datasets
    except ImportError:
        raise _no_library(Path(name), "a data set of the Hub") from None
    try:
        return _by_split(datasets.load_dataset(name))
    except Exception as error:
        said = " ".join(str(error).split()).split(". ")[0][:160] or type(error).__name__
        wanted = "a file or folder here, or a data set of the Hub that is in its cache or can be downloaded"
        raise FormatError(Path(name), 1, "", wanted, said) from None


def _by_split(loaded: Any) -> dict[str, Iterable[dict[str, Any]]]:
    """The splits of a data set or of a dictionary of them; classes by their names."""
    splits = loaded if isinstance(loaded, dict) else {"": loaded}
    return {split: _named(table) for split, table in splits.items()}


def _named(table: Any) -> Iterator[dict[str, Any]]:
    names = {column: kind.names for column, kind in table.features.items() if hasattr(kind, "names")}
    for row in table:
        known = {c: of[row[c]] for c, of in names.items() if isinstance(row[c], int) and 0 <= row[c] < len(of)}
        yield {**row, **known}


def _no_library(path: Path, what: str) -> FormatError:
    return FormatError(path, 1, "", f"the extra adaptlab[data], which reads {what}", "an installation without it")
