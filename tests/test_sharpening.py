"""Choosing among samples: against brute force, exact laws, and the model itself; and what is trained on the choice."""

import itertools
import math
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from adaptlab.engine import plain
from adaptlab.engine.adapters import Full, Lora
from adaptlab.engine.generation import Completion, Decoding, generate
from adaptlab.engine.preference import Pair, Sampled, SquareLoss, logprobs, policy_gradient
from adaptlab.engine.scoring import Cost
from adaptlab.engine.training import TrainingConfig
from adaptlab.methods import self_training, sharpening
from adaptlab.methods.self_training import OnPolicy
from adaptlab.methods.sharpening import Pool, best_of, majority_of
from adaptlab.methods.tuning import FinetuneConfig, tune
from conftest import tiny_lm

REWARDS = st.lists(st.sampled_from([-3.0, -2.0, -1.0, -math.inf]), min_size=1, max_size=7)


def subsets(n: int, row) -> list[tuple[int, ...]]:
    return list(itertools.combinations(range(len(row)), n))


@given(REWARDS, st.randoms())
def test_best_of_n_is_the_mean_over_all_subsets(rewards, rng):
    """Of equals, each is the winner as often."""
    values = [rng.random() for _ in rewards]
    ns = range(1, len(rewards) + 1)
    found = best_of(np.array([rewards]), np.array([values]), ns)[0]
    for n, mean in zip(ns, found, strict=True):
        expected = []
        for chosen in subsets(n, rewards):
            top = max(rewards[i] for i in chosen)
            expected.append(np.mean([values[i] for i in chosen if rewards[i] == top]))
        assert mean == pytest.approx(np.mean(expected), abs=1e-10)


@given(st.lists(st.sampled_from(["right", "a", "b", None]), min_size=1, max_size=7))
def test_the_majority_of_n_is_the_mean_over_all_subsets(answers):
    ns = range(1, len(answers) + 1)
    row = np.empty((1, len(answers)), dtype=object)
    row[0] = answers
    for n, share in zip(ns, majority_of(row, ["right"], ns)[0], strict=True):
        expected = []
        for chosen in subsets(n, answers):
            counts = Counter(answers[i] for i in chosen if answers[i] is not None)
            tops = [answer for answer, count in counts.items() if count == max(counts.values())]
            expected.append(("right" in tops) / max(1, len(tops)))
        assert share == pytest.approx(np.mean(expected), abs=1e-10)


def test_more_samples_than_the_pool_has_are_refused():
    with pytest.raises(ValueError, match="best of 4 needs 1 to 3 samples"):
        best_of(np.zeros((2, 3)), np.zeros((2, 3)), [1, 4])


def test_coverage_is_the_unbiased_pass_at_k():
    right = np.array([[True, False, False, True, False, False]])
    for n, found in zip((1, 2, 3, 5), best_of(right, right, (1, 2, 3, 5))[0], strict=True):
        assert found == pytest.approx(1 - math.comb(4, n) / math.comb(6, n), abs=1e-12)


def test_the_law_of_best_of_n_with_ties():
    """P(winner in a level) = F(level)^N - F(below)^N, shared in proportion to p (Huang et al., with ties corrected):
    the estimator on pools from p has this mean."""
    p, reward, n = np.array([0.2, 0.2, 0.2, 0.1, 0.3]), np.array([0.2, 0.2, 0.2, 0.1, 0.3]), 4
    law = np.zeros(5)
    for level in set(reward):
        at, upto, below = reward == level, p[reward <= level].sum(), p[reward < level].sum()
        law[at] = (upto**n - below**n) * p[at] / p[at].sum()
    assert law.sum() == pytest.approx(1, abs=1e-12) and law[4] == pytest.approx(1 - 0.7**n, abs=1e-12)
    drawn = np.random.default_rng(0).choice(5, size=(4000, 8), p=p)
    for answer in range(5):
        found = best_of(reward[drawn], drawn == answer, [n])[:, 0]
        assert abs(found.mean() - law[answer]) < 4 * found.std() / math.sqrt(len(found))


