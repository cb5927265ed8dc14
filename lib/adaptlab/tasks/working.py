"""Solutions to the problems of `reasoning` with and without their steps, and exact checks of every step.

With and without: the contrast of tuning on chains of thought or on answers alone (Chung et al. 2022, arXiv 2210.11416,
section 5).
"""

import re
from itertools import accumulate, pairwise

from adaptlab.tasks.reasoning import FAMILIES, SO, Problem
from adaptlab.tasks.records import check_choice

_N = r"(\d{1,9})"
_STEP = re.compile(rf"{_N} ([+-]) {_N} = {_N}", re.ASCII)
_SO_NUMBER = re.compile(rf"(?:{'|'.join(SO)}) {_N}", re.ASCII)
_SO_IS_A = re.compile(rf"(?:{'|'.join(SO)}) (\w+) is a (\w+)")
_SO_ANSWER = re.compile(rf"(?:{'|'.join(SO)}) (yes|no)")


def worked(problem: Problem) -> str:
    """The solution with all its steps, each of them right, as the careful people of the study world write it."""
    check_choice("family", problem.family, tuple(FAMILIES))
    if problem.family == "ontology":
        thing, _, *path = problem.steps
        steps = [f"So {thing} is a {name}." for name in path]
    else:
        pairs = pairwise(accumulate(problem.steps))
        steps = [f"{a} {'+' if b > a else '-'} {abs(b - a)} = {b}." for a, b in pairs]
    return " ".join([*steps, f"So {problem.answer}."])


def direct(problem: Problem) -> str:
    """The answer and nothing else."""
    return f"{problem.answer}."


def steps_correct(problem: Problem, text: str) -> tuple[bool, ...]:
    """Whether each step of a written solution is right, the conclusion being the last of them.

    A step is right if it does what the question asks for at its place, takes up what the step before it left, and
    comes out right: behind a slip that is carried on, steps can be right again. A step that does not parse is wrong,
    and so is the next. Steps too many and steps that are missing count as wrong steps: all are right if and only if the
    solution is complete, without a slip, and ends in the answer.
    """
    check_choice("family", problem.family, tuple(FAMILIES))
    *written, rest = (part.strip() for part in text.split("."))
    if rest:  # the last step has to be closed, like the others
        written.append(f"{rest} …")
    return _memberships(problem, written) if problem.family == "ontology" else _sums(problem, written)


def first_wrong_step(problem: Problem, text: str) -> int | None:
    """The place of the first step, from 0, that is not right; None for a complete solution without a slip."""
    found = steps_correct(problem, text)
    return found.index(False) if False in found else None


def _sums(problem: Problem, written: list[str]) -> tuple[bool, ...]:
    before, *told = problem.steps
    right = []
    for place, step in enumerate(_padded(written, len(told) + 1)):
        if place == len(told):
            match = _SO_NUMBER.fullmatch(step)
            right.append(bool(match) and int(match[1]) == before)
            continue
        match = _STEP.fullmatch(step)
        right.append(bool(match) and place < len(told) and _does(match, told[place], before))
        before = int(match[4]) if match else None
    return tuple(right)


def _padded(written: list[str], n: int) -> list[str]:
    """The steps, with blank ones in place of those that are missing."""
    return written + [""] * (n - len(written))


def _does(step: re.Match, by: int, before: int | None) -> bool:
    """Whether the step changes the number before it by ``by`` and says what comes out."""
    start, sign, size, end = step.groups()
    change = int(size) if sign == "+" else -int(size)
    return int(start) == before and change == by and int(end) == int(start) + change


def _memberships(problem: Problem, written: list[str]) -> tuple[bool, ...]:
    thing, _, *path = problem.steps
    follows = {"": path[0], **dict(pairwise(path))}
    before, right = "", []
    for place, step in enumerate(_padded(written, len(path) + 1)):
        if place == len(path):
            match = _SO_ANSWER.fullmatch(step)
            right.append(bool(match) and before == path[-1] and match[1] == problem.answer)
            continue
        match = _SO_IS_A.fullmatch(step)
        right.append(bool(match) and place < len(path) and match[1] == thing and match[2] == follows.get(before))
        before = match[2] if match else "?"
    return tuple(right)
