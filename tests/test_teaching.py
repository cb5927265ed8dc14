"""The experiments of notebook 04b hold what they say: who was trained on what, who is asked what, and the baselines."""

import random
from functools import cache

import pandas as pd
import pytest

from adaptlab.engine.adapters import Full
from adaptlab.engine.models import LM, load
from adaptlab.engine.plans import Plan
from adaptlab.evidence import learned, teaching
from adaptlab.evidence.claims import claims
from adaptlab.methods.tuning import Recipe
from adaptlab.methods.urial import is_put, put
from adaptlab.methods.writing import Writer
from adaptlab.tasks.definitions import DEFINITIONS, defined
from adaptlab.tasks.instructions import FRAMES
from adaptlab.tasks.notes import TRAITS
from adaptlab.tasks.records import FieldError, Instruction
from adaptlab.tasks.templates import KINDS, held_out

RECIPE = Recipe(Full(), Plan(epochs=2, lr=0.0003))
SEEDS = [0, 1]


@cache
def study() -> LM:
    return load("study", device="cpu")


def test_definitions_name_the_answers_and_simplified_ones_nothing_else():
    for one in defined(random.Random(0), 40, list(TRAITS), "train"):
        assert one.right in one.answers and one.right in TRAITS[one.trait]
        assert any(word in one.text.split() for word in TRAITS[one.trait][one.right])
        assert one.wrong(random.Random(1)) in set(one.answers) - {one.right}
        original, simplified = (one.asked(definition) for definition in DEFINITIONS)
        assert all(answer in simplified.instruction for answer in one.answers)
        assert one.trait in original.instruction and original.input == simplified.input == one.text
        assert one.asked("original", "no").output == "no"
    with pytest.raises(FieldError, match="definition"):
        one.asked("empty")


def test_definitions_of_two_splits_share_no_noun():
    nouns = [
        {one.text.split()[2] for one in defined(random.Random(0), 60, ["kind"], split)} for split in ("train", "test")
    ]
    assert not nouns[0] & nouns[1]


@pytest.mark.parametrize("manner", sorted(FRAMES))
def test_a_manner_is_known_again_and_no_other_is(manner):
    record = Instruction("x", "say it", "", "bakda vogmi", "")
    assert is_put(put(record, manner), manner)
    assert not any(is_put(put(record, other), manner) for other in ("plain", *FRAMES) if other != manner)


def test_tasks_held_out_are_never_trained_on():
    train, unseen = held_out(["select"])
    assert not set(train) & set(unseen) and set(unseen) == set(KINDS["select"])
    items = teaching.unseen_items("study", unseen, 8)
    assert {item.category for item in items} == set(unseen)
    assert items[:4] == teaching.unseen_items("study", unseen, 4)


@pytest.fixture(scope="module")
def formats() -> pd.DataFrame:
    return teaching.by_format(study(), "study", ["select"], 16, 8, RECIPE, SEEDS)


def test_formats_are_compared_on_the_same_items_and_draws(formats):
    assert (formats.groupby(["taught", "seed"]).size() == 8).all()
    assert set(formats.taught) == {"nothing", "none", "name", "instruction"}
    assert formats.groupby("taught").item.agg(lambda items: tuple(sorted(set(items)))).nunique() == 1
    assert len(claims(["FT-FLAN-NAME", "FT-FLAN-NONE", "FT-FLAN-GAIN"], formats)) == 3


def test_exact_answers_are_right_ones_and_nothing_else(formats):
    assert (formats.exact <= formats.correct.astype(bool)).all()
    assert (formats[formats.exact].output.str.strip() == formats[formats.exact].gold).all()


def test_what_no_draw_changes_is_paid_once(formats):
    bare = formats[formats.taught == "nothing"].groupby("seed").decoded.sum()
    assert bare[0] > 0 and bare[1] == 0


def test_kinds_hold_the_number_of_records_fixed():
    frame = teaching.by_kinds(study(), "study", ["select"], [1, 3], 12, 4, RECIPE, SEEDS)
    assert (frame.groupby(["kinds", "seed"]).size() == 4).all()
    spent = frame[frame.seed == 0].groupby("kinds").trained.sum()
    assert spent.max() < 2 * spent.min()


def test_chains_are_solved_by_the_untuned_model_and_lost_by_answers_alone():
    recipe = Recipe(Full(), Plan(epochs=4, lr=0.0003))
    frame = teaching.by_chains(study(), 48, 8, 3, recipe, [0])
    share = frame.groupby(["taught", "asked"])[["correct", "steps"]].mean()
    assert share.correct["nothing", "plain"] > 0.8 and share.steps["nothing", "plain"] > 0.8
    assert share.steps["answers", "plain"] < 0.3 and share.steps["steps", "steps"] > 0.8
    assert (frame.groupby(["taught", "asked"]).size() == 8).all()


def test_a_guess_is_among_the_possible_answers_and_as_good_as_chance():
    recipe = Recipe(Full(), Plan(epochs=1, lr=1e-9))
    frame = teaching.by_definition(study(), 4, 40, recipe, SEEDS)
    guess = frame[frame.taught == "guess"]
    assert 0.15 < guess.correct.mean() < 0.45
    assert (frame.groupby(["taught", "seed"]).size() == 40).all()
    asked = frame[frame.taught != "simplified"].pivot(index="item", columns=["seed", "taught"], values="gold")
    for seed in SEEDS:
        assert asked[seed].nunique(axis=1).eq(1).all(), "all are asked the same"


def test_facts_that_are_trained_come_back_and_others_do_not():
    facts = Recipe(Full(), Plan(epochs=20, lr=0.001))
    goal = learned.two_goals(study(), "study", [4], 12, RECIPE, facts, [0])
    share = learned.last(goal).groupby(["taught", "asked"]).correct.mean()
    assert share["facts", "trained facts"] > 0.8 > share["nothing", "trained facts"]
    assert share["facts", "other facts"] < 0.6
    assert set(goal.shots) == {0, 4, 12}


def test_options_make_no_known_fact_true():
    world = learned.Knowledge.drawn(10, 3)
    nouns = [noun for fact in (*world.taught, *world.others) for noun in (fact.a, fact.b)]
    assert len(set(nouns)) == len(nouns) == 40
    assert learned.Knowledge.drawn(10, 3) == world != learned.Knowledge.drawn(10, 4)


def test_a_student_imitates_what_its_teacher_writes():
    facts = Recipe(Full(), Plan(epochs=20, lr=0.001))
    manner = Recipe(Full(), Plan(epochs=8, lr=0.0003))
    frame = learned.imitated(study(), load("study-s", device="cpu"), "study", 16, 8, manner, facts, [0])
    share = frame.groupby(["taught", "asked"]).correct.mean()
    assert share["imitation", "manner"] > 0.5 > share["nothing", "manner"]
    assert share["target", "facts"] > share["imitation", "facts"]
    assert (frame.model == "study-s").all()


def test_texts_that_do_not_end_are_not_imitated():
    records = learned.requests("study", "train", 6, 0)
    copied = learned.written_by(Writer(study()), records)
    assert 0 < len(copied) <= 6 and all(one.output for one in copied)
