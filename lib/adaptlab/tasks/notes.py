"""Notes from the study world, sorted by one of their traits: classification that has to be read off the examples.

A note tells up to four things about a creature. Which of them decides its label is not said: labels that mean something
give it away, letters do not, and then only the examples can tell.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from adaptlab.tasks.nouns import some_nouns
from adaptlab.tasks.records import Labelled, LabelledSet, content_key

INSTRUCTION = "Each message goes to one desk: {names}."
# trait -> value -> the words that show it; the values are the labels that mean something
TRAITS = {
    "kind": {
        "fish": ("swims", "dives", "drifts", "floats"),
        "bird": ("flies", "sings", "nests", "soars"),
        "beast": ("runs", "digs", "growls", "hunts"),
        "plant": ("grows", "blooms", "wilts", "sprouts"),
    },
    "size": {value: (value,) for value in ("tiny", "small", "big", "huge")},
    "colour": {value: (value,) for value in ("red", "blue", "green", "white")},
    "time": {value: (value,) for value in ("daily", "weekly", "yearly", "once")},
}


@dataclass(frozen=True)
class Note:
    """A text, and the value of each trait, told in the text or not."""

    text: str
    values: dict[str, str]


def note(rng: random.Random, split: str, shown: Collection[str] = tuple(TRAITS), **fixed: str) -> Note:
    """A random note about a noun of ``split`` that tells the traits ``shown``; ``fixed`` ones have the value given."""
    values = {trait: fixed.get(trait) or rng.choice(list(of)) for trait, of in TRAITS.items()}
    word = {trait: rng.choice(TRAITS[trait][value]) if trait in shown else "" for trait, value in values.items()}
    (noun,) = some_nouns(rng, 1, split)
    words = (word["size"], word["colour"], noun, word["kind"], word["time"])
    return Note(" ".join(filter(None, words)), values)


def notes(
    rng: random.Random,
    trait: str,
    classes: Sequence[str],
    n: int,
    split: str,
    shown: Collection[str] = tuple(TRAITS),
) -> list[Note]:
    """``n`` notes whose ``trait`` is one of ``classes``, each drawn for itself: where a note stands tells nothing."""
    return [note(rng, split, shown, **{trait: rng.choice(classes)}) for _ in range(n)]


def load_notes(
    split: str = "test", pool: int = 200, test: int = 200, seed: int = 0, trait: str = "kind"
) -> LabelledSet:
    """Notes sorted by ``trait``, as a balanced data set; nouns are those of ``split``, the draw is that of ``seed``."""
    rng, classes = random.Random(f"notes {seed}"), tuple(TRAITS[trait])
    drawn: dict[str, Labelled] = {}
    while len(drawn) < pool + test:
        value = classes[len(drawn) % len(classes)]
        key = content_key((one := note(rng, split, **{trait: value})).text)
        drawn.setdefault(key, Labelled(f"n{key[:10]}", one.text, value))
    items = tuple(drawn.values())
    return LabelledSet("notes", classes, items[:pool], items[pool:], INSTRUCTION)
