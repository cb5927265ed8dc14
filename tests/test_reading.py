"""Files of the field are read whole, or each defect is one error with its place, or one rejected row."""

import gzip
import json
import pickle
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import adaptlab as al
from adaptlab.tasks.reading import KINDS
from adaptlab.tasks.records import FieldError, Text, content_key
from adaptlab.tasks.rows import FormatError
from adaptlab.tasks.shapes import ALIASES
from format_files import GOOD, JSONL, PUBLIC, changed, jsonl, load, public, put, refusal
from ordinary_files import CHAT, ORDINARY, PAIRS, A, Q, csv, said, table

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


# ---------------------------------------------------------------- ordinary files, and what is said of them


@pytest.mark.parametrize(("name", "data", "as_", "kind", "count", "shape"), ORDINARY, ids=[row[0] for row in ORDINARY])
def test_ordinary_files_are_read_with_one_argument_at_most(name, data, as_, kind, count, shape, tmp_path):
    reading = al.read(put(tmp_path, data() if callable(data) else data, name), as_)
    assert (reading.kind, len(reading.records), reading.shape) == (kind, count, shape), reading.said
    assert not reading.rejected and reading.said[0].startswith(f"{name}: ")
    assert len({record.id for record in reading.records}) == count
    texts = " ".join(f"{record.query} {record.answer}" for record in reading.records)
    if kind not in ("labelled", "documents") and shape not in ("GSM8K", "MT-Bench"):
        assert all(question in texts and answer in texts for question, answer in PAIRS)
    again = al.read(reading.path, as_)
    assert (again.records, again.held_back) == (reading.records, reading.held_back)


def test_there_are_thirty_of_them():
    assert len(ORDINARY) >= 30


def test_one_file_can_be_read_as_several_kinds(tmp_path):
    path = put(tmp_path, CHAT)
    (system, *_), one = al.read(path, "chat").records[0].messages, al.read(path, "instructions").records[0]
    assert system.content == "Be brief." and one.query == f"Be brief.\n\n{Q[0]}" and one.answer == A[0]
    assert al.read(path, "chat").records[0].turns == [(one.query, one.answer)]
    documents = al.read(path, "documents")
    assert [text.text for text in documents.records] == ["Be brief."]
    assert [(q.query, q.answer) for q in documents.questions] == PAIRS
    assert {q.cluster for q in documents.questions} == {documents.records[0].id}
    with pytest.raises(FormatError, match="classes that several rows share; read free answers with as_='instructions'"):
        al.read(path, "labelled")


def test_names_and_weights_are_kept_and_tools_and_images_refused_in_words(tmp_path):
    file = next(data for name, data, *_ in ORDINARY if name == "chat_named.jsonl")
    user, assistant = al.read(put(tmp_path, file)).records[0].messages
    assert (user.name, assistant.weight) == ("Ann", 0)
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]}
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    for bad, word in ((call, "tools"), ({"role": "tool", "content": "3"}, "tools"), (image, "images")):
        with pytest.raises(FormatError, match=f"the kit does not read {word}"):
            al.read(put(tmp_path, jsonl([{"messages": [said("Hi", "Ho")[0], bad]}])))
    rows = [{"messages": said(*pair)} for pair in PAIRS]
    reading = al.read(put(tmp_path, jsonl([*rows, {"messages": [image]}])), rejects=tmp_path / "out.jsonl")
    assert len(reading.records) == 4 and "image_url" in str(reading.rejected[0].error)


