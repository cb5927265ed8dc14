"""The exams of notebook 04b say what they say: who is asked what, and what a guess and an untuned model reach."""

import random
from functools import cache

import pandas as pd
import pytest

import adaptlab as al
from adaptlab.engine import adapters
from adaptlab.engine.lm import LM
from adaptlab.studies import what_tuning_teaches as exams
from adaptlab.tasks.instructions import LIST_TASKS
from adaptlab.tasks.notes import FORMS, TRAITS, defined
from adaptlab.tasks.reasoning import arithmetic, sums
from adaptlab.tasks.records import FieldError
from adaptlab.tasks.templates import TASK_CLUSTERS, held_out

STEPS, TEACHERS = {"a": "steps", "b": "answers"}, {"a": "8 shown", "b": "bare"}


@cache
def study() -> LM:
    return al.load("study", device="cpu")


def learn(examples, lm=None, **settings):
    lm = lm or study()
    config = al.FinetuneConfig(al.Full(), al.TrainingConfig(**settings))
    return al.tune(lm, examples if hasattr(examples[0], "ids") else al.build_examples(lm, examples), config).generator()


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


def test_definitions_to_train_on_and_to_ask_share_no_noun_and_no_trait():
    tasks = exams.definition_tasks(30, 30, 0)
    nouns = [{one.text.split()[2] for one in some} for some in (tasks.seen, tasks.unseen)]
    traits = [{one.trait for one in some} for some in (tasks.seen, tasks.unseen)]
    assert not nouns[0] & nouns[1] and not traits[0] & traits[1] and len(traits[0] | traits[1]) == 4
    assert exams.definition_tasks(30, 30, 0) == tasks != exams.definition_tasks(30, 30, 1)


def test_a_guess_is_among_the_possible_answers_and_as_good_as_chance():
    tasks = exams.definition_tasks(4, 400, 0)
    assert all(guess in one.answers for guess, one in zip(tasks.guessed, tasks.unseen, strict=True))
    guesses = tasks.guesses()
    assert 0.22 < guesses.correct.mean() < 0.36 and set(guesses.taught) == {"guess"}


def test_tasks_held_out_are_never_trained_on():
    train, unseen = held_out(["select"])
    assert not set(train) & set(unseen) and set(unseen) == set(TASK_CLUSTERS["select"])
    items = exams.unseen_requests("study", unseen, 8)
    assert {item.category for item in items} == set(unseen)
    assert items[:4] == exams.unseen_requests("study", unseen, 4)


def test_exact_answers_are_right_ones_and_nothing_else():
    items = exams.unseen_requests("study", list(LIST_TASKS), 12)
    frame = exams.exact(al.evaluate(al.Generator(study()), items)[0])
    assert 0 < frame.exact.sum() < frame.correct.sum(), "some right answers are put into a frame"
    shares = exams.counted(frame).groupby("counted").share.sum().to_dict()
    assert shares == {"exact": frame.exact.sum(), "right in any style": frame.correct.sum()}
    assert (frame[frame.exact].output.str.strip() == frame[frame.exact].gold).all()


def test_chains_are_solved_by_the_untuned_model_and_lost_by_answers_alone():
    rng = random.Random("chains")
    problems, train = ([arithmetic(rng, split, 3) for _ in range(n)] for split, n in (("test", 8), ("train", 48)))
    others, shares = exams.unseen_requests("study", list(LIST_TASKS), 4), {}
    taught = {phrase: [exams.solved(p, phrase) for p in train] for phrase in ("answer only", "steps")}
    models = {"nothing": al.Generator(study())} | {n: learn(r, epochs=4, lr=0.0003) for n, r in taught.items()}
    for name, generator in models.items():
        frame = exams.solve(generator, problems, others)
        assert frame.groupby("asked").size().to_dict() == dict.fromkeys(exams.PHRASES, 8) | {"requests": 4}
        shares[name] = frame.groupby("asked")[["correct", "steps"]].mean()
    assert shares["nothing"].correct["plain"] > 0.8 and shares["nothing"].steps["plain"] > 0.8
    assert shares["answer only"].steps["plain"] < 0.3 and shares["steps"].steps["steps"] > 0.8


def test_facts_that_are_trained_come_back_and_others_do_not():
    world = exams.Knowledge.sample(12, 0)
    before = exams.fact_exam(al.Generator(study()), world).groupby("asked").correct.mean()
    after = exams.fact_exam(learn(exams.assert_facts(study(), world.taught), epochs=20, lr=0.001), world)
    share = after.groupby("asked").correct.mean()
    assert share["trained facts"] > 0.8 > before["trained facts"] and share["other facts"] < 0.6
    assert after.groupby("asked")["item"].apply(list).map(tuple).nunique() == 1


