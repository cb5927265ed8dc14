"""Files of the field are read whole, or each defect is one error with its place, or one rejected row."""

import gzip
import json
import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import adaptlab as al
from adaptlab.tasks.records import Conversation, FieldError, Instruction, Message, Text, content_key
from adaptlab.tasks.rows import FormatError
from format_files import GOOD, JSONL, KIND, PUBLIC, changed, jsonl, load, public, put, refusal

HUGE = "x" * 5_000_000
DEEP = "[" * 50_000 + "]" * 50_000
USER = {"role": "user", "content": "Hi"}
PAIR = {"input": "", "output": "4"}
DO = {"instruction": "Do it.", "output": "Done."}


def line_put(format, line, new):
    """The good file, as bytes, with one line replaced by other bytes."""
    lines = GOOD[format].encode().split(b"\n")
    lines[line - 1] = new if isinstance(new, bytes) else new.encode()
    return b"\n".join(lines)


def replaced(format, line, old, new):
    """The good file, as bytes, with some bytes of one line replaced."""
    before = GOOD[format].encode().split(b"\n")[line - 1]
    assert before.count(old) == 1
    return line_put(format, line, before.replace(old, new))


def cut(format, line, signs):
    return line_put(format, line, GOOD[format].split("\n")[line - 1][:signs])


def items(*rows):
    """An Alpaca file with one row a line, from line 2 on; rows may be JSON or values."""
    return "[\n" + ",\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n]\n"


