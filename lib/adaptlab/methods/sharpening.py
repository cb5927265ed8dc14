"""Sharpening: a model improves on its own judgement of its own samples.

After Huang et al. 2024, "Self-Improvement in Language Models: The Sharpening Mechanism" (arXiv 2412.01951). One pool of
N samples for each prompt answers every question about choosing: the curve of best-of-n for all n up to N, majorities,
coverage, sampling from p^alpha, when to stop sampling. `methods.self_training` trains the choice into the weights.

Arrays have a row for each prompt and a column for each sample. Log-probabilities are in nats, of whole completions, the
end included, at temperature 1.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.special import comb

from adaptlab.engine.generation import Completion, Decoding, cut, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.loss_mask import TrainingExample
from adaptlab.engine.scoring import Cost, Request, score
from adaptlab.tasks.wording import fill

SAMPLE = Decoding(temperature=1.0, max_new_tokens=80)
CUT_OFF = -1e6  # log p of a text without an end, where minus infinity would not do to reckon with


@dataclass(frozen=True)
class Pool:
    """``samples``: for each prompt, N completions of a model; ``prompts`` as token ids; the cost of sampling them."""

    prompts: list[list[int]] = field(repr=False)
    samples: list[list[Completion]] = field(repr=False)
    cost: Cost

    @cached_property
    def logprob(self) -> np.ndarray:
        """log p of each completion; minus infinity for one that was cut off, which is none."""
        return np.array([[one.logprob if one.stopped else -np.inf for one in row] for row in self.samples])

    @cached_property
    def tokens(self) -> np.ndarray:
        """How many tokens each completion has, its end included."""
        return np.array([[len(one.tokens) for one in row] for row in self.samples])

    def example(self, prompt: int, sample: int) -> TrainingExample:
        """A completion behind its prompt, to train on: the very tokens that were sampled, the end among them."""
        return TrainingExample.behind(self.prompts[prompt], self.samples[prompt][sample].tokens)


def sample(lm: LM, prompts: Sequence[str], n: int, *, decoding: Decoding = SAMPLE, seed: int = 0) -> Pool:
    """``n`` samples of each prompt; the first of them are those of a smaller ``n``."""
    found = generate(lm, [prompt for prompt in prompts for _ in range(n)], decoding, seed=seed)
    rows = [found.completions[i : i + n] for i in range(0, len(found.completions), n)]
    return Pool([lm.encode(prompt) for prompt in prompts], rows, found.cost)


# --- what a model can judge its samples by ----------------------------------------------------------------------------


def normalised(pool: Pool) -> np.ndarray:
    """log p / tokens: the mean log-probability of a token."""
    return pool.logprob / pool.tokens


def votes(answers: np.ndarray) -> np.ndarray:
    """The share of the pool that agrees with each answer: it estimates the probability of the answer, whatever way led
    to it. Completions without an answer (None) agree with nothing."""
    found = [[list(row).count(a) if a is not None else 0 for a in row] for row in answers]
    return np.array(found) / answers.shape[1]


def own_verdict(lm: LM, pool: Pool, questions: Sequence[str], ask: str) -> np.ndarray:
    """What the model says when it is asked whether a completion is right: log p(yes) - log p(no).

    ``ask``: the prompt, with ``{question}`` and ``{answer}`` in it.
    """
    requests = [
        Request(fill(ask, question=question, answer=one.text.strip()), (" yes", " no"))
        for question, row in zip(questions, pool.samples, strict=True)
        for one in row
    ]
    found = [yes.logprob - no.logprob for yes, no in score(lm, requests).options]
    return np.array(found).reshape(pool.logprob.shape)


# --- choosing among n, for every n, from one pool ---------------------------------------------------------------------


def best_of(reward: np.ndarray, value: np.ndarray, ns: Sequence[int]) -> np.ndarray:
    """The expected value of the best of n samples, for each prompt and each n: [prompts, len(ns)].

    Exact, over all subsets of n that the pool of N holds: with the pool in order, best first, number k (from 0) wins in
    C(N-1-k, n-1) of C(N, n) subsets. Equal rewards share what their level wins, as the order among them is chance. With
    ``reward`` = ``value`` = right or wrong, this is coverage, also called pass@k (Chen et al. 2021, arXiv 2107.03374).
    """
    rows, pool = reward.shape
    if bad := [n for n in ns if not 1 <= n <= pool]:
        raise ValueError(f"best of {bad[0]} needs 1 to {pool} samples: the pool has {pool} of each prompt")
    k = np.arange(pool)
    wins = np.stack([comb(pool - 1 - k, n - 1) / comb(pool, n) for n in ns], axis=1)
    found = np.empty((rows, len(ns)))
    for i in range(rows):
        level = np.unique(-reward[i].astype(float), return_inverse=True)[1]
        equal = np.bincount(level)
        mean = np.bincount(level, weights=value[i].astype(float)) / equal
        found[i] = np.repeat(mean, equal) @ wins
    return found


def majority_of(answers: np.ndarray, right: Sequence[Hashable], ns: Sequence[int]) -> np.ndarray:
    """How often the most frequent answer of n samples is right, for each prompt and each n: [prompts, len(ns)].

    Exact, over all subsets of n: answers that are equally frequent share the win. Unlike other rewards, a majority
    depends on who else is in the sample, so that no order of the pool tells it. None is no answer, and wins nothing
    unless there is nothing else.
    """
    found = np.zeros((len(answers), len(ns)))
    for i, (row, gold) in enumerate(zip(answers, right, strict=True)):
        counts = Counter(a for a in row if a is not None)
        mine, others = counts.pop(gold, 0), list(counts.values())
        silent = len(row) - mine - sum(others)
        for j, n in enumerate(ns):
            ways = sum(comb(mine, k) * _not_above(others, silent, k, n - k) for k in range(1, min(mine, n) + 1))
            found[i, j] = ways / comb(len(row), n)
    return found


def _not_above(others: Sequence[int], silent: int, most: int, n: int) -> float:
    """In how many ways n samples come from answers that occur so often each, none of them more than ``most`` times;
    each way counts 1 / (1 + the number of answers that are chosen exactly ``most`` times)."""
    ways = np.zeros((n + 1, n + 2))  # [samples so far, answers that tie]
    ways[: min(silent, n) + 1, 0] = comb(silent, np.arange(min(silent, n) + 1))
    for count in others:
        new = np.zeros_like(ways)
        for taken in range(min(count, most, n) + 1):
            tie = int(taken == most)
            new[taken:, tie:] += comb(count, taken) * ways[: n + 1 - taken, : n + 2 - tie]
        ways = new
    return float((ways[n] / (1 + np.arange(n + 2))).sum())


def stop_when_sure(logprob: np.ndarray, delta: float = 0.05) -> np.ndarray:
    """How many samples adaptive best-of-N takes of each prompt: AdaBoN (Huang et al., appendix D): [prompts].

    It stops at the first k with 1 / (largest p so far) <= k / ln(2 / delta), without knowing the largest p there is;
    or at the end of the pool.
    """
    pool = logprob.shape[1]
    needed = np.log(2 / delta) * np.exp(-np.maximum.accumulate(logprob, axis=1))
    enough = needed <= np.arange(1, pool + 1)
    return np.where(enough.any(1), enough.argmax(1) + 1, pool)


def prune(samples: Sequence[Completion]) -> tuple[int, int, int]:
    """Which sample has the largest log p, and how many tokens must be decoded to know: side by side, and one by one.

    log p only falls as a text grows. So a text that is below the best finished one can stop: it will not win.
    """
    sums = [np.cumsum(one.logprobs) for one in samples]
    finished = [i for i, one in enumerate(samples) if one.stopped]
    if not finished:
        raise ValueError("no sample is finished: raise max_new_tokens")
    winner = max(finished, key=lambda i: (sums[i][-1], -i))
    alone = together = 0
    best = -np.inf
    for i, part in enumerate(sums):
        alone += _until_below(part, best)
        if samples[i].stopped:
            best = max(best, part[-1])
    ends = sorted((len(sums[i]), sums[i][-1]) for i in finished)
    for part in sums:
        # The best that is finished by the time that the text has t tokens.
        known = [max((value for length, value in ends if length <= t), default=-np.inf) for t in range(len(part))]
        below = [t for t in range(1, len(part)) if part[t - 1] < known[t]]
        together += below[0] if below else len(part)
    return winner, together, alone


def _until_below(sums: np.ndarray, best: float) -> int:
    below = np.flatnonzero(sums < best)
    return int(below[0]) + 1 if len(below) else len(sums)


# --- p^alpha ----------------------------------------------------------------------------------------------------------


def powered(logprob: np.ndarray, value: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The mean of a value under p^alpha, by importance weights on a pool from p; and the effective number of samples.

    Power sampling: Karan & Du 2025, arXiv 2510.14901. p^alpha is also the optimum of the reward log p under a KL
    penalty of 1 / (alpha - 1) (Huang et al., section 3.2). Both results: [prompts].
    """
    logprob = np.maximum(logprob, CUT_OFF)
    weights = np.exp((alpha - 1) * (logprob - logprob.max(1, keepdims=True)))
    weights /= weights.sum(1, keepdims=True)
    return (weights * value).sum(1), 1 / (weights**2).sum(1)


