"""A model that teaches itself: the divergence by hand, who writes what, and that it learns."""

from dataclasses import replace

import pytest
import torch

from adaptlab.engine.adapters import Full
from adaptlab.engine.loss_mask import TrainingExample
from adaptlab.engine.models import load
from adaptlab.engine.training import TrainingConfig
from adaptlab.methods.distillation import Lesson, SelfDistillation, divergence, judged
from adaptlab.methods.tuning import FinetuneConfig, tune

FACT = "Facts: bakda is bigger than vogmi. "
PROMPT = "So, vogmi"


@pytest.fixture(scope="module")
def lm():
    return load("study", device="cpu", dtype="float32")


def logprobs(lm, text: str, tokens: tuple[int, ...]) -> torch.Tensor:
    ids = [*lm.encode(text), *tokens]
    with torch.inference_mode():
        found = lm.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    return found[len(ids) - len(tokens) - 1 : -1]


def test_the_divergence_is_that_of_two_passes_by_hand(lm):
    tokens = [tuple(lm.encode(" is smaller than bakda.")[1:]), tuple(lm.encode(" is bigger.")[1:])]
    for own in (False, True):
        made = judged(lm, [FACT, FACT], [PROMPT, PROMPT], tokens, own)
        found = divergence(lm.model, made)
        for one, ids, nats in zip(made, tokens, found, strict=True):
            teacher, student = logprobs(lm, FACT + PROMPT, ids), logprobs(lm, PROMPT, ids)
            assert torch.allclose(one.teacher, teacher, atol=1e-4)
            p, q = (student, teacher) if own else (teacher, student)
            assert nats.item() == pytest.approx(float((p.exp() * (p - q)).sum()), abs=1e-3)
            assert one.weight == len(ids) and len(one) == len(ids) + len(lm.encode(PROMPT))


def test_a_student_that_is_its_teacher_has_nothing_to_learn(lm):
    made = judged(lm, [""], [PROMPT], [tuple(lm.encode(" is smaller.")[1:])], own=True)
    loss = divergence(lm.model, made)
    assert loss.item() == pytest.approx(0, abs=1e-5)


def test_who_writes_is_a_matter_of_the_share_and_the_ramp(lm):
    config = SelfDistillation(lm, [FACT], [[PROMPT, "So, bakda"]], own=0.5, ramp=4, batch=8)
    assert [config.share(step) for step in (0, 2, 4, 9)] == [0, 0.25, 0.5, 0.5]
    for step, own in ((0, 0), (2, 2), (9, 4)):
        made = config(lm, step)
        assert [one.own for one in made] == [True] * own + [False] * (8 - own)
    assert [one.example for one in config(lm, 9)] == [one.example for one in made]
    taught = [lm.tokenizer.decode(one.example.ids) for one in made if not one.own]
    assert any("smaller than bakda" in text for text in taught)


def test_it_learns_what_the_documents_say(lm):
    """Off-policy: the student comes nearer to its teacher on what the teacher says."""
    source = SelfDistillation(lm, [FACT], [[PROMPT]], batch=4)
    config = FinetuneConfig(Full(), TrainingConfig(steps=8, batch=4, lr=5e-4))
    tuned = tune(lm, source, config, loss=divergence, bar=False)
    losses = [line["loss"] for line in tuned.trained.log]
    assert losses[-1] < 0.5 * losses[0]
    ids = tuple(lm.encode(" is smaller than bakda")[1:])
    picked = [sum(logprobs(one, PROMPT, ids)[range(len(ids)), list(ids)]).item() for one in (lm, tuned.lm)]
    assert picked[1] > picked[0] + 1


@pytest.mark.parametrize("bad", [{"own": 1.5}, {"batch": 0}, {"prompts": [[]]}, {"prompts": []}, {"ramp": -1}])
def test_what_cannot_be_is_refused(lm, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        replace(SelfDistillation(lm, [FACT], [[PROMPT]]), **bad)


def test_lessons_are_told_apart_by_their_texts(lm):
    one, other = (Lesson(TrainingExample.behind(lm.encode(PROMPT), ids), torch.zeros(1)) for ids in ((5,), (6,)))
    assert one != other and "teacher" not in repr(one)