def test_how_many_samples_are_enough():
    """Best of ceil(ln rho / ln(1 - p*)) hits y* with probability 1 - rho; the bound ln(1/rho) / p* is always enough,
    and is tight for a small p* (proposition C.1)."""
    for p, rho in itertools.product((0.5, 0.1, 0.01), (0.1, 0.01)):
        n = math.ceil(math.log(rho) / math.log(1 - p))
        assert (1 - p) ** n <= rho < (1 - p) ** (n - 1)
        assert n <= math.ceil(-math.log(rho) / p)
    assert math.ceil(math.log(0.01) / math.log(0.99)) / (-math.log(0.01) / 0.01) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("p, mean", [(0.9, 5), (0.3, 13), (0.06, 62)])
def test_adaptive_best_of_n_needs_not_know_p(p, mean):
    """It cannot stop before ln(2 / delta) / p*, and then it has nearly always seen y*."""
    rng, delta = np.random.default_rng(1), 0.05
    hit = rng.random((4000, 300)) < p
    logprob = np.log(np.where(hit, p, p / 40))
    stops = sharpening.stop_when_sure(logprob, delta)
    assert stops.min() >= math.log(2 / delta) / p - 1e-9
    assert stops.mean() == pytest.approx(mean, rel=0.06)
    assert np.mean([hit[i, :k].any() for i, k in enumerate(stops)]) >= 1 - delta


# --- p^alpha ----------------------------------------------------------------------------------------------------------

# Karan & Du 2025: a first token a leads nowhere good often, but once very good; b is good on average.
TOY = {"aa": 0.0, "ab": 0.40, "ba": 0.25, "bb": 0.25}


def test_powers_of_whole_texts_are_not_powers_of_tokens():
    p = np.array([*TOY.values(), 0.10])  # the rest, spread over other texts of which none is as probable
    powered = p**4 / (p**4).sum()
    assert powered[1] > 0.75
    first = np.array([0.40, 0.50, 0.10])
    cold = first**4 / (first**4).sum()
    assert cold[0] < cold[1], "token by token, b is chosen, though ab is the most probable text"


def test_importance_weights_are_exact_where_the_pool_is_the_support():
    """A pool that holds every text in proportion to p gives the mean under p^alpha to rounding."""
    p = np.array([1, 2, 3, 4]) / 10
    texts = np.repeat(np.arange(4), [1, 2, 3, 4])
    for alpha in (1.0, 2.0, 4.0):
        expected = p**alpha / (p**alpha).sum()
        for text in range(4):
            mean, _ = sharpening.powered(np.log(p[texts])[None], (texts == text)[None], alpha)
            assert mean[0] == pytest.approx(expected[text], abs=1e-10)
    assert sharpening.powered(np.log(p[texts])[None], (texts == 0)[None], 1.0)[1] == pytest.approx(10)


def test_the_optimum_of_reward_and_kl_is_a_power():
    """The residual of the square loss is 0 at p^(1 + 1/beta)."""
    p = np.random.default_rng(2).dirichlet(np.ones(12))
    for beta in (0.1, 0.5, 1.0, 2.0):
        best = p ** (1 + 1 / beta)
        moved = beta * (np.log(best / best.sum()) - np.log(p))
        residual = (moved[:, None] - moved) - (np.log(p)[:, None] - np.log(p))
        assert np.abs(residual).max() < 1e-10


def test_a_metropolis_chain_on_the_pool_goes_to_the_power():
    p, alpha = np.array([0.1, 0.2, 0.3, 0.4]), 4.0
    drawn = np.random.default_rng(3).choice(4, size=(3000, 60), p=p)
    expected = p**alpha / (p**alpha).sum()
    for text in range(4):
        found = sharpening.metropolis(np.log(p)[drawn], drawn == text, alpha)
        assert abs(found[:, 0].mean() - p[text]) < 0.04
        assert abs(found[:, -1].mean() - expected[text]) < 0.02


def peaked(name: str = "llama", by: float = 10.0):
    """A tiny model whose distributions are far from flat."""
    lm = tiny_lm(name)
    with torch.no_grad():
        lm.model.get_output_embeddings().weight.mul_(by)
    return lm


