"""What notebook 01 measures: equal numbers, answers that a program knows, frames that claims accept."""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pytest

from adaptlab.engine.models import load
from adaptlab.evidence.claims import claims
from adaptlab.methods.self_instruct import Made
from adaptlab.studies.dataset_construction import (
    DatasetStudy,
    compare,
    completions,
    error_frame,
    known_answer,
    reading_frame,
    source_bars,
    survived,
)
from adaptlab.studies.graph import hierarchy
from adaptlab.tasks.records import FieldError, Instruction
from adaptlab.tasks.sets import load_seed
from adaptlab.tasks.worlds_structure import structure

SMALL = DatasetStudy(seeds=(0, 1), prompts=8, facts=4)


@cache
def lm():
    return load("study", device="cpu")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return completions(lm(), SMALL, "pages", load_seed(), tmp_path_factory.mktemp("written"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"vocabulary": "french"}, "one of 'study', 'english'"),
        ({"manners": ["letters"]}, "one of 'self-instruct', 'alpaca', 'pages'"),
        ({"manners": ["alpaca"]}, "must name 'pages'"),
        ({"seeds": [1]}, "at least two"),
        ({"seeds": [1, 1]}, "none of them twice"),
        ({"prompts": 0}, "prompts must be at least 1"),
        ({"facts": 3}, "facts must be at least 4"),
    ],
)
def test_settings_check_themselves(changed, said):
    with pytest.raises((ValueError, FieldError), match=said):
        DatasetStudy(**changed)


def test_right_answers_are_known_for_lists_and_templates_only():
    lists = [one for one in load_seed() if one.category.startswith("lists")]
    assert all(known_answer(one) == one.output for one in lists)
    assert all(known_answer(one) is None for one in load_seed() if one not in lists)
    assert all(known_answer(one) == one.output for one in SMALL.templated(0))
    assert known_answer(Instruction("x", "Reverse this list: dog cat cow", "", "cow cat dog")) == "cow cat dog"


def test_sources_are_compared_on_equal_numbers():
    wrong = [Instruction(f"w{i}", one.instruction, "", "no") for i, one in enumerate(SMALL.templated(3, 20))]
    table = compare({"people": load_seed(), "templates": SMALL.templated(1, 60), "wrong": wrong})
    assert set(table["records"]) == {20}
    assert table.loc["templates", "right"] == 1 and table.loc["wrong", "right"] < 0.3
    assert table.loc["people", "nearest ROUGE-L"] < table.loc["templates", "nearest ROUGE-L"]
    figure = source_bars(table)
    assert [ax.get_title() for ax in figure.axes][-1] == "right"
    plt.close(figure)


def test_a_source_that_no_program_can_check_has_no_share():
    people = [one for one in load_seed() if not one.category.startswith("lists")]
    table = compare({"people": people, "templates": SMALL.templated(1, 60)})
    assert table.loc["people", "checkable"] == 0 and np.isnan(table.loc["people", "right"])
    plt.close(source_bars(table))


def test_survivors_add_up_over_runs(runs):
    table = survived(runs)
    assert table["in"].iloc[0] == 16
    assert table["out"].iloc[-1] == sum(len(made.kept) for made in runs.values())


def test_errors_are_counted_in_equal_numbers(runs):
    frame = error_frame(lm(), SMALL, runs)
    counts = frame.groupby(["source", "seed"]).size()
    assert counts.nunique() == 1 and len(counts) == 4
    assert frame[frame.source == "templates"].correct.all()
    assert "DATA-ERRORS" in repr(claims(["DATA-ERRORS"], frame))


def test_a_wrong_record_is_counted_as_wrong():
    wrong = tuple(Instruction(f"w{i}", one.instruction, "", "no") for i, one in enumerate(SMALL.templated(3, 20)))
    frame = error_frame(lm(), SMALL, {0: Made(wrong, (), 1), 1: Made(wrong, (), 1)})
    assert frame[frame.source == "model"].correct.mean() < 0.3


def test_worlds_are_asked_with_and_without_documents():
    frame = reading_frame(lm(), SMALL)
    assert frame.groupby(["method", "split", "seed"]).size().eq(4).all()
    assert set(frame.lift.unique()) <= {0.75, -0.25}
    assert "DATA-CONTEXT" in repr(claims(["DATA-FRESH", "DATA-CONTEXT"], frame))


def test_a_hierarchy_shows_every_category_and_no_line_that_is_not_stated():
    world = structure(0, categories=20, documents=1, items=5)
    axes = hierarchy(world)
    stated = {(fact.a, fact.b) for fact in world.stated if fact.form == "all {} are {}"}
    texts = {text.get_text(): text.get_position() for text in axes.texts if text.get_text()}
    assert set(texts) == {noun for pair in stated for noun in pair} and len(axes.lines) == len(stated)
    assert len(set(texts.values())) == len(texts)  # nobody stands on anybody
    assert all(texts[child][1] < texts[parent][1] for child, parent in stated)
    plt.close(axes.figure)
