"""Notebooks 05, 05b and 05c: what is read and asked, and the use after which training has paid."""

import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

import adaptlab as al
from adaptlab.engine.scoring import Cost
from adaptlab.engine.training import Trained
from adaptlab.methods.augmentation import Inference, Inferences
from adaptlab.methods.prompting import RetrievedPrompt, WorldPrompt
from adaptlab.methods.tuning import Tuned
from adaptlab.studies import augmentation as study
from adaptlab.tasks.fact_reading import read_facts
from adaptlab.tasks.records import FieldError
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


@pytest.mark.parametrize("kind", dict.fromkeys(kind for kind, _ in study.QUESTIONS.values()))
def test_other_worlds_ask_as_much_of_each_sort(kind):
    splits = [split for of, split in study.QUESTIONS.values() if of == kind]
    for seed in range(3):
        world = study.other_world(kind, seed, 10, study_words("test"))
        assert Counter(item.split for item in world.items) == dict.fromkeys(splits, 7)
        assert set(study.to_infer(world)) == {i.gold.fact for i in world.items} - world.stated <= world.inferred


def test_a_hierarchy_with_too_few_questions_is_passed_over(monkeypatch):
    monkeypatch.setattr(study, "TRIES", 1)
    with pytest.raises(FieldError, match="expected a larger one, for 6 questions of each sort about structure"):
        study.other_world("structure", 0, 8, study_words("test"))


def test_controls_have_the_words_of_the_questions():
    world = study.other_world("syllogisms", 0, 10, study_words("test"))
    made = study.controls(world, study.to_infer(world), 0)
    asked = {frozenset((item.gold.fact.a, item.gold.fact.b)): item for item in world.items}
    for text in made["+ oracle"]():
        (fact,) = read_facts(text)
        item = asked[frozenset((fact.a, fact.b))]
        assert text.endswith(f" {item.gold.text}.") and text.startswith("The relationships between ")
    assert not {*made["+ wrong relation"]()} & {*made["+ oracle"]()}


def test_rows_are_sorted_by_what_is_asked():
    rows = pd.DataFrame({"question": ["inherited", "other words", "held out"], "item": ["one"] * 3})
    found = study.by_sort(rows)
    assert list(found.sort) == ["concluded", "stated", "held out"] and found["item"].is_unique


def test_more_tokens_go_on_from_where_fewer_end():
    lm = al.load("study", device="cpu")
    texts = ["bakda is bigger than vogmi.", "vogmi is smaller than bakda.", "bakda vogmi."]
    few, many = (study.as_many(lm, texts, tokens, 0) for tokens in (30, 300))
    assert many[: len(few)] == few and {*many} == {*texts}
    spent = [sum(len(lm.encode(text)) for text in found) for found in (few, many)]
    longest = max(len(lm.encode(text)) for text in texts)
    assert 30 <= spent[0] < 30 + longest and 300 <= spent[1] < 300 + longest
    assert study.as_many(lm, [], 30, 0) == []


def test_growth_by_doublings_is_a_line_over_the_logarithm():
    slope, explained = study.log_linear(pd.Series({1: 0.2, 2: 0.3, 4: 0.4, 8: 0.5}))
    assert slope == pytest.approx(0.1) and explained == pytest.approx(1)
    slope, explained = study.log_linear(pd.Series({1: 0.2, 2: 0.9, 4: 0.9, 8: 0.2}))
    assert slope == pytest.approx(0) and explained == pytest.approx(0)
    slope, explained = study.log_linear(pd.Series({1: 0.5, 2: 0.5}))
    assert slope == 0 and math.isnan(explained)


def test_filters_are_judged_by_what_they_keep():
    world = study.other_world("descriptions", 0, 4, study_words("test"))
    right, other, *_ = [f"{fact.sentence}." for fact in study.to_infer(world)]
    told = f"{world.documents[0].facts[0].sentence}."
    wrong = study.controls(world, study.to_infer(world), 0)["+ wrong partner"]()[0]
    kept = [Inference(right, (0,), 2, -0.1), Inference(wrong, (0,), 1, -0.2), Inference(told, (0,), 2, -0.9)]
    frame = study.filtered(Inferences((*kept, Inference(other, (0,), 1, -0.8)), 4, Cost()), [world])
    shares = frame.groupby(["kept", "of"]).right.mean()
    assert shares["all"].to_dict() == pytest.approx({"precision": 2 / 3, "recall": 2 / 3})
    assert shares["written twice"].to_dict() == pytest.approx({"precision": 1, "recall": 1 / 3})
    assert shares["the more probable half"].to_dict() == pytest.approx({"precision": 1 / 2, "recall": 1 / 3})


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
