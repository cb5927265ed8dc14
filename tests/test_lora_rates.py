"""Notebook A3's facts, and how the best learning rate of a way to train is found."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import adaptlab as al
from adaptlab import paths
from adaptlab.runner import study
from adaptlab.studies import lora_rates
from adaptlab.tasks.words import nouns

LRS = [2.0**place for place in range(-9, 0)]


def swept(peaks: dict[str, float], seeds=(0, 1), facts=(4, 8)) -> pd.DataFrame:
    """A frame in which what is learned is a parabola with its top at a known log2 of the rate, a little to the right of
    it for each further seed."""
    rows = [
        (how, lr, n, seed, f"fact {i + 1}", i < min(facts), -((np.log2(lr) - peak - 0.25 * seed) ** 2) - 0.01 * i)
        for how, peak in peaks.items()
        for lr in LRS
        for n in facts
        for seed in seeds
        for i in range(n)
    ]
    names = ["how", "lr", "facts", "seed", "item", "shared", "token_logprob"]
    return pd.DataFrame(rows, columns=names).assign(model="m")


def test_facts_are_nested_and_can_all_be_learned():
    many = lora_rates.sample_facts(150, seed=3)
    assert many[:20] == lora_rates.sample_facts(20, seed=3) != lora_rates.sample_facts(20, seed=4)
    assert len({fact.a for fact in many}) == 150 and {fact.b for fact in many} <= {*nouns("test")}


def test_only_the_last_noun_is_trained_and_recall_is_its_probability():
    lm = al.load("study-s")
    facts = lora_rates.sample_facts(5, seed=0)
    examples = lora_rates.fact_examples(lm, facts)
    assert [lm.tokenizer.decode(one.targets) for one in examples] == [f" {fact.b}" for fact in facts]
    found = lora_rates.recall(lm, examples, shared=2)
    assert found.shared.tolist() == [True, True, False, False, False] and found["item"].is_unique
    for one, value in zip(examples, found.token_logprob, strict=True):
        with torch.no_grad():
            logprobs = lm.model(torch.tensor([one.ids])).logits[0, :-1].float().log_softmax(-1)
        naive = logprobs.gather(1, torch.tensor(one.ids)[1:, None])[-one.weight :].mean()
        assert value == pytest.approx(naive.item(), abs=1e-4)


def test_the_top_of_a_parabola_is_found_between_the_rates_and_in_any_order():
    lrs = [0.5, 0.001, 0.016, 0.004, 0.064]
    values = [-((np.log2(lr) + 6.7) ** 2) for lr in lrs]
    assert lora_rates.top(lrs, values) == (pytest.approx(-6.7), True)


@pytest.mark.parametrize("values, best", [([3, 2, 1], -3), ([1, 2, 3], -1)])
def test_a_best_rate_at_an_end_is_said_to_be_no_top(values, best):
    assert lora_rates.top([0.125, 0.25, 0.5], values) == (best, False)


def test_best_rates_and_ratios_are_those_that_were_put_in():
    frame = swept({"full": -6.5, "LoRA 16": -3.5, "untrained": -5})
    table = lora_rates.best_rates(frame)
    assert set(table.how) == {"full", "LoRA 16", "ten times full"} and table.inside.all()
    means = table.groupby("how").log2_lr.mean()
    assert means["full"] == pytest.approx(-6.375) and means["ten times full"] - means["full"] == pytest.approx(
        np.log2(10)
    )
    found = lora_rates.ratios(table)
    assert found.facts.tolist() == [4, 8] and found.ratio.tolist() == pytest.approx([8, 8])


def test_the_interval_of_a_ratio_is_a_t_interval_over_seeds():
    frame = swept({"full": -6.5, "LoRA 16": -3.5}, seeds=(0, 1, 2))
    frame.loc[frame.how == "full", "token_logprob"] = -((np.log2(frame.lr) + 6.5) ** 2)  # full tuning: alike in all
    found = lora_rates.ratios(lora_rates.best_rates(frame)).iloc[0]
    low, high = stats.t.interval(0.95, 2, loc=3.25, scale=0.25 / np.sqrt(3))
    assert (found.low, found.high) == (pytest.approx(2**low), pytest.approx(2**high))
    alone = lora_rates.ratios(lora_rates.best_rates(frame[frame.seed == 0]))
    assert alone.ratio.tolist() == pytest.approx([8, 8]) and alone.low.isna().all()


def test_ways_are_compared_at_the_one_best_rate_of_each():
    found = lora_rates.at_best(swept({"full": -6.1, "LoRA 16": -3.1}))
    assert found.groupby("how").lr.unique().map(list).to_dict() == {"full": [2.0**-6], "LoRA 16": [2.0**-3]}
    assert len(found) == 2 * 2 * (4 + 8)


def test_the_sweep_beside_the_notebooks_can_be_read():
    plan = study.read(paths.NOTEBOOKS / "sweeps" / "lora_rates.yaml")
    assert len(plan.jobs) == 8 and {job.source.stem for job in plan.jobs} == {"A3_lora_rates"}
