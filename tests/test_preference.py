"""Preferences: DPO by hand, what it does to a model, and TRL's own losses on the same batches."""

import math
import random

import pytest
import torch

from adaptlab.engine import loss_mask, preference
from adaptlab.engine.loss_mask import TrainingExample, tokenize_with_mask
from adaptlab.engine.preference import Dpo, Pair, referenced
from adaptlab.engine.training import TrainingConfig, train
from conftest import tiny_lm

ASKED = ["Reverse: one two three", "Which house? The red or the blue one", "message: my order is late", "a b c"]
CHOSEN = [" three two one", " the red", " delivery", " yes"]
REJECTED = [" one two", " the blue house by the river", " repair", " no"]


def prompts() -> list[str]:
    return [f"Question: {asked}\nAnswer:" for asked in ASKED]


def two(lm) -> list[tuple[TrainingExample, TrainingExample]]:
    """Both answers to every prompt, each ending with the end token."""
    answered = zip(prompts(), CHOSEN, REJECTED, strict=True)
    return [
        tuple(tokenize_with_mask(lm, [(prompt, False), (one, True)]) for one in answers)
        for prompt, *answers in answered
    ]


def log_p(model, text: TrainingExample) -> float:
    """Of the trained tokens, by a pass of transformers' own."""
    ids = torch.tensor([text.ids])
    with torch.no_grad():
        told = model(ids).logits[0].double().log_softmax(-1)
    return sum(float(told[place - 1, text.ids[place]]) for place in text.positions)


def margin(model, chosen: TrainingExample, rejected: TrainingExample) -> float:
    return log_p(model, chosen) - log_p(model, rejected)


@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_the_loss_is_the_formula(any_lm, beta):
    reference = tiny_lm(any_lm.name, seed=1).model
    pairs = referenced(reference, two(any_lm))
    found = Dpo(beta)(any_lm.model, pairs)
    for pair, loss in zip(pairs, found.tolist(), strict=True):
        before, now = (margin(model, pair.chosen, pair.rejected) for model in (reference, any_lm.model))
        assert pair.reference == pytest.approx(before, abs=1e-4)
        assert loss == pytest.approx(math.log1p(math.exp(-beta * (now - before))), abs=1e-4)


def test_references_are_the_same_in_any_passes_and_no_pass_is_too_long(llama, monkeypatch):
    texts, sizes = [text for pair in two(llama) for text in pair], []
    pairs = [tuple(random.Random(seed).sample(texts, 2)) for seed in range(30)]
    whole = referenced(llama.model, pairs)

    def noted(model, part, **more):
        sizes.append(sum(map(len, part)))
        return loss_mask.losses(model, part, **more)

    monkeypatch.setattr(preference, "losses", noted)
    longest = max(map(len, texts))
    for most in (1, longest + 20):
        sizes.clear()
        monkeypatch.setattr(preference, "PASS", most)
        again = referenced(llama.model, pairs)
        assert [pair.reference for pair in again] == pytest.approx([pair.reference for pair in whole], abs=1e-4)
        assert [(pair.chosen, pair.rejected) for pair in again] == pairs
        assert max(sizes) <= max(most, longest) and len(sizes) > 1
        assert sum(sizes) <= sum(map(len, set(texts))), "every text is read once"
    assert referenced(llama.model, []) == []


def test_training_takes_the_chosen_up_and_the_rejected_down():
    lm = tiny_lm("llama")
    pairs = referenced(lm.model, two(lm))
    before = [(log_p(lm.model, pair.chosen), log_p(lm.model, pair.rejected)) for pair in pairs]
    done = train(lm.model, pairs, TrainingConfig(epochs=4, batch=2, lr=3e-4), loss=Dpo())
    after = [(log_p(lm.model, pair.chosen), log_p(lm.model, pair.rejected)) for pair in pairs]
    up, down = zip(*((c - a, r - b) for (a, b), (c, r) in zip(before, after, strict=True)), strict=True)
    assert sum(up) > 0 > sum(down)
    assert all(one > other for one, other in zip(up, down, strict=True)), "the margin of every pair grows"
    assert done.log[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert done.tokens == 4 * sum(map(len, pairs))


@pytest.mark.parametrize("beta", [0, -0.1, math.nan])
def test_a_beta_that_makes_no_sense_is_refused(beta):
    with pytest.raises(ValueError, match="beta must be above 0"):
        Dpo(beta)


def test_two_of_the_same_are_refused(llama):
    text = two(llama)[0][0]
    with pytest.raises(ValueError, match="the same"):
        Pair(text, text, 0.0)
    with pytest.raises(ValueError, match="the same"):
        referenced(llama.model, [(text, text)])


# --- TRL itself ------------------------------------------------------------------------------------------------------


@pytest.fixture
def trl():
    pytest.importorskip("datasets", reason="the extra `data` is not installed")
    return pytest.importorskip("trl", minversion="1.16", reason="needs TRL: the extra `bench`")


def settings(folder) -> dict:
    """TRL's own, but for what would round (bfloat16) or reach beyond this process."""
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": len(ASKED),
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
    }


@pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing`:FutureWarning")  # TRL asks by an old name
@pytest.mark.parametrize(
    "how",
    [{}, {"padding_free": True, "max_length": None}, {"packing": True}, {"packing": True, "max_length": 64}],
    ids=["padded", "padding-free", "packed in one row", "packed in rows"],
)
def test_trl_has_the_same_loss_of_texts(trl, tmp_path, how):
    from datasets import Dataset

    lm = tiny_lm("llama")
    rows = [{"prompt": p, "completion": c} for p, c in zip(prompts(), CHOSEN, strict=True)]
    trainer = trl.SFTTrainer(
        lm.model,
        trl.SFTConfig(**settings(tmp_path) | how),
        train_dataset=Dataset.from_list(rows),
        processing_class=lm.tokenizer,
    )
    (batch,) = trainer.get_train_dataloader()
    assert len(batch["input_ids"]) == (1 if how else len(ASKED))
    theirs = trainer.compute_loss(trainer.model, batch).item()
    texts = [chosen for chosen, _ in two(lm)]
    ours = loss_mask.losses(tiny_lm("llama").model, texts).sum() / sum(text.weight for text in texts)
    assert ours.item() == pytest.approx(theirs, abs=1e-5)


@pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_trl_has_the_same_loss_of_pairs(trl, tmp_path, beta):
    from datasets import Dataset

    lm, reference = tiny_lm("llama"), tiny_lm("llama", seed=1)
    rows = zip(prompts(), CHOSEN, REJECTED, strict=True)
    trainer = trl.DPOTrainer(
        lm.model,
        reference.model,
        trl.DPOConfig(beta=beta, **settings(tmp_path)),
        train_dataset=Dataset.from_list([{"prompt": p, "chosen": c, "rejected": r} for p, c, r in rows]),
        processing_class=lm.tokenizer,
    )
    (batch,) = trainer.get_train_dataloader()
    theirs = trainer.compute_loss(trainer.model, batch).item()
    ours = Dpo(beta)(tiny_lm("llama").model, referenced(tiny_lm("llama", seed=1).model, two(lm))).mean()
    assert ours.item() == pytest.approx(theirs, abs=1e-5)
