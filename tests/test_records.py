"""Records hold what they are given, and refuse what does not belong."""

import dataclasses
import pickle
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.tasks.records import (
    Conversation,
    Demonstration,
    FieldError,
    Instruction,
    Labelled,
    Message,
    Preference,
    PromptFile,
    Text,
    content_key,
    quote,
)
from adaptlab.tasks.splits import LabelledSet, OpenSet, balanced_sample

ITEM = Labelled("a", "Where is my parcel?", "delivery")
OTHER = Labelled("b", "My brakes squeal.", "repair")
LABELS = ("delivery", "repair")
USER = Message("user", "Hello")
GOOD = [
    ITEM,
    LabelledSet("desk", LABELS, (ITEM,), (OTHER,)),
    Instruction("a", "Add.", "", "4"),
    USER,
    Conversation("a", (USER,)),
    Text("a", "One."),
    Preference("a", "Say yes.", "Yes.", "No."),
    PromptFile("Be kind."),
]


@pytest.mark.parametrize("record", GOOD, ids=lambda record: type(record).__name__)
def test_records_are_frozen_and_compare_by_value(record):
    assert record == dataclasses.replace(record)
    assert hash(record) == hash(dataclasses.replace(record))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, dataclasses.fields(record)[0].name, "other")


@pytest.mark.parametrize(
    ("record", "query", "answer"),
    [
        (ITEM, "Where is my parcel?", "delivery"),
        (Instruction("a", "Add.", "1 2", "3"), "Add.\n1 2", "3"),
        (Instruction("a", "Say yes.", " ", "yes"), "Say yes.", "yes"),
        (Preference("a", "Q:", " 1", "2"), "Q:", " 1"),
        (Demonstration("q", "a"), "q", "a"),
        (Conversation("c", (Message("system", "S"), USER, Message("assistant", "A"))), "S\nHello", "A"),
    ],
)
def test_a_record_has_a_query_and_an_answer(record, query, answer):
    assert (record.query, record.answer) == (query, answer)


def test_turns():
    said = Message("assistant", "Hi.")
    assert Instruction("a", "Add.", "1 2", "3").turns == [("Add.\n1 2", "3")]
    assert Conversation("c", (USER, said, USER, said)).turns == [("Hello", "Hi.")] * 2
    assert Conversation("c", (Message("system", "S"), USER, said)).turns == [("S\n\nHello", "Hi.")]
    for messages in [
        (USER,),
        (said, USER),
        (USER, said, USER),
        (Message("system", "S"), said),
        (Message("system", "S"),),
    ]:
        with pytest.raises(
            FieldError, match=r"field 'messages': expected user and assistant in turns \(conversation c"
        ):
            _ = Conversation("c", messages).turns


@pytest.mark.parametrize(
    ("record", "field", "bad"),
    [
        (record, field.name, bad)
        for record in GOOD
        for field in dataclasses.fields(record)
        if field.name != "source"  # where a set comes from is no part of what it says
        for bad in (3, None, ["x"], "lone \ud800")
    ],
)
def test_a_wrong_type_is_refused_by_name(record, field, bad):
    with pytest.raises(FieldError) as caught:
        dataclasses.replace(record, **{field: bad})
    assert caught.value.field == field
    assert isinstance(caught.value, ValueError)
    str(caught.value).encode()  # even a lone surrogate is shown in printable form


REQUIRED = {
    ITEM: "id text label",
    GOOD[2]: "instruction output",
    USER: "content",
    GOOD[5]: "text",
    GOOD[6]: "prompt chosen rejected",
}


@pytest.mark.parametrize(("record", "field"), [(one, field) for one in REQUIRED for field in REQUIRED[one].split()])
def test_required_text_may_not_be_blank(record, field):
    with pytest.raises(FieldError, match=f"field '{field}': expected text that is not blank, found ' .n'"):
        dataclasses.replace(record, **{field: " \n"})


def test_text_is_kept_as_it_is():
    text = "  Ünïcode\u2028 \r\n tail "
    assert Text("a", text).text == text


def test_an_unknown_role_lists_the_roles():
    with pytest.raises(FieldError) as caught:
        Message("tool", "x")
    assert str(caught.value) == "field 'role': expected one of 'system', 'user', 'assistant', found 'tool'"


def test_a_system_message_stands_first_or_nowhere():
    system = Message("system", "Be brief.")
    assert Conversation("a", (system, USER)).messages[0] == system
    with pytest.raises(FieldError) as caught:
        Conversation("a", (USER, system))
    assert caught.value.field == "messages[1].role"


