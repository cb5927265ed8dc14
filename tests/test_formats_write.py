"""Files are written whole or not at all, and load to what was written."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptlab.files import write_text
from adaptlab.tasks import formats
from adaptlab.tasks.records import (
    Conversation,
    FieldError,
    Instruction,
    Labelled,
    LabelledSet,
    Message,
    PromptCompletion,
    content_key,
)
from format_files import PUBLIC, public, put

on_disk = settings(deadline=None)  # an fsync has none

TEXT = st.text(max_size=20)
SOME = TEXT.filter(str.strip)
INSTRUCTIONS = st.builds(Instruction, SOME, SOME, TEXT, SOME, TEXT, TEXT)
CHATS = st.builds(
    Conversation,
    SOME,
    st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), SOME), min_size=1, max_size=4).map(tuple),
    TEXT,
    st.lists(TEXT, max_size=2).map(tuple),
)
COMPLETIONS = st.builds(PromptCompletion, SOME, SOME, SOME)


def several(records):
    return st.lists(records, min_size=1, max_size=4, unique_by=lambda record: record.id).map(tuple)


@st.composite
def labelled_sets(draw):
    labels = draw(st.lists(SOME, min_size=1, max_size=3, unique=True).map(tuple))
    items = st.builds(Labelled, SOME, SOME, st.sampled_from(labels))
    items = draw(st.lists(items, min_size=1, max_size=6, unique_by=(lambda i: i.id, lambda i: content_key(i.text))))
    cut = draw(st.integers(0, len(items) - 1))
    return LabelledSet(draw(SOME), labels, tuple(items[:cut]), tuple(items[cut:]))


@on_disk
@given(records=several(INSTRUCTIONS))
def test_alpaca_round_trip(records, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "a.json"
    formats.write_alpaca(path, records)
    assert formats.load_alpaca(path) == records


@on_disk
@given(records=several(CHATS))
def test_chat_round_trip(records, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "c.jsonl"
    formats.write_chat(path, records)
    assert formats.load_chat(path) == records


@on_disk
@given(records=several(COMPLETIONS))
def test_completions_round_trip(records, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "p.jsonl"
    formats.write_completions(path, records)
    assert formats.load_completions(path) == records


@on_disk
@given(items=labelled_sets())
def test_labelled_round_trip(items, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "l.jsonl"
    formats.write_labelled(path, items)
    assert formats.load_labelled(path, items.labels, items.name) == items


def test_alpaca_files_keep_the_blank_input_and_drop_other_blanks(tmp_path):
    formats.write_alpaca(tmp_path / "a.json", [Instruction("a", "Add.", "", "4")])
    (row,) = json.loads((tmp_path / "a.json").read_bytes())
    assert row == {"id": "a", "instruction": "Add.", "input": "", "output": "4"}


def test_written_text_stays_readable(tmp_path):
    formats.write_completions(tmp_path / "p.jsonl", [PromptCompletion("a", "Où ?", "là")])
    assert "Où ?" in (tmp_path / "p.jsonl").read_text(encoding="utf-8")


@public
def test_public_files_pass_through_the_plain_formats(tmp_path):
    tasks = formats.load(PUBLIC / "gsm8k_test.jsonl", "gsm8k")
    formats.write_alpaca(tmp_path / "a.json", tasks)
    assert formats.load_alpaca(tmp_path / "a.json") == tasks
    talks = formats.load(PUBLIC / "mt_bench_questions.jsonl", "mt-bench")
    formats.write_chat(tmp_path / "c.jsonl", talks)
    assert formats.load_chat(tmp_path / "c.jsonl") == talks


PAIR = PromptCompletion("a", "one", " two")


@pytest.mark.parametrize("records", [(), (PAIR, PAIR)])
def test_what_would_not_load_is_not_written(records, tmp_path):
    path = put(tmp_path, "old")
    with pytest.raises(FieldError):
        formats.write_completions(path, records)
    assert path.read_text() == "old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_other(call, tmp_path, monkeypatch):
    path = put(tmp_path, "old")

    def fail(*_args):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="no space"):
        formats.write_completions(path, [PAIR])
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [path.name]


def test_written_files_have_ordinary_rights(tmp_path):
    write_text(tmp_path / "new", "x")
    assert (tmp_path / "new").stat().st_mode == put(tmp_path, "x").stat().st_mode
