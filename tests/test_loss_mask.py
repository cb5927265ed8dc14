"""Packed rows give the losses and gradients of rows of their own, and waste little."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.engine.loss_mask import TrainingExample, losses, pack
from conftest import ARCHITECTURES, tiny_lm

TEXTS = ["the red house stands by the river", "option two", "message: my order is late\ndesk: delivery", "a b c d"]


def examples(lm) -> list[TrainingExample]:
    """Texts whose second half is trained."""
    made = []
    for text in TEXTS:
        ids = tuple(lm.encode(text))
        made.append(TrainingExample(ids, tuple(2 * place >= len(ids) for place in range(len(ids)))))
    return made


def with_labels(lm, example: TrainingExample) -> torch.Tensor:
    """The loss of transformers itself, as a sum."""
    ids = torch.tensor([example.ids])
    labels = torch.where(torch.tensor([example.loss_mask]), ids, -100)
    return lm.model(ids, labels=labels).loss * sum(example.loss_mask)


def test_packed_losses_are_those_of_rows_of_their_own(any_lm):
    row = examples(any_lm)
    alone = torch.stack([with_labels(any_lm, example) for example in row])
    for room in (1, 24, 48, 96, 4096):
        assert torch.allclose(losses(any_lm.model, row, max_tokens=room), alone, atol=1e-5, rtol=1e-5)
    for order in ([2, 0, 3, 1], [3, 1]):
        assert torch.allclose(losses(any_lm.model, [row[i] for i in order]), alone[order], atol=1e-5, rtol=1e-5)


def test_capped_logits_have_the_losses_of_transformers(monkeypatch):
    name, sizes = ARCHITECTURES["gemma3-sliding"]
    monkeypatch.setitem(ARCHITECTURES, "gemma3-capped", (name, {**sizes, "final_logit_softcapping": 2.0}))
    capped, free = tiny_lm("gemma3-capped"), tiny_lm("gemma3-sliding")
    row = examples(capped)
    alone = torch.stack([with_labels(capped, example) for example in row])
    for room in (1, 48):
        assert torch.allclose(losses(capped.model, row, max_tokens=room), alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(losses(free.model, row), alone, atol=1e-1)


def test_models_that_cannot_be_packed_have_the_same_losses():
    lm = tiny_lm("bloom-alibi")
    row = examples(lm)
    alone = torch.stack([with_labels(lm, example) for example in row])
    assert torch.allclose(losses(lm.model, row), alone, atol=1e-4, rtol=1e-5)


def test_packed_gradients_are_those_of_rows_of_their_own():
    lm = tiny_lm("llama")
    parameters = [p for p in lm.model.parameters() if p.requires_grad]
    row = examples(lm)
    packed = torch.autograd.grad(losses(lm.model, row).sum(), parameters)
    alone = torch.autograd.grad(sum(with_labels(lm, example) for example in row), parameters)
    for one, other in zip(packed, alone, strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-3)


@given(lengths=st.lists(st.integers(1, 60), max_size=40), room=st.integers(60, 120))
def test_every_example_has_one_place_and_rows_are_few(lengths, room):
    rows = pack(lengths, room)
    assert sorted(place for row in rows for place in row) == list(range(len(lengths)))
    assert all(sum(lengths[place] for place in row) <= room for row in rows)
    least = -(-sum(lengths) // room)
    assert len(rows) <= 2 * least
    assert rows == pack(lengths, room)


def test_an_example_longer_than_a_row_is_refused():
    with pytest.raises(ValueError, match="example 1 has 9 tokens; a row has room for 8"):
        pack([3, 9], 8)


@pytest.mark.parametrize(
    ("ids", "trained", "message"),
    [
        ((1, 2), (False,), "every token needs one"),
        ((1, 2), (False, False), "no token of the example is trained"),
        ((1, 2), (True, True), "nothing before it"),
    ],
)
def test_examples_that_teach_nothing_are_refused(ids, trained, message):
    with pytest.raises(ValueError, match=message):
        TrainingExample(ids, trained)
