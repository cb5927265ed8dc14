"""Files of the field are read whole, or each defect is one error with its place, or one rejected row."""

import json
import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptlab.tasks import load_files
from adaptlab.tasks.records import FieldError, Instruction
from adaptlab.tasks.strict_reading import FormatError
from format_files import GOOD, JSONL, PUBLIC, changed, public, put, refusal

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
    ("an id that is a number", "completions", changed("completions", 2, id=2), 2, "id", "2"),
    ("the id of line 1", "completions", changed("completions", 3, id="p0"), 3, "id", "'p0'"),
    ("the number of line 1", "mt-bench", changed("mt-bench", 3, question_id=0), 3, "id", "'0'"),
    ("the fallback id of line 3", "completions",
     line_put("completions", 3, '{"prompt": "Q", "completion": "1"}').decode().replace('"p0"', '"file-3"'), 3, "id",
     "'file-3'"),
    ("a blank completion", "completions", changed("completions", 2, completion=" "), 2, "completion", "' '"),
    ("a blank output", "self-instruct", changed("self-instruct", 2, instances=[PAIR, {**PAIR, "output": " \n"}]), 2,
     "instances[1].output", "' \\n'"),
    ("no output", "self-instruct", changed("self-instruct", 2, instances=[PAIR, {"input": "2"}]), 2,
     "instances[1].output", "'input'"),
    ("yes for true", "self-instruct", changed("self-instruct", 2, is_classification="yes"), 2, "is_classification",
     "'yes'"),
    ("one turn more than answers", "mt-bench", changed("mt-bench", 2, turns=["1?", "2?", "3?"]), 2, "reference", "2"),
    ("a turn that is a list", "mt-bench", changed("mt-bench", 2, turns=["1?", ["2?"]]), 2, "turns[1]", "['2?']"),
    ("a split that is none", "labelled", changed("labelled", 2, split="dev"), 2, "split", "'dev'"),
    ("a test text of the pool", "labelled", changed("labelled", 2, text="NUMBER: 0"), 2, "text", "'NUMBER: 0'"),
    ("an answer in words", "gsm8k", changed("gsm8k", 2, answer="two\n#### two"), 2, "answer", "'#### two'"),
    ("more than a number", "gsm8k", changed("gsm8k", 2, answer="#### 4 5"), 2, "answer", "'#### 4 5'"),
    ("a tab too many", "flan-cot", line_put("flan-cot", 2, "Is it?\tyes\tso\t"), 2, "", "4"),
    ("no rationale", "flan-cot", line_put("flan-cot", 2, "Is it?\tyes\t\\n"), 2, "rationale", "'\\n'"),
    ("5 MB without an end", "chat", line_put("chat", 2, '{"id": "' + HUGE), 2, "", "Unterminated string"),
    ("5 MB for a role", "chat", changed("chat", 2, messages=[{**USER, "role": HUGE}]), 2, "messages[0].role", "'xxx"),
    ("an item that is a list", "alpaca", items(DO, [DO]), 3, "", "[{'instr"),
    ("an item without output", "alpaca", items(DO, {"instruction": "Do."}, DO), 3, "output", "'instruction'"),
    ("an input that is null", "alpaca", items(DO, {**DO, "input": None}), 3, "input", "None"),
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
    ("JSONL for a list", "alpaca", json.dumps(DO) + "\n" + json.dumps(DO), 1, "", "'{'"),
    ("a byte in an item", "alpaca", items(DO, DO).encode().replace(b"it.", b"\xe9", 1), 2, "", "byte 0xe9"),
    ("a list for JSONL", "chat", json.dumps([json.loads(line) for line in GOOD["chat"].splitlines()]), 1, "", "[{'id'"),
    ("another format's rows", "gsm8k", GOOD["completions"], 1, "question", "'id', 'prompt', 'completion'"),
    ("UTF-16", "completions", GOOD["completions"].encode("utf-16"), 1, "", "byte 0xff"),
    ("no test item", "labelled", GOOD["labelled"].replace('"test"', '"pool"'), 1, "test", "()"),
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


