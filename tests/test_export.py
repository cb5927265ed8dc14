"""Records pass through Datasets, Parquet and JSONL unchanged, and what does not belong is refused with its place."""

import json
import os
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adaptlab.tasks import export
from adaptlab.tasks.reading import FormatError
from adaptlab.tasks.records import Conversation, FieldError, Instruction, Labelled, Message, PromptCompletion
from test_offline import GUARD

datasets = pytest.importorskip("datasets", reason="the extra `data` is not installed")
pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

TEXT = st.text(max_size=20) | st.sampled_from(
    ["  both ends \n", "e\u0301\u0323 👩🏽‍🚀\u2028\x00\r\n", '"\\', "long " * 20000]
)
SOME = TEXT.filter(str.strip)
RECORDS = {
    Instruction: st.builds(Instruction, SOME, SOME, TEXT, SOME, TEXT, TEXT),
    Conversation: st.builds(
        Conversation,
        SOME,
        st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), SOME), min_size=1, max_size=3).map(tuple),
        TEXT,
        st.lists(TEXT, max_size=2).map(tuple),
    ),
    PromptCompletion: st.builds(PromptCompletion, SOME, SOME, SOME),
    Labelled: st.builds(Labelled, SOME, SOME, SOME),
}
PLAIN = {
    Instruction: Instruction("a", "Add.", "", "4"),
    Conversation: Conversation("a", (Message("user", "Hello"),)),
    PromptCompletion: PromptCompletion("a", "one", " two"),
    Labelled: Labelled("a", "Where is it?", "delivery"),
}
KINDS = pytest.mark.parametrize("kind", export.KINDS, ids=lambda kind: kind.__name__)
FILES = {"parquet": (export.write_parquet, export.load_parquet), "jsonl": (export.write_jsonl, export.load_jsonl)}
FORMATS = pytest.mark.parametrize("format", FILES)


def some(kind):
    return st.lists(RECORDS[kind], min_size=1, max_size=4, unique_by=lambda record: record.id).map(tuple)


def through_dataset(records, _folder):
    return export.from_dataset(export.to_dataset(records), type(records[0]))


def through_parquet(records, folder):
    export.write_parquet(folder / "r.parquet", records)
    return export.load_parquet(folder / "r.parquet", type(records[0]))


def through_jsonl(records, folder):
    export.write_jsonl(folder / "r.jsonl", records)
    return export.load_jsonl(folder / "r.jsonl", type(records[0]))


@pytest.mark.parametrize("through", [through_dataset, through_parquet, through_jsonl])
@given(records=st.sampled_from(export.KINDS).flatmap(some))
@example(records=tuple(PLAIN.values())[:1])
@example(records=tuple(replace(PLAIN[Labelled], id=id) for id in "cab"))
def test_a_round_trip_changes_nothing(through, records, tmp_path_factory):
    assert through(records, tmp_path_factory.getbasetemp()) == records


@KINDS
def test_columns_are_the_fields_and_keep_their_types_when_blank(kind, tmp_path):
    blank = [PLAIN[kind]]
    export.write_parquet(tmp_path / "r.parquet", blank)
    for schema in (pq.read_schema(tmp_path / "r.parquet"), export.to_dataset(blank).data.schema):
        assert schema.names == [field.name for field in fields(kind)]
        assert not any("null" in str(column.type) for column in schema)


def test_columns_read_as_other_tools_expect(tmp_path):
    dataset = export.to_dataset([Conversation("a", (Message("user", "Hi"), Message("assistant", "Ho")), "", ("Ho",))])
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    assert dataset[0] == {"id": "a", "messages": messages, "category": "", "references": ["Ho"]}
    dataset.to_parquet(tmp_path / "r.parquet")
    assert export.load_parquet(tmp_path / "r.parquet", Conversation)[0].references == ("Ho",)


def test_a_line_of_jsonl_holds_every_field_and_stays_readable(tmp_path):
    export.write_jsonl(tmp_path / "r.jsonl", [replace(PLAIN[Instruction], output="Où ?")])
    line = '{"id": "a", "instruction": "Add.", "input": "", "output": "Où ?", "category": "", "rationale": ""}\n'
    assert (tmp_path / "r.jsonl").read_bytes() == line.encode()


def test_a_dataset_is_read_in_its_present_order():
    dataset = export.to_dataset([replace(PLAIN[Labelled], id=id) for id in "abc"])
    assert [record.id for record in export.from_dataset(dataset.select([2, 0]), Labelled)] == ["c", "a"]


# Rows of a Completion or a Conversation, the row and the field that the error names, and the rest of its words.
TALK = {"id": "a", "messages": [{"role": "user", "content": "Hi"}]}
PAIR = {"id": "a", "prompt": "p", "completion": "c"}
BAD = [
    ([PAIR | {"source": "web"}], 1, "source", "expected one of 'id', 'prompt', 'completion'"),
    ([{"id": "a", "prompt": "p"}], 1, "completion", "expected a value, found only the fields 'id', 'prompt'"),
    ([PAIR, PAIR | {"id": "b", "prompt": None}], 2, "prompt", "expected text, found None"),
    ([PAIR | {"completion": 3}], 1, "completion", "expected text, found 3"),
    ([PAIR | {"completion": " "}], 1, "completion", "expected text that is not blank"),
    ([PAIR | {"id": None}], 1, "id", "expected text, found None"),
    ([PAIR, PAIR | {"id": "b"}, PAIR], 3, "id", "expected an id other than that of line 1, found 'a'"),
    ([TALK | {"messages": None}], 1, "messages", "expected a list, found None"),
    ([TALK | {"messages": []}], 1, "messages", "not empty"),
    ([TALK | {"messages": ["Hi"]}], 1, "messages[0]", "expected a JSON object, found 'Hi'"),
    ([TALK | {"messages": [{"role": "user", "content": None}]}], 1, "messages[0].content", "expected text, found None"),
    ([TALK | {"messages": [{"role": "bot", "content": "Hi"}]}], 1, "messages[0].role", "expected one of 'system'"),
    ([TALK | {"category": None}], 1, "category", "expected text, found None"),
    ([TALK | {"references": ["4", None]}], 1, "references[1]", "expected text, found None"),
]


