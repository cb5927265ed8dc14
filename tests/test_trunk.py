"""What makes training cheaper changes nothing: layers computed once, packed rows, passes, another attention."""

import functools
from dataclasses import replace

import pytest
import torch

from adaptlab.engine import packing, training
from adaptlab.engine.adapters import Full, Lora, learner
from adaptlab.engine.plans import Plan
from adaptlab.engine.training import train
from adaptlab.engine.trunk import Trunk, frozen_layers
from conftest import ARCHITECTURES, tiny_lm
from test_packing import examples
from test_training import apart, drawn, weights

ROTARY = sorted(set(ARCHITECTURES) - {"gpt2"})
TOPS = [Full(layers=1), Lora(rank=2, layers=1), Lora(rank=2, layers=2)]
PLAN = Plan(epochs=3, batch=4, lr=1e-4)


def taught(architecture: str, how) -> torch.nn.Module:
    """A learner whose adapters, if it has any, are already at work."""
    model = learner(tiny_lm(architecture), how, seed=0).model
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    return model


@pytest.mark.parametrize(
    ("how", "depth"),
    [(Full(), 0), (Full(1), 2), (Full(2), 1), (Full(3), 0), (Lora(), 0), (Lora(layers=1), 2), (Lora(layers=2), 1)],
    ids=str,
)
def test_layers_below_the_lowest_that_learns_are_frozen(how, depth):
    for architecture in ("llama", "qwen3", "gemma3-sliding"):
        model = learner(tiny_lm(architecture), how, seed=0).model
        assert frozen_layers(model) == Trunk(model).depth == depth


@pytest.mark.parametrize("architecture", ["gpt2", "llama-longrope", "bloom-alibi"])
def test_models_that_are_no_plain_stack_have_no_trunk(architecture):
    assert frozen_layers(learner(tiny_lm(architecture), Full(layers=1), seed=0).model) == 0


def test_embeddings_that_learn_leave_nothing_frozen_and_a_norm_or_head_leaves_all():
    for part, depth in (("model.embed_tokens", 0), ("model.norm", 3), ("lm_head", 3)):
        model = tiny_lm("llama").model.requires_grad_(False)
        model.get_submodule(part).requires_grad_(True)
        assert frozen_layers(model) == depth


@pytest.mark.parametrize("how", TOPS, ids=str)
@pytest.mark.parametrize("architecture", ROTARY)
def test_losses_and_gradients_are_those_of_the_whole_model(architecture, how):
    model = taught(architecture, how)
    row = examples(tiny_lm(architecture))
    trunk, whole = Trunk(model), packing.losses(model, row)
    learning = [p for p in model.parameters() if p.requires_grad]
    assert trunk.depth == 3 - how.layers
    for order in ([2, 0], [0, 1, 2, 3], [3, 0, 1, 2]):
        found = trunk.losses(model, [row[i] for i in order])
        assert torch.allclose(found, whole[order], atol=1e-5, rtol=1e-5)
    ours, theirs = (torch.autograd.grad(loss.sum(), learning) for loss in (found, whole))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-3)


def test_a_head_that_learns_alone_has_the_losses_of_the_whole_model():
    model = tiny_lm("llama").model.requires_grad_(False)
    model.lm_head.requires_grad_(True)
    row, trunk = examples(tiny_lm("llama")), Trunk(model)
    for _ in range(2):
        assert torch.allclose(trunk.losses(model, row), packing.losses(model, row), atol=1e-5, rtol=1e-5)


def test_the_same_text_with_other_trained_tokens_has_a_loss_of_its_own():
    model = taught("llama", Full(1))
    first = drawn(1)[0]
    other = replace(first, trained=(False, *[True] * (len(first) - 1)))
    found = Trunk(model).losses(model, [first, other, first])
    assert torch.allclose(found, packing.losses(model, [first, other, first]), atol=1e-5, rtol=1e-5)
    assert found[0] < found[1]


