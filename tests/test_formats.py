"""Files in the field's formats are read whole and strictly, or refused with the place of the defect."""

import json
import pickle
from pathlib import Path

import pytest

from adaptlab.tasks import formats
from adaptlab.tasks.reading import FormatError
from adaptlab.tasks.records import FieldError, Instruction
from format_files import GOOD, JSONL, changed, put, refusal

# ---------------------------------------------------------------- every format


@pytest.mark.parametrize("format", GOOD)
@pytest.mark.parametrize(
    "form",
    [
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.rstrip(b"\n"),
        lambda data: data + b"\n\n",
    ],
    ids=["byte-order mark", "CRLF", "no final newline", "empty lines at the end"],
)
def test_harmless_forms_load_alike(format, form, tmp_path):
    first = formats.load(put(tmp_path, GOOD[format]), format)
    assert formats.load(put(tmp_path, form(GOOD[format].encode())), format) == first


@pytest.mark.parametrize("format", GOOD)
@pytest.mark.parametrize("data", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(format, data, tmp_path):
    error = refusal(put(tmp_path, data), format)
    assert str(error) == "file.jsonl:1: expected at least one record, found an empty file"


@pytest.mark.parametrize("format", GOOD)
def test_other_encodings_are_refused(format, tmp_path):
    error = refusal(put(tmp_path, GOOD[format].encode("utf-16")), format)
    assert (error.line, error.field, error.expected) == (1, "", "UTF-8 text")
    data = GOOD[format].encode()
    cut = data.index(b"\n") + 1
    assert refusal(put(tmp_path, data[:cut] + b"\xe9" + data[cut:]), format).line == 2


@pytest.mark.parametrize("format", GOOD)
def test_a_missing_file_is_the_systems_error(format, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        formats.load(tmp_path / "nowhere.jsonl", format)


def test_every_format_is_tried_here_and_an_unknown_one_lists_them():
    assert set(GOOD) == set(formats.FORMATS)
    with pytest.raises(FieldError) as caught:
        formats.load("x", "csv")
    assert caught.value.field == "format"
    assert all(repr(name) in caught.value.expected for name in formats.FORMATS)


def test_the_error_keeps_its_place_when_pickled():
    error = pickle.loads(pickle.dumps(FormatError(Path("a/b.jsonl"), 3, "label", "one of 'x'", "'y'")))
    assert str(error) == "b.jsonl:3: field 'label': expected one of 'x', found 'y'"
    assert (error.path, error.line) == (Path("a/b.jsonl"), 3)


# ---------------------------------------------------------------- JSON rows


@pytest.mark.parametrize("format", JSONL)
class TestJsonLines:
    @pytest.mark.parametrize(
        ("bad", "found"),
        [
            ("[1]", "[1]"),
            ("7", "7"),
            ("null", "None"),
            ("{}", "empty object"),
            ('{"id": NaN}', "NaN"),
            ('{"id": -Infinity}', "-Infinity"),
            ('{"id": "a", "id": "b"}', "2 values"),
            ("   ", "column 4"),
            ("{'id': 'a'}", "column 2"),
            ("{} {}", "after it"),
            ("\ufeff{}", "column 1"),
            ("\x00\x00\x00", "column 1"),
            ("[" * 200_000, "recursion"),
            ("9" * 5000, "digits"),
        ],
    )
    def test_a_bad_line_is_located(self, format, bad, found, tmp_path):
        lines = GOOD[format].splitlines()
        lines.insert(2, bad)
        error = refusal(put(tmp_path, "\n".join(lines)), format)
        assert error.line == 3
        assert found in error.found

    def test_every_field_is_required_or_named_as_optional(self, format, tmp_path):
        for field in json.loads(GOOD[format].splitlines()[0]):
            path = put(tmp_path, changed(format, 2, **{field: ...}))
            if field in ("id", "reference") and format in ("chat", "completions", "mt-bench"):
                formats.load(path, format)
                continue
            error = refusal(path, format)
            assert (error.line, error.field, error.expected) == (2, field, "a value")
            assert "only the fields" in error.found

    @pytest.mark.parametrize("bad", [None, 3.5, {"a": 1}, [], [7], "", " "])
    def test_every_field_has_a_type(self, format, bad, tmp_path):
        for field, value in json.loads(GOOD[format].splitlines()[0]).items():
            if field == "category" and bad in ("", " "):
                continue  # optional text
            error = refusal(put(tmp_path, changed(format, 2, **{field: bad})), format)
            assert error.line == 2, (field, value)
            assert error.field.split("[")[0] == field

    def test_an_unknown_field_is_named_with_the_known_ones(self, format, tmp_path):
        error = refusal(put(tmp_path, changed(format, 3, lable="x")), format)
        assert (error.line, error.field, error.found) == (3, "lable", "'lable'")
        assert all(repr(field) in error.expected for field in json.loads(GOOD[format].splitlines()[0]))

    def test_a_lone_surrogate_is_refused(self, format, tmp_path):
        line = GOOD[format].splitlines()[1]
        place = next(v for v in ("Hi", "Q:", "number 1", "One?", "Add.", "1+1?") if f'"{v}"' in line)
        bad = GOOD[format].replace(line, line.replace(f'"{place}"', '"\\ud800"'))
        error = refusal(put(tmp_path, bad), format)
        assert (error.line, error.expected) == (2, "text without lone surrogates")

    def test_line_separators_of_unicode_do_not_end_a_line(self, format, tmp_path):
        text = GOOD[format].replace("Hi", "H\u2028\x85i").replace("Q:", "Q\u2028:").replace("One?", "O\u2029ne?")
        assert len(put(tmp_path, text).read_text(encoding="utf-8").splitlines()) >= len(GOOD[format].splitlines())
        formats.load(put(tmp_path, text), format)


@pytest.mark.parametrize("format", [name for name in JSONL if name != "gsm8k"])  # whose rows have no ids
def test_a_repeated_line_is_a_repeated_id(format, tmp_path):
    lines = GOOD[format].splitlines()
    error = refusal(put(tmp_path, "\n".join([*lines, lines[1]])), format)
    assert (error.line, error.field) == (len(lines) + 1, "id")
    assert error.expected == "an id other than that of line 2"


def test_the_message_reads_as_promised(tmp_path):
    path = put(tmp_path, changed("labelled", 3, label="x"), "messages.jsonl")
    with pytest.raises(FormatError) as caught:
        formats.load_labelled(path, labels=("a", "b"))
    assert str(caught.value) == "messages.jsonl:3: field 'label': expected one of 'a', 'b', found 'x'"


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([{"role": "user", "content": "a"}, {"role": "bot", "content": "b"}], "messages[1].role"),
        ([{"role": "user", "content": "a"}, {"role": "user"}], "messages[1].content"),
        ([{"role": "user", "content": ["a"]}], "messages[0].content"),
        ([{"role": "user", "content": "a", "name": "b"}], "messages[0].name"),
        (["a"], "messages[0]"),
        ([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}], "messages[1].role"),
        ({"role": "user", "content": "a"}, "messages"),
    ],
)
def test_chat_errors_say_which_message(messages, field, tmp_path):
    error = refusal(put(tmp_path, changed("chat", 2, messages=messages)), "chat")
    assert (error.line, error.field) == (2, field)