def test_options_make_no_known_fact_true():
    world = exams.Knowledge.sample(10, 3)
    nouns = [noun for fact in (*world.taught, *world.others) for noun in (fact.a, fact.b)]
    assert len(set(nouns)) == len(nouns) == 40
    assert exams.Knowledge.sample(10, 3) == world != exams.Knowledge.sample(10, 4)
    assert len(exams.Knowledge.sample(24, 0).others) == 24, "as many as the largest profile asks for"


def test_a_student_imitates_what_its_teacher_writes():
    world, pupil = exams.Knowledge.sample(8, 0), al.load("study-s", device="cpu")
    tests = exams.requests("study", "test", 8, seed=100)
    lessons = al.build_examples(study(), exams.requests("study", "train", 8, 0, "restyled"))
    teacher = learn([*exams.assert_facts(study(), world.taught), *lessons], steps=120, lr=0.0005)
    copied = exams.answered_by(al.Generator(teacher.lm), exams.requests("study", "train", 16, seed=50))
    target = exams.endings(teacher.lm, pupil, world.taught)
    models = {
        "nothing": al.Generator(pupil),
        "imitation": learn(copied, pupil, steps=12, lr=0.0005),
        "target": learn(target, pupil, steps=60, lr=0.0005),
    }
    share = {n: exams.likeness_exam(g, tests, world).groupby("asked").correct.mean() for n, g in models.items()}
    assert share["imitation"]["style"] > 0.5 > share["nothing"]["style"]
    assert share["target"]["facts"] > share["imitation"]["facts"]


def test_texts_that_do_not_end_are_not_imitated():
    copied = exams.answered_by(al.Generator(study()), exams.requests("study", "train", 6, 0))
    assert 0 < len(copied) <= 6 and all(one.output for one in copied)


def test_explanations_are_of_the_same_sums_with_the_same_ends():
    told = exams.explanations(study(), 0, 6)
    assert [one.instruction for one in told["answers"]] == [one.instruction for one in told["steps"]] != []
    for answer, steps in zip(told["answers"], told["steps"], strict=True):
        assert steps.output.endswith(answer.output) and "=" not in answer.output
    assert sum("=" in one.output for one in told["steps"]) > 3 and told == exams.explanations(study(), 0, 6)
    frame = exams.solutions(al.Generator(study()), [sums(random.Random(i), "test") for i in range(3)])
    assert list(frame.item) == ["item 1", "item 2", "item 3"] and set(frame.model) == {"study"}


def test_teachers_are_asked_the_same_and_a_program_is_always_right():
    asked, examples = exams.requests("study", "train", 16, 150), exams.requests("study", "train", 8, 180)
    taught = exams.taught_by({"bare": al.Generator(study()), "8 shown": al.shown(study(), examples)}, asked)
    assert len({tuple(one.id for one in records) for records in taught.values()}) == 1
    assert set(taught["program"]) <= set(asked) and len(taught["program"]) > 8
    share = exams.share_exact(taught)
    assert share["program"] == 1 and 0 < share["bare"] < share["8 shown"]
    endless = al.Generator(study(), decoding=al.Decoding(max_new_tokens=1))
    with pytest.raises(ValueError, match="none of 16 requests is finished by all teachers; raise records"):
        exams.taught_by({"endless": endless}, asked)


def test_verdicts_stand_in_one_table_for_each_model():
    rows = pd.DataFrame({"taught": t, "seed": s, "item": i} for t in ("a", "b") for s in (0, 1) for i in range(4))
    frames = {
        "FT-TRACES": rows.assign(model="small", correct=rows.taught == "a", taught=rows.taught.map(STEPS)),
        "FT-TEACHER": rows.assign(model="large", exact=rows.taught == "a", taught=rows.taught.map(TEACHERS)),
    }
    tables = exams.tables(al.claim(id, frame) for id, frame in frames.items())
    assert [(table.model, [one.claim.id for one in table]) for table in tables] == [
        ("small", ["FT-TRACES"]),
        ("large", ["FT-TEACHER"]),
    ]


@pytest.mark.parametrize("trainable", [al.Full(), al.Lora(2, 4)], ids=str)
def test_a_model_with_adapters_can_be_taught_and_can_teach(trainable, tmp_path):
    """What a notebook does with the folder of adapters that it is given as its model."""
    requests, one_step = exams.requests("study", "train", 2, 0), al.TrainingConfig(steps=1)
    first = al.tune(study(), al.build_examples(study(), requests), al.FinetuneConfig(al.Lora(2, 4), one_step))
    adapters.save(first.lm, tmp_path / "mine", {})
    lm = al.load(str(tmp_path / "mine"), device="cpu")
    second = al.tune(lm, al.build_examples(lm, requests), al.FinetuneConfig(trainable, one_step)).generator()
    assert second.model == str(tmp_path / "mine")
    assert len(exams.fact_exam(second, exams.Knowledge.sample(4, 0))) == 12
    assert len(exams.endings(second.lm, al.load("study-s", device="cpu"), exams.Knowledge.sample(4, 0).taught)) <= 4