def test_a_conversation_needs_a_message_and_takes_blank_references():
    with pytest.raises(FieldError, match="messages"):
        Conversation("a", ())
    assert Conversation("a", (USER,), references=("4", "")).references == ("4", "")


def test_a_prompt_file_needs_something_in_it():
    assert PromptFile("", (Demonstration("q", "a"),)).demonstrations[0].answer == "a"
    with pytest.raises(FieldError, match="system"):
        PromptFile(" ")
    with pytest.raises(FieldError, match=r"demonstrations\[1\]\.answer"):
        PromptFile("", (Demonstration("q", "a"), Demonstration("q", "")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ("delivery", "delivery")}, "field 'labels': expected values that differ"),
        ({"labels": ()}, "field 'labels': expected a tuple of str, not empty"),
        ({"labels": ("delivery", "hire")}, "expected one of 'delivery', 'hire', found 'repair'"),
        ({"test": ()}, "field 'test': expected a tuple of Labelled, not empty"),
        ({"test": (OTHER, OTHER)}, "field 'id': expected values that differ from each other, found 'b' twice"),
        ({"test": (Labelled("a", "Other.", "repair"),)}, "found 'a' twice"),
        ({"test": (Labelled("c", "WHERE IS  MY PARCEL", "delivery"),)}, "that of item 'c'"),
    ],
)
def test_a_labelled_set_refuses(change, message):
    good = LabelledSet("desk", LABELS, (ITEM,), (OTHER,))
    with pytest.raises(FieldError) as caught:
        dataclasses.replace(good, **change)
    assert message in str(caught.value)


def test_a_labelled_set_may_have_no_pool():
    assert LabelledSet("desk", LABELS, (), (ITEM,)).pool == ()


ITEMS = tuple(Labelled(str(n), f"number {n}", "abb"[n % 3]) for n in range(30))
TASKS = tuple(Instruction(str(n), f"Say {n}", "", str(n)) for n in range(30))


@pytest.mark.parametrize(
    "data", [LabelledSet("l", ("a", "b"), ITEMS[:21], ITEMS[21:]), OpenSet("o", TASKS[:21], TASKS[21:])]
)
def test_samples_are_nested_and_items_are_the_same_every_time(data):
    whole = data.sample(12, seed=1)
    assert len(set(whole)) == 12 and set(whole) <= set(data.pool)
    assert all(data.sample(k, seed=1) == whole[:k] for k in range(12))
    assert data.sample(12, seed=2) != whole
    assert data.items() == data.items(0) == list(data.test) and data.items(4) == data.items(6)[:4]
    for n in (10, -1):
        with pytest.raises(
            ValueError, match=f"^items must be at most 9, the number of test items, or 0 for all; found {n}$"
        ):
            data.items(n)
    with pytest.raises(
        ValueError, match=r"cannot sample 22 balanced .* holds 7 of its rarest|between 0 and 21, .* found 22"
    ):
        data.sample(22, seed=0)


def test_a_sample_of_labelled_items_is_balanced_in_every_round():
    sample = balanced_sample(ITEMS, 20, seed=3)
    assert all({one.label, other.label} == {"a", "b"} for one, other in zip(sample[::2], sample[1::2], strict=True))
    assert len({tuple(item.label for item in sample[place : place + 2]) for place in range(0, 20, 2)}) == 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Where is it?", "  where\tis it ", True),
        ("don't", "DON’T", True),
        ("straße", "STRASSE", True),
        ("ﬁne caf\u00e9", "fine cafe\u0301", True),
        ("２ wheels", "2 wheels", True),
        ("a\x00b", "a b", True),
        ("de\u00adlivery", "delivery", True),
        ("2 + 2", "2 2", False),
        ("a b", "ab", False),
        ("?!", "...", False),
        ("कि", "का", False),
    ],
)
def test_what_content_key_folds(one, other, same):
    assert (content_key(one) == content_key(other)) is same


@given(st.text())
def test_content_key_does_not_see_form_or_frame(text):
    key = content_key(text)
    assert len(key) == 64 and int(key, 16) >= 0
    assert content_key(unicodedata.normalize("NFD", text)) == key
    if any(unicodedata.category(sign)[0] not in "PZC" for sign in unicodedata.normalize("NFKC", text)):
        assert content_key(f" ({text})!\n") == key


@given(st.text(alphabet="abcXYZ 19", min_size=1))
def test_content_key_does_not_see_case(text):
    assert content_key(text.upper()) == content_key(text.lower())


def test_errors_survive_pickling_and_long_values_are_cut():
    error = pickle.loads(pickle.dumps(FieldError("text", "text", quote("x" * 500))))
    assert error.field == "text"
    assert len(str(error)) < 120 and "…" in str(error)
