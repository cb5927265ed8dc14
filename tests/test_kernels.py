"""What is computed with while training gives the numbers that PEFT and transformers give, and is gone afterwards."""

import peft
import pytest
import torch

from adaptlab.engine.adapters import Lora, prepare_for_training
from adaptlab.engine.loss_mask import losses
from adaptlab.engine.machine import fast_kernels
from conftest import tiny_lm
from test_training import drawn

# with biases beside weights (qwen2), with maps that are no nn.Linear (gpt2), and with neither
each = pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2", "gemma3-sliding"])


def adapted(architecture: str, **more):
    """A model in training whose adapters do something."""
    lm = tiny_lm(architecture)
    if more:
        config = peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", **more)
        model = peft.get_peft_model(lm.model, config).get_base_model()
    else:
        model = prepare_for_training(lm, Lora(rank=2), seed=0).model
    torch.manual_seed(1)
    for p in learning(model).values():
        torch.nn.init.normal_(p, std=0.05)
    return model


def learning(model) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def gradients(model, low: bool = False) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        found = losses(model, drawn(6))
    found.sum().backward()
    taken = {name: p.grad for name, p in learning(model).items()}
    model.zero_grad()
    return found.detach(), taken


@each
def test_losses_and_gradients_are_those_of_peft(architecture):
    model = adapted(architecture)
    given, expected = gradients(model)
    with fast_kernels(model, low=False):
        found, taken = gradients(model)
    assert torch.allclose(found, given, atol=1e-4, rtol=1e-5)
    assert taken.keys() == expected.keys()
    for name in taken:
        assert torch.allclose(taken[name], expected[name], atol=1e-3, rtol=1e-4), name
        assert taken[name].abs().sum() > 0, name


@each
def test_in_bfloat16_they_are_as_near_to_the_exact_ones_as_those_of_autocast(architecture):
    model = adapted(architecture)
    exact, autocast = gradients(model)[1], gradients(model, low=True)[1]
    with fast_kernels(model, low=True):
        taken = gradients(model, low=True)[1]
    assert all(one.dtype == torch.float32 for one in taken.values())
    assert distance(taken, exact) < 1.5 * distance(autocast, exact)


def distance(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> float:
    return sum(float((some[name] - others[name]).square().sum()) for name in some) ** 0.5


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("architecture", ["llama", "gemma3-sliding"])
def test_a_model_is_as_it_was_afterwards_even_where_training_was_stopped(architecture, low):
    lm = tiny_lm(architecture)
    model = prepare_for_training(lm, Lora(rank=2), seed=0).model
    before = [(name, p, p.data_ptr(), p.detach().clone()) for name, p in model.named_parameters()]
    forwards = [part.forward for part in model.modules()]
    with pytest.raises(KeyboardInterrupt), fast_kernels(model, low):
        frozen = [p for name, p in model.named_parameters() if "base_layer.weight" in name]
        head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
        assert {p.dtype for p in [*frozen, head]} == {torch.bfloat16 if low else torch.float32}
        assert {p.dtype for p in [embedding, *lm.model.parameters()]} == {torch.float32}
        raise KeyboardInterrupt
    after = list(model.named_parameters())
    assert [name for name, _ in after] == [name for name, *_ in before]
    for (_, p), (_, same, place, value) in zip(after, before, strict=True):
        assert p is same and p.data_ptr() == place and torch.equal(p, value)
    assert [part.forward for part in model.modules()] == forwards
    assert model.config._attn_implementation == lm.model.config._attn_implementation == "sdpa"


@pytest.mark.filterwarnings("ignore:`is_gradient", "ignore:`lora_bias")
@pytest.mark.parametrize("more", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}], ids=str)
def test_adapters_of_other_kinds_are_left_to_peft(more):
    model = adapted("llama", **more)
    forwards = [part.forward for part in model.modules()]
    with fast_kernels(model, low=False):
        assert [part.forward for part in model.modules()] == forwards


def test_adapters_can_be_switched_off_meanwhile():
    model, bare = adapted("llama"), tiny_lm("llama").model
    with torch.no_grad(), fast_kernels(model, low=False):
        assert not torch.allclose(losses(model, drawn(6)), losses(bare, drawn(6)), rtol=1e-3)
        for part in model.modules():
            if isinstance(part, peft.tuners.lora.Linear):
                part.enable_adapters(False)
        assert torch.allclose(losses(model, drawn(6)), losses(bare, drawn(6)), atol=1e-4, rtol=1e-5)
