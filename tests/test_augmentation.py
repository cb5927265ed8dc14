"""Inferences that a model makes itself: asked for, sorted out, judged, and trained on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptlab.engine.models import load
from adaptlab.engine.scoring import Cost
from adaptlab.methods import augmentation
from adaptlab.methods.augmentation import INFERRED, STATED, UNREADABLE, WRONG, Ask, Inference, Inferences, Texts
from adaptlab.tasks.fact_reading import read_fact
from adaptlab.tasks.knowledge import Fact
from adaptlab.tasks.words import study
from adaptlab.tasks.worlds import four_sentences, reversals, syllogisms
from adaptlab.tasks.worlds_structure import structure

WORLD = reversals(0, facts=6, articles=1, words=study("test"))
TEXTS = [document.text for document in WORLD.documents]
WANTED = [item.gold.fact for item in WORLD.items if item.split == "reversal"]


@pytest.fixture(scope="module")
def lm():
    return load("study", device="cpu")


@given(st.integers(1, 20), st.integers(1, 25), st.integers(1, 3), st.integers(0, 9))
def test_every_document_has_its_turn_behind_others(n, size, times, seed):
    found = augmentation.groups(n, size, times, seed)
    assert [group[-1] for group in found] == [*range(n)] * times
    assert all(len({*group}) == len(group) == min(size, n) for group in found)


def test_a_document_stands_behind_those_that_share_its_words():
    texts = ["all dak are vog.", "no mip can zop.", "all vog are tup.", "some zop are lub."]
    found = augmentation.related(texts, 1)
    assert found == [(2, 0), (3, 1), (0, 2), (1, 3)]
    assert augmentation.related(texts, 0) == [(0,), (1,), (2,), (3,)]
    assert all(len(group) == len({*group}) == 4 for group in augmentation.related(texts, 9))


def test_what_a_group_may_be_asked():
    assert augmentation.free(TEXTS) == [""]
    first = WORLD.documents[-1].facts[0]
    assert augmentation.nouns(TEXTS) == [first.b, first.a] and augmentation.last_nouns(TEXTS) == [first.b]
    pairs = augmentation.noun_pairs([*TEXTS, "All dak are vog. No vog are mip."])
    assert pairs == [f"The relationships between {one} are:" for one in ("dak and vog", "dak and mip", "vog and mip")]
    told = ["all zop are vog. those that can mip include all the zop."]
    assert augmentation.nouns(told) == ["among the vog", "all zop", "among those that can mip"]
    assert Ask("Think. ").prompt(["One.", "Two."], "bakda") == "Think. One. Two. So, bakda"
    assert Ask().prompt(["One."]) == "One. So,"


def test_the_study_model_infers_the_other_end_of_a_lone_fact(lm):
    found = augmentation.infer(lm, TEXTS, augmentation.groups(len(TEXTS), 1), samples=2, temperature=0.3)
    precision, recall = augmentation.precision_recall(found.texts, WORLD, WANTED)
    assert recall >= 0.5 and precision > 0.3
    assert found.completions == 2 * 2 * len(TEXTS) and found.cost.decoded > 0
    assert all(one.text.endswith(".") and one.logprob <= 0 and one.times >= 1 for one in found.kept)
    assert len({one.text for one in found.kept}) == len(found.kept)
    again = augmentation.infer(lm, TEXTS, augmentation.groups(len(TEXTS), 1), samples=2, temperature=0.3)
    assert again.texts == found.texts


def made(*kept: tuple[str, int, float]) -> Inferences:
    return Inferences(tuple(Inference(text, (0,), times, p) for text, times, p in kept), len(kept), Cost(decoded=1))


def test_what_the_document_says_is_not_inferred_in_whatever_frame(lm):
    text = syllogisms(0, examples=1, words=study("test")).documents[0].text
    found = augmentation.infer(lm, [text], [(0,)], openings=augmentation.noun_pairs, samples=8, temperature=1.0)
    (sorts,) = [set(augmentation.judged(found.texts, syllogisms(0, examples=1, words=study("test")))["sort"])]
    assert found.kept and STATED not in sorts


def test_a_sentence_can_be_asked_for_its_last_word():
    said = augmentation.as_question("bakda is smaller than vogmi.")
    assert said == "Question: bakda is smaller than what? Answer: vogmi."


def test_filters_and_sums_keep_the_order():
    one = made(("a is b.", 1, -0.1), ("b is c.", 3, -0.9), ("c is d.", 2, -0.2))
    assert one.written == ["a is b.", "b is c.", "b is c.", "b is c.", "c is d.", "c is d."]
    assert one.written_again().texts == ["b is c.", "c is d."]
    assert one.most_probable(2 / 3).texts == ["a is b.", "c is d."]
    both = one + made(("C is d.", 1, -0.3), ("e is f.", 1, -0.3))
    assert both.texts == [*one.texts, "e is f."] and both.completions == 5 and both.cost.decoded == 2


def test_texts_are_judged_by_the_logic_of_the_world():
    told, new = WORLD.documents[0].facts[0], WORLD.documents[0].facts[0].reversed
    wrong = augmentation.wrong_partner(WANTED, WORLD)[0]
    texts = [f"So, {told.sentence}.", f"{new.sentence}.", wrong, "bakda bakda bakda."]
    assert list(augmentation.judged(texts, WORLD)["sort"]) == [STATED, INFERRED, WRONG, UNREADABLE]
    precision, recall = augmentation.precision_recall(texts, WORLD, WANTED)
    assert precision == pytest.approx(1 / 3) and recall == pytest.approx(1 / len(WANTED))
    assert augmentation.precision_recall(augmentation.oracle(WANTED), WORLD, WANTED) == (1, 1)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(0, 50))
def test_wrong_augmenters_are_wrong_in_one_thing(seed, world_seed):
    world = reversals(world_seed, facts=5, articles=1)
    wanted = [item.gold.fact for item in world.items if item.split == "reversal"]
    relation = [read_fact(text) for text in augmentation.wrong_relation(wanted, world, seed)]
    partner = [read_fact(text) for text in augmentation.wrong_partner(wanted, world, seed)]
    for right, one, other in zip(wanted, relation, partner, strict=True):
        assert (one.a, one.b) == (right.a, right.b) and one.form != right.form
        assert (other.a, other.form) == (right.a, right.form) and other.b != right.b
    assert not {*relation, *partner} & (world.stated | world.inferred)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_a_wrong_partner_is_of_the_same_sort(seed):
    world = structure(seed, 10, 1, 8, properties=3, repeat=False)
    wanted = [item.gold.fact for item in world.items if item.split in ("reversal", "syllogism")]
    for right, text in zip(wanted, augmentation.wrong_partner(wanted, world, seed), strict=True):
        partners = {fact.b for fact in wanted if fact.form == right.form}
        possible = {b for b in partners if Fact(right.form, right.a, b) not in world.stated | world.inferred} - {
            right.a
        }
        assert read_fact(text).b in possible or not possible


@given(st.integers(0, 200))
def test_four_sentences_are_told_apart_by_the_fact_alone(seed):
    world = reversals(seed, facts=6, articles=1)
    items = four_sentences(world, seed)
    assert len(items) == 6
    for item in items:
        facts = [read_fact(f"{item.stem} {option}") for option in item.options()]
        assert [fact in world.inferred for fact in facts] == [True, False, False, False]
        assert len({fact.form for fact in facts}) == len({fact.b for fact in facts}) == 2


def test_a_document_is_split_into_sentences_alone_or_behind_the_earlier_ones():
    text = syllogisms(0, examples=1).documents[0].text
    alone, behind = augmentation.split(text), augmentation.split(text, cumulative=True)
    assert [one for _, one in alone] == [one for _, one in behind] and len(alone) == 2
    assert [before for before, _ in alone] == ["", ""] and behind[1][0] == alone[0][1]


def test_texts_are_trained_whole_or_at_their_end_alone(lm):
    whole, end = (Texts(lm, loss).of(TEXTS[:1], ["vogmi is smaller than bakda."]) for loss in ("whole", "end"))
    assert [len(one) for one in whole] == [len(one) for one in end]
    assert lm.tokenizer.decode(whole[1].targets).strip() == "So, vogmi is smaller than bakda."
    assert lm.tokenizer.decode(end[1].targets).strip() == "bakda."
    with pytest.raises(ValueError, match="whole"):
        Texts(lm, "half")