# What a row can suffer: name, format, file, line, field, a part of what was found.
ROWS = [
    ("Latin-1", "chat", replaced("chat", 2, b'"Hi"', b'"H\xe9"'), 2, "", "byte 0xe9"),
    ("a sign cut in half", "mt-bench", replaced("mt-bench", 2, b"One", b"\xe2\x82"), 2, "", "byte 0xe2"),
    ("a byte in a TSV", "flan-cot", replaced("flan-cot", 2, b"not?", b"n\xf6t?"), 2, "", "byte 0xf6"),
    ("a byte in a seed task", "self-instruct", replaced("self-instruct", 1, b"Add", b"\xff"), 1, "", "byte 0xff"),
    ("cut after a colon", "completions", cut("completions", 3, 6), 3, "", "Expecting value at column 7"),
    ("cut in an escape", "gsm8k", line_put("gsm8k", 2, '{"question": "a\\u00'), 2, "", "Invalid \\uXXXX escape"),
    ("cut before the brace", "labelled", cut("labelled", 2, -1), 2, "", "Expecting ',' delimiter"),
    ("cut before the last tab", "flan-cot", cut("flan-cot", 2, 9), 2, "", "2"),
    ("a NUL in a text", "chat", replaced("chat", 2, b"Hi", b"H\0i"), 2, "", "Invalid control character"),
    ("a mark amid the file", "labelled", line_put("labelled", 2, b"\xef\xbb\xbf{}"), 2, "", "column 1"),
    ("CR alone for a line end", "chat", line_put("chat", 2, '{"id":\r"a"}\r{"id": "b"}'), 2, "", "after it"),
    ("white space alone", "chat", line_put("chat", 2, "   "), 2, "", "column 4"),
    ("a name twice", "chat", line_put("chat", 2, '{"id": "a", "id": "b"}'), 2, "id", "2 values"),
    ("half a surrogate pair", "chat", replaced("chat", 2, b'"Ho"', b'"\\udc00"'), 2, "messages[1].content", "udc00"),
    ("one in a field's name", "completions", changed("completions", 2, **{"\ud83d": 1}), 2, "\\ud83d", "ud83d"),
    ("NaN for a text", "completions", changed("completions", 2, completion=float("nan")), 2, "", "NaN"),
    ("infinity for an id", "mt-bench", changed("mt-bench", 2, question_id=float("inf")), 2, "", "Infinity"),
    ("true for an id", "mt-bench", changed("mt-bench", 2, question_id=True), 2, "question_id", "True"),
    ("nested without end", "chat", line_put("chat", 2, DEEP), 2, "", "recursion"),
    ("a number without end", "mt-bench", line_put("mt-bench", 2, "9" * 5000), 2, "", "digits"),
    ("a list for the row", "chat", line_put("chat", 2, json.dumps([USER])), 2, "", "[{'role'"),
    ("an empty row", "gsm8k", line_put("gsm8k", 2, "{}"), 2, "question", "empty object"),
    ("no message", "chat", changed("chat", 2, messages=[]), 2, "messages", "[]"),
    ("a text for a message", "chat", changed("chat", 2, messages=["a"]), 2, "messages[0]", "'a'"),
    ("a system message later", "chat", changed("chat", 2, messages=[USER, {**USER, "role": "system"}]), 2,
     "messages[1].role", "'system'"),
    ("a role of another API", "chat", changed("chat", 3, messages=[{"from": "human", "value": "Hi"}]), 3,
     "messages[0].role", "'from', 'value'"),
    ("a reference of no text", "chat", changed("chat", 2, references=[None]), 2, "references", "(None,)"),
    ("the id of line 1", "completions", changed("completions", 3, id="p0"), 3, "id", "'p0'"),
    ("a blank completion", "completions", changed("completions", 2, completion=" "), 2, "completion", "' '"),
    ("a blank output", "self-instruct", changed("self-instruct", 2, instances=[PAIR, {**PAIR, "output": " \n"}]), 2,
     "instances[1].output", "' \\n'"),
    ("no output", "self-instruct", changed("self-instruct", 2, instances=[PAIR, {"input": "2"}]), 2,
     "instances[1].output", "'input'"),
    ("yes for true", "self-instruct", changed("self-instruct", 2, is_classification="yes"), 2, "is_classification",
     "'yes'"),
    ("one turn more than answers", "mt-bench", changed("mt-bench", 2, turns=["1?", "2?", "3?"]), 2, "reference", "2"),
    ("a turn that is a list", "mt-bench", changed("mt-bench", 2, turns=["1?", ["2?"]]), 2, "turns[1]", "['2?']"),
    ("a split that is none", "labelled", changed("labelled", 2, split="odd"), 2, "split", "'odd'"),
    ("a test text of the pool", "labelled", changed("labelled", 2, text="NUMBER: 0"), 2, "text", "that of 'm1'"),
    ("an answer in words", "gsm8k", changed("gsm8k", 2, answer="two\n#### two"), 2, "answer", "'#### two'"),
    ("more than a number", "gsm8k", changed("gsm8k", 2, answer="#### 4 5"), 2, "answer", "'#### 4 5'"),
    ("a tab too many", "flan-cot", line_put("flan-cot", 2, "Is it?\tyes\tso\t"), 2, "", "4"),
    ("no rationale", "flan-cot", line_put("flan-cot", 2, "Is it?\tyes\t\\n"), 2, "rationale", "'\\n'"),
    ("5 MB without an end", "chat", line_put("chat", 2, '{"id": "' + HUGE), 2, "", "Unterminated string"),
    ("5 MB for a role", "chat", changed("chat", 2, messages=[{**USER, "role": HUGE}]), 2, "messages[0].role", "'xxx"),
    ("an item that is a list", "alpaca", items(DO, [DO]), 3, "", "[{'instr"),
    ("an item without output", "alpaca", items(DO, {"instruction": "Do."}, DO), 3, "output", "'instruction'"),
    ("the id of an item before", "alpaca", items({**DO, "id": "x"}, DO, {**DO, "id": "x"}), 4, "id", "'x'"),
    ("an item of 5 MB", "alpaca", items(DO, {**DO, "input": [HUGE]}, DO), 3, "input", "['xxx"),
]  # fmt: skip