def test_resampling_on_the_model_goes_to_the_power():
    """Blocks of one token, texts of two: every text can be enumerated. A chi-square test on the frequent ones."""
    lm, alpha, n, prompt = peaked(by=6.0), 2.0, 2000, "the red"
    ids = lm.encode(prompt)
    first = plain.distributions(lm, [*ids, 0], len(ids))[0]
    ends, exact = set(plain.ends(lm)), {}
    for token in first.topk(40).indices.tolist():
        if token in ends:
            exact[(token,)] = float(first[token])
            continue
        second = plain.distributions(lm, [*ids, token, 0], len(ids) + 1)[0]
        exact |= {(token, other): float(first[token] + p) for other, p in enumerate(second.tolist())}
    weights = {text: math.exp(alpha * logprob) for text, logprob in exact.items()}
    total = sum(weights.values())
    how = Decoding(temperature=1.0, max_new_tokens=2, stop=())
    found, decoded = sharpening.power_sample(lm, [prompt] * n, alpha, steps=12, block=1, decoding=how, seed=4)
    assert decoded > n
    often = {text: n * w / total for text, w in weights.items() if n * w / total >= 8}
    drawn = Counter(one.tokens for one in found)
    observed = [drawn[text] for text in often]
    plainly = Counter(one.tokens for one in generate(lm, [prompt] * n, how, seed=4).completions)
    rest = n - sum(often.values())
    assert len(often) >= 4
    assert chisquare([*observed, n - sum(observed)], [*often.values(), rest]).pvalue > 1e-4
    before = [plainly[text] for text in often]
    assert chisquare([*before, n - sum(before)], [*often.values(), rest]).pvalue < 1e-6, "p itself is not p^alpha"
    for one in found[:20]:
        expected = plain.distributions(lm, [*ids, *one.tokens], len(ids))
        assert one.logprob == pytest.approx(
            sum(float(row[t]) for row, t in zip(expected, one.tokens, strict=True)), abs=1e-3
        )


def test_power_sampling_proposes_from_p():
    with pytest.raises(ValueError, match="must be 1"):
        sharpening.power_sample(tiny_lm("llama"), ["a"], 2.0, decoding=Decoding(temperature=0.5))
    with pytest.raises(ValueError, match="steps and block"):
        sharpening.power_sample(tiny_lm("llama"), ["a"], 2.0, block=0)


# --- pruning ----------------------------------------------------------------------------------------------------------


def invented(rng: random.Random) -> list[Completion]:
    return [
        Completion(
            "",
            rng.random() < 0.9,
            tuple(range(length)),
            tuple(-rng.choice([0.1, 0.5, 1.0, 3.0]) * rng.random() for _ in range(length)),
        )
        for length in (rng.randint(1, 12) for _ in range(rng.randint(1, 8)))
    ]


def test_pruning_never_changes_the_winner():
    """10,000 random pools: the winner is that of the full pool, and no more tokens are decoded than there are."""
    rng, saved = random.Random(5), []
    for _ in range(10_000):
        row = invented(rng)
        finished = [one for one in row if one.stopped]
        if not finished:
            with pytest.raises(ValueError, match="no sample is finished"):
                sharpening.prune(row)
            continue
        winner, together, alone = sharpening.prune(row)
        assert row[winner].logprob == pytest.approx(max(one.logprob for one in finished), abs=1e-12)
        total = sum(len(one.tokens) for one in row)
        assert max(together, alone) <= total
        saved.append(1 - together / total)
    assert 0.05 < np.mean(saved) < 0.9


def test_what_pruning_has_seen_is_enough_to_know_the_winner():
    """One by one: from the tokens that were decoded alone, the winner follows."""
    rng = random.Random(6)
    for _ in range(300):
        row = [replace(one, stopped=True) for one in invented(rng)]
        best, place, decoded = -math.inf, -1, 0
        for i, one in enumerate(row):
            total = 0.0
            for step in one.logprobs:
                total, decoded = total + step, decoded + 1
                if total < best:
                    break
            else:
                best, place = max((best, place), (total, i), key=lambda pair: pair[0])
        assert sharpening.prune(row)[::2] == (place, decoded)


# --- pools and training -----------------------------------------------------------------------------------------------

PROMPTS = ["the red house", "a blue", "message: my order"]
HOW = Decoding(temperature=1.0, max_new_tokens=6, stop=("e", "a"))


@pytest.fixture(scope="module")
def pool() -> Pool:
    return sharpening.sample(tiny_lm("llama"), PROMPTS, 5, decoding=HOW, seed=1)


