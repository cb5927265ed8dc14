"""Corrupt files, format by format: one clear error when read strictly; one reject, and the rest, when set aside."""

import json

import pytest

from adaptlab.tasks import formats
from adaptlab.tasks.curate import load_setting_aside, write_rejects
from adaptlab.tasks.reading import FormatError
from adaptlab.tasks.records import FieldError
from format_files import GOOD, JSONL, PUBLIC, changed, public, put, refusal

HUGE = "x" * 5_000_000
DEEP = "[" * 50_000 + "]" * 50_000
USER = {"role": "user", "content": "Hi"}
PAIR = {"input": "", "output": "4"}


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


DO = {"instruction": "Do it.", "output": "Done."}

# What a format's rows can suffer: name, format, file, line, field, a part of what was found.
ROWS = [
    ("Latin-1 in a text", "chat", replaced("chat", 2, b'"Hi"', b'"H\xe9"'), 2, "", "byte 0xe9"),
    ("Windows quotes", "completions", replaced("completions", 3, b'"Q:"', b'"\x93Q\x94"'), 3, "", "byte 0x93"),
    ("an overlong form", "gsm8k", replaced("gsm8k", 2, b"?", b"\xc0\xaf"), 2, "", "byte 0xc0"),
    ("a sign cut in half", "mt-bench", replaced("mt-bench", 2, b"One", b"\xe2\x82"), 2, "", "byte 0xe2"),
    ("a surrogate in UTF-8", "labelled", replaced("labelled", 2, b"number", b"\xed\xa0\x80"), 2, "", "byte 0xed"),
    ("a byte in a TSV", "flan-cot", replaced("flan-cot", 2, b"not?", b"n\xf6t?"), 2, "", "byte 0xf6"),
    ("a byte in a seed task", "self-instruct", replaced("self-instruct", 1, b"Add", b"\xff"), 1, "", "byte 0xff"),
    ("cut in a name", "chat", cut("chat", 2, 3), 2, "", "Unterminated string"),
    ("cut after a colon", "completions", cut("completions", 3, 6), 3, "", "Expecting value at column 7"),
    ("cut in an escape", "gsm8k", line_put("gsm8k", 2, '{"question": "a\\u00'), 2, "", "Invalid \\uXXXX escape"),
    ("cut before the brace", "labelled", cut("labelled", 2, -1), 2, "", "Expecting ',' delimiter"),
    ("cut in a number", "mt-bench", line_put("mt-bench", 3, '{"question_id": -'), 3, "", "Expecting value"),
    ("cut in a list", "self-instruct", cut("self-instruct", 2, 70), 2, "", "column"),
    ("cut before the last tab", "flan-cot", cut("flan-cot", 2, 9), 2, "", "2"),
    ("a NUL in a text", "chat", replaced("chat", 2, b"Hi", b"H\0i"), 2, "", "Invalid control character"),
    ("a tab in a text", "completions", replaced("completions", 2, b"Q:", b"Q\t"), 2, "", "Invalid control character"),
    ("NULs for a line", "gsm8k", line_put("gsm8k", 2, b"\0" * 64), 2, "", "column 1"),
    ("a mark amid the file", "labelled", line_put("labelled", 2, b"\xef\xbb\xbf{}"), 2, "", "column 1"),
    ("CR alone for a line end", "chat", line_put("chat", 2, '{"id":\r"a"}\r{"id": "b"}'), 2, "", "after it"),
    ("CR CR LF", "flan-cot", line_put("flan-cot", 2, "Is it?\tyes\t\r\r"), 2, "rationale", "'\\r'"),
    ("half a pair of surrogates", "chat", replaced("chat", 2, b'"Ho"', b'"\\udc00"'), 2, "messages[1].content",
     "udc00"),
    ("one within an instance", "self-instruct",
     changed("self-instruct", 2, instances=[{"input": "\ud800", "output": "x"}]), 2, "instances[0].input", "ud800"),
    ("one in a label", "labelled", changed("labelled", 3, label="\udfff"), 3, "label", "udfff"),
    ("one in a field's name", "completions", changed("completions", 2, **{"\ud83d": 1}), 2, "\\ud83d", "ud83d"),
    ("NaN for a text", "completions", changed("completions", 2, completion=float("nan")), 2, "", "NaN"),
    ("infinity for an id", "mt-bench", changed("mt-bench", 2, question_id=float("inf")), 2, "", "Infinity"),
    ("a fraction for an id", "mt-bench", changed("mt-bench", 2, question_id=1.0), 2, "question_id", "1.0"),
    ("a number past floats", "mt-bench", line_put("mt-bench", 2, '{"question_id": 1e999}'), 2, "category", "only the"),
    ("nested without end", "chat", line_put("chat", 2, DEEP), 2, "", "recursion"),
    ("objects nested without end", "gsm8k", line_put("gsm8k", 2, '{"a":' * 50_000), 2, "", "recursion"),
    ("a list for the row", "chat", line_put("chat", 2, json.dumps([USER])), 2, "", "[{'role'"),
    ("a text for the row", "self-instruct", line_put("self-instruct", 2, '"Add."'), 2, "", "'Add.'"),
    ("a message for messages", "chat", changed("chat", 2, messages=[[USER]]), 2, "messages[0]", "[{'role'"),
    ("no message", "chat", changed("chat", 2, messages=[]), 2, "messages", "[]"),
    ("an empty message", "chat", changed("chat", 2, messages=[USER, {"role": "assistant", "content": ""}]), 2,
     "messages[1].content", "''"),
    ("a role of another API", "chat", changed("chat", 3, messages=[{"from": "human", "value": "Hi"}]), 3,
     "messages[0].role", "'from', 'value'"),
    ("a reference of no text", "chat", changed("chat", 2, references=[None]), 2, "references", "(None,)"),
    ("no reference in the list", "chat", changed("chat", 2, references=[]), 2, "references", "[]"),
    ("an id that is a number", "completions", changed("completions", 2, id=2), 2, "id", "2"),
    ("a blank id", "completions", changed("completions", 2, id=" "), 2, "id", "' '"),
    ("the id of line 1", "completions", changed("completions", 3, id="p0"), 3, "id", "'p0'"),
    ("the id of line 2", "labelled", changed("labelled", 4, id="m1"), 4, "id", "'m1'"),
    ("the number of line 1", "mt-bench", changed("mt-bench", 3, question_id=0), 3, "id", "'0'"),
    ("the fallback id of line 3", "completions",
     line_put("completions", 3, '{"prompt": "Q", "completion": "1"}').decode().replace('"p0"', '"file-3"'), 3, "id",
     "'file-3'"),
    ("an empty output", "completions", changed("completions", 2, completion=""), 2, "completion", "''"),
    ("an output of white space", "self-instruct",
     changed("self-instruct", 2, instances=[PAIR, {"input": "", "output": " \n"}]), 2, "instances[1].output", "' \\n'"),
    ("a misspelt field", "gsm8k", changed("gsm8k", 2, anwser="2"), 2, "anwser", "'anwser'"),
    ("an unknown field of an instance", "self-instruct",
     changed("self-instruct", 2, instances=[{**PAIR, "note": 1}]), 2, "instances[0].note", "'note'"),
    ("yes for true", "self-instruct", changed("self-instruct", 2, is_classification="yes"), 2, "is_classification",
     "'yes'"),
    ("one turn more than answers", "mt-bench", changed("mt-bench", 2, turns=["1?", "2?", "3?"]), 2, "reference", "2"),
    ("a turn that is a list", "mt-bench", changed("mt-bench", 2, turns=["1?", ["2?"]]), 2, "turns[1]", "['2?']"),
    ("a split that is none", "labelled", changed("labelled", 2, split="dev"), 2, "split", "'dev'"),
    ("a label that is none", "labelled", changed("labelled", 2, label=None), 2, "label", "None"),
    ("a test text of the pool", "labelled", changed("labelled", 2, text="NUMBER: 0"), 2, "text", "'NUMBER: 0'"),
    ("an answer in words", "gsm8k", changed("gsm8k", 2, answer="two\n#### two"), 2, "answer", "'#### two'"),
    ("a question of white space", "gsm8k", changed("gsm8k", 2, question="\u2003"), 2, "question", "u2003"),
    ("a tab too many", "flan-cot", line_put("flan-cot", 2, "Is it?\tyes\tso\t"), 2, "", "4"),
    ("spaces for tabs", "flan-cot", line_put("flan-cot", 2, "Is it?    yes    so"), 2, "", "1"),
    ("no answer", "flan-cot", line_put("flan-cot", 2, "Is it?\t\\n\tso"), 2, "answer", "'\\n'"),
    ("5 MB without a tab", "flan-cot", line_put("flan-cot", 2, HUGE), 2, "", "1"),
    ("5 MB without an end", "chat", line_put("chat", 2, '{"id": "' + HUGE), 2, "", "Unterminated string"),
    ("5 MB for a number", "mt-bench", line_put("mt-bench", 2, '{"question_id": ' + "9" * 5_000_000), 2, "", "digits"),
    ("5 MB for a role", "chat", changed("chat", 2, messages=[{"role": HUGE, "content": "a"}]), 2, "messages[0].role",
     "'xxx"),
    ("an item that is a list", "alpaca", items(DO, [DO]), 3, "", "[{'instr"),
    ("an item without output", "alpaca", items(DO, {"instruction": "Do."}, DO), 3, "output", "'instruction'"),
    ("an item with an empty output", "alpaca", items(DO, {**DO, "output": " "}, DO), 3, "output", "' '"),
    ("an input that is null", "alpaca", items(DO, {**DO, "input": None}), 3, "input", "None"),
    ("an unknown field of an item", "alpaca", items(DO, {**DO, "text": "Do it. Done."}), 3, "text", "'text'"),
    ("the id of an item before", "alpaca", items({**DO, "id": "x"}, DO, {**DO, "id": "x"}), 4, "id", "'x'"),
    ("a lone surrogate in an item", "alpaca", items(DO, {**DO, "output": "\ud800"}, DO), 3, "output", "ud800"),
    ("an item of 5 MB", "alpaca", items(DO, {**DO, "input": [HUGE]}, DO), 3, "input", "['xxx"),
]  # fmt: skip

