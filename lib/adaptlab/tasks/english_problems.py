"""Problems in plain English for real models, of any length, with a rationale: sums told as stories, and deduction.

Each returns an `Instruction` whose ``output`` is a number, or yes or no, and whose ``rationale`` has one sentence for
each step. Splits hold different questions, told apart by their hash.
"""

import random
from collections.abc import Callable
from functools import partial
from itertools import pairwise

from adaptlab.tasks.records import FieldError, Instruction, check_choice, content_key
from adaptlab.tasks.wording import fill, load_templates
from adaptlab.tasks.words import SPLITS, split_of, study

MOST = 20  # that are gained or lost at a time
TEXTS = load_templates("english_problems")
NOT, NO_RULE = "not ", "no {a} is {b}"

Told = tuple[str, str, str]  # question, rationale, answer


def word_problem(rng: random.Random, length: int, split: str = "train") -> Instruction:
    """How many things somebody has after ``length`` gains, losses and doublings; never fewer than none."""
    return _of_split("word problem", _story, rng, length, split)


def deduction(rng: random.Random, length: int, split: str = "train", branches: int = 2) -> Instruction:
    """Whether somebody has a property, ``length`` rules away; both answers can be derived and are equally frequent.

    After ProntoQA (Saparov & He 2022, arXiv 2210.01240, section 3): classes with invented names, rules in random order;
    ``branches`` pairs of rules lead off the way, into a class and to a property that is not asked for, and another pair
    leads to the opposite of the answer from a class that does not apply. The rules never contradict each other. Classes
    are nouns of the split, ``length + branches + 2`` of them; there are 144 in ``probe``, as in ``test``, and 1152 in
    ``train``.
    """
    if branches < 0:
        raise FieldError("branches", "0 or more", str(branches))
    return _of_split("deduction", lambda rng, n: _rules(rng, n, split, branches), rng, length, split)


def with_rationale(record: Instruction) -> str:
    """The rationale, then the answer: what a model is to write that works in steps."""
    return f"{record.rationale} {without_rationale(record)}"


def without_rationale(record: Instruction) -> str:
    """The answer alone, as a sentence."""
    return f"The answer is {record.output}."


def worked(record: Instruction) -> str:
    """The solution with its rationale in one line: at a line break an answer ends."""
    return " ".join(with_rationale(record).split())


# By the name of a family, as in `reasoning.FAMILIES`; each has two steps.
FAMILIES: dict[str, Callable[..., Instruction]] = {
    "word-problems": partial(word_problem, length=2),
    "deduction": partial(deduction, length=2),
}


def _of_split(
    category: str, make: Callable[[random.Random, int], Told], rng: random.Random, length: int, split: str
) -> Instruction:
    check_choice("split", split, SPLITS)
    if length < 1:
        raise FieldError("length", "1 or more", str(length))
    while True:
        question, rationale, answer = make(rng, length)
        key = content_key(question)
        if split_of(key) == split:
            name = f"{category.replace(' ', '-')}-{key[:16]}"
            return Instruction(name, question, "", answer, category, rationale)


def _story(rng: random.Random, length: int) -> Told:
    who, other = rng.sample(TEXTS["names"], 2)
    things = rng.choice(TEXTS["things"])
    value = rng.randint(2, 40)
    told, steps = [f"{who} has {value} {things}."], []
    for _ in range(length):
        text, step, value = _event(rng, value)
        told.append(fill(text, who=who, other=other, things=things))
        steps.append(step)
    return f"{' '.join(told)} How many {things} does {who} have now?", " ".join(steps), str(value)


def _event(rng: random.Random, value: int) -> tuple[str, str, int]:
    """(what happens, what is reckoned, how many there are then), by 2 at least: one apple would need other words."""
    kinds = ["gain", *["loss"] * (value >= 2), *["double"] * (2 <= value <= MOST)]
    kind = rng.choice(kinds)
    if kind == "double":
        return "Then the number of {things} that {who} has doubles.", f"{value} * 2 = {2 * value}.", 2 * value
    by = rng.randint(2, min(MOST, value) if kind == "loss" else MOST)
    text = fill(rng.choice(TEXTS["losses"] if kind == "loss" else TEXTS["gains"]), n=str(by))
    after = value - by if kind == "loss" else value + by
    return text, f"{value} {'-' if kind == 'loss' else '+'} {by} = {after}.", after


def _rules(rng: random.Random, length: int, split: str, branches: int) -> Told:
    names = study(split)(rng, length + branches + 2)
    path, sides, strangers = names[:length], names[length:-2], names[-2:]
    who, asked, *others = rng.choice(TEXTS["names"]), *rng.sample(TEXTS["properties"], len(TEXTS["properties"]))
    traits = [rng.choice((trait, NOT + trait)) for trait in others]  # decided once: no two branches disagree
    holds = rng.random() < 0.5
    end, opposite = (asked, NOT + asked) if holds else (NOT + asked, asked)
    needed = [*((a, f"a {b}") for a, b in pairwise(path)), (path[-1], end)]
    astray = [(rng.choice(path), side, rng.choice(traits)) for side in sides] + [(*strangers, opposite)]
    off_the_way = [rule for start, side, trait in astray for rule in ((start, f"a {side}"), (side, trait))]
    told = [_rule(a, b, rng.choice(TEXTS["rules"])) for a, b in needed + off_the_way]
    rng.shuffle(told)
    question = f"{' '.join(f'{rule.capitalize()}.' for rule in told)} {who} is a {path[0]}. Is {who} {asked}?"
    steps = [f"{who} is a {a}, and {_rule(a, b)}, so {who} is {b}." for a, b in needed]
    return question, " ".join(steps), "yes" if holds else "no"


def _rule(a: str, b: str, form: str = TEXTS["rules"][0]) -> str:
    """The rule in words. Not "every a is not b", which can mean that some are."""
    return fill(NO_RULE if b.startswith(NOT) else form, a=a, b=b.removeprefix(NOT))