def ids(records):
    return [record.id for record in getattr(records, "pool", ()) + getattr(records, "test", ()) or records]


@pytest.mark.parametrize(("format", "data", "line", "field", "found"), cases(ROWS))
def test_a_bad_row_is_one_error_or_one_rejected_row(format, data, line, field, found, tmp_path):
    path = put(tmp_path, data)
    error = refusal(path, format)
    check(error, line, field, found)

    records = load_files.LOADERS[format](path, rejected=(rejected := []))
    ((raw, same),) = rejected
    assert (same.line, str(same)) == (line, str(error))
    text = path.read_bytes().decode(errors="backslashreplace").split("\n")[line - 1]
    assert raw == text.removesuffix("," if format == "alpaca" else "\r")
    lines = path.read_bytes().split(b"\n")
    rest = b"\n".join(lines[: line - 1] + lines[line:])
    if format == "alpaca":  # the list's last item goes with the comma before it
        rest = rest.replace(b",\n]", b"\n]")
    assert len(ids(records)) == len(ids(load_files.load(put(tmp_path, rest), format)))


@pytest.mark.parametrize(("format", "data", "line", "field", "found"), cases(FILES))
def test_a_bad_file_is_an_error_either_way(format, data, line, field, found, tmp_path):
    path = put(tmp_path, data)
    check(refusal(path, format), line, field, found)
    if format != "urial":
        with pytest.raises(FormatError) as caught:
            load_files.LOADERS[format](path, rejected=[])
        check(caught.value, line, field, found)


def test_the_tables_are_over_all_formats_and_an_unknown_one_lists_them():
    assert {row[1] for row in ROWS + FILES} == set(GOOD) == set(load_files.LOADERS)
    with pytest.raises(FieldError) as caught:
        load_files.load("x", "csv")
    assert caught.value.field == "format" and all(repr(name) in caught.value.expected for name in load_files.LOADERS)


@pytest.mark.parametrize("format", GOOD)
def test_harmless_forms_load_alike_and_reject_nothing(format, tmp_path):
    first, data = load_files.load(put(tmp_path, GOOD[format]), format), GOOD[format].encode()
    for form in (b"\xef\xbb\xbf" + data, data.replace(b"\n", b"\r\n"), data.rstrip(b"\n"), data + b"\n\n"):
        assert load_files.load(put(tmp_path, form), format) == first
    if format != "urial":
        assert load_files.LOADERS[format](put(tmp_path, data), rejected=(rejected := [])) == first and not rejected
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_files.load(tmp_path / "nowhere", format)


@pytest.mark.parametrize("format", JSONL)
def test_fields_are_required_typed_and_known(format, tmp_path):
    known = json.loads(GOOD[format].splitlines()[0])
    for field in known:
        if field not in ("id", "reference") or format not in ("chat", "completions", "mt-bench"):
            error = refusal(put(tmp_path, changed(format, 2, **{field: ...})), format)
            assert (error.line, error.field, error.expected) == (2, field, "a value")
        for bad in (None, 3.5, {"a": 1}, [7], ""):
            if (field, bad) != ("category", ""):
                error = refusal(put(tmp_path, changed(format, 2, **{field: bad})), format)
                assert (error.line, error.field.split("[")[0]) == (2, field)
    error = refusal(put(tmp_path, changed(format, 3, lable="x")), format)
    assert (error.line, error.field, error.found) == (3, "lable", "'lable'")
    assert all(repr(field) in error.expected for field in known)


@pytest.mark.parametrize("format", JSONL)
def test_many_bad_rows_are_all_named_in_order(format, tmp_path):
    good = GOOD[format].splitlines()
    lines = [b"{", *(b for line in good for b in (line.encode(), b"\xff", b"[1]", b"")), b"NaN"]
    records = load_files.LOADERS[format](put(tmp_path, b"\r\n".join(lines)), rejected=(rejected := []))
    assert len(ids(records)) == len(good)
    bad = [number for number, line in enumerate(lines, start=1) if line in (b"{", b"\xff", b"[1]", b"NaN")]
    assert [error.line for _, error in rejected] == bad


