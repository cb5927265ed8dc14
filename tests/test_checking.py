"""Answers in every style, and exact checks of questions and answers."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptlab.tasks import checking
from adaptlab.tasks.checking import correct, solve_text
from adaptlab.tasks.records import FieldError
from adaptlab.tasks.styles import FRAMES, STYLES, styled, unstyled
from adaptlab.tasks.templates import TASKS, dataset, example, fill
from adaptlab.tasks.words import SPLITS, english, study

seeds = st.integers(0, 10**6).map(random.Random)
list_tasks = st.sampled_from(list(TASKS))
styles = st.sampled_from(STYLES)
drawers = st.sampled_from([make(split) for make in (study, english) for split in SPLITS])


# --- questions


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("make", [study, english])
def test_every_template_reads_back_to_its_answer(name, make):
    rng = random.Random(name)
    for split in SPLITS:
        for number in range(10):
            for _ in range(5):
                record = example(rng, name, make(split), template=number)
                assert solve_text(record.instruction) == record.output
                assert solve_text(f" {record.instruction}\n") == record.output
            named = example(rng, name, make(split), "name")
            assert solve_text(named.instruction) == named.output


@pytest.mark.parametrize(
    "question",
    [
        "",
        "Sort this list: owl bee ant",
        "Copy this list:",
        "Copy this list: owl",
        "Copy this list: owl, bee, ant",
        "Copy this list: Owl bee",
        "Copy this list: owl  bee",
        "Copy this list: owl bee ant\nReverse this list: owl bee ant",
        "Repeat the words in this list",
        "Repeat the words owl bee in the opposite order",
        "Copy this list: {x}",
        "Is owl bee in this list: ant cow",
        "Say what follows cow: owl bee ant",
        "Say what follows ant: owl bee ant",
        "Say what follows owl: owl bee owl ant",
        "[longer] owl bee / ant cow",
        "[sort] owl bee",
        "owl bee ant",
    ],
)
def test_a_question_without_one_sure_answer_has_none(question):
    assert solve_text(question) is None


def test_answers_are_worked_out_from_the_text():
    assert solve_text("Reverse this list: spam ham eggs") == "eggs ham spam"
    assert solve_text("[after] ham: spam ham eggs") == "eggs"
    assert solve_text("Which list has more words, the first or the second? First: spam ham. Second: eggs.") is None


@pytest.mark.parametrize(("answer", "known"), [("owl", "owl"), ("bee", None)])
def test_two_readings_with_different_answers_are_no_answer(monkeypatch, answer, known):
    """A cluster of the same wordings as another: only where both come to the same answer is it one."""
    twin = replace(TASKS["first"], solve=lambda words, argument: answer)
    monkeypatch.setitem(TASKS, "twin", twin)
    checking._patterns.cache_clear()
    try:
        assert solve_text("With which word does it begin?") is None
        assert solve_text("List: owl bee\nWith which word does it begin?") == known
    finally:
        checking._patterns.cache_clear()


# --- answers


def test_styles_look_as_they_should():
    rng = random.Random(0)
    assert styled("owl bee", "plain", rng) == "owl bee"
    opening, answer, closing = styled("owl bee", "restyled", rng).split("\n\n")
    assert answer == "owl bee" and opening and closing
    assert "owl bee" in styled("owl bee", "chatty", rng)
    assert len(styled("owl bee", "terse", rng)) < 16
    with pytest.raises(FieldError, match="field 'style': expected one of 'plain', 'terse', 'chatty', 'restyled'"):
        styled("owl", "polite", rng)


def test_every_frame_of_every_style_gives_its_answer_back():
    for frames in FRAMES.values():
        assert len(set(frames)) == len(frames)
        for frame in frames:
            assert frame.count("{}") == 1
            for answer in ("owl", "owl bee ant", "12"):
                assert unstyled(frame.format(answer)) == answer


@settings(max_examples=300)
@given(seeds, list_tasks, drawers, styles)
def test_right_answers_pass_in_every_style_and_wrong_ones_do_not(rng, cluster, draw, style):
    record = example(rng, cluster, draw)
    other = rng.choice([example(rng, name, draw).output for name in TASKS])
    assert correct(record, styled(record.output, style, rng))
    for wrong in (other, f"{record.output} {record.output}", f"{record.output} x", "", record.output[1:]):
        if wrong != record.output:
            assert not correct(record, styled(wrong, style, rng))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("make", [study, english])
def test_every_cluster_in_every_style_and_vocabulary(name, style, make):
    rng = random.Random(0)
    records = dataset(0, 12, [name], make("test"))
    for record, other in pairwise(records):
        assert correct(record, styled(record.output, style, rng))
        assert correct(record, styled(other.output, style, rng)) is (other.output == record.output)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "bee",
        "owl bee",
        "owl. bee.",
        "owl or bee",
        "owl\nbee",
        "= owl\n= bee",
        "A: owl A: bee",
        "= owl A: owl",
        "Not owl",
        "OWL",
        "owl!",
        "Of course, happy to do that.\n\nowl",
        "Of course, happy to do that.\n\n\n\nLet me know if there is more to do.",
        "Of course, happy to do that.\n\nowl\n\nbee\n\nLet me know if there is more to do.",
        "Oh, lists! I make it owl. I make it bee. That was fun!",
        "Oh, lists! I make it owl.",
        "Oh, lists! I make it . That was fun!",
        "My answer is owl.",
    ],
)
def test_anything_else_is_no_right_answer(text):
    record = example(random.Random(0), "first", lambda rng, n, avoid=(): ["owl", "bee", "ant", "cow", "fox"][:n])
    assert record.output == "owl" and correct(record, "owl") and correct(record, " owl.\n")
    assert not correct(record, text)


@given(st.text())
def test_whatever_is_read_out_of_a_text_is_an_answer(text):
    found = unstyled(text)
    assert found is None or (found in text and found == found.strip() == " ".join(found.split()))
    assert solve_text(text) is None


@given(seeds, list_tasks, drawers)
def test_a_question_is_no_answer_to_itself(rng, cluster, draw):
    record = example(rng, cluster, draw)
    assert not correct(record, record.instruction)
    assert fill("{x}", ["owl", "bee"]) == "owl bee"
