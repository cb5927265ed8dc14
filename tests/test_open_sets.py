"""Tasks with written answers: disjoint, repeatable, and right answers that a program can tell."""

import hashlib
import random

import pytest

from adaptlab.tasks import instructions, sets
from adaptlab.tasks.english_problems import deduction, word_problem
from adaptlab.tasks.instructions import answers, request, right, sample_response_style
from adaptlab.tasks.records import Instruction
from adaptlab.tasks.sets import (
    LABELLED,
    LEXICON,
    OPEN_TASKS,
    answered,
    as_instructions,
    conversation,
    load_open,
    load_task,
)
from adaptlab.tasks.splits import OpenSet
from adaptlab.tasks.words import english

EVERY = pytest.mark.parametrize("name", OPEN_TASKS)
WORDS = pytest.mark.parametrize("words", ["study", "english"])


@EVERY
@WORDS
def test_sets_are_as_large_as_asked_disjoint_and_repeatable(name, words):
    data = load_open(name, words, pool=60, test=40, seed=3)
    assert (len(data.pool), len(data.test)) == (60, 40)
    assert not {r.query for r in data.pool} & {r.query for r in data.test}
    assert data == load_open(name, words, pool=60, test=40, seed=3) != load_open(name, words, pool=60, test=40, seed=4)


@WORDS
def test_a_lexicon_is_one_to_one_and_word_for_word(words):
    data, partner = load_open("lexicon", words), {}
    for record in (*data.pool, *data.test):
        asked, said = record.instruction.split(), record.output.split()
        assert len(asked) == len(said) == len(set(asked))
        for a, b in zip(asked, said, strict=True):
            assert partner.setdefault(a, b) == b
    assert len(partner) == len(set(partner.values())) == LEXICON
    assert not set(partner) & set(partner.values())


@WORDS
def test_a_digest_keeps_two_words_of_its_note(words):
    for record in load_open("digest", words).test:
        parts = record.instruction.split()
        assert record.output.split() == parts[2:4] and len(parts) == 5


def test_requests_can_be_of_some_clusters_only():
    assert {r.category for r in load_open("requests", list_tasks=["copy", "last"]).test} == {"copy", "last"}


def test_the_right_answer_counts_in_any_manner_and_nothing_else_does():
    (record, *_), (other, *_) = load_open("requests").test, load_open("requests", seed=9).test
    assert len(answers(record.output)) == 4
    for text in answers(record.output):
        assert right(record, f" {text}\n") and not right(record, f"{text} And more.")
    assert record.output == other.output or not right(record, other.output)
    assert not right(record, "") and not right(record, record.output.upper())


def test_more_questions_than_there_are_is_refused(monkeypatch):
    monkeypatch.setattr(sets, "LEXICON", 4)  # 12 pairs of words, 24 triples and 24 fours
    assert len(load_open("lexicon", pool=40, test=10).pool) == 40
    with pytest.raises(ValueError, match="field 'pool and test': expected no more than 60 together, found 61"):
        load_open("lexicon", pool=40, test=21)


def test_bad_wishes_are_refused():
    with pytest.raises(ValueError, match="field 'task': expected one of 'requests', 'lexicon', 'digest'"):
        load_open("poems")
    with pytest.raises(ValueError, match="field 'words': expected one of 'study', 'english'"):
        load_open("digest", "latin")
    one = Instruction("a", "Say x", "", "x")
    with pytest.raises(ValueError, match="questions that are not in the pool"):
        OpenSet("leak", (one,), (Instruction("b", "say X.", "", "x"),))
    with pytest.raises(ValueError, match="field 'prompt_format'"):
        OpenSet("odd", (), (one,), "xml")


# A seed is quoted in results, and published models were trained so: it has to name the same data in every version.
DIGESTS = {
    "requests study": "d190d329b7383397",
    "requests english": "fbd15549014f410c",
    "lexicon study": "cc79ecef2e349426",
    "lexicon english": "52aa905bc19ec482",
    "digest study": "2b1ed1d6c12dbe87",
    "digest english": "cd1147701c788aaf",
    "conversations": "da2096f5d856321a",
    "messages": "90b96298f816d024",
    "notes": "bad518baa4533930",
    "english problems": "ec0ffe19da6b1690",
    "answered requests": "d6df2f34ad63e136",
}


def sampled(name):
    rng = random.Random(4)
    if name == "conversations":
        return [answered(conversation(rng, english()), rng).turns for _ in range(20)]
    if name == "answered requests":
        requests = (request(rng, "train") for _ in range(60))
        said = [(one, instructions.answered(rng, one, sample_response_style(rng, one), "train")) for one in requests]
        return [(one.question, one.answer, *answer) for one, answer in said]
    if name == "english problems":
        return [make(rng, n).query for n in range(1, 9) for make in (word_problem, deduction)]
    if name in LABELLED:
        return [record.query for record in as_instructions(load_task(name), "pool")]
    data = load_open(*name.split(), 20, 20, 3)
    return [(item.id, item.query, item.answer) for item in data.pool + data.test]


@pytest.mark.parametrize("name", DIGESTS)
def test_a_seed_names_the_data_that_it_always_named(name):
    assert hashlib.sha256(repr(sampled(name)).encode()).hexdigest()[:16] == DIGESTS[name]
