"""Solutions with and without their steps."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptlab.tasks import reasoning
from adaptlab.tasks.reasoning import FAMILIES, Problem, direct, worked
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
    assert worked(problem).count(".") > 1 == direct(problem).count(".")


@given(seeds, families)
def test_what_careful_people_of_the_study_world_write_is_worked_so(rng, family):
    problem = FAMILIES[family](rng)
    text = reasoning.solution(problem, rng)
    if not text.startswith(("Quick", "no.")):
        if family == "ontology":
            assert re.sub("So|Then|Thus|Hence", "So", text) == worked(problem)
        elif problem.correct(text):
            assert text == worked(problem)


def test_an_unknown_family_is_named():
    other = Problem("chess", "Mate?", "yes", ())
    with pytest.raises(FieldError, match="field 'family': expected one of 'arithmetic', 'sums', 'ontology'"):
        worked(other)