def test_columns_are_given_or_guessed_and_it_is_said(tmp_path):
    rows = [{"Nr": n, "Betreff": f"note {n} on wheels", "Ziel": "ab"[n % 2]} for n in range(8)]
    path = put(tmp_path, csv(rows), "mine.csv")
    given = al.read(path, "labelled", "text: Betreff, label: Ziel")
    guessed = al.read(path, "labelled")
    assert given.records == guessed.records and given.said[0].endswith("text is 'Betreff', label is 'Ziel'")
    assert any("were chosen by what they hold" in line for line in guessed.said)
    assert given.metadata[given.records[3].id] == {"Nr": "3"}
    assert al.read(path, columns={"text": "Betreff", "label": "Ziel"}).kind == "labelled"
    with pytest.raises(FormatError, match="expected a column of this name, for text, found 'Nr', 'Betreff', 'Ziel'"):
        al.read(path, "labelled", {"text": "Brief"})
    with pytest.raises(FieldError, match="columns"):
        al.read(path, "labelled", {"colour": "Ziel"})
    with pytest.raises(FieldError, match="columns for instruction, input, output of instructions, found one for docum"):
        al.read(path, "instructions", "document: Betreff")
    answers = al.read(path, "instructions", "text: Betreff, label: Ziel")
    assert [(one.query, one.output) for one in answers.records] == [(row["Betreff"], row["Ziel"]) for row in rows]
    both = "text: Betreff, label: Ziel, question: Frage, answer: Antwort"
    assert al.read(path, "labelled", both).records == given.records, "each kind takes its own roles"
    talks = put(tmp_path, CHAT, "talks.jsonl")
    asked = put(tmp_path, csv([{"question": q, "answer": a} for q, a in PAIRS]), "asked.csv")
    for other in (talks, asked):
        found = al.read(other, "instructions", "text: Betreff, label: Ziel")
        assert found.records == al.read(other, "instructions").records, "columns of another file"
        with pytest.raises(FormatError, match="a column of this name, for instruction"):
            al.read(other, "instructions", "question: Betreff, answer: Ziel")
    pages = [{"Seite": f"Page {n}.", "Frage": f"What is {n}?", "Antwort": f"{n}"} for n in range(8)]
    reading = al.read(put(tmp_path, csv(pages), "pages.csv"), "", "document: Seite, question: Frage, answer: Antwort")
    assert reading.kind == "documents" and len(reading.questions) == 8
    with pytest.raises(FormatError, match=r"columns for instruction and output \(name them"):
        al.read(path, "instructions")


NAMED = [("what was said", "stars given"), ("Größe des Pakets", "Übel"), ("what did you think of our new shop?", "x")]
UNNAMED = [("the wheel is loose", "repair"), ("gone", "delivery"), ("Where is it?", "Here."), ("late", "5")]


@pytest.mark.parametrize("first", [*NAMED, *UNNAMED], ids=lambda first: first[0])
def test_a_first_row_of_a_table_names_its_columns_or_is_a_row(first, tmp_path):
    rows = [(f"a tyre, for the {n}th time", ("repair", "delivery")[n % 2]) for n in range(8)]
    path = put(tmp_path, "".join(f'"{text}","{label}"\n' for text, label in [first, *rows]), "mine.csv")
    made = al.read(path, "labelled", f"text: {first[0]}" if first[0].endswith("shop?") else "")
    assert len(made.records) == len(rows) + (first in UNNAMED)
    assert dict(made.columns) == dict(zip(("text", "label"), first if first in NAMED else "12", strict=True))


def test_the_split_of_a_file_is_taken_and_one_that_is_missing_is_made_by_label(tmp_path):
    rows = [{"text": f"number {n}", "label": "ab"[n % 2]} for n in range(40)]
    made = al.read(put(tmp_path, jsonl(rows)))
    for side in (made.pool, made.test):
        assert sorted(one.label for one in side) == ["a"] * 10 + ["b"] * 10
    assert "the split was made, by label: 20 in the pool, 20 in the test" in made.said
    other = al.read(put(tmp_path, jsonl(reversed(rows)), "other.jsonl"))
    assert {one.text for one in other.test} == {one.text for one in made.test}, "order does not matter"
    assert set(other.records) == set(made.records), "ids are made from the content"
    named = [{**row, "split": ("train", "validation")[n % 4 == 0]} for n, row in enumerate(rows)]
    taken = al.read(put(tmp_path, jsonl(named)))
    assert len(taken.test) == 10 and not any("split was made" in line for line in taken.said)
    some = [{**row, "split": ("train", "test", None, None)[n % 4]} for n, row in enumerate(rows)]
    partly = al.read(put(tmp_path, jsonl(some)))
    assert len(partly.test) == 10 and "20 records that name no split are in the pool" in partly.said
    three = [{**row, "split": ("train", "validation", "test", "train")[n % 4]} for n, row in enumerate(rows)]
    assert [len(part) for part in (lambda r: (r.pool, r.test))(al.read(put(tmp_path, jsonl(three))))] == [30, 10]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh "), st.sampled_from("xyz")), min_size=8, max_size=40))
