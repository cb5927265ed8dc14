"""Solutions with and without their steps, and the check of every step."""

import random
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adaptlab.tasks import reasoning
from adaptlab.tasks.reasoning import FAMILIES, Problem, direct, first_wrong_step, steps_correct, worked
from adaptlab.tasks.records import FieldError

seeds = st.integers(0, 10**6).map(random.Random)
families = st.sampled_from(list(FAMILIES))
TAKE = Problem("arithmetic", "Start with 20. Add 5. Take 3.", "22", (20, 5, -3))
IS_A = Problem("ontology", "Given: all b are c. all d are e. a is a b. Is a a c?", "yes", ("a", "c", "b", "c"))


def test_worked_by_hand():
    assert worked(TAKE) == "20 + 5 = 25. 25 - 3 = 22. So 22."
    assert worked(Problem("sums", "Sum 3 4 5.", "12", (3, 4, 5))) == "3 + 4 = 7. 7 + 5 = 12. So 12."
    assert worked(IS_A) == "So a is a b. So a is a c. So yes."
    assert direct(TAKE) == "22." and direct(IS_A) == "yes."


@settings(max_examples=200)
@given(seeds, families)
def test_worked_and_direct_end_in_the_answer_and_only_the_first_has_steps(rng, family):
    problem = FAMILIES[family](rng)
    assert problem.correct(worked(problem)) and problem.correct(direct(problem))
    found = steps_correct(problem, worked(problem))
    assert all(found) and len(found) == worked(problem).count(".")
    assert first_wrong_step(problem, worked(problem)) is None
    assert first_wrong_step(problem, direct(problem)) == 0


@given(seeds, families)
def test_what_careful_people_of_the_study_world_write_is_right_step_by_step(rng, family):
    """The notation is that of the corpus: its solutions pass, and the first slip of each is found at its place."""
    problem = FAMILIES[family](rng)
    text = reasoning.solution(problem, rng)
    if not text.startswith(("Quick", "no.")):
        assert all(steps_correct(problem, text)) is problem.correct(text)
        if family == "ontology":
            assert re.sub("So|Then|Thus|Hence", "So", text) == worked(problem)
        elif problem.correct(text):
            assert text == worked(problem)


@given(seeds)
def test_a_slip_that_is_carried_on_is_one_wrong_step_at_its_place(rng):
    problem = reasoning.arithmetic(rng)
    text = reasoning.solution(problem, rng)
    assume(not problem.correct(text))
    sums = re.findall(r"(\d+) ([+-]) (\d+) = (\d+)", text)
    slip = next(i for i, (a, sign, b, c) in enumerate(sums) if int(a) + int(sign + b) != int(c))
    found = steps_correct(problem, text)
    assert found.count(False) == 1 and first_wrong_step(problem, text) == found.index(False) == slip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20 + 5 = 25. 25 - 3 = 22. So 22.", (1, 1, 1)),
        (" 20 + 5 = 25.  25 - 3 = 22.\nThus 22. ", (1, 1, 1)),
        ("20 + 5 = 26. 26 - 3 = 23. So 23.", (0, 1, 1)),
        ("20 + 5 = 26. 25 - 3 = 22. So 22.", (0, 0, 1)),
        ("20 + 4 = 24. 24 - 2 = 22. So 22.", (0, 0, 1)),
        ("20 - 5 = 15. 15 + 3 = 18. So 18.", (0, 0, 1)),
        ("20 + 5 = 25. 25 - 3 = 22. So 23.", (1, 1, 0)),
        ("20 + 5 = 25. So 25.", (1, 0, 0)),
        ("20 + 5 = 25. 25 - 3 = 22.", (1, 1, 0)),
        ("20 + 5 = 25. 25 - 3 = 22. So 22", (1, 1, 0)),
        ("20 + 5 = 25. 25 - 3 = 22. So 22. So 22.", (1, 1, 1, 0)),
        ("20 + 5 = 25. 25 - 3 = 22. So 22. So 23", (1, 1, 1, 0)),
        ("20 + 5 = 25. 25 - 3 = 22. So 22. 22 + 0 = 22.", (1, 1, 1, 0)),
        ("20 plus 5 is 25. 25 - 3 = 22. So 22.", (0, 0, 1)),
        ("20+5=25. 25 - 3 = 22. So 22.", (0, 0, 1)),
        ("Well. 20 - 3 = 17. So 17.", (0, 0, 1)),
        (f"20 + 5 = {'9' * 5000}. 25 - 3 = 22. So 22.", (0, 0, 1)),
        ("Quick: 22.", (0, 0, 0)),
        ("22.", (0, 0, 0)),
        ("", (0, 0, 0)),
        (". . .", (0, 0, 0)),
    ],
)
def test_sums_step_by_step(text, expected):
    assert steps_correct(TAKE, text) == tuple(map(bool, expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("So a is a b. Hence a is a c. Then yes.", (1, 1, 1)),
        ("So a is a c. So a is a b. So yes.", (0, 0, 0)),
        ("So a is a d. So a is a c. So yes.", (0, 0, 1)),
        ("So a is a b. So a is a c. So no.", (1, 1, 0)),
        ("So a is a b. So b is a c. So yes.", (1, 0, 1)),
        ("So a is a b. So a is a b. So yes.", (1, 0, 0)),
        ("So a is a b. So yes.", (1, 0, 0)),
        ("a is a b. So a is a c. So yes.", (0, 0, 1)),
        ("So a is a b. So a is a c. So yes. So yes.", (1, 1, 1, 0)),
        ("no.", (0, 0, 0)),
        ("", (0, 0, 0)),
    ],
)
def test_memberships_step_by_step(text, expected):
    assert steps_correct(IS_A, text) == tuple(map(bool, expected))


@settings(max_examples=200)
@given(seeds, families, st.data())
def test_no_change_of_a_right_solution_is_right(rng, family, data):
    """One sign more, less or other than itself: found, unless it is white space around a step."""
    problem = FAMILIES[family](rng)
    text = worked(problem)
    place = data.draw(st.integers(0, len(text) - 1))
    sign = data.draw(st.sampled_from(["", *"0123456789.+-=abz "]))
    changed = text[:place] + sign + text[place + data.draw(st.integers(0, 1)) :]
    steps = [part.strip() for part in text.split(".")]
    same = [part.strip() for part in changed.split(".")] == steps
    leading = re.sub(r"\b0+(?=\d)", "", changed) == text  # 07 is 7
    assume(not leading or same)
    assert (first_wrong_step(problem, changed) is None) is same


@given(seeds, families, st.text(alphabet="0123456789+-= .abSoyes\n", max_size=40))
def test_all_right_means_the_answer_is_reached(rng, family, text):
    problem = FAMILIES[family](rng)
    if all(steps_correct(problem, text)):
        assert problem.correct(text)
    assert len(steps_correct(problem, text)) >= worked(problem).count(".")


def test_an_unknown_family_is_named():
    other = Problem("chess", "Mate?", "yes", ())
    for ask in (worked, lambda p: steps_correct(p, "So yes.")):
        with pytest.raises(FieldError, match="field 'family': expected one of 'arithmetic', 'sums', 'ontology'"):
            ask(other)
