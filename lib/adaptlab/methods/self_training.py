"""Training a model on what it thinks of its own samples: winners, pairs, and fresh samples in every step.

After Huang et al. 2024 (arXiv 2412.01951, section 3), whose rewards and pools are in `methods.sharpening`. Arrays have
a row for each prompt and a column for each sample; log-probabilities are in nats, of whole completions.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from adaptlab.engine.generation import Decoding
from adaptlab.engine.lm import LM, check_fields
from adaptlab.engine.loss_mask import TrainingExample
from adaptlab.engine.preference import Pair, Sampled, logprobs
from adaptlab.methods.sharpening import SAMPLE, Pool, sample

LEAST_SPREAD = 1e-3  # of advantages that tell anything, in the unit of the reward


def winners(pool: Pool, reward: np.ndarray) -> list[TrainingExample]:
    """The best finished sample of each prompt, the first drawn of equals, to train on (SFT-sharpening, Huang et al.
    3.1). A prompt whose samples were all cut off gives none."""
    ended = np.isfinite(pool.logprob)
    best = np.where(ended, reward, -np.inf).argmax(1)
    return [pool.example(i, int(j)) for i, j in enumerate(best) if ended[i].any()]


def pairs(pool: Pool, reward: np.ndarray, chosen: str = "best", seed: int = 0) -> list[Pair]:
    """One pair of different samples of each prompt; the one with the higher reward is chosen.

    ``chosen``: "best", the best sample beside a random one; or "random", two random ones. Prompts whose samples are all
    the same, or of the same reward, give none. The references are log p of the pool, so no pass is needed (exact in
    float32; in fewer digits, `preference.referenced` is nearer to what training computes).
    """
    if chosen not in ("best", "random"):
        raise ValueError(f"chosen must be best or random; found {chosen!r}")
    rng, found, reward = random.Random(f"pairs {seed}"), [], np.where(np.isfinite(pool.logprob), reward, -np.inf)
    for i, row in enumerate(reward):
        one = int(row.argmax()) if chosen == "best" else rng.randrange(len(row))
        text = pool.samples[i][one].tokens
        # Equal texts can differ in the last digit of log p: they were not computed in the same place of a batch.
        others = [
            j
            for j, other in enumerate(pool.samples[i])
            if other.tokens != text and row[j] != row[one] and np.isfinite(row[j])
        ]
        if others and np.isfinite(row[one]):
            two = rng.choice(others)
            if row[two] > row[one]:
                one, two = two, one
            gaps = (float(values[i, one] - values[i, two]) for values in (pool.logprob, reward))
            found.append(Pair(pool.example(i, one), pool.example(i, two), *gaps))
    return found


# (what was sampled, of which prompts, log p of the samples under the reference) -> the reward of each sample
Reward = Callable[[Pool, Sequence[int], np.ndarray], np.ndarray]


def own_logprob(pool: Pool, which: Sequence[int], reference: np.ndarray) -> np.ndarray:
    """The reward of sharpening: log p under the model as it was."""
    return reference


@dataclass(frozen=True)
class OnPolicy:
    """Fresh samples of the model in training for `tuning.tune`, with `preference.policy_gradient` as the loss.

    In each step, ``samples`` of each of ``batch`` prompts. What a sample is worth is its reward, minus ``beta`` times
    log p / p_reference: the KL penalty. Its advantage is that minus the mean of the others of its prompt (leave one
    out: Ahmadian et al. 2024, arXiv 2402.14740), in standard deviations of the step. ``reference`` is the
    model before training; adapters share its weights, so that it takes no memory beside them.
    """

    reference: LM = field(repr=False)
    prompts: Sequence[str]
    reward: Reward = own_logprob
    beta: float = 0.1
    batch: int = 8
    samples: int = 8
    seed: int = 0
    decoding: Decoding = SAMPLE

    def __post_init__(self) -> None:
        check_fields(
            self,
            samples=("2 or more, to compare a sample with the others of its prompt", self.samples >= 2),
            batch=(f"1 to {len(self.prompts)}, the number of prompts", 1 <= self.batch <= len(self.prompts)),
        )

    def __call__(self, lm: LM, step: int) -> list[Sampled]:
        which = random.Random(f"policy {self.seed} {step}").sample(range(len(self.prompts)), self.batch)
        asked = [self.prompts[i] for i in which]
        pool = sample(lm, asked, self.samples, decoding=self.decoding, seed=(self.seed, step))
        shape = len(which), self.samples
        texts = [pool.example(i, j) for i in range(shape[0]) for j in range(shape[1])]
        now = np.array([[one.logprob for one in row] for row in pool.samples])
        reference = np.array(logprobs(self.reference.model, texts)).reshape(shape)
        worth = self.reward(pool, which, reference) - self.beta * (now - reference)
        worth = np.where(np.isfinite(pool.logprob), worth, worth.min())  # cut off: no better than the worst
        others = (worth.sum(1, keepdims=True) - worth) / (self.samples - 1)
        advantage = (worth - others).ravel()
        # Where all samples are worth the same, what is left is rounding, and nothing is to be learned from it.
        spread = advantage.std() if advantage.std() > LEAST_SPREAD else np.inf
        # What was written twice goes through the model once.
        counts, sums = Counter(texts), Counter()
        for text, a in zip(texts, advantage / spread, strict=True):
            sums[text] += float(a)
        return [Sampled(text, sums[text], times) for text, times in counts.items()]


def kl(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """KL(first, other) on each prompt, in nats, from log p of samples of the first under both: [prompts]."""
    return (one - other).mean(1)


def rescored(lm: LM, pool: Pool) -> np.ndarray:
    """log p of every sample of a pool under another model."""
    rows, columns = pool.logprob.shape
    texts = [pool.example(i, j) for i in range(rows) for j in range(columns)]
    return np.array(logprobs(lm.model, texts)).reshape(rows, columns)
