"""What the study world is made of: nouns, facts and what follows, notes, instructions, problems."""

import random
import re
from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adaptlab.tasks import instructions, knowledge, notes, reasoning
from adaptlab.tasks.knowledge import ALL, ALL_CAN, CAN, IS_A, NO, SOME, Fact
from adaptlab.tasks.words import FIRST, SECOND, SPLITS, nouns, study

seeds = st.integers(0, 10**6).map(random.Random)
splits = st.sampled_from(SPLITS)


# --- nouns


def test_splits_share_every_syllable_and_no_noun():
    every = [set(nouns(split)) for split in SPLITS]
    assert len(set.union(*every)) == sum(map(len, every)) == len(FIRST) * len(SECOND)
    for split in SPLITS:
        assert {noun[:3] for noun in nouns(split)} == set(FIRST)
        assert {noun[3:] for noun in nouns(split)} == set(SECOND)


@given(seeds, splits, st.integers(1, 40))
def test_drawn_nouns_differ_and_avoid(rng, split, n):
    first = study(split)(rng, n)
    second = study(split)(rng, n, first)
    assert len(set(first) | set(second)) == 2 * n
    assert set(first + second) <= set(nouns(split))
    assert len({noun[:3] for noun in first}) == n


# --- knowledge


def test_consequences_by_hand():
    bigger, smaller = "{a} is bigger than {b}", "{a} is smaller than {b}"
    assert set(knowledge.consequences([Fact(bigger, "a", "b")])) == {Fact(smaller, "b", "a")}
    assert set(knowledge.consequences([Fact(ALL, "a", "b"), Fact(ALL, "b", "c"), Fact(ALL, "c", "d")])) == {
        Fact(ALL, "a", "c"),
        Fact(ALL, "a", "d"),
        Fact(ALL, "b", "d"),
    }
    assert set(knowledge.consequences([Fact(ALL, "a", "b"), Fact(NO, "b", "c")])) == {
        Fact(NO, "a", "c"),
        Fact(NO, "c", "a"),
        Fact(NO, "c", "b"),
    }
    assert set(knowledge.consequences([Fact(IS_A, "x", "b"), Fact(ALL_CAN, "b", "swim")])) == {Fact(CAN, "x", "swim")}


# What a form says when "some a are b" and its like speak of sets of things: a model of the words, not of the rules.
TRUE = {
    ALL: lambda a, b: a <= b,
    SOME: lambda a, b: bool(a & b),
    NO: lambda a, b: not a & b,
}


@settings(max_examples=200)
@given(st.data())
def test_no_consequence_is_false_in_any_model_of_its_premises(data):
    """Soundness: whatever sets the nouns stand for, true premises have true consequences."""
    name_labels = "abc"
    sets = {name: data.draw(st.frozensets(st.integers(0, 3))) for name in name_labels}
    forms = [Fact(form, x, y) for form in TRUE for x in name_labels for y in name_labels if x != y]
    premises = [fact for fact in forms if TRUE[fact.form](sets[fact.a], sets[fact.b])]
    for fact in knowledge.consequences(premises):
        assert fact.a == fact.b or TRUE[fact.form](sets[fact.a], sets[fact.b]), fact.sentence


@given(seeds, splits, st.integers(6, 10))
def test_one_option_is_right_and_nothing_stated_among_the_wrong(rng, split, groups):
    world = [f for g in knowledge.world(rng, [knowledge.syllogism] * groups, split, shared=0.3) for f in g]
    target = rng.choice(knowledge.consequences(world))
    known = {*world, *knowledge.consequences(world)}
    nouns_of = {n for fact in world for n in (fact.a, fact.b)}
    true_ends = {fact.b for fact in known if (fact.form, fact.a) == (target.form, target.a)} | {target.a}
    assume(len(nouns_of - true_ends) >= 3)
    right, *wrong = knowledge.options(rng, target, nouns_of, known)
    assert f"{target.stem} {right}" == target.sentence
    assert len({right, *wrong}) == 4
    true = {fact.sentence for fact in known}
    assert not true & {f"{target.stem} {noun}" for noun in wrong}


def test_too_few_wrong_options_are_an_error():
    fact = Fact(ALL, "a", "b")
    with pytest.raises(ValueError, match=r"3 wrong options are wanted; these nouns leave 1: \['c'\]"):
        knowledge.options(random.Random(0), fact, ["a", "b", "c"], [fact])


def test_every_form_can_be_rephrased_without_losing_a_place():
    forms = {
        *knowledge.INVERSES,
        *(f for pair in knowledge.COMPOSITIONS for f in pair),
        *knowledge.COMPOSITIONS.values(),
    }
    assert forms <= set(knowledge.REPHRASED)
    for form, other in knowledge.REPHRASED.items():
        said = other.format(a="bakda", b="vogmi")
        assert "bakda" in said and "vogmi" in said and said != form.format(a="bakda", b="vogmi")