# What leaves no rows to go on with.
FILES = [
    ("cut in an item", "alpaca", items(DO, DO)[:-20], 3, "", "Unterminated string"),
    ("NaN in an item", "alpaca", items(DO, {**DO, "input": float("nan")}), 3, "", "NaN"),
    ("a name twice in an item", "alpaca", items(DO, '{"output": "a", "output": "b"}'), 3, "output", "2 values"),
    ("a control sign in an item", "alpaca", items(DO, '{"output": "a\0"}'), 3, "", "Invalid control character"),
    ("JSONL for a list", "alpaca", json.dumps(DO) + "\n" + json.dumps(DO), 1, "", "'{'"),
    ("nested without end", "alpaca", items(DO, DEEP), 3, "", "recursion"),
    ("a byte in an item", "alpaca", items(DO, DO).encode().replace(b"it.", b"\xe9", 1), 2, "", "byte 0xe9"),
    ("a list for JSONL", "chat", json.dumps([json.loads(line) for line in GOOD["chat"].splitlines()]), 1, "", "[{'id'"),
    ("another format's rows", "gsm8k", GOOD["completions"], 1, "question", "'id', 'prompt', 'completion'"),
    ("UTF-16 without a mark", "completions", GOOD["completions"].encode("utf-16-le"), 1, "", "column 2"),
    ("UTF-16 of another order", "self-instruct", GOOD["self-instruct"].encode("utf-16-be"), 1, "", "column 1"),
    ("UTF-32", "mt-bench", GOOD["mt-bench"].encode("utf-32"), 1, "", "byte 0xff"),
    ("an archive", "labelled", b"PK\x03\x04\x14\0\0\0\x08\0\x8d\xc7", 1, "", "byte 0x8d"),
    ("a header line alone", "flan-cot", "question,answer,rationale\n", 1, "", "1"),
    ("no test item left", "labelled", changed("labelled", 2, text="number 0").replace('"m3"', '"m1"'), 1, "test", "()"),
    ("only carriage returns", "gsm8k", b"\r\r\r", 1, "", "empty file"),
]  # fmt: skip