def test_no_content_stands_on_both_sides_of_a_made_split(tmp_path_factory, pairs):
    rows = [{"question": f"say {one}", "answer": other} for one, other in pairs]
    made = al.read(put(tmp_path_factory.getbasetemp(), jsonl(rows)), "instructions")
    assert len(made.records) == len(rows), "nothing is lost"
    pool, test = ({content_key(one.query) for one in side} for side in (made.pool, made.test))
    assert not pool & test


def test_encodings_are_detected_or_refused_by_name(tmp_path):
    text = csv([{"text": f"caf\xe9 {n}", "label": "ab"[n % 2]} for n in range(4)])
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert al.read(put(tmp_path, text.encode(encoding), "x.csv")).records[0].text == "caf\xe9 0"
    latin = put(tmp_path, text.encode("cp1252"), "x.csv")
    with pytest.raises(FormatError, match=r"byte 0xe9; it looks like Windows-1252 or Latin-1: .* encoding='cp1252'"):
        al.read(latin, strict=True)
    assert al.read(latin, encoding="cp1252").records[0].text == "caf\xe9 0"
    with pytest.raises(FormatError, match="UTF-16 without a byte-order mark"):
        al.read(put(tmp_path, ("é" + text).encode("utf-16-le"), "x.csv"))
    with pytest.raises(FormatError, match="text in the encoding klingon"):
        al.read(latin, encoding="klingon")


def test_rejected_rows_never_take_the_place_of_a_users_file(tmp_path):
    path = put(tmp_path, GOOD["chat"] + "{\n")
    mine = put(tmp_path, "mine", "mine.jsonl")
    with pytest.raises(FieldError, match=r"mine\.jsonl, which is something else"):
        al.read(path, rejects=mine)
    assert mine.read_text() == "mine"
    first = al.read(path, rejects=tmp_path / "new" / "out.jsonl")
    assert first.rejects.exists() and "1 rows were set aside" in first.said[-1]
    assert al.read(path, rejects=first.rejects).rejects == first.rejects, "its own file may be written anew"
    with pytest.raises(FormatError, match="valid JSON"):
        al.read(path, strict=True)


