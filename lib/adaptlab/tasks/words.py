"""Words that nobody has read before: nonsense of plausible sounds, none of it in an English dictionary.

For worlds that any model reads; the study model's own invented words are in `nouns`.
"""

import random
from collections.abc import Callable, Collection
from functools import cache

from english_words import get_english_words_set

ONSETS = "b bl br d dr f fl fr g gl gr j k kl kr l m n p pl pr r sk sl sn sp st t tr v w y z".split()
VOWELS = "aeiou"
CODAS = "b d f g k l lb ld lf lk lm lp m mp n nd nk p r rb rd rf rk rm rn rp sk sp t v x z".split()
LONGEST = 3  # tokens

Words = Callable[[random.Random, int], list[str]]  # draws so many different words


@cache
def dictionary() -> frozenset[str]:
    """The English words of Webster's Second and of the GNU dictionary, in lower case."""
    return frozenset(get_english_words_set(["web2", "gcide"], lower=True, alpha=True))


def fresh_words(
    rng: random.Random, n: int, avoid: Collection[str] = (), count_tokens: Callable[[str], int] | None = None
) -> list[str]:
    """``n`` different words of 4 or 5 letters that are neither English nor in ``avoid``.

    ``count_tokens`` says how many tokens a tokenizer makes of a word behind a space; words of more than three are left
    out. Raises ValueError where so many words cannot be had.
    """
    drawn: dict[str, None] = {}
    for _ in range(200 * n + 1000):
        if len(drawn) == n:
            return list(drawn)
        word = _sound(rng)
        short = count_tokens is None or count_tokens(f" {word}") <= LONGEST
        if len(word) in (4, 5) and short and word not in avoid and word not in dictionary():
            drawn[word] = None
    raise ValueError(f"{n} fresh words are wanted; only {len(drawn)} were found in {200 * n + 1000} tries")


def _sound(rng: random.Random) -> str:
    one = rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS)
    return one if rng.random() < 0.5 else one + rng.choice(VOWELS)
