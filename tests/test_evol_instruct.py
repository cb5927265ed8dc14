"""Evol-Instruct: what a rule makes of a request has a known answer, and each kind of failure is told by its name."""

import random
from functools import cache

import pytest

import adaptlab as al
from adaptlab.engine.generation import Completion
from adaptlab.engine.lm import LM
from adaptlab.methods import evol_instruct
from adaptlab.methods.evol_instruct import OPERATIONS, STEPS, Rewritten, carried_out, eliminated, right_answer
from adaptlab.studies import dataset_construction as datasets
from adaptlab.tasks.instructions import LIST_TASKS
from adaptlab.tasks.words import VOCABULARIES


@cache
def study() -> LM:
    return al.load("study", device="cpu")


@pytest.mark.parametrize("vocabulary", ["study", "english"])
def test_what_a_rule_makes_has_the_answer_that_a_program_reads_from_its_text(vocabulary):
    made = datasets.evolved(vocabulary, 0, 40)
    for kind, requests in made.items():
        assert [right_answer(one.question) for one in requests] == [one.answer for one in requests], kind


def test_operations_do_what_they_are_called():
    made = datasets.evolved("study", 1, 40)
    for old, deep, named, new in zip(*made.values(), strict=True):
        assert deep.question.startswith(old.question) and deep.task.startswith(f"{old.task} then ")
        assert named.words == old.words and named.task in ("after", "replace") and named.argument in named.question
        assert new.task in LIST_TASKS and new.task != old.task and set(new.words) != set(old.words)
        assert {named.wording, new.wording} == {old.wording}
    assert datasets.evolved("study", 1, 40) == made != datasets.evolved("study", 2, 40)


def test_two_demands_are_met_one_after_the_other():
    assert right_answer("Reverse this list: dog cat cow. Now give only the first word of your answer.") == "cow"
    assert right_answer("Copy this list: dog cat. Now say each word of your answer twice.") == "dog dog cat cat"
    assert (
        right_answer(
            "List: dog cat\nWrite it out once more as it is. Count the words you just said and give the number."
        )
        == "2"
    )
    for nonsense in ("", "Sing to me.", "Sing to me. Now reverse your answer."):
        assert right_answer(nonsense) is None
    one_word = "What is the first word in this list: dog cat. Now give only the second word of your answer."
    assert right_answer(one_word) is None, "no second word in an answer of one word"


def test_each_failure_is_told_by_the_first_step_that_it_fails():
    original = evol_instruct.simple_request(random.Random(0), VOCABULARIES["study"]("test"))
    before = ("Copy this list: dog cat", "Reverse this list: dog cat")
    ended, endless = Completion("cat dog", True), Completion("cat dog", False)

    def fate(text, answer=ended):
        return eliminated(Rewritten(original, text, before), answer)

    assert fate("") == "no request"
    assert fate(original.question) == "nothing new"
    assert fate("Reverse this list: cow cat", endless) == "hard to answer"
    assert fate("Reverse this list: cow cat", Completion(" It is so.", True)) == "empty answer"
    assert fate("Reverse this list: cow cat Answer: cat") == fate("Reverse this list: dog cat") == "copied"
    assert fate("Sing of cow and cat.") == "no right answer"
    assert fate("Reverse this list: cow cat") == fate("Reverse this list: cow cat", Completion(" no", True)) == ""


def test_a_rewriting_is_what_its_operation_asks_for_and_nothing_else():
    made = datasets.evolved("study", 3, 30)
    for i, original in enumerate(made["original"]):
        for asked in OPERATIONS:
            done = {name for name in made if carried_out(asked, Rewritten(original, made[name][i].question))}
            assert done == {asked}
    assert not carried_out("deepen", Rewritten(original, f"{original.question}. Sing it."))


def test_a_model_writes_on_a_page_where_every_request_is_followed_by_its_rewriting():
    rng, words = random.Random(0), VOCABULARIES["study"]("train")
    requests = [evol_instruct.simple_request(rng, words) for _ in range(2)]
    made = evol_instruct.by_model(study(), random.Random(1), "deepen", requests, words)
    assert [one.original for one in made] == requests and made[0].before == made[1].before
    for old, new in zip(made[0].before[::2], made[0].before[1::2], strict=True):
        assert new.startswith(old) and new != old
    assert made == evol_instruct.by_model(study(), random.Random(1), "deepen", requests, words)


def test_drafts_are_counted_for_each_operation_and_writer():
    made = datasets.evolved("study", 0, 3)
    rows = datasets.drafts(study(), "study", 0, made)
    assert rows.groupby(["operation", "by"]).size().eq(3).all() and len(rows) == 6 * len(OPERATIONS)
    assert set(rows.eliminated) <= {"", *STEPS} and (rows.kept == (rows.eliminated == "")).all()
    by_rule = rows[rows.by == "rule"]
    assert by_rule["as asked"].all()
    assert list(by_rule[by_rule.operation == "deepen"].text) == [one.question for one in made["deepen"]]
    assert not by_rule.eliminated.isin(["nothing new", "no right answer"]).any()
    records = evol_instruct.as_records(made["broaden"])
    assert [one.id for one in records] == list(rows.item.unique()) and records[0].output == made["broaden"][0].answer