URIAL = [
    ("a byte in an answer", GOOD["urial"].encode().replace(b"a1", b"\xe9"), 10, "", "byte 0xe9"),
    ("cut in an answer", GOOD["urial"][:-8], 18, "answer", "'```'"),
    ("cut after a query", GOOD["urial"][: GOOD["urial"].rindex("# Answer")], 13, "answer", "the end of the file"),
    ("two answers", GOOD["urial"].replace("# Query:\n```\nq2", "# Answer:\n```\nq2"), 13, "query", "'# Answer:'"),
    ("an answer of 5 MB without a fence", GOOD["urial"].replace("```\na2\n```", HUGE), 18, "answer", "'xxx"),
    ("quotes for fences", GOOD["urial"].replace("```\nq1\n```", '"""\nq1\n"""'), 3, "query", "q1"),
]


def cases(table):
    return [pytest.param(*row[1:], id=f"{row[1]}: {row[0]}") for row in table]


def check(error, line, field, found):
    assert (error.line, error.field) == (line, field)
    assert found in error.found
    assert len(str(error)) < 600, "an error is to be read"
    str(error).encode()


def ids(records):
    return [record.id for record in getattr(records, "pool", ()) + getattr(records, "test", ()) or records]


@pytest.mark.parametrize(("format", "data", "line", "field", "found"), cases(ROWS))
def test_a_bad_row_is_one_error_or_one_reject(format, data, line, field, found, tmp_path):
    path = put(tmp_path, data)
    error = refusal(path, format)
    check(error, line, field, found)

    records, (reject,) = load_setting_aside(path, format)
    assert (reject.line, reject.reason, reject.filter) == (line, str(error), "format")
    raw = path.read_bytes().decode(errors="backslashreplace").split("\n")[line - 1]
    assert reject.row == raw.removesuffix("," if format == "alpaca" else "\r")
    lines = path.read_bytes().split(b"\n")
    rest = b"\n".join(lines[: line - 1] + lines[line:])
    if format == "alpaca" and line == len(lines) - 2:  # the list's last item goes with the comma before it
        rest = rest.replace(b",\n]", b"\n]")
    assert len(ids(records)) == len(ids(formats.load(put(tmp_path, rest), format)))

    write_rejects(tmp_path / "rejects.jsonl", [reject])
    (row,) = (tmp_path / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(row) == {"filter": "format", "reason": str(error), "line": line, "row": reject.row}


@pytest.mark.parametrize(("format", "data", "line", "field", "found"), cases(FILES))
def test_a_bad_file_stays_an_error(format, data, line, field, found, tmp_path):
    path = put(tmp_path, data)
    if found != "()":  # strict loading stops at what made it so
        check(refusal(path, format), line, field, found)
    with pytest.raises(FormatError) as caught:
        load_setting_aside(path, format)
    check(caught.value, line, field, found)


@pytest.mark.parametrize(("data", "line", "field", "found"), [pytest.param(*row[1:], id=row[0]) for row in URIAL])
def test_a_bad_prompt_file_is_one_error(data, line, field, found, tmp_path):
    check(refusal(put(tmp_path, data), "urial"), line, field, found)


def test_the_table_is_over_all_formats_and_long():
    assert {row[1] for row in ROWS + FILES} | {"urial"} == set(formats.FORMATS)
    assert len(ROWS) + len(FILES) + len(URIAL) >= 60


# ---------------------------------------------------------------- setting aside


@pytest.mark.parametrize("format", [name for name in GOOD if name != "urial"])
def test_a_good_file_has_no_rejects(format, tmp_path):
    path = put(tmp_path, GOOD[format])
    assert load_setting_aside(path, format) == (formats.load(path, format), ())


@pytest.mark.parametrize("format", JSONL)
def test_many_bad_rows_are_all_named_in_order(format, tmp_path):
    good = GOOD[format].splitlines()
    lines = [b"{", *(b for line in good for b in (line.encode(), b"\xff", b"[1]", b"")), b"NaN"]
    path = put(tmp_path, b"\r\n".join(lines))
    records, rejects = load_setting_aside(path, format)
    assert len(ids(records)) == len(good)
    bad = [number for number, line in enumerate(lines, start=1) if line in (b"{", b"\xff", b"[1]", b"NaN")]
    assert [reject.line for reject in rejects] == bad
    assert all(reject.reason.startswith(f"file.jsonl:{reject.line}: ") for reject in rejects)


def test_rows_keep_their_ids_whatever_was_set_aside(tmp_path):
    good = GOOD["flan-cot"].splitlines()
    path = put(tmp_path, "\n".join([good[0], "bad", good[1]]), "cot.tsv")
    records, _ = load_setting_aside(path, "flan-cot")
    assert [record.id for record in records] == ["cot-1", "cot-3"]


def test_of_a_seed_task_all_instances_go_or_none(tmp_path):
    path = put(tmp_path, changed("self-instruct", 2, instances=[PAIR, {"input": "2"}]))
    records, (reject,) = load_setting_aside(path, "self-instruct")
    assert [record.id for record in records] == ["s0", "s2"]
    assert "instances[1].output" in reject.reason


def test_what_is_no_row_format_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_setting_aside(tmp_path / "nowhere", "chat")
    for format in ("urial", "csv"):
        with pytest.raises(FieldError) as caught:
            load_setting_aside(put(tmp_path, GOOD["urial"]), format)
        assert caught.value.field == "format" and "'alpaca', 'chat'" in caught.value.expected


@public
def test_a_public_file_with_planted_damage_gives_back_the_rest(tmp_path):
    lines = (PUBLIC / "gsm8k_test.jsonl").read_bytes().split(b"\n")
    for place in range(5, 1300, 100):
        lines[place] = lines[place][: 30 + place % 7] + (b"\xff" if place % 3 else b"")
    records, rejects = load_setting_aside(put(tmp_path, b"\n".join(lines), "gsm8k_test.jsonl"), "gsm8k")
    assert [reject.line for reject in rejects] == [place + 1 for place in range(5, 1300, 100)]
    known = {record.id: record for record in formats.load(PUBLIC / "gsm8k_test.jsonl", "gsm8k")}
    assert len(records) == len(known) - len(rejects)
    assert all(known[record.id] == record for record in records)