@pytest.mark.parametrize("how", TOPS, ids=str)
@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3-sliding", "mistral-sliding"])
def test_training_on_a_trunk_gives_the_same_weights(architecture, how):
    found = []
    for cached in (True, False):
        model = learner(tiny_lm(architecture), how, seed=0).model
        before = weights(model)
        loss = Trunk(model).losses if cached else packing.losses
        train(model, drawn(10), PLAN, loss=loss, held_out=drawn(3, seed=1))
        found.append(weights(model))
    assert apart(*found) < 1e-5 < apart(before, found[0])


@pytest.mark.parametrize(("architecture", "how"), [("gpt2", Full(1)), ("gpt2", Lora(layers=1)), ("llama", Full())])
def test_where_nothing_can_be_kept_the_whole_model_is_read(architecture, how):
    model = taught(architecture, how)
    row, trunk = examples(tiny_lm(architecture)), Trunk(model)
    assert trunk.depth == 0
    assert torch.equal(trunk.losses(model, row), packing.losses(model, row))


@pytest.mark.parametrize("how", TOPS, ids=str)
def test_frozen_layers_read_every_example_once(how):
    model = learner(tiny_lm("llama"), how, seed=0).model
    calls = {"frozen": 0, "top": 0}

    def count(which: str):
        def hook(*_):
            calls[which] += 1

        return hook

    model.model.layers[0].self_attn.register_forward_hook(count("frozen"))
    model.model.layers[2].self_attn.register_forward_hook(count("top"))
    train(model, drawn(6), replace(PLAN, epochs=4, batch=1), loss=Trunk(model).losses, held_out=drawn(2, seed=1))
    assert calls["frozen"] == 6 + 1, "held-out items go together"
    assert calls["top"] == 4 * (6 + 1) + 1


@pytest.mark.parametrize("layer", [0, 2])
def test_layers_are_themselves_again_after_an_exception(layer):
    model = taught("llama", Full(1))
    row, trunk = examples(tiny_lm("llama")), Trunk(model)
    whole = packing.losses(model, row)

    def fail(*_):
        raise RuntimeError("out of memory")

    hook = model.model.layers[layer].self_attn.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        trunk.losses(model, row)
    hook.remove()
    assert not any(part._forward_pre_hooks for part in model.modules()), "a hook that stays keeps all it sees"
    for found in (packing.losses(model, row), trunk.losses(model, row), trunk.losses(model, row)):
        assert torch.allclose(found, whole, atol=1e-5, rtol=1e-5)


def trained(loss=packing.losses, plan: Plan = PLAN) -> dict[str, torch.Tensor]:
    model = tiny_lm("llama").model
    train(model, drawn(10), plan, loss=loss)
    return weights(model)


def test_packing_and_passes_make_no_difference(monkeypatch):
    whole = trained()
    assert apart(trained(functools.partial(packing.losses, room=0)), whole) < 1e-5
    for most in (1, 16):
        monkeypatch.setattr(training, "PASS", most)
        sizes = []

        def loss(model, part):
            sizes.append(sum(map(len, part)) if len(part) > 1 else 0)  # noqa: B023 (called before the next round)
            return packing.losses(model, part)

        assert apart(trained(loss), whole) < 1e-5
        assert max(sizes) <= most and len(sizes) > 9


def test_bfloat16_is_used_where_there_is_any(monkeypatch):
    whole, low = trained(), replace(PLAN, bf16=True)
    monkeypatch.setattr(training, "has_bf16", lambda device: False)
    assert apart(trained(plan=low), whole) == 0
    monkeypatch.setattr(training, "has_bf16", lambda device: True)
    assert 0 < apart(trained(plan=low), whole) < 0.1


@pytest.mark.parametrize("architecture", ["llama", "llama-eager"])
@pytest.mark.parametrize("how", [Full(), Lora()], ids=str)
def test_attention_is_what_it_was_after_training_and_after_a_failure(architecture, how):
    model = learner(tiny_lm(architecture), how, seed=0).model
    before = model.config._attn_implementation
    assert before == ARCHITECTURES[architecture][1]["attn_implementation"]

    def fail(*_):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        train(model, drawn(4), PLAN, loss=fail)
    assert model.config._attn_implementation == before
    train(model, drawn(4), PLAN)
    assert model.config._attn_implementation == before
    assert all(part.config._attn_implementation == before for part in model.modules() if hasattr(part, "config"))
