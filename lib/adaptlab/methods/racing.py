"""Which of many is best, told from as few items as it takes; and how much of the winner's score is luck.

What races is an *arm*: anything that is scored on items, here a prompt with certain demonstrations. All arms meet the
same items, so that an item that is hard for all of them tells nobody from the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from scipy.integrate import quad
from scipy.stats import norm
from scipy.stats import t as student

Arm = TypeVar("Arm")
# (arms, places of items) -> scores [arms, items], higher is better
Scorer = Callable[[Sequence[Arm], Sequence[int]], np.ndarray]


@dataclass(frozen=True)
class Ranking(Generic[Arm]):
    """Arms, the best first: those that were judged on more items stand before those that left earlier. ``means``: the
    mean score of each on the items that it met; ``met``: how many these were."""

    arms: tuple[Arm, ...]
    means: tuple[float, ...]
    met: tuple[int, ...]

    @property
    def best(self) -> Arm:
        return self.arms[0]


# (scorer, arms, how many items there are) -> ranking
Race = Callable[[Scorer, Sequence[Arm], int], Ranking]


def all_items(scorer: Scorer, arms: Sequence[Arm], items: int) -> Ranking:
    """No race: every arm meets every item. Of equal arms, the earlier one is better."""
    return _ranking(arms, scorer(arms, range(items)), np.full(len(arms), items))


def halving(scorer: Scorer, arms: Sequence[Arm], items: int, *, first: int = 5, keep: float = 0.5) -> Ranking:
    """Successive halving (Karnin et al. 2013; Jamieson & Talwalkar 2016, arXiv 1502.07943): all arms meet the
    ``first`` items, the best share ``keep`` of them twice as many, and so on, until those that are left have met all.

    It says nothing of how often the best arm is lost; `elimination` does. ``first`` was chosen on notes with wrong
    labels: with 4 items, a search lost more beside one that scores everything, and with 6 or 8 it saved less. Raises
    ValueError for a share that keeps all.
    """
    if not 0 < keep < 1 or first < 1:
        raise ValueError(f"keep must be between 0 and 1, and first 1 or more; found {keep} and {first}")
    found, met, left = np.full((len(arms), items), np.nan), np.zeros(len(arms), int), np.arange(len(arms))
    stop = min(first, items)
    while True:
        start = met[left[0]]
        found[left, start:stop] = scorer([arms[i] for i in left], range(start, stop))
        met[left] = stop
        if stop == items:
            return _ranking(arms, found, met)
        order = np.argsort(-found[left, :stop].mean(1), kind="stable")
        left = np.sort(left[order[: max(1, round(keep * len(left)))]])
        stop = min(2 * stop, items)


def elimination(scorer: Scorer, arms: Sequence[Arm], items: int, *, error: float = 0.1, block: int = 8) -> Ranking:
    """A race with a stated error: after every ``block`` of items, an arm leaves if it is worse than the leader by a
    paired, one-sided t test at the level error / (arms x looks).

    By the union bound the truly best arm leaves with probability ``error`` at most, where differences are normal
    (Maron & Moore 1997 race with Hoeffding's bound; a t test is sharper). Close arms all stay to the end, so that such
    a race saves little among them.
    """
    if not 0 < error < 1 or block < 2:
        raise ValueError(f"error must be between 0 and 1, and block 2 or more; found {error} and {block}")
    looks = -(-items // block)
    found, met, left = np.full((len(arms), items), np.nan), np.zeros(len(arms), int), np.arange(len(arms))
    for start in range(0, items, block):
        stop = min(start + block, items)
        found[left, start:stop] = scorer([arms[i] for i in left], range(start, stop))
        met[left] = stop
        behind = found[left[found[left, :stop].mean(1).argmax()], :stop] - found[left, :stop]
        noise = behind.std(1, ddof=1) / np.sqrt(stop)
        worse = behind.mean(1) > student.ppf(1 - error / (len(arms) * looks), stop - 1) * noise
        left = left[~worse]
        if len(left) == 1:
            break
    return _ranking(arms, found, met)


def _ranking(arms: Sequence[Arm], found: np.ndarray, met: np.ndarray) -> Ranking:
    means = np.array([row[:n].mean() for row, n in zip(found, met, strict=True)])
    order = np.lexsort((np.arange(len(arms)), -means, -met))
    return Ranking(tuple(arms[i] for i in order), tuple(means[order].tolist()), tuple(met[order].tolist()))


def winners_curse(n: int, spread: float, noise: float, items: int) -> tuple[float, float]:
    """(what the best of ``n`` random arms claims, what it truly has), both above the mean arm, expected.

    ``spread``: standard deviation of true means between arms; ``noise``: that of an arm's scores between items, beyond
    what all arms share. Exact for normal arms and noise: the best observed mean lies m(n) observed standard deviations
    above the mean arm, m(n) being the expected largest of n standard normals, and the share spread^2 / (spread^2 +
    noise^2 / items) of that is true.
    """
    luck = noise**2 / items
    observed = spread**2 + luck
    largest = quad(lambda x: x * n * norm.pdf(x) * norm.cdf(x) ** (n - 1), -9, 9)[0]
    return largest * observed**0.5, largest * spread**2 / observed**0.5
