"""A card counts what is there, says where it comes from, and reads the same in JSON and in Markdown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.tasks.curate import Rejected
from adaptlab.tasks.datacard import card_text, content_hash, data_card, sample_records, statistics
from adaptlab.tasks.records import (
    Conversation,
    Demonstration,
    FieldError,
    Instruction,
    Labelled,
    Message,
    Text,
)
from adaptlab.tasks.similarity import rouge_l

RECORDS = [
    Instruction("a", "Name a river", "", "Rhine", "names"),
    Instruction("b", "name a river!", "", "Oder", "names"),
    Instruction("c", "Add the numbers", "1 2 3", "The sum is 6", "sums"),
    Instruction("d", "Add", "1", "1"),
]
STATED = {"description": "Four tasks.", "licence": "CC BY 4.0", "source": "Written for the tests."}
SPLITS = {"demo": RECORDS[:2], "test": RECORDS[2:]}


def test_statistics_by_hand():
    found = statistics(RECORDS)
    assert found["records"] == 4
    assert found["words"]["instruction"] == {
        "n": 4, "mean": 2.5, "median": 3.0, "p5": pytest.approx(1.3), "p95": 3.0,
    }  # fmt: skip
    assert found["words"]["input"]["n"] == 2  # the blank ones are not lengths
    assert found["words"]["output"]["mean"] == 7 / 4
    # contents: name a river, name a river, add the numbers 1 2 3, add 1
    assert found["distinct_1"] == 9 / 14
    assert found["distinct_2"] == 8 / 10
    assert found["first_words"] == 2 / 4
    assert found["exact_duplicates"] == 1 / 4
    nearest = [1, 1, rouge_l("add the numbers 1 2 3", "add 1"), rouge_l("add the numbers 1 2 3", "add 1")]
    assert found["nearest_rouge_l"] == pytest.approx(sum(nearest) / 4)


def test_what_cannot_be_counted_is_none():
    found = statistics([Labelled("a", "one", "x")])
    assert found["words"]["answer"]["n"] == 1
    assert (found["distinct_1"], found["distinct_2"], found["nearest_rouge_l"]) == (1, None, None)
    assert statistics(["?"])["words"]["answer"] == {"n": 0, "mean": None, "median": None, "p5": None, "p95": None}
    with pytest.raises(FieldError, match="records"):
        statistics([])


def test_sets_are_compared_on_equal_numbers():
    many = [f"say the {'word' if n % 3 else 'number'} {n % 40}" for n in range(400)]
    small, large = statistics(many, sample=50), statistics(many)
    assert small["records"] == 50
    assert small["distinct_2"] > 2 * large["distinct_2"]
    assert small == statistics(many, sample=50) != statistics(many, sample=50, seed=1)
    for sample in (0, 401):
        with pytest.raises(FieldError, match="from 1 to 400"):
            statistics(many, sample=sample)


@given(st.lists(st.integers(), min_size=1), st.data())
def test_a_sample_keeps_order_and_takes_each_once(items, data):
    size = data.draw(st.integers(1, len(items)))
    places = sample_records(range(len(items)), size, seed=data.draw(st.integers()))
    assert len(places) == size and places == sorted(set(places))


def test_the_content_hash_sees_every_field_and_the_order():
    first = content_hash(RECORDS)
    assert first == content_hash(tuple(RECORDS))
    others = [RECORDS[::-1], RECORDS[:3], [*RECORDS[:3], Instruction("d", "Add", "1", "1", "sums")]]
    assert len({first, *map(content_hash, others)}) == 4
    talk = Conversation("c", (Message("user", "é"),))
    assert len({content_hash([r]) for r in (talk, Text("c", "é"), Demonstration("é", "é"), "é")}) == 4


def test_the_content_hash_stays_what_it_is():
    """Cards that were published name it."""
    expected = "70a9ee7480d1062503a9d3acc68e7bd32c1c43c809f684d851accde2cdd8cbef"
    assert content_hash(["a", Demonstration("q", "é")]) == expected


def test_a_card_counts_what_is_there():
    rejected = [Rejected(row, name, "bad") for row, name in [("{", "format"), ("x", "format"), ("y", "near-duplicate")]]
    card = data_card("tasks", RECORDS, SPLITS, **STATED, generator="tests", seed=5, rejected=rejected, n=1)
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    assert card["splits"]["demo"]["categories"] == {"names": 2}
    assert card["splits"]["test"]["categories"] == {"": 1, "sums": 1}
    assert card["splits"]["test"]["content_hash"] == content_hash(RECORDS[2:])
    assert card["contamination"] == {"words": 1, "records": {"demo / test": 0}}
    assert card["rejected"] == {"format": 2, "near-duplicate": 1}
    assert (card["content_hash"], card["seed"]) == (content_hash(RECORDS), 5)
    assert card["statistics"] == statistics(RECORDS)


def test_contamination_between_splits_is_counted():
    card = data_card("tasks", RECORDS, {"demo": RECORDS[:1], "test": RECORDS[1:]}, **STATED, n=3)
    assert card["contamination"]["records"] == {"demo / test": 1}
    assert "| demo / test | 1 |" in card_text(card)


@pytest.mark.parametrize("field", ["name", "description", "licence", "source"])
def test_what_a_card_must_state_is_named(field):
    stated = {"name": "tasks", **STATED, field: " "}
    with pytest.raises(FieldError) as caught:
        data_card(records=RECORDS, **stated)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "splits", [{"a": RECORDS[1:]}, {"a": RECORDS, "b": RECORDS[:1]}, {"a": [*RECORDS[1:], "x"]}, {}]
)
def test_splits_hold_every_record_once(splits):
    with pytest.raises(FieldError) as caught:
        data_card("tasks", RECORDS, splits, **STATED)
    assert caught.value.field == "splits"


def test_the_markdown_says_what_the_card_says():
    records = [*RECORDS, Instruction("e", "Say | twice", "", "||", "a|b\nc")]
    card = data_card("tasks", records, {"demo": records[:2], "test": records[2:]}, **STATED, seed=0)
    text = card_text(card)
    assert text.startswith("# tasks\n\nFour tasks.\n")
    for line in (
        "- Source: Written for the tests.",
        "- Seed: 0",
        "- Licence: CC BY 4.0",
        f"- Content hash (sha256): `{card['content_hash']}`",
        "| category | demo | test |",
        "| (none) | 0 | 1 |",
        "| a\\|b c | 0 | 1 |",
        "| all | 2 | 3 |",
        "| exact_duplicates | 0.200 |",
        "| none | 0 |",
    ):
        assert f"\n{line}\n" in text, line
    assert "Generator" not in text


def test_a_card_without_splits_has_one():
    card = data_card("tasks", RECORDS, **STATED)
    assert list(card["splits"]) == ["all"] and card["contamination"]["records"] == {}
    assert "Contamination" not in card_text(card)
