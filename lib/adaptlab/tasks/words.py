"""Words: the invented nouns of the study world, invented words for any model, and a list of English ones.

A `Vocabulary` samples words of one of these kinds; its splits share no word.
"""

import hashlib
import random
from collections.abc import Callable, Collection, Sequence
from functools import cache

from english_words import get_english_words_set

from adaptlab import paths
from adaptlab.tasks.records import FieldError, check_choice

SPLITS = ("train", "probe", "test")
# Samples so many different words; a third argument names words to avoid.
Vocabulary = Callable[..., list[str]]


def split_of(text: str) -> str:
    """The split that a text falls in by its hash: a tenth each for ``probe`` and ``test``, the rest for ``train``."""
    place = int(hashlib.sha256(text.encode()).hexdigest(), 16) % 10
    return {0: "probe", 1: "test"}.get(place, "train")


# First syllables end and second ones begin with consonants that do not meet inside the words of the study vocabulary:
# so no token can span the two syllables.
FIRST = (
    "bak beb bok dak deb dop fep fok fub gak gep gub jek jop jub kag keb kug lat lep lok lub mig mok "
    "mub nak nep nuk pab pek pok rak reb rup sab sek sok sug tak teb tup vab vek vog vut zab zek zop"
).split()
SECOND = [consonant + vowel for consonant in "dfjmvz" for vowel in "aeiou"]


@cache
def nouns(split: str) -> tuple[str, ...]:
    """All nouns of a split: ``train`` (four fifths), ``probe`` or ``test`` (a tenth each).

    Every syllable occurs in every split; no pair of syllables occurs in two.
    """
    check_choice("split", split, SPLITS)
    held_out = {0: "probe", 5: "test"}
    return tuple(
        first + second
        for i, first in enumerate(FIRST)
        for j, second in enumerate(SECOND)
        if held_out.get((i + 3 * j) % 10, "train") == split
    )


def study(split: str = "train") -> Vocabulary:
    """The invented nouns of a split.

    The nouns of a sample differ in their first syllable as long as there are first syllables left: so the first token
    of a noun tells it from the others of its document. Where a split has too few nouns, the rest have a third syllable;
    for more than even those are, it raises ValueError.
    """
    known = nouns(split)

    def sample(rng: random.Random, n: int, avoid: Sequence[str] = ()) -> list[str]:
        least = len(known) - len(avoid)
        if n > least + len(known) * len(SECOND) // 2:
            raise ValueError(f"{n} nouns are wanted; split {split!r} has {len(known)}, and their longer forms")
        found: list[str] = []
        taken = {noun[:3] for noun in avoid}
        while len(found) < n:
            noun = rng.choice(known)
            if len(found) >= least:
                noun += rng.choice(SECOND)
            if noun[:3] not in taken or (len(taken) == len(FIRST) and noun not in found and noun not in avoid):
                taken.add(noun[:3])
                found.append(noun)
        return found

    return sample


ONSETS = "b bl br d dr f fl fr g gl gr j k kl kr l m n p pl pr r sk sl sn sp st t tr v w y z".split()
VOWELS = "aeiou"
CODAS = "b d f g k l lb ld lf lk lm lp m mp n nd nk p r rb rd rf rk rm rn rp sk sp t v x z".split()


@cache
def dictionary() -> frozenset[str]:
    """The English words of Webster's Second and of the GNU dictionary, in lower case."""
    return frozenset(get_english_words_set(["web2", "gcide"], lower=True, alpha=True))


def fresh_words(rng: random.Random, n: int, avoid: Collection[str] = ()) -> list[str]:
    """``n`` different words of 4 or 5 letters that are neither English nor in ``avoid``.

    Raises ValueError where so many words cannot be had.
    """
    found: dict[str, None] = {}
    for _ in range(200 * n + 1000):
        if len(found) == n:
            return list(found)
        word = _sound(rng)
        if len(word) in (4, 5) and word not in avoid and word not in dictionary():
            found[word] = None
    raise ValueError(f"{n} fresh words are wanted; only {len(found)} were found in {200 * n + 1000} tries")


def _sound(rng: random.Random) -> str:
    one = rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS)
    return one if rng.random() < 0.5 else one + rng.choice(VOWELS)


@cache
def english_words(split: str) -> tuple[str, ...]:
    """The words of a split, from ``data/words/english.txt``."""
    check_choice("split", split, SPLITS)
    listed = (paths.DATA / "words" / "english.txt").read_text(encoding="utf-8").split()
    return tuple(word for word in listed if split_of(word) == split)


def english(split: str = "train") -> Vocabulary:
    """The English words of a split."""
    return of_words(english_words(split))


def of_words(words: Sequence[str]) -> Vocabulary:
    """A vocabulary of the words given."""

    def sample(rng: random.Random, n: int, avoid: Sequence[str] = ()) -> list[str]:
        free = [word for word in words if word not in avoid]
        if n > len(free):
            raise FieldError("n", f"at most {len(free)}, the words that are left", str(n))
        return rng.sample(free, n)

    return sample


VOCABULARIES = {"study": study, "english": english}