def test_rows_keep_their_ids_whatever_was_rejected(tmp_path):
    first, second = GOOD["flan-cot"].splitlines()
    path = put(tmp_path, f"{first}\nbad\n{second}", "cot.tsv")
    assert [record.id for record in load_files.load_flan_cot(path, [])] == ["cot-1", "cot-3"]


def test_line_separators_of_unicode_do_not_end_a_line(tmp_path):
    text = GOOD["chat"].replace("Hi", "H\u2028\x85i")
    assert load_files.load(put(tmp_path, text), "chat")[1].messages[0].content == "H\u2028\x85i"


def test_an_error_keeps_its_place_when_pickled():
    error = pickle.loads(pickle.dumps(FormatError(Path("a/b.jsonl"), 3, "label", "one of 'x'", "'y'")))
    assert str(error) == "b.jsonl:3: field 'label': expected one of 'x', found 'y'"
    assert (error.path, error.line) == (Path("a/b.jsonl"), 3)


# ---------------------------------------------------------------- what the good files say


def test_alpaca_defaults_and_extras_and_a_cut_file_never_loads(tmp_path):
    rows = [{"instruction": "a", "output": "b"}, {"id": "x", "instruction": "a", "output": "b", "rationale": "c"}]
    first, second = load_files.load(put(tmp_path, json.dumps(rows), "mine.json"), "alpaca")
    assert first == Instruction("mine-1", "a", "", "b")
    assert second == Instruction("x", "a", "", "b", rationale="c")
    for length in range(len(GOOD["alpaca"]) - 1):
        refusal(put(tmp_path, GOOD["alpaca"][:length]), "alpaca")


def test_labelled_splits_and_labels(tmp_path):
    data = load_files.load(put(tmp_path, GOOD["labelled"], "desk.jsonl"), "labelled")
    assert (data.name, data.labels, ids(data)) == ("desk", ("a", "b"), ["m0", "m2", "m1", "m3"])
    with pytest.raises(FormatError, match=r"^desk.jsonl:2: field 'label': expected one of 'a', 'c', found 'b'$"):
        load_files.load_labelled(tmp_path / "desk.jsonl", labels=("a", "c"))


def test_self_instruct_instances(tmp_path):
    pairs = [{"input": "2", "output": "4"}, {"input": "3", "output": "6"}]
    records = load_files.load(put(tmp_path, changed("self-instruct", 2, instances=pairs)), "self-instruct")
    assert [(r.id, r.input) for r in records] == [("s0", ""), ("s1.1", "2"), ("s1.2", "3"), ("s2", "")]


@pytest.mark.parametrize(
    ("answer", "output", "rationale"),
    [
        ("So 1 < 2 << 3.\n#### -1,234.5", "-1234.5", "So 1 < 2 << 3."),
        ("#### 7", "7", ""),
        ("a <<1+1=2>>2\n\nb\n#### 2\n", "2", "a 2\n\nb"),
    ],
)
def test_gsm8k_answers(answer, output, rationale, tmp_path):
    record = load_files.load(put(tmp_path, changed("gsm8k", 2, answer=answer)), "gsm8k")[1]
    assert (record.id, record.output, record.rationale) == ("file-2", output, rationale)


def urial_text(system, demonstrations):
    """The canonical layout of a prompt file."""
    blocks = (f"\n# Query:\n```\n{q}\n```\n\n# Answer:\n```\n{a}\n```\n" for q, a in demonstrations)
    return f"{system}\n" + "".join(blocks)