# --- notes


@given(seeds, splits, st.sampled_from(list(notes.TRAITS)), st.integers(1, 40))
def test_notes_show_their_values(rng, split, trait, n):
    classes = list(notes.TRAITS[trait])[:3]
    drawn = notes.notes(rng, trait, classes, n, split)
    assert len(drawn) == n
    for one in drawn:
        assert one.values[trait] in classes
        words = one.text.split()
        assert set(words) & set(nouns(split))
        for name, value in one.values.items():
            shown = [word for words_ in notes.TRAITS[name].values() for word in words_ if word in words]
            assert len(shown) == 1 and shown[0] in notes.TRAITS[name][value]


def test_where_a_note_stands_tells_nothing_about_it():
    """A reader who never reads, and names the class that is missing from the round, is right by chance only."""
    rng, classes, right = random.Random(0), ["fish", "bird", "beast"], 0
    for _ in range(900):
        *shown, last = (one.values["kind"] for one in notes.notes(rng, "kind", classes, 3, "train"))
        right += rng.choice([c for c in classes if c not in shown] or classes) == last
    assert right / 900 == pytest.approx(1 / 3, abs=0.06)


def test_notes_as_a_data_set():
    data = notes.load_notes()
    assert (len(data.pool), len(data.test), data.labels) == (200, 200, ("fish", "bird", "beast", "plant"))
    assert data == notes.load_notes() != notes.load_notes(seed=1)
    assert set(Counter(item.label for item in data.test).values()) == {50}


# --- instructions


@given(seeds, splits, st.sampled_from(list(instructions.LIST_TASKS)))
def test_requests_hold_what_their_answers_need(rng, split, cluster):
    asked = instructions.request(rng, split, cluster)
    assert "{" not in asked.question
    assert " ".join(asked.words) in asked.question
    known = {*asked.question.replace(":", " ").split(), "yes", "no", *map(str, range(9))}
    assert set(asked.answer.split()) <= known


@given(seeds)
def test_styles_say_what_they_are(rng):
    asked = instructions.request(rng, "train")
    for style in instructions.RESPONSE_STYLES:
        answer, more = instructions.answered(rng, asked, style, "train")
        assert (answer == asked.answer) == (style in ("plain", "run-on"))
        assert bool(more) == (style == "run-on")
        assert (asked.answer in answer) or style == "wrong"


# --- reasoning


@given(seeds, st.sampled_from(["arithmetic", "sums"]))
def test_problems_of_two_splits_never_meet(rng, family):
    questions = [{reasoning.FAMILIES[family](rng, split, 3).question for _ in range(30)} for split in SPLITS]
    assert not questions[0] & questions[1] and not questions[0] & questions[2] and not questions[1] & questions[2]


@given(seeds, splits, st.sampled_from(list(reasoning.FAMILIES)))
def test_problems_are_answered_by_their_own_question(rng, split, family):
    one = reasoning.FAMILIES[family](rng, split)
    if family == "ontology":
        given, asked = one.question.rsplit("Is ", 1)
        thing, wanted = asked.removesuffix("?").split(" a ")
        rules = dict(re.findall(r"all (\w+) are (\w+)", given))
        at = re.search(rf"{thing} is a (\w+)", given)[1]
        while at != wanted and at in rules:
            at = rules[at]
        assert one.answer == ("yes" if at == wanted else "no")
    elif family == "sums":
        assert int(one.answer) == sum(map(int, re.findall(r"\d+", one.question)))
    else:
        start, *steps = re.findall(r"(Start with|Add|Take) (\d+)", one.question)
        value = int(start[1]) + sum(int(n) if verb == "Add" else -int(n) for verb, n in steps)
        assert int(one.answer) == value and 0 <= value <= 99


def test_solutions_fail_as_often_as_they_are_meant_to():
    rng = random.Random(0)
    right = {}
    for family, make in reasoning.FAMILIES.items():
        problems = [make(rng) for _ in range(3000)]
        right[family] = sum(p.correct(reasoning.solution(p, rng)) for p in problems) / 3000
    assert right["arithmetic"] == pytest.approx(1 - reasoning.WRONG_STEP, abs=0.04)
    assert right["ontology"] == pytest.approx(1 - reasoning.HASTY / 2, abs=0.04)
    guessed = sum(map(reasoning.habit_of_guessing, range(3, 7))) / 4
    assert right["sums"] == pytest.approx(1 - guessed, abs=0.04)


@pytest.mark.parametrize(
    ("solution", "right"),
    [("3 + 4 = 7. So 7.", True), ("Quick: 7.", True), ("So 7. So 8.", False), ("", False), ("seven", False)],
)
def test_grading_takes_the_last_number(solution, right):
    assert reasoning.Problem("sums", "Sum 3 4.", "7", (3, 4)).correct(solution) is right
