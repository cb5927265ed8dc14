"""Sorting tasks with definitions, and what can be done to these: after Kung & Peng 2023, arXiv 2305.11383.

A *simplified* definition keeps the answers that are possible and nothing else; *delusive* examples have wrong answers
of the right form. Each task sorts notes by one trait; each item names three or four of its values.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from adaptlab.tasks.notes import TRAITS, note
from adaptlab.tasks.records import Instruction, check_choice, content_key

DEFINITIONS = {"original": "Name the {trait} of each message: {answers}.", "simplified": "Answers: {answers}."}


@dataclass(frozen=True)
class Defined:
    """A note to sort, its trait, and the answers that its definition allows, the right one among them."""

    text: str
    trait: str
    answers: tuple[str, ...]
    right: str

    def asked(self, definition: str, answer: str = "") -> Instruction:
        """The task as a record, with another answer than the right one where one is given."""
        told = DEFINITIONS[check_choice("definition", definition, tuple(DEFINITIONS))]
        listed = f"{', '.join(self.answers[:-1])} or {self.answers[-1]}"
        head = told.format(trait=self.trait, answers=listed)
        key = content_key(f"{self.trait} {self.text} {listed}")[:16]
        return Instruction(key, head, self.text, answer or self.right, self.trait)

    def wrong(self, rng: random.Random) -> str:
        """One of the wrong answers that the definition allows."""
        return rng.choice([answer for answer in self.answers if answer != self.right])


def defined(rng: random.Random, n: int, traits: Sequence[str], split: str) -> list[Defined]:
    """``n`` notes about nouns of ``split``, the traits taking turns."""
    made = []
    for place in range(n):
        trait = check_choice("traits", traits[place % len(traits)], tuple(TRAITS))
        answers = tuple(rng.sample(list(TRAITS[trait]), rng.choice((3, 4))))
        right = rng.choice(answers)
        made.append(Defined(note(rng, split, **{trait: right}).text, trait, answers, right))
    return made
