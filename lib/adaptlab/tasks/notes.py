"""Notes from the study world, sorted by one of their traits: classification that has to be read off the examples.

A note tells up to four things about a creature. Which of them decides its label is not said: labels that mean something
give it away, letters do not, and then only the examples can tell.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from adaptlab.tasks.records import Instruction, Labelled, check_choice, content_key
from adaptlab.tasks.splits import LabelledSet
from adaptlab.tasks.wording import fill, listed
from adaptlab.tasks.words import study

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


def note(rng: random.Random, split: str, visible: Collection[str] = tuple(TRAITS), **fixed: str) -> Note:
    """A random note about a noun of ``split`` that tells the traits ``visible``; ``fixed`` names values of traits."""
    values = {trait: fixed.get(trait) or rng.choice(list(of)) for trait, of in TRAITS.items()}
    word = {trait: rng.choice(TRAITS[trait][value]) if trait in visible else "" for trait, value in values.items()}
    (noun,) = study(split)(rng, 1)
    words = (word["size"], word["colour"], noun, word["kind"], word["time"])
    return Note(" ".join(filter(None, words)), values)


def notes(
    rng: random.Random,
    trait: str,
    classes: Sequence[str],
    n: int,
    split: str,
    visible: Collection[str] = tuple(TRAITS),
) -> list[Note]:
    """``n`` notes whose ``trait`` is one of ``classes``, each sampled for itself: where a note stands tells nothing."""
    return [note(rng, split, visible, **{trait: rng.choice(classes)}) for _ in range(n)]


def load_notes(*, seed: int = 0, trait: str = "kind", test: int = 200) -> LabelledSet:
    """200 notes to show and ``test`` others, sorted by ``trait``, balanced; nouns are those of the split "test"."""
    rng, classes = random.Random(f"notes {seed}"), tuple(TRAITS[trait])
    sampled: dict[str, Labelled] = {}
    while len(sampled) < 200 + test:
        value = classes[len(sampled) % len(classes)]
        key = content_key((one := note(rng, "test", **{trait: value})).text)
        sampled.setdefault(key, Labelled(f"n{key[:10]}", one.text, value))
    items = tuple(sampled.values())
    return LabelledSet("notes", classes, items[:200], items[200:], INSTRUCTION)


ORIGINAL = "Name the {trait} of each message: {answers}."
# form -> its definition, and whether its example is right
FORMS = {
    "original": (ORIGINAL, True),
    "simplified": ("Answers: {answers}.", True),
    "empty": ("", True),
    "delusive": (ORIGINAL, False),
}


@dataclass(frozen=True)
class Defined:
    """A note to sort, its trait, the answers that its definition allows, and the right one; an example, another note
    with its right answer and a wrong one."""

    text: str
    trait: str
    answers: tuple[str, ...]
    right: str
    example: tuple[str, str, str]

    def asked(self, form: str) -> Instruction:
        """The task as a record in one of `FORMS`; its answer is the right one in all of them."""
        definition, sound = FORMS[check_choice("form", form, tuple(FORMS))]
        answers = listed(self.answers)
        other, right, wrong = self.example
        lines = [
            fill(definition, trait=self.trait, answers=answers),
            f"Example: {other} is {right if sound else wrong}.",
        ]
        key = content_key(f"{self.trait} {self.text} {answers}")[:16]
        return Instruction(key, "\n".join(filter(None, lines)), self.text, self.right, self.trait)


def defined(rng: random.Random, n: int, traits: Sequence[str], split: str) -> list[Defined]:
    """``n`` notes about nouns of ``split``, the traits taking turns."""
    made = []
    for place in range(n):
        trait = check_choice("traits", traits[place % len(traits)], tuple(TRAITS))
        answers = tuple(rng.sample(list(TRAITS[trait]), rng.choice((3, 4))))
        right, other = rng.choice(answers), rng.choice(answers)
        wrong = rng.choice([answer for answer in answers if answer != other])
        example = (note(rng, split, **{trait: other}).text, other, wrong)
        made.append(Defined(note(rng, split, **{trait: right}).text, trait, answers, right, example))
    return made
