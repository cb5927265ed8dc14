"""A model that reads a world: the same answers as from a plain prompt, options from the pool asked for."""

import pytest

from adaptlab.engine.models import load
from adaptlab.engine.scoring import score
from adaptlab.evidence.evaluate import evaluate
from adaptlab.methods.reading import Reader
from adaptlab.tasks.records import FieldError
from adaptlab.tasks.words import study
from adaptlab.tasks.worlds import reversals

WORLD = reversals(0, facts=8, articles=1, words=study("test"))
ITEMS = [item for item in WORLD.items if item.split == "reversal"]


@pytest.fixture(scope="module")
def lm():
    return load("study", device="cpu")


def test_the_prompt_is_the_documents_and_the_stem(lm):
    question = Reader(lm, WORLD.documents, lead="So,").question(ITEMS[0])
    assert question.context.startswith(f"{WORLD.documents[0].text} {WORLD.documents[1].text} ")
    assert question.context.endswith(f" So, {ITEMS[0].stem}")
    assert Reader(lm).question(ITEMS[0]).context == ITEMS[0].stem
    assert question.options == tuple(f" {text}" for text in ITEMS[0].options())


def test_answers_are_those_of_one_request_at_a_time(lm):
    reader = Reader(lm, WORLD.documents)
    shared = reader.answer(ITEMS)
    for item, options in zip(ITEMS, shared.options, strict=True):
        alone = score(lm, [reader.question(item)], plan="plain").options[0]
        assert [o.logprob for o in options.values()] == pytest.approx([o.logprob for o in alone], abs=1e-4)


def test_pools_are_offered_one_by_one_or_together(lm):
    item = ITEMS[0]
    assert set(item.options("seen")) | set(item.options("unseen")) == set(item.options())
    assert item.options("seen")[0] == item.options("unseen")[0] == item.label
    with pytest.raises(FieldError, match="one of 'seen', 'unseen', 'both'"):
        item.options("other")


def test_it_is_evaluated_as_every_method_is(lm):
    frame, _ = evaluate(Reader(lm, WORLD.documents, pool="seen"), ITEMS, study="worlds", seed=0)
    assert list(frame.item) == [item.id for item in ITEMS] and set(frame.method) == {"documents in the prompt"}
    assert (frame.gold_prob.between(0, 1)).all() and frame.shots.eq(8).all()
    assert frame.prefilled.sum() > 0 and frame.correct.mean() > 0.25
