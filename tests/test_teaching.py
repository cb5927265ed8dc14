"""The experiments of notebook 04b hold what they say: who was trained on what, who is asked what, and the baselines."""

import random
from functools import cache

import pandas as pd
import pytest

from adaptlab.engine import adapters
from adaptlab.engine.adapters import Full, Lora
from adaptlab.engine.lm import LM
from adaptlab.engine.models import load
from adaptlab.engine.training import TrainingConfig
from adaptlab.evidence.claims import claims
from adaptlab.methods.tuning import FinetuneConfig, build_examples, tune
from adaptlab.methods.urial import apply_style, has_style
from adaptlab.methods.writing import Generator
from adaptlab.runner import profiles
from adaptlab.studies import learned, what_tuning_teaches
from adaptlab.tasks.instructions import RESPONSE_FRAMES
from adaptlab.tasks.notes import FORMS, TRAITS, defined
from adaptlab.tasks.records import FieldError, Instruction
from adaptlab.tasks.templates import TASK_CLUSTERS, held_out

RECIPE = FinetuneConfig(Full(), TrainingConfig(epochs=2, lr=0.0003))
SEEDS = [0, 1]


@cache
def study() -> LM:
    return load("study", device="cpu")


def test_forms_differ_in_what_is_told_and_never_in_the_answer():
    for one in defined(random.Random(0), 40, list(TRAITS), "train"):
        assert one.right in one.answers and any(word in one.text.split() for word in TRAITS[one.trait][one.right])
        records = {form: one.asked(form) for form in FORMS}
        assert {(r.input, r.output) for r in records.values()} == {(one.text, one.right)}
        told = {form: record.instruction for form, record in records.items()}
        assert one.trait in told["original"].split("\n")[0] and one.trait not in told["simplified"].split("\n")[0]
        assert all(answer in told["simplified"] for answer in one.answers)
        note, right, wrong = one.example
        assert right != wrong and any(word in note.split() for word in TRAITS[one.trait][right])
        assert told["empty"] == f"Example: {note} is {right}."
        assert told["delusive"] == told["original"].replace(f"is {right}.", f"is {wrong}.")
    with pytest.raises(FieldError, match="form"):
        one.asked("none")


def test_definitions_of_two_splits_share_no_noun():
    splits = ("train", "test")
    nouns = [{one.text.split()[2] for one in defined(random.Random(0), 60, ["kind"], split)} for split in splits]
    assert not nouns[0] & nouns[1]


@pytest.mark.parametrize("manner", sorted(RESPONSE_FRAMES))
def test_a_manner_is_known_again_and_no_other_is(manner):
    record = Instruction("x", "say it", "", "bakda vogmi", "")
    assert has_style(apply_style(record, manner), manner)
    assert not any(
        has_style(apply_style(record, other), manner) for other in ("plain", *RESPONSE_FRAMES) if other != manner
    )


def test_half_of_a_manner_is_none():
    assert has_style("Answer: yes. In short, no.", "restyled")
    assert not has_style("Answer: yes.", "restyled") and not has_style("Answer: . In short, .", "restyled")


def test_more_kinds_than_there_are_beside_those_held_out_are_refused_by_name():
    with pytest.raises(ValueError, match=r"kinds must be between 1 and 7, .*; found \[1, 8\]"):
        what_tuning_teaches.by_kinds(
            study(), "study", ["select"], [1, 8], 4, 4, FinetuneConfig(Full(), TrainingConfig(steps=1)), [0]
        )


def test_tasks_held_out_are_never_trained_on():
    train, unseen = held_out(["select"])
    assert not set(train) & set(unseen) and set(unseen) == set(TASK_CLUSTERS["select"])
    items = what_tuning_teaches.unseen_items("study", unseen, 8)
    assert {item.category for item in items} == set(unseen)
    assert items[:4] == what_tuning_teaches.unseen_items("study", unseen, 4)


@pytest.fixture(scope="module")
def formats() -> pd.DataFrame:
    return what_tuning_teaches.by_format(study(), "study", ["select"], 16, 8, RECIPE, SEEDS)


def test_formats_are_compared_on_the_same_items_and_draws(formats):
    assert (formats.groupby(["taught", "seed"]).size() == 8).all()
    assert set(formats.taught) == {"nothing", "no template", "name", "instruction", "one wording"}
    assert formats.groupby("taught").item.agg(lambda items: tuple(sorted(set(items)))).nunique() == 1
    assert len(claims(["FT-FLAN-NAME", "FT-FLAN-NONE", "FT-FLAN-GAIN", "FT-WORDINGS"], formats)) == 4


def test_exact_answers_are_right_ones_and_nothing_else(formats):
    assert (formats.exact <= formats.correct.astype(bool)).all()
    assert (formats[formats.exact].output.str.strip() == formats[formats.exact].gold).all()


def test_what_no_draw_changes_is_paid_once(formats):
    bare = formats[formats.taught == "nothing"].groupby("seed").decoded.sum()
    assert bare[0] > 0 and bare[1] == 0