def test_a_pool_knows_its_samples(pool):
    lm = tiny_lm("llama")
    assert pool.logprob.shape == pool.tokens.shape == (3, 5)
    cut_off = np.array([[not one.stopped for one in row] for row in pool.samples])
    assert cut_off.any() and np.isinf(pool.logprob[cut_off]).all() and np.isfinite(pool.logprob[~cut_off]).all()
    again = self_training.rescored(lm, pool)
    assert np.allclose(again[~cut_off], pool.logprob[~cut_off], atol=1e-4)
    fewer = sharpening.sample(lm, PROMPTS, 2, decoding=HOW, seed=1)
    assert fewer.samples == [row[:2] for row in pool.samples]


def test_votes_are_shares_of_the_pool():
    row = np.array([["a", "a", "b", None]], dtype=object)
    assert sharpening.votes(row).tolist() == [[0.5, 0.5, 0.25, 0.0]]


def test_the_own_verdict_is_a_difference_of_log_probabilities(pool):
    lm, ask = tiny_lm("llama"), "Q: {question} A: {answer} Right?"
    found = sharpening.own_verdict(lm, pool, PROMPTS, ask)
    text = pool.samples[1][2].text.strip()
    ids = lm.encode(f"Q: {PROMPTS[1]} A: {text} Right?")
    yes, no = (
        logprobs(lm.model, [tokens_behind(ids, lm.encode(f"Q: {PROMPTS[1]} A: {text} Right?{word}"))])[0]
        for word in (" yes", " no")
    )
    assert found.shape == (3, 5) and found[1, 2] == pytest.approx(yes - no, abs=1e-4)


def tokens_behind(ids, whole):
    from adaptlab.engine.loss_mask import TrainingExample

    return TrainingExample(tuple(whole), tuple(place >= len(ids) for place in range(len(whole))))


def test_the_winner_is_trained_on_the_very_tokens_that_were_sampled(pool):
    finished = np.flatnonzero(np.isfinite(pool.logprob).any(1))
    found = self_training.winners(pool, pool.logprob)
    assert len(found) == len(finished) > 0
    for i, example in zip(finished, found, strict=True):
        best = pool.samples[i][int(pool.logprob[i].argmax())]
        assert tuple(example.targets) == best.tokens and example.ids[: -len(best.tokens)] == tuple(pool.prompts[i])


def test_pairs_have_a_gap_and_a_reference_without_a_pass(pool):
    lm = tiny_lm("llama")
    for kind in ("best", "random"):
        for pair in self_training.pairs(pool, sharpening.normalised(pool), kind):
            one, two = logprobs(lm.model, [pair.chosen, pair.rejected])
            assert pair.reference == pytest.approx(one - two, abs=1e-4)
            assert pair.gap > 0
    same = Pool(pool.prompts, [[row[0]] * 5 for row in pool.samples], Cost())
    assert self_training.pairs(same, same.logprob) == []
    with pytest.raises(ValueError, match="best or random"):
        self_training.pairs(pool, pool.logprob, "worst")


def test_the_square_loss_is_the_formula(pool):
    reference, model = tiny_lm("llama"), tiny_lm("llama", seed=1).model
    made = self_training.pairs(pool, pool.logprob)
    found = SquareLoss(0.5)(model, made)
    for pair, loss in zip(made, found.tolist(), strict=True):
        (one, two), (before, after) = (logprobs(m, [pair.chosen, pair.rejected]) for m in (model, reference.model))
        expected = (0.5 * ((one - before) - (two - after)) - pair.gap) ** 2
        assert loss == pytest.approx(expected, rel=1e-3)
    assert isinstance(made[0], Pair)


def test_the_policy_gradient_is_that_of_the_expected_reward():
    """One token, every answer enumerated: the mean over all samples, weighted by p, is the exact gradient."""
    lm = peaked(by=4.0)
    ids, reward = lm.encode("the red"), torch.linspace(-1, 1, lm.vocabulary)
    lm.model.requires_grad_(True)
    p = plain.logits(lm.model, ids)[-1].softmax(-1)
    head = lm.model.base_model.layers[0].mlp.up_proj.weight
    (exact,) = torch.autograd.grad((p * reward).sum(), head)
    texts = [tokens_behind(ids, [*ids, token]) for token in range(lm.vocabulary)]
    weights = (p * reward).detach().tolist()
    loss = policy_gradient(lm.model, [Sampled(text, w) for text, w in zip(texts, weights, strict=True)]).sum()
    (found,) = torch.autograd.grad(loss, head)
    assert torch.allclose(found, -exact, atol=1e-5 * float(exact.abs().max()) + 1e-7)