# ---------------------------------------------------------------- Alpaca: one JSON list


def test_alpaca_defaults_and_extras(tmp_path):
    rows = [{"instruction": "a", "output": "b"}, {"id": "x", "instruction": "a", "output": "b", "rationale": "c"}]
    first, second = formats.load(put(tmp_path, json.dumps(rows), "mine.json"), "alpaca")
    assert first == Instruction("mine-1", "a", "", "b")
    assert second == Instruction("x", "a", "", "b", rationale="c")


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        ('[\n{"instruction": "a", "output": "b"},\n{"instruction": "a"}\n]', 3, "output"),
        ('[\n{"instruction": "a",\n"output": "b"},\n\n{"instruction": 3, "output": "b"}\n]', 5, "instruction"),
        ('[\n{"instruction": "a", "output": "b"}\n{"instruction": "a", "output": "b"}]', 3, ""),
        ('[\n{"instruction": "a", "output": "b"},\n]', 3, ""),
        ('[\n{"instruction": "a", "output": "b"},\n', 3, ""),
        ('[{"instruction": "a", "output": "b"}]\n\nmore', 3, ""),
        ('[{"id": "x", "instruction": "a", "output": "b"},\n{"id": "x", "instruction": "a", "output": "b"}]', 2, "id"),
        ('[{"instruction": "a", "output": NaN}]', 1, ""),
        ('{"instruction": "a", "output": "b"}', 1, ""),
        ("\n\n[\n]", 4, ""),
        ("[", 1, ""),
        ("nonsense", 1, ""),
        ("[[]]", 1, ""),
    ],
)
def test_alpaca_errors_are_located(text, line, field, tmp_path):
    error = refusal(put(tmp_path, text), "alpaca")
    assert (error.line, error.field) == (line, field)


def test_a_cut_alpaca_file_never_loads(tmp_path):
    text = GOOD["alpaca"]
    for length in range(len(text) - 1):
        refusal(put(tmp_path, text[:length]), "alpaca")


# ---------------------------------------------------------------- labelled sets


def test_labelled_splits_and_labels(tmp_path):
    items = formats.load(put(tmp_path, GOOD["labelled"], "desk.jsonl"), "labelled")
    assert (items.name, items.labels) == ("desk", ("a", "b"))
    assert [i.id for i in items.pool] == ["m0", "m2"]
    assert [i.id for i in items.test] == ["m1", "m3"]
    error = refusal(put(tmp_path, changed("labelled", 1, split="train")), "labelled")
    assert (error.field, error.expected, error.found) == ("split", "one of 'pool', 'test'", "'train'")


def test_a_test_item_that_leaks_from_the_pool_is_located(tmp_path):
    error = refusal(put(tmp_path, changed("labelled", 4, text=" NUMBER 2!")), "labelled")
    assert (error.line, error.field, error.found) == (4, "text", "' NUMBER 2!'")


def test_a_file_without_test_items_is_refused(tmp_path):
    error = refusal(put(tmp_path, GOOD["labelled"].replace('"test"', '"pool"')), "labelled")
    assert error.field == "test"