def test_urial_answers_keep_their_own_code_fences(tmp_path):
    answer = "Run this:\n\n```python\nprint('# Query:')\n```\n\nand then\n```\nmore\n```"
    prompt = load_files.load(put(tmp_path, URIAL.replace("a1", answer)), "urial")
    assert (prompt.system, prompt.demonstrations) == ("System.", (("q1", answer), ("q2", "a2")))
    on_the_fence = "# Query:\n```What is 2+2? ```\n \n# Answer:\n```\n4\n```"
    assert load_files.load(put(tmp_path, on_the_fence), "urial").demonstrations == (("What is 2+2? ", "4"),)


BODIES = st.text().map(lambda t: t.replace("\r", "")).filter(lambda t: t.strip() and "#" not in t)


@settings(deadline=None)  # a disk has none
@given(system=BODIES.filter(lambda t: t == t.strip("\n")), pairs=st.lists(st.tuples(BODIES, BODIES), max_size=3))
def test_urial_texts_are_read_back(system, pairs, tmp_path_factory):
    prompt = load_files.load(put(tmp_path_factory.getbasetemp(), urial_text(system, pairs), "u.txt"), "urial")
    assert (prompt.system, prompt.demonstrations) == (system.removeprefix("\ufeff"), tuple(pairs))


# ---------------------------------------------------------------- the public files


@public
@pytest.mark.parametrize(
    ("name", "format", "count"),
    [
        ("mt_bench_questions.jsonl", "mt-bench", 80),
        ("self_instruct_seed_tasks.jsonl", "self-instruct", 175),
        ("gsm8k_test.jsonl", "gsm8k", 1319),
        ("flan_cot_strategyqa_train.tsv", "flan-cot", 2061),
    ],
)
def test_every_row_of_a_public_file_is_read_and_a_flipped_byte_located(name, format, count, tmp_path):
    records = load_files.load(PUBLIC / name, format)
    assert len(records) == count == len({record.id for record in records})
    lines = (PUBLIC / name).read_bytes().split(b"\n")
    lines[16] = lines[16][:20] + b"\xff" + lines[16][21:]
    path = put(tmp_path, b"\n".join(lines), name)
    error = refusal(path, format)
    assert (error.line, error.found) == (17, "the byte 0xff")
    rest = load_files.LOADERS[format](path, rejected=[])
    assert {r.instruction if hasattr(r, "instruction") else r.messages for r in rest} <= {
        r.instruction if hasattr(r, "instruction") else r.messages for r in records
    }


@public
def test_what_the_public_files_hold():
    talks = load_files.load(PUBLIC / "mt_bench_questions.jsonl", "mt-bench")
    assert {tuple(m.role for m in r.messages) for r in talks} == {("user", "user")}
    assert (talks[0].id, sum(bool(r.references) for r in talks), len({r.category for r in talks})) == ("81", 39, 8)
    seeds = load_files.load(PUBLIC / "self_instruct_seed_tasks.jsonl", "self-instruct")
    assert sum(r.category == "classification" for r in seeds) == 26
    flan = load_files.load(PUBLIC / "flan_cot_strategyqa_train.tsv", "flan-cot")
    assert sum(r.output == "yes" for r in flan) == 964 and any('"' in r.rationale for r in flan)
    sums = load_files.load(PUBLIC / "gsm8k_test.jsonl", "gsm8k")
    for line, record in zip((PUBLIC / "gsm8k_test.jsonl").open(encoding="utf-8"), sums, strict=True):
        row = json.loads(line)
        worked, final = row["answer"].split("\n#### ")
        assert (record.instruction, record.output) == (row["question"], final.replace(",", ""))
        assert record.rationale == re.sub("<<.*?>>", "", worked)


@public
def test_public_prompt_files_are_rebuilt_byte_for_byte():
    for name, shots in [("basic_icl", 3), ("inst_only", 0), ("inst_1shot", 1), ("inst_1k", 3)]:
        assert len(load_files.load(PUBLIC / "urial_prompts" / f"{name}.txt", "urial").demonstrations) == shots
    path = PUBLIC / "urial_prompts" / "inst_1k_v4.help.txt"
    prompt = load_files.load(path, "urial")
    assert urial_text(prompt.system, prompt.demonstrations) == path.read_text(encoding="utf-8")
