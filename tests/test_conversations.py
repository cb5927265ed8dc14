"""Conversations of two turns."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.tasks.records import Conversation, FieldError, Message
from adaptlab.tasks.sets import FIRST, FOLLOW_UPS, answered, conversation
from adaptlab.tasks.templates import solve_text
from adaptlab.tasks.words import english, study

seeds = st.integers(0, 10**6).map(random.Random)
drawers = st.sampled_from([study("test"), english("test"), english()])

# What a follow-up asks for, told once more, over the words of the first answer.
FOLLOWED = {
    "reverse": lambda words: words[::-1],
    "first": lambda words: words[:1],
    "last": lambda words: words[-1:],
    "second": lambda words: words[1:2],
    "rest": lambda words: words[1:],
    "swap": lambda words: words[-1:] + words[1:-1] + words[:1],
    "double": lambda words: [w for word in words for w in (word, word)],
    "count": lambda words: [str(len(words))],
}


def test_every_follow_up_is_told_here_and_says_what_it_is_about():
    assert sorted(FOLLOWED) == sorted(FOLLOW_UPS)
    said = [text for texts in FOLLOW_UPS.values() for text in texts]
    assert len(set(said)) == len(said)
    assert all(any(cue in text for cue in ("your answer", "said", "Say that")) for text in said)


@given(seeds, drawers, st.sampled_from(FIRST), st.sampled_from(list(FOLLOW_UPS)))
def test_both_references_are_right(rng, draw, first, second):
    asked = conversation(rng, draw, first, second)
    question, follow_up = asked.messages
    assert (question.role, follow_up.role) == ("user", "user")
    assert follow_up.content in FOLLOW_UPS[second]
    assert asked.references[0] == solve_text(question.content)
    assert asked.references[1].split() == FOLLOWED[second](asked.references[0].split())
    assert asked.category == f"{first} then {second}"


@given(seeds, drawers)
def test_answered_turns_hold_the_references(rng, draw):
    asked = conversation(rng, draw)
    whole = answered(asked, rng)
    assert [m.role for m in whole.messages] == ["user", "assistant"] * 2
    assert whole.messages[::2] == asked.messages
    assert tuple(m.content for m in whole.messages[1::2]) == asked.references == whole.references


def test_conversations_refuse():
    rng = random.Random(0)
    with pytest.raises(FieldError, match=r"field 'first': expected one of 'copy'.*found 'count'"):
        conversation(rng, english(), first="count")
    with pytest.raises(FieldError, match=r"field 'follow_up': expected one of 'reverse'.*found 'after'"):
        conversation(rng, english(), follow_up="after")
    user = Message("user", "Copy this list: owl bee")
    with pytest.raises(FieldError, match="field 'references': expected 1 answers, one a turn, found 0"):
        answered(Conversation("a", (user,)), rng)
    with pytest.raises(FieldError, match=r"field 'messages\[1\].role': expected one of 'user', found 'assistant'"):
        answered(Conversation("a", (user, Message("assistant", "owl")), references=("owl", "owl")), rng)