def metropolis(logprob: np.ndarray, value: np.ndarray, alpha: float) -> np.ndarray:
    """The mean of a value along a Metropolis chain for p^alpha that proposes the samples of the pool in order:
    [prompts, proposals], the first of which is where the chain begins.

    A proposal y' in place of y is accepted with probability min(1, (p(y') / p(y))^(alpha - 1)). The mean is over all
    that acceptance may do, so nothing is drawn here.
    """
    logprob = np.maximum(logprob, CUT_OFF)
    rows, pool = logprob.shape
    found, at = np.empty((rows, pool)), np.zeros((rows, pool))
    at[:, 0] = 1
    found[:, 0] = value[:, 0]
    for k in range(1, pool):
        accept = np.exp(np.minimum(0.0, (alpha - 1) * (logprob[:, k : k + 1] - logprob[:, :k])))
        at[:, k] = (at[:, :k] * accept).sum(1)
        at[:, :k] *= 1 - accept
        found[:, k] = (at * value).sum(1)
    return found


def power_sample(
    lm: LM,
    prompts: Sequence[str],
    alpha: float,
    *,
    steps: int = 8,
    block: int = 16,
    decoding: Decoding = SAMPLE,
    seed: int = 0,
) -> tuple[list[Completion], int]:
    """One completion of each prompt from p^alpha, by Metropolis steps that write the rest of a text anew.

    Karan & Du 2025, algorithm 1: texts grow by ``block`` tokens; then, ``steps`` times, a place in the text is drawn,
    the text is written anew from there, by p itself, and accepted with probability
    min(1, (p(new) / p(old))^(alpha - 1) * length(old) / length(new)). The lengths are there because a place is drawn
    among all places of the text at hand. Returns the completions, and how many tokens were decoded for them.
    """
    if (decoding.temperature, decoding.top_p, decoding.repetition_penalty) != (1, 1, 1):
        raise ValueError("p itself proposes here: temperature, top_p and repetition_penalty must be 1")
    if steps < 1 or block < 1:
        raise ValueError(f"steps and block must be 1 or more; found steps={steps}, block={block}")
    rng, decoded = np.random.default_rng([seed, 77]), 0
    ids, texts = [lm.encode(prompt) for prompt in prompts], [Completion("", False)] * len(prompts)
    for length in [*range(block, decoding.max_new_tokens, block), decoding.max_new_tokens]:
        going = [i for i, one in enumerate(texts) if not one.stopped]
        places = [len(texts[i].tokens) for i in going]
        longer, count = _rewrite(lm, ids, texts, going, places, length, decoding, (seed, length, 0))
        decoded += count
        for i, one in zip(going, longer, strict=True):
            texts[i] = one
        for step in range(1, steps + 1):
            places = [int(rng.integers(len(one.tokens))) for one in texts]
            new, count = _rewrite(lm, ids, texts, range(len(ids)), places, length, decoding, (seed, length, step))
            decoded += count
            for i, one in enumerate(new):
                ratio = (alpha - 1) * (one.logprob - texts[i].logprob)
                if np.log(rng.random()) < ratio + np.log(len(texts[i].tokens) / len(one.tokens)):
                    texts[i] = one
    return texts, decoded


def _rewrite(
    lm: LM,
    ids: Sequence[list[int]],
    texts: Sequence[Completion],
    which: Sequence[int],
    places: Sequence[int],
    length: int,
    decoding: Decoding,
    seed: tuple[int, ...],
) -> tuple[list[Completion], int]:
    """Texts ``which``, written anew from their places on, up to ``length`` tokens; and how many tokens that took."""
    kept = [texts[i].tokens[:place] for i, place in zip(which, places, strict=True)]
    most = replace(decoding, max_new_tokens=length - min(places, default=0))
    made = generate(lm, [[*ids[i], *head] for i, head in zip(which, kept, strict=True)], most, seed=seed)
    found = []
    for i, head, one in zip(which, kept, made.completions, strict=True):
        tokens, logprobs = (*head, *one.tokens), (*texts[i].logprobs[: len(head)], *one.logprobs)
        found.append(cut(lm, tokens[:length], logprobs[:length], decoding.stop))
    return found, made.cost.decoded
