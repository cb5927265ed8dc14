"""Every document and every option of every world is read as the fact that it states."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptlab.tasks.fact_reading import read_fact, read_facts
from adaptlab.tasks.knowledge import NAMED, REPHRASED, Fact
from adaptlab.tasks.words import study
from adaptlab.tasks.worlds import descriptions, reversals, syllogisms
from adaptlab.tasks.worlds_structure import structure

MAKERS = {
    "reversals": lambda seed, words: reversals(seed, 28, 2, words),
    "syllogisms": lambda seed, words: syllogisms(seed, 12, words),
    "descriptions": lambda seed, words: descriptions(seed, 4, 3, words),
    "structure": lambda seed, words: structure(seed, 20, 2, 20, words),
}


@pytest.mark.parametrize("kind", MAKERS)
@given(st.integers(0, 1000))
@settings(max_examples=12)
def test_worlds_are_read_as_what_they_state(kind, seed):
    world = MAKERS[kind](seed, study("test"))
    for document in world.documents:
        assert read_facts(document.text) == list(document.facts), document.text
    for item in world.items:
        for option in (item.gold, *item.seen, *item.unseen):
            said = option.text if item.stem.endswith(":") else f"{item.stem} {option.text}."
            assert read_fact(said) == option.fact, said


@pytest.mark.parametrize("form", REPHRASED)
def test_other_words_are_read(form):
    fact = Fact(form, "bakda", "vogmi")
    assert read_fact(f"In other words, {fact.worded(REPHRASED[form])}.") == fact
    assert read_fact(f"So, {fact.sentence}.") == fact


def test_what_states_nothing_is_none():
    for text in ("", "bakda", "bakda vogmi is", "What is the first word in this list: bakda vogmi", "So, bakda is."):
        assert read_fact(text) is None
    assert read_fact("bakda vogmi is the keeper of tupjo") == Fact(NAMED, "bakda vogmi", "the keeper of tupjo")
    assert read_facts("Question: What can the bakda do? Answer: vogmi. Well then. So, all tupjo can vogmi.") == [
        Fact("all {a} can {b}", "bakda", "vogmi"),
        Fact("all {a} can {b}", "tupjo", "vogmi"),
    ]
