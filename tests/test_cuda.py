"""On a graphics card, everything gives what it gives on the CPU. (Skipped on machines without one.)"""

from dataclasses import replace

import pytest
import torch

from adaptlab.engine import machine
from adaptlab.engine.adapters import Lora, prepare_for_training
from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.models import load
from adaptlab.engine.scoring import Request, score
from adaptlab.engine.training import train
from conftest import ARCHITECTURES, tiny_lm
from test_sampling import PROMPTS
from test_training import LONG, PLAN, apart, drawn, weights

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
CARD = "cuda"
QUESTIONS = [Request(f"the house {word}:", (" yes", " no", " the red river")) for word in "red blue late".split() * 3]


def both(architecture: str):
    """The same model on the CPU and on the card."""
    other = tiny_lm(architecture)
    other.model.to(CARD)
    return tiny_lm(architecture), other


@pytest.mark.parametrize("plan", ["trie", "plain"])
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_scores_are_those_of_the_cpu(architecture, plan):
    here, there = (
        [o.logprob for row in score(lm, QUESTIONS, plan=plan).options for o in row] for lm in both(architecture)
    )
    assert there == pytest.approx(here, abs=1e-3)


@pytest.mark.parametrize("plan", ["trie", "plain"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_texts_are_those_of_the_cpu(architecture, temperature, plan):
    how = Decoding(temperature=temperature, max_new_tokens=8, stop=())
    here, there = (generate(lm, PROMPTS * 3, how, plan=plan).completions for lm in both(architecture))
    assert there == here
    assert [one.logprob for one in there] == pytest.approx([one.logprob for one in here], abs=1e-2)


def test_training_takes_the_steps_of_the_cpu():
    runs = [(lm.model, train(lm.model, drawn(12), PLAN).log) for lm in both("llama")]
    (here, mine), (there, others) = runs
    assert [line["loss"] for line in others] == pytest.approx([line["loss"] for line in mine], rel=1e-3)
    assert apart(weights(here), weights(there.cpu())) < 1e-3


def test_adapters_learn_in_bfloat16():
    _, there = both("llama")
    copy = prepare_for_training(there, Lora(rank=4, alpha=8), seed=0)
    log = train(copy.model, drawn(8), replace(LONG, bf16=True)).log
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    assert next(copy.model.parameters()).is_cuda


def test_a_run_on_the_card_goes_on_where_it_was(tmp_path, monkeypatch):
    whole, killed = both("llama")[1].model, both("llama")[1].model
    train(whole, drawn(12), PLAN)
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", _kill_after(4))
        with pytest.raises(KeyboardInterrupt):
            train(killed, drawn(12), PLAN, folder=tmp_path / "run", save_every=2)
    again = both("llama")[1].model
    train(again, drawn(12), PLAN, folder=tmp_path / "run", save_every=2)
    assert apart(weights(whole), weights(again)) < 1e-5


def _kill_after(steps: int):
    step, taken = torch.optim.AdamW.step, []

    def taking(self, *given):
        if len(taken) == steps:
            raise KeyboardInterrupt
        taken.append(step(self, *given))

    return taking


def test_batches_are_as_large_as_free_memory_allows():
    device = torch.device(CARD)
    before = machine.room(device)
    held = torch.empty(before // 2, dtype=torch.uint8, device=device)
    assert before - machine.room(device) == pytest.approx(len(held) / 2, rel=0.1)


def test_a_model_is_loaded_onto_the_card_in_bfloat16_unless_another_place_is_named():
    here, there = load("study", device="cpu"), load("study")
    assert there.device.type == "cuda" and there.dtype == torch.bfloat16
    mine, others = ([o.logprob for row in score(lm, QUESTIONS).options for o in row] for lm in (here, there))
    assert others == pytest.approx(mine, rel=0.05)
