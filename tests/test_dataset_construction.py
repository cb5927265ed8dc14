"""What notebook 01 measures: equal numbers, answers that a program knows, frames that claims accept."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import adaptlab as al
from adaptlab.methods.generation_recipes import GENERATION_RECIPES
from adaptlab.methods.prompting import WorldPrompt
from adaptlab.methods.self_instruct import self_instruct
from adaptlab.studies import dataset_construction as datasets
from adaptlab.tasks.records import Instruction
from adaptlab.tasks.worlds import reversals
from adaptlab.tasks.worlds_structure import structure

SEED = al.load_seed()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, lm = tmp_path_factory.mktemp("runs"), al.load("study", device="cpu")
    settings = {"wanted": 100, "rounds": 1, "prompts": 8}
    return {
        seed: self_instruct(
            lm,
            datasets.templated("study", seed),
            GENERATION_RECIPES["pages"],
            folder / f"{seed}.jsonl",
            seed=seed,
            **settings,
        )
        for seed in (0, 1)
    }


def test_right_answers_are_known_for_lists_and_templates_only():
    lists = [one for one in SEED if one.category.startswith("lists")]
    assert all(datasets.known_answer(one) == one.output for one in lists)
    assert all(datasets.known_answer(one) is None for one in SEED if one not in lists)
    assert all(datasets.known_answer(one) == one.output for one in datasets.templated("study", 0))
    assert datasets.known_answer(Instruction("x", "Reverse this list: dog cat cow", "", "?")) == "cow cat dog"


def test_sources_are_compared_on_equal_numbers():
    filled = datasets.templated("study", 1, 60)
    wrong = [Instruction(f"w{i}", one.instruction, "", "no") for i, one in enumerate(filled[:20])]
    table = datasets.compare({"one by one": SEED, "templates": filled, "wrong": wrong})
    assert set(table["records"]) == {20}
    assert table.loc["templates", "right"] == 1 and table.loc["wrong", "right"] < 0.3
    assert table.loc["one by one", "nearest ROUGE-L"] < table.loc["templates", "nearest ROUGE-L"]
    figure = datasets.source_bars(table)
    assert [ax.get_title() for ax in figure.axes][-1] == "right"
    free = [one for one in SEED if not one.category.startswith("lists")]
    unknown = datasets.compare({"one by one": free, "templates": filled})
    assert unknown.loc["one by one", "checkable"] == 0 and np.isnan(unknown.loc["one by one", "right"])
    assert any("not known" in t.get_text() for ax in datasets.source_bars(unknown).axes for t in ax.texts)
    plt.close("all")


def test_survivors_add_up_over_runs(runs):
    table = datasets.survived(runs)
    assert table["in"].iloc[0] == 16
    assert table["out"].iloc[-1] == sum(len(made.kept) for made in runs.values())


def test_errors_are_counted_in_equal_numbers(runs):
    sources = {
        "templates": {seed: datasets.templated("study", seed + 100, 60) for seed in runs},
        "model": {seed: made.kept for seed, made in runs.items()},
    }
    frame = datasets.error_frame("study", sources)
    counts = frame.groupby(["source", "seed"]).size()
    assert counts.nunique() == 1 and len(counts) == 4
    assert frame[frame.source == "templates"].correct.all()
    assert "DATA-ERRORS" in repr(al.claims(["DATA-ERRORS"], frame))
    wrong = [Instruction(f"w{i}", one.instruction, "", "no") for i, one in enumerate(datasets.templated("study", 3))]
    assert datasets.error_frame("study", {"model": {0: wrong, 1: wrong}}).correct.mean() < 0.3
    with pytest.raises(ValueError, match="not two; raise prompts or rounds"):
        datasets.error_frame("study", {"model": {0: wrong, 1: ()}})


def test_worlds_are_asked_with_and_without_documents():
    lm, worlds = al.load("study", device="cpu"), {s: reversals(s, 4, 1, datasets.world_words("study")) for s in (0, 1)}
    frame = al.grid(
        lambda seed, documents: al.Chooser(
            lm, WorldPrompt(worlds[seed].documents if documents else (), "seen"), 4, f"documents: {documents}"
        ),
        lambda seed, documents: [item for item in worlds[seed].items if item.split == "reversal"],
        seed=[0, 1],
        documents=[False, True],
    )
    assert frame.groupby(["method", "seed"]).size().eq(4).all() and frame.gold_prob.between(0, 1).all()


def test_a_hierarchy_shows_every_category_and_no_line_that_is_not_stated():
    world = structure(0, categories=20, documents=1, items=5)
    axes = datasets.hierarchy(world)
    stated = {(fact.a, fact.b) for fact in world.stated if fact.form == "all {a} are {b}"}
    texts = {text.get_text(): text.get_position() for text in axes.texts if text.get_text()}
    assert set(texts) == {noun for pair in stated for noun in pair} and len(axes.lines) == len(stated)
    assert len(set(texts.values())) == len(texts)  # nobody stands on anybody
    assert all(texts[child][1] < texts[parent][1] for child, parent in stated)
    plt.close(axes.figure)
