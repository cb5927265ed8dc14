"""Words that tasks are about."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.tasks.records import FieldError
from adaptlab.tasks.templates import template_words
from adaptlab.tasks.words import SPLITS, english, english_words, nouns, of_words, study

seeds = st.integers(0, 10**6).map(random.Random)
ENGLISH = [word for split in SPLITS for word in english_words(split)]
drawers = st.sampled_from([make(split) for make in (study, english) for split in SPLITS])


def test_english_words_are_plain_and_their_splits_apart():
    assert len(ENGLISH) == len(set(ENGLISH)) >= 200
    assert all(re.fullmatch("[a-z]+", word) for word in ENGLISH)
    assert all(len(english_words(split)) >= 20 for split in SPLITS)


def test_no_word_of_a_vocabulary_stands_in_a_template():
    words = {*ENGLISH, *(noun for split in SPLITS for noun in nouns(split))}
    assert not words & template_words()
    assert {"list", "word", "someone", "neighbour", "yes"} <= template_words()


@given(seeds, drawers, st.integers(1, 10))
def test_a_vocabulary_draws_different_words_and_avoids(rng, draw, n):
    first = draw(rng, n)
    second = draw(rng, n, first)
    assert len({*first, *second}) == 2 * n


def test_vocabularies_refuse():
    for make in (study, english):
        with pytest.raises(FieldError, match="one of 'train', 'probe', 'test', found 'dev'"):
            make("dev")
    with pytest.raises(FieldError, match="expected at most 1, the words that are left, found 2"):
        of_words(("dog", "cat"))(random.Random(0), 2, ["dog"])
