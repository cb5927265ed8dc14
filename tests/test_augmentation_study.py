"""Notebooks 05 and 05c: what is read and asked, and the use after which training has paid."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

import adaptlab as al
from adaptlab.engine.scoring import Cost
from adaptlab.engine.training import Trained
from adaptlab.methods.augmentation import Inferences
from adaptlab.methods.prompting import RetrievedPrompt, WorldPrompt
from adaptlab.methods.tuning import Tuned
from adaptlab.studies import augmentation as study
from adaptlab.tasks.words import study as study_words
from adaptlab.tasks.worlds import reversals

WORLD = reversals(0, facts=6, articles=3, words=study_words("test"))


def test_one_document_tells_each_fact():
    shown = study.one_each(WORLD)
    assert len(shown) == 6 and {fact for one in shown for fact in one.facts} == WORLD.stated
    assert [WORLD.documents.index(one) for one in shown] == sorted(map(WORLD.documents.index, shown))


def test_questions_are_of_one_kind_and_what_they_ask_for_follows():
    for asked in ("sentence", "reversal", "forward"):
        items = study.questions(WORLD, asked)
        assert {item.split for item in items} == {asked} and len(items) == 6
    assert set(study.to_infer(WORLD, "reversal")) <= WORLD.inferred
    assert {item.gold.fact for item in study.questions(WORLD, "sentence")} == set(study.to_infer(WORLD, "reversal"))


def test_controls_are_made_of_what_is_asked_for():
    wanted = study.to_infer(WORLD, "reversal")
    made = {name: make() for name, make in study.controls(WORLD, wanted, 0).items()}
    assert made["+ oracle"] == [f"{fact.sentence}." for fact in wanted]
    assert all(len(texts) == len(wanted) for texts in made.values())
    assert not {*made["+ wrong relation"], *made["+ wrong partner"]} & {*made["+ oracle"]}


def test_a_word_search_finds_the_document_that_tells_of_the_noun():
    prompt = RetrievedPrompt(study.one_each(WORLD), lead="So,")
    for item in study.questions(WORLD, "sentence"):
        (found,) = prompt.read(item)
        assert item.gold.fact.reversed in found.facts
        assert prompt(item)[0] == f"{found.text} So, {item.stem}"
    assert len(WorldPrompt(study.one_each(WORLD)).read(item)) == 6


def tuned(tokens: int) -> Tuned:
    return Tuned(None, Trained([{"tokens": tokens, "seconds": 1.0}]), 1)


def test_training_has_paid_after_the_use_at_which_the_sums_are_equal():
    """Recomputed from the cost columns of real answers: at that use, reading and training have cost the same."""
    lm, rows = al.load("study", device="cpu"), []
    for condition, documents in (("in context", study.one_each(WORLD)), ("trained", ())):
        chooser = al.Chooser(lm, WorldPrompt(documents, lead="So,"), len(documents), condition)
        rows.append(al.evaluate(chooser, study.questions(WORLD, "sentence"))[0].assign(condition=condition))
    frame = pd.concat(rows, ignore_index=True)
    made = Inferences((), 4, Cost(prefilled=10, scored=5, decoded=25))
    once = {"trained": study.work_before([tuned(1000), tuned(2000)], [made, made])}
    assert once == {"trained": 3 * 1500 + 40}
    paid = study.break_even(frame, once).set_index("documents")
    use = frame.groupby("condition").per_item.mean()
    uses = paid.uses["read at each use"]
    assert uses * use["in context"] == pytest.approx(once["trained"] + uses * use["trained"])
    assert 0 < use["trained"] < use["in context"] and uses > 0
    scored = frame.groupby("condition").scored.mean()
    kept = paid.loc["kept as keys and values"]
    assert kept["saved a use"] == pytest.approx(scored["in context"] - scored["trained"])
    assert math.isinf(kept.uses) == (kept["saved a use"] <= 0.5)


def test_lines_cross_where_training_pays():
    frame = pd.DataFrame({"condition": ["in context", "trained"], "per_item": [100.0, 10.0], "scored": [10.0, 10.0]})
    axes = study.cost_lines(frame, {"trained": 900.0}, 20)
    read, trained = (np.array(line.get_ydata()) for line in axes.lines)
    uses = np.array(axes.lines[0].get_xdata())
    assert ((read < trained) == (uses < study.break_even(frame, {"trained": 900.0}).uses[0])).all()
    plt.close(axes.figure)


def test_places_are_named_where_they_stand():
    axes = study.gain_and_loss({"documents": (0.1, 0.2), "mix": (0.0, 0.5)})
    assert [text.get_text() for text in axes.texts] == ["documents", "mix"]
    assert [tuple(line.get_xydata()[0]) for line in axes.lines[:2]] == [(0.1, 0.2), (0.0, 0.5)]
    plt.close(axes.figure)


def test_what_only_the_document_tells_is_left_to_learn():
    lm = al.load("study", device="cpu", dtype="float32")
    left = study.left_to_learn(lm, lm, study.one_each(WORLD)[:3])
    assert len(left) == 3 and all(nats > 0.5 for nats in left)