def test_kinds_hold_the_number_of_records_fixed():
    frame = what_tuning_teaches.by_kinds(study(), "study", ["select"], [1, 3], 12, 4, RECIPE, SEEDS)
    assert (frame.groupby(["kinds", "seed"]).size() == 4).all() and set(frame.kinds) == {0, 1, 3}
    frame = frame[frame.kinds > 0]
    spent = frame[frame.seed == 0].groupby("kinds").trained.sum()
    assert spent.max() < 2 * spent.min()


def test_chains_are_solved_by_the_untuned_model_and_lost_by_answers_alone():
    recipe = FinetuneConfig(Full(), TrainingConfig(epochs=4, lr=0.0003))
    frame = what_tuning_teaches.by_chains(study(), "study", 48, 8, recipe, [0])
    share = frame.groupby(["taught", "asked"])[["correct", "steps"]].mean()
    assert share.correct["nothing", "plain"] > 0.8 and share.steps["nothing", "plain"] > 0.8
    assert share.steps["answers", "plain"] < 0.3 and share.steps["steps", "steps"] > 0.8
    assert (frame.groupby(["taught", "asked"]).size() == 8).all() and "requests" in set(frame.asked)


def test_a_guess_is_among_the_possible_answers_and_as_good_as_chance():
    recipe = FinetuneConfig(Full(), TrainingConfig(epochs=1, lr=1e-9))
    frame = what_tuning_teaches.by_definition(study(), 4, 40, recipe, SEEDS)
    guess = frame[frame.taught == "guess"]
    assert 0.15 < guess.correct.mean() < 0.45
    assert (frame.groupby(["taught", "seed"]).size() == 40).all()
    told = frame[frame.taught != "guess"].groupby(["seed", "item"]).gold.nunique()
    assert (told == 1).all(), "all are asked for the same answers"
    assert guess.trained.isna().all(), "a guess costs nothing"


def test_facts_that_are_trained_come_back_and_others_do_not():
    facts = FinetuneConfig(Full(), TrainingConfig(epochs=20, lr=0.001))
    goal = learned.two_goals(study(), "study", [4], 12, RECIPE, facts, [0])
    share = learned.last(goal).groupby(["taught", "asked"]).correct.mean()
    assert share["facts", "trained facts"] > 0.8 > share["nothing", "trained facts"]
    assert share["facts", "other facts"] < 0.6
    assert set(goal.shots) == {0, 4, 12}


@pytest.mark.parametrize("profile", profiles.available())
def test_every_profile_has_nouns_for_its_facts(profile):
    facts = profiles.load(profile).get("04b_what_tuning_teaches", {}).get("facts", 12)
    assert len(learned.Knowledge.drawn(facts, 0).others) == facts


@pytest.mark.parametrize("how", [Full(), Lora(2, 4)], ids=str)
def test_a_model_with_adapters_can_be_taught_and_can_teach(how, tmp_path):
    """What a notebook does with the folder of adapters that it is given as its model."""
    small = FinetuneConfig(how, TrainingConfig(steps=2))
    tuned = tune(
        study(),
        build_examples(study(), learned.requests("study", "train", 2, 0)),
        FinetuneConfig(Lora(2, 4), TrainingConfig(steps=1)),
    )
    adapters.save(tuned.lm, tmp_path / "mine", {})
    lm = load(str(tmp_path / "mine"), device="cpu")
    frame = learned.imitated(lm, load("study-s", device="cpu"), "study", 4, 4, small, small, [0])
    assert set(frame.taught) == {"teacher", "nothing", "imitation", "target"}
    formats = what_tuning_teaches.by_format(lm, "study", ["select"], 8, 4, small, [0])
    assert set(formats.model) == {str(tmp_path / "mine")}


def test_options_make_no_known_fact_true():
    world = learned.Knowledge.drawn(10, 3)
    nouns = [noun for fact in (*world.taught, *world.others) for noun in (fact.a, fact.b)]
    assert len(set(nouns)) == len(nouns) == 40
    assert learned.Knowledge.drawn(10, 3) == world != learned.Knowledge.drawn(10, 4)


def test_a_student_imitates_what_its_teacher_writes():
    facts = FinetuneConfig(Full(), TrainingConfig(steps=60, lr=0.0005))
    manner = FinetuneConfig(Full(), TrainingConfig(steps=12, lr=0.0005))
    frame = learned.imitated(study(), load("study-s", device="cpu"), "study", 16, 8, manner, facts, [0])
    share = frame.groupby(["taught", "asked"]).correct.mean()
    assert share["imitation", "manner"] > 0.5 > share["nothing", "manner"]
    assert share["target", "facts"] > share["imitation", "facts"]
    assert (frame.model == "study-s").all()


def test_texts_that_do_not_end_are_not_imitated():
    records = learned.requests("study", "train", 6, 0)
    copied = learned.written_by(Generator(study()), records)
    assert 0 < len(copied) <= 6 and all(one.output for one in copied)