@pytest.mark.parametrize(("rows", "line", "field", "words"), BAD)
@pytest.mark.parametrize("source", ["dataset", "parquet", "jsonl"])
def test_what_does_not_belong_is_refused_with_row_and_column(source, rows, line, field, words, tmp_path):
    kind = PromptCompletion if "prompt" in rows[0] else Conversation
    path = tmp_path / f"rows.{source}"
    with pytest.raises(FormatError) as caught:
        if source == "dataset":
            export.from_dataset(datasets.Dataset.from_list(rows), kind)
        elif source == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
            export.load_parquet(path, kind)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            export.load_jsonl(path, kind)
    assert (caught.value.line, caught.value.field) == (line, field)
    assert words in str(caught.value)


def test_optional_columns_may_be_missing():
    rows = [{"id": "a", "instruction": "Add.", "input": "", "output": "4"}]
    assert export.from_dataset(datasets.Dataset.from_list(rows), Instruction) == (PLAIN[Instruction],)


@pytest.mark.parametrize("cut", [0, 3, 200, -1])
def test_a_broken_parquet_file_is_refused(cut, tmp_path):
    path = tmp_path / "r.parquet"
    export.write_parquet(path, [PLAIN[Labelled]])
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(FormatError, match=r"r\.parquet:1: expected a sound Parquet file"):
        export.load_parquet(path, Labelled)


def test_text_that_is_not_utf8_is_refused(tmp_path):
    bad = pa.array([b"ok", b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"id": ["a", "b"], "prompt": bad, "completion": ["x", "y"]}), tmp_path / "r.parquet")
    with pytest.raises(FormatError, match="Invalid UTF8"):
        export.load_parquet(tmp_path / "r.parquet", PromptCompletion)


def test_columns_of_one_name_are_refused(tmp_path):
    table = pa.table([["a"], ["p"], ["c"], ["d"]], ["id", "prompt", "completion", "completion"])
    pq.write_table(table, tmp_path / "r.parquet")
    with pytest.raises(FormatError, match="columns of different names, found id, prompt, completion, completion"):
        export.load_parquet(tmp_path / "r.parquet", PromptCompletion)


def test_folder_names_are_not_columns(tmp_path):
    folder = tmp_path / "label=other"
    folder.mkdir()
    assert through_parquet((PLAIN[Labelled],), folder) == (PLAIN[Labelled],)


def test_no_rows_no_records_and_other_kinds_are_refused(tmp_path):
    empty = datasets.Dataset.from_dict({"id": [], "prompt": [], "completion": []})
    with pytest.raises(FormatError, match="dataset:1: expected at least one record"):
        export.from_dataset(empty, PromptCompletion)
    with pytest.raises(FieldError, match=r"one split of a DatasetDict.*found DatasetDict"):
        export.from_dataset(datasets.DatasetDict(train=empty), PromptCompletion)
    with pytest.raises(FieldError, match="field 'kind': expected one of Instruction, "):
        export.from_dataset(empty, Message)


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ((), "at least one record, .* found none"),
        ((PLAIN[Labelled], PLAIN[PromptCompletion]), "of one kind .* found Labelled, Completion"),
        ((Message("user", "Hi"),), "found Message"),
        ((PLAIN[Labelled], PLAIN[Labelled]), "field 'id': .* found 'a' twice"),
    ],
)
@FORMATS
def test_what_would_not_load_is_not_written(format, records, words, tmp_path):
    path = tmp_path / "r"
    path.write_text("old")
    with pytest.raises(FieldError, match=words):
        FILES[format][0](path, records)
    assert path.read_text() == "old"


@FORMATS
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_other(format, call, tmp_path, monkeypatch):
    path = tmp_path / "r"
    path.write_text("old")

    def fail(*_args):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="no space"):
        FILES[format][0](path, [PLAIN[Labelled]])
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["r"]


WRITE = """
import os, sys
from adaptlab.tasks import export
from adaptlab.tasks.records import Conversation, Message
assert not {"torch", "datasets", "pyarrow"} & set(sys.modules)
records = [Conversation(str(n), (Message("user", "Hi"),) * 3) for n in range(500)]
export.write_parquet(sys.argv[1], records)
assert export.from_dataset(export.to_dataset(records), Conversation) == tuple(records)
"""


def test_no_network_no_cache_no_torch_and_equal_bytes_in_any_process(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    home, calls = tmp_path / "home", tmp_path / "calls"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {"PYTHONPATH": str(tmp_path), "CALLS": str(calls), "HF_HOME": str(home), "HOME": str(home)}
    completions = []
    for seed in "12":
        path = tmp_path / f"{seed}.parquet"
        command = [sys.executable, "-c", WRITE, str(path)]
        run = subprocess.run(command, env=environment | {"PYTHONHASHSEED": seed}, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        completions.append(path.read_bytes())
    assert completions[0] == completions[1]
    assert not calls.exists() and not home.exists()


@pytest.mark.parametrize("missing", ["datasets", "pyarrow"])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"'{missing}' is missing: install the extra adaptlab\[data\]"):
        export.to_dataset([PLAIN[Labelled]])