# What leaves no rows to go on with, and files without rows.
URIAL = GOOD["urial"]
FILES = [
    ("empty", "chat", b"\xef\xbb\xbf \r\n", 1, "", "an empty file"),
    ("cut in an item", "alpaca", items(DO, DO)[:-20], 3, "", "Unterminated string"),
    ("NaN in an item", "alpaca", items(DO, {**DO, "input": float("nan")}), 3, "", "NaN"),
    ("an empty list", "alpaca", "\n\n[\n]", 4, "", "an empty list"),
    ("a comma too few", "alpaca", "[\n{}\n{}]".replace("{}", json.dumps(DO)), 3, "", "'{'"),
    ("a comma too many", "alpaca", f"[\n{json.dumps(DO)},\n]", 3, "", "Expecting value"),
    ("more behind the list", "alpaca", items(DO) + "\nmore", 5, "", "'more'"),
    ("a byte in an item", "alpaca", items(DO, DO).encode().replace(b"it.", b"\xe9", 1), 2, "", "byte 0xe9"),
    ("a byte in an answer", "urial", URIAL.encode().replace(b"a1", b"\xe9"), 10, "", "byte 0xe9"),
    ("cut in an answer", "urial", URIAL[:-8], 18, "answer", "'```'"),
    ("cut after a query", "urial", URIAL[: URIAL.rindex("# Answer")], 13, "answer", "the end of the file"),
    ("two answers", "urial", URIAL.replace("# Query:\n```\nq2", "# Answer:\n```\nq2"), 13, "query", "'# Answer:'"),
    ("two queries", "urial", URIAL.replace("# Answer:\n```\na1\n```", ""), 10, "answer", "'# Query:'"),
    ("no fence", "urial", URIAL.replace("# Query:\n```\nq2", "# Query:\nq2"), 13, "query", "q2"),
    ("half a fence", "urial", URIAL.replace("a2\n```", "``"), 18, "answer", "``"),
    ("a blank answer", "urial", URIAL.replace("a1", " "), 8, "answer", "' '"),
]  # fmt: skip


def cases(table):
    return [pytest.param(*row[1:], id=f"{row[1]}: {row[0]}") for row in table]


def check(error, line, field, found):
    assert (error.line, error.field) == (line, field)
    assert found in error.found
    assert len(str(error)) < 600, "an error is to be read"
    str(error).encode()


@pytest.mark.parametrize(("format", "data", "line", "field", "found"), cases(ROWS))
def test_a_bad_row_is_one_error_or_one_rejected_row(format, data, line, field, found, tmp_path):
    error = refusal(tmp_path, data, format)
    check(error, line, field, found)
    if format == "labelled" and field == "split":
        return  # where nobody insists, the split is one more thing that the row lacks
    reading = load(tmp_path, data, format, strict=False)
    if not reading.rejected:
        assert field in ("question_id", "\\ud83d"), "a bad row is lost"  # true becomes text, a column metadata
        return
    ((raw, same),) = reading.rejected
    assert (same.line, str(same)) == (line, str(error))
    text = reading.path.read_bytes().decode(errors="backslashreplace").split("\n")[line - 1]
    assert raw == text.removesuffix("," if format == "alpaca" else "\r")
    head, kept = map(json.loads, reading.rejects.read_text().splitlines())
    assert head == {"adaptlab": "rejected rows"} and kept == {"line": line, "reason": str(error), "row": raw}
    lines = reading.path.read_bytes().split(b"\n")
    rest = b"\n".join(lines[: line - 1] + lines[line:])
    if format == "alpaca":  # the list's last item goes with the comma before it
        rest = rest.replace(b",\n]", b"\n]")
    assert len(reading.records) == len(load(tmp_path, rest, format).records)


@pytest.mark.parametrize(("format", "data", "line", "field", "found"), cases(FILES))
def test_a_bad_file_is_an_error_either_way(format, data, line, field, found, tmp_path):
    check(refusal(tmp_path, data, format), line, field, found)
    with pytest.raises(FormatError) as caught:
        load(tmp_path, data, format, strict=False)
    check(caught.value, line, field, found)
