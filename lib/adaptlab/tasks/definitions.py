"""Sorting tasks with definitions and examples, and what can be done to these: after Kung & Peng 2023, arXiv 2305.11383.

A *simplified* definition keeps the answers that are possible and nothing else, an *empty* one nothing; a *delusive*
example has a wrong answer of the right form. Each task sorts notes by one trait; each item names three or four of its
values.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from adaptlab.tasks.notes import TRAITS, note
from adaptlab.tasks.records import Instruction, check_choice, content_key

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
        listed = f"{', '.join(self.answers[:-1])} or {self.answers[-1]}"
        other, right, wrong = self.example
        lines = [
            definition.format(trait=self.trait, answers=listed),
            f"Example: {other} is {right if sound else wrong}.",
        ]
        key = content_key(f"{self.trait} {self.text} {listed}")[:16]
        return Instruction(key, "\n".join(filter(None, lines)), self.text, self.right, self.trait)


def defined(rng: random.Random, n: int, traits: Sequence[str], split: str) -> list[Defined]:
    """``n`` notes about nouns of ``split``, the traits taking turns."""
    made = []
    for place in range(n):
        trait = check_choice("traits", traits[place % len(traits)], tuple(TRAITS))
        answers = tuple(rng.sample(list(TRAITS[trait]), rng.choice((3, 4))))
        right, shown = rng.choice(answers), rng.choice(answers)
        wrong = rng.choice([answer for answer in answers if answer != shown])
        example = (note(rng, split, **{trait: shown}).text, shown, wrong)
        made.append(Defined(note(rng, split, **{trait: right}).text, trait, answers, right, example))
    return made
