"""Exploration against poor coverage: XPO on an exact toy, a linear softmax policy over the answers to one prompt.

Sharpening wants y*, the model's own most probable answer: the reward is r(y) = log pi_base(y). Learning from samples of
the base model must draw y* first, which takes about 1 / pi_base(y*) draws. XPO draws from the policy in training, and
adds a bonus for leaving what the base model draws: the number of features counts then, not 1 / pi_base(y*).
Source: Huang et al. 2024, arXiv 2412.01951, section 4.2 and algorithm 1 (with rewards); the toy is our own. The
algorithm is printed with a minus before the sum of squares, which would seek the largest error; the proof has the plus.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import log_softmax

from adaptlab.tasks.records import FieldError, check_choice, quote

SHARPENED = 0.9  # a policy that gives y* this probability or more counts as sharpened
BOX = 60.0  # how far a weight may leave the base's: along features not yet drawn the bonus has no minimum
ON_POLICY = {  # bonus and search of `explore`
    "XPO, global search": (1e-3, "global"),
    "XPO, gradients": (1e-3, "gradient"),
    "on-policy, no bonus": (0.0, "gradient"),
}


@dataclass(frozen=True, eq=False)
class SoftmaxToy:
    """One prompt and its answers: log pi(y) = <features of y, weights> - log Z, in nats.

    ``features`` [answers, 8]: a unit vector in the first seven dimensions, but for y*, which has the eighth to itself,
    so that no other answer tells anything about it. ``weights`` [8]: those of the base policy.
    """

    features: np.ndarray
    weights: np.ndarray

    @classmethod
    def make(cls, answers: int, seed: int, gap: float = 0.5) -> "SoftmaxToy":
        """So many answers, of which y*, the last, is ``gap`` nats more probable than the next.
        Of 200, 400, 2,000 answers `coverage` is about 40, 75, 350. Of fewer than 9, each could have its own feature."""
        _check("answers", answers, answers >= 9, "9 or more")
        _check("gap", gap, 0 < gap < np.inf, "a number above 0")
        directions = np.random.default_rng([seed, answers]).normal(size=(answers, 7))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        others, liked = directions[:-1], 1.5 * directions[-1]  # length 1.5: a mild liking, so 1 / pi_base(y*) is large
        features = np.zeros((answers, 8))
        features[:-1, :7], features[-1, 7] = others, 1
        return cls(features, np.append(liked, (others @ liked).max() + gap))

    @cached_property
    def log_base(self) -> np.ndarray:
        """Log-probabilities of the base policy, which are the rewards: [answers], in nats."""
        return self.log_policy(self.weights)

    @property
    def best(self) -> int:
        """The place of y*."""
        return int(self.log_base.argmax())

    @property
    def coverage(self) -> float:
        """1 / pi_base(y*): how many draws from the base policy it takes on average until y* comes."""
        return float(np.exp(-self.log_base.max()))

    def log_policy(self, weights: np.ndarray) -> np.ndarray:
        """Log-probabilities of the policy with these weights [8]: [answers], in nats."""
        return log_softmax(self.features @ weights)

    def optimum(self, beta: float) -> np.ndarray:
        """What maximises E[r] - beta KL(pi || pi_base): pi_base^(1 + 1/beta), normalised. Probabilities, [answers]."""
        _check("beta", beta, beta > 0, "a number above 0")
        return np.exp(log_softmax(self.log_base * (1 + 1 / beta)))


def base_pairs(toy: SoftmaxToy, pairs: int, seed: int) -> np.ndarray:
    """Places of answers drawn from the base policy: [pairs, 2]. Fewer pairs of a seed are the beginning of more."""
    _check("pairs", pairs, pairs >= 1, "1 or more")
    return _draw(toy.log_base, np.random.default_rng(seed).random((pairs, 2)))


def residuals(toy: SoftmaxToy, log_policy: np.ndarray, pairs: np.ndarray, beta: float) -> np.ndarray:
    """For each pair (y, y') beta * (log pi/pi_base(y) - log pi/pi_base(y')) - (r(y) - r(y')), in nats: [pairs].
    The loss is the sum of their squares. At `SoftmaxToy.optimum` all are 0, whichever the pairs."""
    score = beta * (log_policy - toy.log_base) - toy.log_base
    return score[pairs[:, 0]] - score[pairs[:, 1]]


def offline(toy: SoftmaxToy, pairs: int, beta: float, seed: int) -> np.ndarray:
    """The weights [8] of least loss over `base_pairs`; of several, the nearest to the base's. FieldError: as there."""
    _check("beta", beta, beta > 0, "a number above 0")
    x = np.subtract(*toy.features[base_pairs(toy, pairs, seed).T])
    # log Z falls out of a difference, so a residual is linear: x . (beta * step - base weights). The pseudo-inverse
    # gives the step with which gradient descent from the base ends.
    return toy.weights + np.linalg.pinv(x, rcond=1e-9) @ (x @ toy.weights) / beta


def objective(
    weights: np.ndarray, toy: SoftmaxToy, pairs: np.ndarray, beta: float, bonus: float
) -> tuple[float, np.ndarray]:
    """What XPO makes least over pairs (y, y'), bonus * sum of log pi(y') + the loss, and its slope [8]."""
    log_policy, (y, base) = toy.log_policy(weights), pairs.T
    gaps, mean = residuals(toy, log_policy, pairs, beta), np.exp(log_policy) @ toy.features
    slope = bonus * (toy.features[base] - mean).sum(0) + 2 * beta * (gaps @ (toy.features[y] - toy.features[base]))
    return bonus * log_policy[base].sum() + gaps @ gaps, slope


def explore(
    toy: SoftmaxToy, prompts: int, beta: float, seed: int, bonus: float = 1e-3, search: str = "global"
) -> list[float]:
    """XPO: the probability of y* after each prompt, up to the first that is `SHARPENED`.

    A prompt adds a pair: y drawn from the policy as it is, y' from the base policy. The next policy makes `objective`
    least over all pairs so far. The bonus moves it to what no pair has told of, which in the end is y* alone: mostly
    the list ends before y* was drawn, and in this toy y from the base policy would serve nearly as well. A later policy
    takes nothing back, since the algorithm returns its best.
    ``search``: "global" searches the box of `BOX` around the base weights. "gradient" descends from the policy as it
    is, as the training of a language model would; with a bonus of 0 that is plain on-policy learning. FieldError: no
    prompts, a ``beta`` whose optimum lies outside the box, a bonus below 0, or 0 in a global search (many minima).
    """
    _check("prompts", prompts, prompts >= 1, "1 or more")
    lowest = np.abs(toy.weights).max() / BOX
    _check("beta", beta, lowest <= beta < np.inf, f"{lowest:.3f} or more, for its optimum to lie in the box")
    check_choice("search", search, ("global", "gradient"))
    _check("bonus", bonus, 0 < bonus < np.inf or (bonus == 0 and search == "gradient"), "above 0, or 0 with 'gradient'")
    weights, pairs, found = toy.weights, np.empty((0, 2), int), []
    for mine, base in np.random.default_rng(seed).random((prompts, 2)):
        pairs = np.vstack([pairs, [_draw(toy.log_policy(weights), mine), _draw(toy.log_base, base)]])
        weights = _least(toy, pairs, beta, bonus, weights, search)
        found.append(float(np.exp(toy.log_policy(weights)[toy.best])))
        if found[-1] >= SHARPENED:
            break
    return found


def shares(toy: SoftmaxToy, prompts: Sequence[int], seeds: Sequence[int], beta: float = 0.05) -> pd.DataFrame:
    """The share of seeds that are `SHARPENED` after each number of prompts (a pair each), offline and `ON_POLICY`.
    Columns: method, prompts, share (0 to 1), seeds (how many). FieldError: as in `explore`, or nothing to count."""
    _check("prompts or seeds", (prompts, seeds), len(prompts) > 0 and len(seeds) > 0, "at least one of each")
    runs = {
        method: [explore(toy, max(prompts), beta, seed, bonus, search) for seed in seeds]
        for method, (bonus, search) in ON_POLICY.items()
    }
    rows = []
    for n in prompts:
        found = {"offline": [np.exp(toy.log_policy(offline(toy, n, beta, seed))[toy.best]) for seed in seeds]}
        found |= {method: [max(run[:n]) for run in of_seeds] for method, of_seeds in runs.items()}
        rows += [(method, n, np.mean(np.array(best) >= SHARPENED), len(seeds)) for method, best in found.items()]
    return pd.DataFrame(rows, columns=["method", "prompts", "share", "seeds"])


def _least(toy: SoftmaxToy, pairs: np.ndarray, beta: float, bonus: float, start: np.ndarray, search: str) -> np.ndarray:
    """The weights in the box with the least `objective` that the search finds."""
    # The bonus is concave in the weights, so the sum has many minima. Towards an answer not yet drawn its slope is
    # bonus * prompts * pi(y): next to nothing for the very answers that exploration is for. A descent from the policy
    # does not get there; one from the box's side along that answer's feature does.
    starts = [start, *(toy.weights + BOX * np.eye(len(start)))] if search == "global" else [start]
    box, given = list(zip(toy.weights - BOX, toy.weights + BOX, strict=True)), (toy, pairs, beta, bonus)
    # TNC needs no BLAS, whose threads wait for each other longer than they work on eight weights.
    ends = [minimize(objective, at, given, jac=True, method="TNC", bounds=box) for at in starts]
    return min(ends, key=lambda end: end.fun).x


def _draw(log_policy: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """For each chance (0 to 1) the answer in whose share of the policy it falls."""
    return np.minimum(np.searchsorted(np.exp(log_policy).cumsum(), chances), len(log_policy) - 1)


def _check(field: str, value: object, good: bool, expected: str) -> None:
    if not good:
        raise FieldError(field, expected, quote(value))
