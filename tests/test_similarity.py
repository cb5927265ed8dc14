"""Copies, near copies and shared runs of words are found, and nothing else is taken for them."""

import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.tasks.reading import read
from adaptlab.tasks.records import FieldError, Instruction, Labelled, content_key
from adaptlab.tasks.similarity import (
    exact_duplicates,
    jaccard,
    most_similar,
    near_duplicates,
    nearest_rouge_l,
    ngrams,
    rouge_l,
    shared_runs,
    words,
)
from format_files import PUBLIC, public

VOCABULARY = [a + b for a in "bdfgklmnprst" for b in ("al", "en", "io", "ur", "esta", "omo")]
SOME_TEXT = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "2", "+", "Ünal"]), max_size=9).map(
    " ".join
)


def sentences(n, length=20, seed=0):
    """Random sentences that share next to nothing."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(VOCABULARY, k=length)) for _ in range(n)]


def with_one_word_changed(text, place=10):
    row = text.split()
    return " ".join([*row[:place], "changed", *row[place + 1 :]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't PANIC, it's fine!", "don t panic it s fine"),
        ("2+2 = 4", "2 + 2 = 4"),
        ("Straße ﬁn", "strasse fin"),
        ("?!", "? !"),
        ("", ""),
    ],
)
def test_words(text, expected):
    assert " ".join(words(text)) == expected


def test_ngrams_of_long_and_short_texts():
    assert ngrams("a b c d", 3) == ["a b c", "b c d"]
    assert ngrams("A, b", 3) == ["a b"]
    with pytest.raises(FieldError, match="n"):
        ngrams("a", 0)


# ---------------------------------------------------------------- duplicates


def test_exact_duplicates_point_at_the_first():
    records = [
        Labelled(i, text, "x") for i, text in [("a", "One two."), ("b", "three"), ("c", " one TWO"), ("d", "ONE two!")]
    ]
    assert [(m.place, m.other.id) for m in exact_duplicates(records)] == [(2, "a"), (3, "a")]
    assert exact_duplicates(records, key=lambda record: record.id) == []


def test_planted_near_duplicates_are_found_and_nothing_else():
    clean = sentences(300, length=40)
    planted = [with_one_word_changed(text) for text in clean[:40]]
    assert near_duplicates(clean) == []
    found = near_duplicates(clean + planted)
    assert [m.place for m in found] == list(range(300, 340))
    assert [m.other for m in found] == clean[:40]
    assert all(m.value == pytest.approx(35 / 41) for m in found)


@given(st.lists(SOME_TEXT, max_size=12), st.sampled_from([0.3, 0.7, 1.0]))
def test_no_near_duplicate_is_false_or_missed_and_all_matches_stay(texts, threshold):
    found = near_duplicates(texts, threshold)
    gone = {m.place for m in found}
    for match in found:
        assert match.value == jaccard(texts[match.place], match.other) >= threshold
        assert any(texts[p] == match.other for p in range(match.place) if p not in gone)
    stay = [text for place, text in enumerate(texts) if place not in gone]
    assert all(jaccard(one, other) < threshold for one, other in combinations(stay, 2))


def test_short_texts_are_alike_only_when_their_words_are():
    texts = ["Hi there", "hi, there!", "Hi you", "Hi", "there", "?", "!"]
    assert [(m.place, m.other) for m in near_duplicates(texts, 0.1)] == [(1, "Hi there")]


def test_a_chain_of_small_changes_keeps_what_is_far_from_the_first():
    chain = sentences(1, length=40)
    for place in range(3, 40, 6):
        chain.append(with_one_word_changed(chain[-1], place))
    assert jaccard(chain[2], chain[3]) > 0.7 > jaccard(chain[0], chain[3])
    assert [m.place for m in near_duplicates(chain, 0.7)] == [1, 2, 4, 5, 7]


@pytest.mark.parametrize("threshold", [0, -1, 1.1, float("nan")])
def test_a_threshold_is_a_share(threshold):
    with pytest.raises(FieldError, match="threshold"):
        near_duplicates(["a"], threshold)


# ---------------------------------------------------------------- contamination


def test_planted_contamination_is_found_with_what_is_shared():
    train, test = sentences(50, seed=1), sentences(50, seed=2)
    assert shared_runs(train, test) == []
    stolen = " ".join(test[7].split()[4:12])
    train[3] = f"please {stolen.upper()}, thanks"
    (match,) = shared_runs(train, test)
    assert (match.place, match.other, match.value) == (3, test[7], stolen)
    assert [(m.place, m.other, m.value) for m in shared_runs(test, train)] == [(7, train[3], stolen)]
    assert shared_runs(train, test, n=9) == []


def test_a_short_text_is_compared_whole():
    test = ["What is two and two?"]
    assert [m.place for m in shared_runs(["what is TWO and two", "Say what is two and two"], test)] == [0]
    assert shared_runs(["yes"], ["yes it is as it was and ever will be"]) == []


def test_the_training_side_may_be_read_with_its_answers():
    text = "one two three four five six seven eight"
    train = [Instruction("a", "Say it.", "", text)]
    assert shared_runs(train, [text]) == []
    assert len(shared_runs(train, [text], key=lambda record: record.answer)) == 1


@given(st.lists(SOME_TEXT, max_size=6), st.lists(SOME_TEXT, max_size=6), st.integers(1, 4))
def test_contamination_is_seen_from_both_sides(train, test, n):
    found = shared_runs(train, test, n)
    for match in found:
        assert match.value in ngrams(train[match.place], n)
        assert match.other == next(other for other in test if match.value in ngrams(other, n))
    hit = {train[m.place] for m in found}
    assert bool(hit) is bool(shared_runs(test, train, n))
    assert hit == {text for text in train if set(ngrams(text, n)) & {g for other in test for g in ngrams(other, n)}}


# ---------------------------------------------------------------- ROUGE-L


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [
        ("the cat sat", "the cat sat", 1.0),
        ("The cat sat.", "the-cat: SAT", 1.0),
        ("the cat sat on the mat", "the mat", 0.5),
        ("a b", "b a", 0.5),
        ("one", "two", 0.0),
        ("", "", 0.0),
        ("äöü", "äöü", 0.0),
    ],
)
def test_rouge_l_of_known_pairs(a, b, value):
    assert rouge_l(a, b) == rouge_l(b, a) == pytest.approx(value)


@given(SOME_TEXT | st.text(), SOME_TEXT | st.text())
def test_rouge_l_is_that_of_the_rouge_score_package(a, b):
    rouge_score = pytest.importorskip("rouge_score.rouge_scorer", reason="rouge_score is not installed")
    scorer = rouge_score.RougeScorer(["rougeL"], use_stemmer=False)
    assert rouge_l(a, b) == pytest.approx(scorer.score(a, b)["rougeL"].fmeasure)


@given(SOME_TEXT, st.lists(SOME_TEXT, min_size=1, max_size=8))
def test_most_similar_is_the_first_of_the_best(text, others):
    scores = [rouge_l(text, other) for other in others]
    match = most_similar(text, others)
    assert (match.place, match.value) == (scores.index(max(scores)), max(scores))
    assert match.other == others[match.place]


def test_most_similar_needs_others():
    with pytest.raises(FieldError, match="others"):
        most_similar("a", [])


@given(st.lists(SOME_TEXT, min_size=2, max_size=8))
def test_the_nearest_is_never_the_text_itself(texts):
    for place, value in enumerate(nearest_rouge_l(texts, range(len(texts)))):
        others = texts[:place] + texts[place + 1 :]
        assert value == pytest.approx(max(rouge_l(texts[place], other) for other in others))


@public
def test_public_sets_have_the_copies_that_reading_them_shows():
    """The StrategyQA file holds one question twice; GSM8K's test set has no such pair."""
    records = read(PUBLIC / "flan_cot_strategyqa_train.tsv").records
    (match,) = exact_duplicates(records)
    assert content_key(records[match.place].instruction) == content_key(match.other.instruction)
    assert exact_duplicates(read(PUBLIC / "gsm8k_test.jsonl").records) == []
