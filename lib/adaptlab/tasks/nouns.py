"""Invented nouns for test worlds: two syllables from closed sets, so that new ones can be held out.

The study model's tokenizer knows every syllable, so each noun is two tokens. Training text uses the nouns of one split
only; what is measured while a model trains uses another, and final measurements a third.
"""

import random
from collections.abc import Sequence
from functools import cache

# First syllables end and second ones begin with consonants that do not meet inside the words of the study vocabulary:
# so no token can straddle the seam.
FIRST = (
    "bak beb bok dak deb dop fep fok fub gak gep gub jek jop jub kag keb kug lat lep lok lub mig mok "
    "mub nak nep nuk pab pek pok rak reb rup sab sek sok sug tak teb tup vab vek vog vut zab zek zop"
).split()
SECOND = [consonant + vowel for consonant in "dfjmvz" for vowel in "aeiou"]

SPLITS = ("train", "probe", "test")


@cache
def nouns(split: str) -> tuple[str, ...]:
    """All nouns of a split: ``train`` (four fifths), ``probe`` or ``test`` (a tenth each).

    Every syllable occurs in every split; no pair of syllables occurs in two.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, not {split!r}")
    held_out = {0: "probe", 5: "test"}
    return tuple(
        first + second
        for i, first in enumerate(FIRST)
        for j, second in enumerate(SECOND)
        if held_out.get((i + 3 * j) % 10, "train") == split
    )


def some_nouns(rng: random.Random, n: int, split: str, avoid: Sequence[str] = ()) -> list[str]:
    """``n`` different nouns of a split, none of them in ``avoid``.

    They differ in their first syllable as long as there are first syllables left: so the first token of a noun tells it
    from the others of its document.
    """
    if n + len(avoid) > len(nouns(split)):
        raise ValueError(f"there are {len(nouns(split))} nouns in split {split!r}; {n + len(avoid)} are wanted")
    drawn: list[str] = []
    taken = {noun[:3] for noun in avoid}
    while len(drawn) < n:
        noun = rng.choice(nouns(split))
        if noun[:3] not in taken or (len(taken) == len(FIRST) and noun not in drawn and noun not in avoid):
            taken.add(noun[:3])
            drawn.append(noun)
    return drawn
