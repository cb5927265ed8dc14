"""Tuned models answer as prompted ones do, cost what they cost, and leave the model they were made from alone."""

from functools import cache

import pytest
import torch

import adaptlab as al
from adaptlab.engine import adapters
from adaptlab.engine.lm import LM
from adaptlab.evidence.evaluate import evaluate
from adaptlab.studies.fine_tuning import distance, sample_conversations

QUICK = al.FinetuneConfig(al.Full(), al.TrainingConfig(epochs=8, lr=0.0005))
DATA = al.load_open("requests", seed=11, pool=40, test=12)


@cache
def study() -> LM:
    return al.load("study", device="cpu")


def examples(n: int):
    return al.build_examples(study(), DATA.pool[:n])


@cache
def tuned():
    return al.tune(study(), examples(4), QUICK)


def test_a_tuned_model_answers_plainly_what_it_was_tuned_to_answer_plainly():
    """The study model puts half of its answers into some frame; four plain ones are enough to end that."""
    before, after = (evaluate(g, DATA.test)[0] for g in (al.Generator(study()), tuned().generator()))
    plain = [(frame.output.str.strip() == frame.gold).mean() for frame in (before, after)]
    assert plain[1] > plain[0] + 0.25
    assert (after.method == "tuned").all() and (after.shots == 4).all() and (after.model == "study").all()
    assert after.trained.sum() == pytest.approx(8 * sum(map(len, examples(4)))) and before.trained.sum() == 0
    assert after.seconds.sum() > tuned().trained.seconds


@pytest.mark.parametrize("trainable", [al.Full(), al.Full(1), al.Lora(2, 4), al.Lora(2, 4, 1)], ids=str)
def test_the_model_stays_as_it_was(trainable):
    before = {name: p.detach().clone() for name, p in study().model.named_parameters()}
    found = al.tune(study(), examples(2), al.FinetuneConfig(trainable, al.TrainingConfig(epochs=1, lr=0.01)))
    for name, parameter in study().model.named_parameters():
        assert torch.equal(parameter, before[name]), name
    assert found.lm.digest != study().digest, "a prefix kept for one of them must not serve the other"


def test_one_seed_is_one_model_and_another_is_another():
    config = al.FinetuneConfig(al.Lora(2, 4), al.TrainingConfig(epochs=1))
    runs = [al.tune(study(), examples(6), config.seeded(seed)) for seed in (3, 3, 4)]
    answers = [run.generator(generates=False).answer(DATA.test[:3]).gold for run in runs]
    assert answers[0] == answers[1] != answers[2]
    assert len({run.lm.digest for run in runs}) == 2
    assert config.changed(steps=7).training.steps == 7 and config.training.steps == 0


def test_adapters_named_as_a_model_give_the_answers_of_the_tuned_model(tmp_path):
    config = al.FinetuneConfig(al.Lora(4, 8), al.TrainingConfig(epochs=2, lr=0.003))
    found = al.tune(study(), examples(4), config)
    adapters.save(found.lm, tmp_path / "mine", {"examples": found.n})
    again = al.load(str(tmp_path / "mine"))
    assert again.name == str(tmp_path / "mine") and again.digest != study().digest
    kept, loaded = (g.answer(DATA.test[:4]).gold for g in (found.generator(), al.Generator(again)))
    assert [one.logprob for one in loaded] == pytest.approx([one.logprob for one in kept], abs=1e-4)


def test_shown_and_trained_meet_the_same_items_and_samples_and_claims_compare_them():
    def train(shots, seed):
        return al.tune(study(), al.build_examples(study(), DATA.sample(shots, seed)), QUICK.seeded(seed)).generator()

    shown = al.grid(lambda shots, seed: al.shown(study(), DATA.sample(shots, seed)), DATA.items(8), shots=[4], seed=[0])
    trained = al.grid(train, DATA.items(8), shots=[4], seed=[0])
    assert list(shown["item"]) == list(trained["item"]) and set(trained.method) == {"tuned"}
    assert trained.trained.sum() > 0 == shown.trained.sum()


def test_distance_is_zero_for_a_model_that_learned_nothing():
    bare = al.Generator(study())
    nothing = al.tune(study(), examples(2), al.FinetuneConfig(al.Lora(1, 2), al.TrainingConfig(epochs=1, lr=1e-12)))
    kl = [distance(g, bare, DATA.test[:4]) for g in (nothing.generator(), al.shown(study(), DATA.pool[:2]))]
    assert kl[0].kl.mean() == pytest.approx(0, abs=1e-5) and kl[1].kl.mean() > 0.001
    assert list(kl[0]["item"].sort_values()) == sorted(item.id for item in DATA.test[:4])
    assert list(kl[0].method.unique()) == ["tuned"] and set(kl[1].shots) == {2}


def test_conversations_of_two_splits_share_no_word():
    train, test = (sample_conversations("study", split, 10, 0) for split in ("train", "test"))
    words = [{w for talk in talks for w in talk.references[0].split()} for talks in (train, test)]
    assert not words[0] & words[1]
    assert all(len(talk.messages) == 4 for talk in train)
    frame = al.evaluate_turns(al.shown(study(), train[:2]), test[:4])
    assert frame.groupby("turn").size().to_dict() == {1: 4, 2: 4}