def short(pool: Pool, which, reference) -> np.ndarray:
    return -pool.tokens.astype(float)


@pytest.mark.parametrize("trainable", [Full(), Lora(4, 8)], ids=str)
def test_training_on_fresh_samples_raises_what_is_rewarded(trainable):
    """Rewarded for short answers, the model comes to give them; the reference stays as it was."""
    lm, how = tiny_lm("llama"), Decoding(temperature=1.0, max_new_tokens=12, stop=("e", "a", "o"))
    before = logprobs(lm.model, [tokens_behind([5], [5, 6, 7])])
    policy = OnPolicy(lm, PROMPTS, short, beta=0.0, batch=3, samples=16, decoding=how)
    config = FinetuneConfig(trainable, TrainingConfig(steps=25, lr=2e-2 if trainable != Full() else 3e-3))
    tuned = tune(lm, policy, config, loss=policy_gradient, bar=False)
    lengths = [sharpening.sample(m, PROMPTS, 64, decoding=how, seed=9).tokens.mean() for m in (lm, tuned.lm)]
    assert lengths[1] < 0.8 * lengths[0]
    assert logprobs(lm.model, [tokens_behind([5], [5, 6, 7])]) == before
    again = tune(lm, policy, config, loss=policy_gradient, bar=False)
    assert [line["loss"] for line in again.trained.log] == [line["loss"] for line in tuned.trained.log]
    assert again.lm.digest == tuned.lm.digest != lm.digest


def test_advantages_leave_the_sample_itself_out():
    lm = tiny_lm("llama")
    policy = OnPolicy(lm, PROMPTS, short, beta=0.5, batch=2, samples=4, decoding=HOW)
    made = policy(lm, 0)
    assert sum(one.weight for one in made) == 8 and made == policy(lm, 0) != policy(lm, 1)
    assert len({one.example for one in made}) == len(made)
    for prompt in {one.example.ids[:3] for one in made}:
        own = [one for one in made if one.example.ids[:3] == prompt]
        assert sum(one.weight for one in own) == 4
        assert sum(one.advantage for one in own) == pytest.approx(0, abs=1e-5)


def test_a_reward_that_tells_nothing_teaches_nothing():
    lm = tiny_lm("llama")
    policy = OnPolicy(lm, PROMPTS, lambda pool, *_: np.ones(pool.tokens.shape), batch=3, samples=4, decoding=HOW)
    assert {one.advantage for one in policy(lm, 0)} == {0.0}
    for wrong in ({"samples": 1}, {"batch": 4}, {"batch": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            OnPolicy(lm, PROMPTS, **{"batch": 2, **wrong})


def test_what_was_cut_off_is_never_a_winner_and_has_no_power():
    open_, done = Completion("", False, (3,), (-0.1,)), Completion("", True, (4,), (-2.0,))
    pool = Pool([[5], [6]], [[open_, done], [open_, open_]], Cost())
    (winner,) = self_training.winners(pool, np.zeros((2, 2)))
    assert winner.ids == (5, 4)
    right = np.array([[False, True], [False, False]])
    for alpha in (1.0, 2.0):
        assert sharpening.powered(pool.logprob, right, alpha)[0].tolist() == [0.5 if alpha == 1 else 1.0, 0.0]
        assert np.isfinite(sharpening.metropolis(pool.logprob, right, alpha)).all()
    assert self_training.pairs(pool, -pool.tokens) == []


def test_fresh_items_need_a_number_of_steps(llama):
    with pytest.raises(ValueError, match="need a number of steps"):
        policy, config = OnPolicy(llama, PROMPTS, batch=2), FinetuneConfig(Full(), TrainingConfig(epochs=2))
        tune(llama, policy, config, loss=policy_gradient)


@settings(max_examples=20)
@given(st.integers(0, 50))
def test_the_divergence_of_a_model_from_itself_is_nothing(seed):
    values = np.random.default_rng(seed).normal(size=(3, 4))
    assert np.allclose(self_training.kl(values, values), 0)