def test_folders_of_datasets_and_of_texts_and_an_id_that_cannot_be_had(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = {"text": [f"t {n}" for n in range(8)], "label": [n % 2 for n in range(8)]}
    both = {name: datasets.Dataset.from_dict({k: v[of] for k, v in rows.items()}, features=kinds)
            for name, of in (("train", slice(0, 6)), ("test", slice(6, 8)))}  # fmt: skip
    datasets.DatasetDict(both).save_to_disk(tmp_path / "saved")
    reading = al.read(tmp_path / "saved")
    assert {one.label for one in reading.records} == {"no", "yes"} and len(reading.test) == 2
    both["train"].save_to_disk(tmp_path / "one")
    assert len(al.read(tmp_path / "one").records) == 6
    next((tmp_path / "one").glob("*.arrow")).write_bytes(b"x" * 100)
    with pytest.raises(FormatError, match="undamaged folder of `datasets`"):
        al.read(tmp_path / "one")
    (tmp_path / "texts").mkdir()
    for n in range(3):
        put(tmp_path / "texts", f"Text {n}.", f"{n}.txt")
    assert al.read(tmp_path / "texts").records[2] == Text(content_key("Text 2.\n")[:12], "Text 2.")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(FormatError, match="a data set of the Hub that is in its cache or can be downloaded"):
        al.read("nobody-here/nothing-there")
    with pytest.raises(FileNotFoundError):
        al.read(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl.gz", "x.csv", "x.json", "x.txt"])
def test_a_cut_or_altered_file_is_an_error_with_its_name_or_is_read(name, tmp_path):
    data = {"x.parquet": table("to_parquet")(), "x.jsonl.gz": gzip.compress(CHAT.encode())}.get(name, CHAT.encode())
    for place in range(0, len(data), max(1, len(data) // 60)):
        for altered in (data[:place], data[:place] + bytes([data[place] ^ 64]) + data[place + 1 :]):
            try:
                al.read(put(tmp_path, altered, name), rejects=tmp_path / "rejected.jsonl")
            except FormatError as error:
                assert str(error).startswith(name)


# ---------------------------------------------------------------- harmless forms, and what the good files say


@pytest.mark.parametrize("format", GOOD)
def test_harmless_forms_load_alike_and_reject_nothing(format, tmp_path):
    data = GOOD[format].encode()
    first = load(tmp_path, data, format).records
    for form in (b"\xef\xbb\xbf" + data, data.replace(b"\n", b"\r\n"), data.rstrip(b"\n"), data + b"\n\n"):
        assert load(tmp_path, form, format).records == first


@pytest.mark.parametrize("format", JSONL)
def test_fields_are_required_typed_and_known_where_it_is_strict(format, tmp_path):
    for field in json.loads(GOOD[format].splitlines()[0]):
        if field in ("id", "question_id", "split", "category", "reference", "name", "is_classification"):
            continue  # what can be missing
        error = refusal(tmp_path, changed(format, 2, **{field: ...}), format)
        assert (error.line, error.field) == (2, field)
        for bad in (None, 3.5, {"a": 1}, [7], ""):
            error = refusal(tmp_path, changed(format, 2, **{field: bad}), format)
            assert (error.line, error.field.split("[")[0]) == (2, field)
    error = refusal(tmp_path, changed(format, 3, lable="x"), format)
    assert (error.line, error.field, error.found) == (3, "lable", "'lable'")


@pytest.mark.parametrize("format", JSONL)
def test_many_bad_rows_are_all_named_in_order(format, tmp_path):
    good = GOOD[format].splitlines()
    lines = [b"{", *(b for line in good for b in (line.encode(), b"\xff", b"[1]", b"")), b"NaN"]
    reading = load(tmp_path, b"\r\n".join(lines), format, strict=False)
    assert len(reading.records) == len(good)
    bad = [number for number, line in enumerate(lines, start=1) if line in (b"{", b"\xff", b"[1]", b"NaN")]
    assert [error.line for _, error in reading.rejected] == bad


def test_line_separators_of_unicode_do_not_end_a_line(tmp_path):
    text = GOOD["chat"].replace("Hi", "H\u2028\x85i")
    assert load(tmp_path, text, "chat").records[1].messages[0].content == "H\u2028\x85i"


def test_an_error_keeps_its_place_when_pickled():
    error = pickle.loads(pickle.dumps(FormatError(Path("a/b.jsonl"), 3, "label", "one of 'x'", "'y'")))
    assert str(error) == "b.jsonl:3: field 'label': expected one of 'x', found 'y'"
    assert (error.path, error.line) == (Path("a/b.jsonl"), 3)


def test_a_cut_list_never_loads(tmp_path):
    for length in range(len(GOOD["alpaca"]) - 1):
        refusal(tmp_path, GOOD["alpaca"][:length], "alpaca")


def test_self_instruct_instances(tmp_path):
    pairs = [{"input": "2", "output": "4"}, {"input": "3", "output": "6"}]
    records = load(tmp_path, changed("self-instruct", 2, instances=pairs), "self-instruct").records
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
    record = load(tmp_path, changed("gsm8k", 2, answer=answer), "gsm8k").records[1]
    assert (record.output, record.rationale) == (output, rationale)


def urial_text(system, demonstrations):
    """The canonical layout of a prompt file."""
    blocks = (f"\n# Query:\n```\n{q}\n```\n\n# Answer:\n```\n{a}\n```\n" for q, a in demonstrations)
    return f"{system}\n" + "".join(blocks)


def test_urial_answers_keep_their_own_code_fences(tmp_path):
    answer = "Run this:\n\n```python\nprint('# Query:')\n```\n\nand then\n```\nmore\n```"
    prompt = load(tmp_path, URIAL.replace("a1", answer), "urial").prompt
    assert (prompt.system, prompt.demonstrations) == ("System.", (("q1", answer), ("q2", "a2")))
    on_the_fence = "# Query:\n```What is 2+2? ```\n \n# Answer:\n```\n4\n```"
    assert load(tmp_path, on_the_fence, "urial").prompt.demonstrations == (("What is 2+2? ", "4"),)


BODIES = st.text().map(lambda t: t.replace("\r", "")).filter(lambda t: t.strip() and "#" not in t)


@settings(deadline=None)  # a disk has none
@given(
    system=BODIES.filter(lambda t: t == t.strip("\n")),
    pairs=st.lists(st.tuples(BODIES, BODIES), min_size=1, max_size=3),
)
def test_urial_texts_are_read_back(system, pairs, tmp_path_factory):
    prompt = load(tmp_path_factory.getbasetemp(), urial_text(system, pairs), "urial").prompt
    assert (prompt.system, prompt.demonstrations) == (system.removeprefix("\ufeff"), tuple(pairs))


# ---------------------------------------------------------------- the public files


@public
@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        ("mt_bench_questions.jsonl", "MT-Bench", 80),
        ("self_instruct_seed_tasks.jsonl", "Self-Instruct", 175),
        ("gsm8k_test.jsonl", "GSM8K", 1319),
        ("flan_cot_strategyqa_train.tsv", "FLAN chain of thought", 2061),
    ],
)
def test_every_row_of_a_public_file_is_read_and_a_flipped_byte_located(name, shape, count, tmp_path):
    reading = al.read(PUBLIC / name)
    assert (reading.shape, len(reading.records)) == (shape, count) and not reading.rejected
    lines = (PUBLIC / name).read_bytes().split(b"\n")
    lines[16] = lines[16][:20] + b"\xff" + lines[16][21:]
    path = put(tmp_path, b"\n".join(lines), name)
    with pytest.raises(FormatError, match="the byte 0xff") as caught:
        al.read(path, strict=True)
    assert caught.value.line == 17
    rest = al.read(path, rejects=tmp_path / "rejected.jsonl")
    assert set(rest.records) < set(reading.records) and len(rest.rejected) == 1


@public
def test_what_the_public_files_hold():
    talks = al.read(PUBLIC / "mt_bench_questions.jsonl").records
    assert {tuple(m.role for m in r.messages) for r in talks} == {("user", "user")}
    assert (talks[0].id, sum(bool(r.references) for r in talks), len({r.category for r in talks})) == ("81", 39, 8)
    seeds = al.read(PUBLIC / "self_instruct_seed_tasks.jsonl").records
    assert sum(r.category == "classification" for r in seeds) == 26
    flan = al.read(PUBLIC / "flan_cot_strategyqa_train.tsv").records
    assert sum(r.output == "yes" for r in flan) == 964 and any('"' in r.rationale for r in flan)
    sums = al.read(PUBLIC / "gsm8k_test.jsonl").records
    for line, record in zip((PUBLIC / "gsm8k_test.jsonl").open(encoding="utf-8"), sums, strict=True):
        row = json.loads(line)
        worked, final = row["answer"].split("\n#### ")
        assert (record.instruction, record.output) == (row["question"], final.replace(",", ""))
        assert record.rationale == re.sub("<<.*?>>", "", worked)


@public
def test_public_prompt_files_are_rebuilt_byte_for_byte():
    for name, shots in [("basic_icl", 3), ("inst_only", 0), ("inst_1shot", 1), ("inst_1k", 3)]:
        assert len(al.read(PUBLIC / "urial_prompts" / f"{name}.txt").records) == shots
    path = PUBLIC / "urial_prompts" / "inst_1k_v4.help.txt"
    prompt = al.read(path).prompt
    assert urial_text(prompt.system, prompt.demonstrations) == path.read_text(encoding="utf-8")


# ---------------------------------------------------------------- anything at all

FUZZED = 100_000


@pytest.mark.slow
def test_whatever_bytes_a_file_holds_reading_ends_in_records_or_the_documented_error(tmp_path):
    """Good files, cut, spliced and altered, and rows of random JSON under names that the reader knows."""
    rng = random.Random("fuzz of read")
    good = [
        (name, data if isinstance(data, bytes) else data.encode()) for name, data, *_ in ORDINARY if not callable(data)
    ]
    good.append(("x.parquet", table("to_parquet")()))
    ends = {"errors": 0, "read": 0}
    for number in range(FUZZED):
        name, data = rng.choice(good) if number % 2 else ("x.jsonl", fuzz_rows(rng))
        path = put(tmp_path, fuzz_bytes(rng, data, good) if number % 2 else data, name)
        try:
            al.read(path, rng.choice(("", "", *KINDS)), strict=number % 7 == 0, rejects=tmp_path / "rejected.jsonl")
            ends["read"] += 1
        except FormatError as error:
            assert str(error).startswith(f"{name}:") and len(str(error)) < 900
            ends["errors"] += 1
    assert min(ends.values()) > FUZZED // 20, ends


def fuzz_bytes(rng, data, good):
    """A file after one to four accidents."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(made) + 1)
        accident = rng.randrange(6)
        if accident == 0:
            del made[place:]
        elif accident == 1 and made:
            made[place % len(made)] = rng.randrange(256)
        elif accident == 2:
            del made[place : place + rng.randint(1, 20)]
        elif accident == 3:
            other = rng.choice(good)[1]
            made[place:place] = other[: rng.randint(0, 60)]
        elif accident == 4:
            made[place:place] = rng.choice((b"\0", b'"', b"\n", b"[" * 3000, b"\xff\xfe", b"NaN", b"\\ud800", b"null"))
        else:
            end = place + rng.randint(1, 40)
            made[place:place] = made[place:end]
    return bytes(made)


NAMES = [name for of in ALIASES.values() for name in of] + ["messages", "conversations", "chosen", "rejected", "turns"]
NAMES += [
    "instances",
    "data",
    "message_id",
    "parent_id",
    "role",
    "replies",
    "content",
    "from",
    "value",
    "tools",
    "rank",
]


def fuzz_value(rng, depth=0):
    simple = (
        None,
        True,
        0,
        -1.5,
        10**30,
        "",
        " ",
        "a",
        "b",
        "user",
        "assistant",
        "system",
        "train",
        "#### 4",
        "\ud800",
    )
    roll = rng.random()
    if depth > 3 or roll < 0.6:
        return rng.choice(simple)
    if roll < 0.8:
        return [fuzz_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(NAMES): fuzz_value(rng, depth + 1) for _ in range(rng.randint(0, 4))}


def fuzz_rows(rng):
    names = rng.sample(NAMES, rng.randint(1, 5))
    rows = [{name: fuzz_value(rng) for name in names if rng.random() < 0.9} for _ in range(rng.randint(1, 8))]
    return jsonl(rows).encode()
