"""Word problems and deductions in plain English, recomputed from their text by readers of the tests' own."""

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.tasks.english_problems import deduction, with_rationale, without_rationale, word_problem
from adaptlab.tasks.reasoning import Problem
from adaptlab.tasks.records import FieldError, Instruction
from adaptlab.tasks.words import SPLITS

seeds = st.integers(0, 10**6).map(random.Random)
LENGTHS = (1, 2, 3, 5, 8, 20)


def told_value(question: str) -> tuple[str, list[int]]:
    """The answer to a word problem and every value on the way, from the verbs of its sentences alone."""
    first, *events, asked = re.split(r"(?<=[.?]) ", question)
    who, value = re.fullmatch(r"(\w+) has (\d+) \w+\.", first).groups()
    assert re.fullmatch(rf"How many \w+ does {who} have now\?", asked)
    values = [int(value)]
    for event in events:
        n = int((re.search(r"\d+", event) or ["0"])[0])
        if "doubles" in event:
            values.append(values[-1] * 2)
        elif re.search(rf"gives {who}|buys|finds|wins", event):
            values.append(values[-1] + n)
        else:
            assert re.search(rf"{who} (?:gives|loses|sells|drops)", event)
            values.append(values[-1] - n)
    return str(values[-1]), values


def forward_chain(question: str) -> tuple[set[str], str, str]:
    """(what can be derived of the person, the property asked for, the person), by forward chaining."""
    *rules, fact, asked = re.split(r"(?<=[.?]) ", question)
    who, start = re.fullmatch(r"(\w+) is a (\w+)\.", fact).groups()
    prop = re.fullmatch(rf"Is {who} (\w+)\?", asked)[1]
    derived, before = {start}, set()
    while derived != before:
        before = set(derived)
        for rule in rules:
            a, b = re.fullmatch(r"(?:Every|Each|Whatever is a|No) (\w+) is (?:a )?(\w+)\.", rule).groups()
            if a in derived:
                derived.add(f"not {b}" if rule.startswith("No ") else b)
    return derived, prop, who


@pytest.mark.parametrize("length", LENGTHS)
def test_word_problems_recomputed_from_their_text(length):
    rng = random.Random(length)
    for _ in range(500):
        problem = word_problem(rng, length)
        answer, values = told_value(problem.instruction)
        assert problem.output == answer
        assert len(values) == length + 1 and min(values) >= 0
        steps = problem.rationale.split(". ")
        assert len(steps) == length
        for before, after, step in zip(values, values[1:], steps, strict=False):
            a, sign, b, c = re.fullmatch(r"(\d+) ([-+*]) (\d+) = (\d+)\.?", step).groups()
            assert (int(a), int(c)) == (before, after)
            assert {"+": before + int(b), "-": before - int(b), "*": before * int(b)}[sign] == after


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("branches", [0, 2, 4])
def test_deductions_recomputed_from_their_text(length, branches):
    rng, answers = random.Random(length), Counter()
    for _ in range(500 if branches == 2 else 100):
        problem = deduction(rng, length, branches=branches)
        derived, prop, who = forward_chain(problem.instruction)
        assert not any(f"not {fact}" in derived for fact in derived)  # no contradiction
        assert problem.output == {(True, False): "yes", (False, True): "no"}[prop in derived, f"not {prop}" in derived]
        assert len(re.findall(rf"\b{prop}\.", problem.instruction)) == 2  # once for, once against
        steps = re.findall(rf"so {who} is (not \w+|\w+)(?: (\w+))?\.", problem.rationale)
        assert len(steps) == length == problem.rationale.count(".")
        assert {second or first for first, second in steps} <= derived
        answers[problem.output] += 1
    assert min(answers["yes"], answers["no"]) > 0.3 * answers.total()


def test_what_is_negated_is_said_without_two_readings():
    problem = next(p for p in (deduction(random.Random(i), 1) for i in range(50)) if p.output == "no")
    assert "is not" not in problem.instruction
    assert re.search(r"and no \w+ is \w+, so \w+ is not \w+\.", problem.rationale)


@pytest.mark.parametrize("make", [word_problem, deduction])
def test_splits_are_disjoint_and_ids_are_of_the_content(make):
    rngs = {split: random.Random(0) for split in SPLITS}
    drawn = [make(rng, 1, split) for split, rng in rngs.items() for _ in range(300)]
    of = {record.instruction: record.id for record in drawn}
    assert len(set(of.values())) == len(of)
    texts = [{record.instruction for record in drawn[start : start + 300]} for start in (0, 300, 600)]
    assert sum(map(len, texts)) == len(of)


def _correct(record: Instruction, text: str) -> bool:
    return Problem(record.category, record.query, record.output, ()).correct(text)


@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from(SPLITS), st.sampled_from([word_problem, deduction]))
def test_the_same_seed_gives_the_same_problem(seed, length, split, make):
    one, other = (make(random.Random(seed), length, split) for _ in range(2))
    assert one == other
    assert _correct(one, with_rationale(one)) and _correct(one, without_rationale(one))
    assert one.input == ""


def test_problems_refuse():
    rng = random.Random(0)
    for make in (word_problem, deduction):
        with pytest.raises(FieldError, match="field 'length': expected 1 or more, found 0"):
            make(rng, 0)
        with pytest.raises(FieldError, match="field 'split': expected one of 'train', 'probe', 'test', found 'dev'"):
            make(rng, 1, "dev")
    with pytest.raises(FieldError, match="field 'branches': expected 0 or more, found -1"):
        deduction(rng, 1, branches=-1)
    assert re.search(r"\b[a-z]{7}\b", deduction(rng, 200, "test").query), "some of so many nouns have three syllables"
    with pytest.raises(ValueError, match="split 'test' has 144, and their longer forms"):
        deduction(rng, 3000, "test")


NUMBER = Instruction("a", "How many?", "", "28")
LARGE = Instruction("a", "How many?", "", "1028")
ANSWER = Instruction("a", "Is it?", "", "no")


RIGHT = {
    NUMBER: ["28", "20 + 8 = 28. The answer is 28.", "First 5, then **28**", r"\boxed{28}", "Answer:28, I think."],
    LARGE: ["1,028 apples", "1028."],
    ANSWER: ["No.", "yes? I think not; NO"],
}
WRONG = {
    NUMBER: [
        *["", "twenty-eight", "28 minus 1 is 27.", "28 or ३"],
        *"-28 −28 3.28 .28 28.5 28/5 5/28 28% 28th 2,8 028 1,028".split(),
    ],
    LARGE: ["10,28"],
    ANSWER: ["", "It is not.", "no, that is wrong: yes", "nothing known"],
}


@pytest.mark.parametrize(("record", "text"), [(record, text) for record in RIGHT for text in RIGHT[record]])
def test_final_answers_that_count(record, text):
    assert _correct(record, text)


@pytest.mark.parametrize(("record", "text"), [(record, text) for record in WRONG for text in WRONG[record]])
def test_final_answers_that_do_not_count(record, text):
    assert not _correct(record, text)
