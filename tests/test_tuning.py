"""Tuned models answer as writers do, cost what they cost, and leave the model they were made from alone."""

from functools import cache

import pandas as pd
import pytest
import torch

from adaptlab.engine import adapters
from adaptlab.engine.adapters import Full, Lora
from adaptlab.engine.lm import LM
from adaptlab.engine.models import load
from adaptlab.engine.training import TrainingConfig
from adaptlab.evidence.claims import claim
from adaptlab.evidence.evaluate import evaluate
from adaptlab.methods.tuning import FinetuneConfig, build_examples, tune
from adaptlab.methods.writing import Generator, draw_records
from adaptlab.studies import fine_tuning
from adaptlab.tasks.sets import load_open

QUICK = FinetuneConfig(Full(), TrainingConfig(epochs=8, lr=0.0005))
DATA = load_open("requests", seed=11, pool=40, test=12)


@cache
def study() -> LM:
    return load("study", device="cpu")


def test_a_tuned_model_answers_plainly_what_it_was_tuned_to_answer_plainly():
    """The study model puts half of its answers into some frame; four plain ones are enough to end that."""
    tuned = tune(study(), build_examples(study(), DATA.pool[:4]), QUICK)
    before, after = (evaluate(w, DATA.test, study="t", seed=0)[0] for w in (Generator(study()), tuned.writer()))
    plain = [(frame.output.str.strip() == frame.gold).mean() for frame in (before, after)]
    assert plain[1] > plain[0] + 0.25
    assert (after.method == "tuned").all() and (after.shots == 4).all() and (after.model == "study").all()
    assert after.trained.sum() == pytest.approx(8 * sum(map(len, build_examples(study(), DATA.pool[:4]))))
    assert after.seconds.sum() > tuned.trained.seconds


@pytest.mark.parametrize("trainable", [Full(), Full(1), Lora(2, 4), Lora(2, 4, 1)])
def test_the_model_stays_as_it_was(trainable):
    before = {name: p.detach().clone() for name, p in study().model.named_parameters()}
    tuned = tune(
        study(), build_examples(study(), DATA.pool[:2]), FinetuneConfig(trainable, TrainingConfig(epochs=1, lr=0.01))
    )
    for name, parameter in study().model.named_parameters():
        assert torch.equal(parameter, before[name]), name
    assert tuned.lm.digest != study().digest, "a prefix kept for one of them must not serve the other"


def test_one_seed_is_one_model_and_another_is_another():
    examples = build_examples(study(), DATA.pool[:6])
    runs = [
        tune(study(), examples, FinetuneConfig(Lora(2, 4), TrainingConfig(epochs=1)).seeded(seed)) for seed in (3, 3, 4)
    ]
    answers = [run.writer(writes=False).answer(DATA.test[:3]).gold for run in runs]
    assert answers[0] == answers[1] != answers[2]
    assert len({run.lm.digest for run in runs}) == 2


def test_adapters_named_as_a_model_give_the_answers_of_the_tuned_model(tmp_path):
    tuned = tune(
        study(), build_examples(study(), DATA.pool[:4]), FinetuneConfig(Lora(4, 8), TrainingConfig(epochs=2, lr=0.003))
    )
    adapters.save(tuned.lm, tmp_path / "mine", {"examples": tuned.n})
    again = load(str(tmp_path / "mine"))
    assert again.name == str(tmp_path / "mine") and again.digest != study().digest
    for kept, loaded in zip(
        tuned.writer().answer(DATA.test[:4]).gold, Generator(again).answer(DATA.test[:4]).gold, strict=True
    ):
        assert loaded.logprob == pytest.approx(kept.logprob, abs=1e-4)


@pytest.fixture(scope="module")
def number() -> pd.DataFrame:
    return fine_tuning.by_number(study(), DATA, 8, [0, 4, 16], [4], QUICK, [0, 1])


def test_showing_and_training_meet_the_same_items_and_draws(number):
    assert number.groupby(["method", "shots"]).size().to_dict() == {
        ("in-context", 0): 16,
        ("in-context", 4): 16,
        ("in-context", 16): 16,
        ("tuned", 4): 16,
    }
    assert number.groupby("method").item.agg(lambda items: tuple(sorted(set(items)))).nunique() == 1
    page = fine_tuning.shown(study(), draw_records(DATA.pool, 4, 0), "question").shown
    for record in draw_records(DATA.pool, 4, 0):
        assert f"{record.instruction}\nAnswer: {record.output}\n\n" in page
    assert claim("FT-FEW", number).interval.n_seeds == 2


def test_a_trained_token_counts_three_times(number):
    sums = number.groupby("method")[["prefilled", "scored", "decoded", "trained", "computed"]].sum()
    for row in sums.itertuples():
        assert row.computed == pytest.approx(row.prefilled + row.scored + row.decoded + 3 * row.trained)
    assert sums.trained["tuned"] > 0 == sums.trained["in-context"]


def test_distances_are_zero_for_a_model_that_learned_nothing():
    nothing = FinetuneConfig(Lora(1, 2), TrainingConfig(epochs=1, lr=1e-12))
    far = fine_tuning.distances(study(), DATA, 4, 2, nothing, [0])
    kl = far.groupby("method").kl.mean()
    assert kl["tuned"] == pytest.approx(0, abs=1e-5) and kl["in-context"] > 0.001


def test_ways_to_train_are_told_apart_by_what_learns():
    ways = fine_tuning.by_how(study(), DATA, 4, 4, {Full(): 0.0003, Lora(1, 2): 0.003}, TrainingConfig(epochs=1), [0])
    facts = ways.groupby("how")[["learning", "state"]].first()
    assert facts.learning["full"] == study().model.num_parameters() > 100 * facts.learning["LoRA 1"]
    assert facts.state["full"] == pytest.approx(12 * facts.learning["full"] / 1e6)


def test_shifts_of_an_untouched_copy_are_none():
    tokens = fine_tuning.shifts({0: study(), 1: study()}, study(), DATA, 4)
    assert (tokens["rank"] == 1).all() and tokens.seed.nunique() == 2
    right = {item.id: item.output.split() for item in DATA.test}
    assert tokens["item"].nunique() == 4 and all(len(right[item]) >= 3 for item in tokens["item"])


def test_conversations_of_two_splits_share_no_word():
    train, test = (fine_tuning.conversations("study", split, 10, 0) for split in ("train", "test"))
    words = [{w for talk in talks for w in talk.references[0].split()} for talks in (train, test)]
    assert not words[0] & words[1]
    assert all(len(talk.messages) == 4 for talk in train)
    frame = fine_tuning.by_turn(study(), train, test[:4], [0, 2], [2], QUICK, [0])
    assert frame.groupby(["method", "shots", "turn"]).size().eq(4).all() and len(frame) == 24


@pytest.mark.parametrize("n", [0, 13])
def test_more_items_than_there_are_are_refused_by_name(n):
    with pytest.raises(ValueError, match=f"items must be between 1 and 12, .*; found {n}"):
        fine_tuning.distances(study(), DATA, n, 2, QUICK, [0])
