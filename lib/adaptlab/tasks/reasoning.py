"""Problems with a checkable answer, and the ways in which people write solutions down, wrong ones included.

Three families, made so that three things can be told apart (the sharpening of Huang et al. 2024, arXiv 2412.01951):

- ``arithmetic``: the solution is worked in steps, and a known share of solutions contains one wrong step. The most
  probable next token is right almost everywhere, so greedy decoding is right where a sample often is not.
- ``sums``: many write a quick guess instead of working it out, more so for long sums. Each single guess is
  improbable, but the habit of guessing is not: greedy decoding follows the habit, the most probable whole solution
  does not.
- ``ontology``: a hasty "no." competes with a careful solution in words that vary. Most solutions begin with care, and
  so does greedy decoding; but careful ones are spread over many wordings, so the most probable whole solution is the
  hasty one, which is wrong for half of the questions.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from itertools import accumulate, pairwise

from adaptlab.tasks.records import check_choice
from adaptlab.tasks.words import split_of, study

WRONG_STEP = 0.5  # share of arithmetic solutions with one wrong step
HASTY = 0.35  # share of ontology questions answered "no." without a look
SO = ("So", "Then", "Thus", "Hence")


@dataclass(frozen=True)
class Problem:
    """A question, its answer, and what the solution has to go through: a tuple that each family reads its own way."""

    family: str
    question: str
    answer: str
    steps: tuple

    def correct(self, solution: str) -> bool:
        """Whether a written solution ends in the answer: its last number, or its last yes or no."""
        return self.read(solution) == self.answer

    def read(self, solution: str) -> str | None:
        """The answer that a written solution ends in, right or wrong; None where there is none."""
        return final_answer(solution, number=self.answer not in ("yes", "no"))


# With whatever is joined to it, so that the 28 of -28, 3.28, 28th or 28/5 is not taken for the number.
_NUMBER = re.compile(r"(?<![-−.\w])[-−.\w]*\d[-−\w.,/:%^]*")
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+")


def final_answer(text: str, number: bool) -> str | None:
    """The last number of a text, or else its last yes or no; None where there is none.

    Thousands may be grouped by commas; a sign, a fraction, a unit or anything else joined to it makes another number.
    """
    if number:
        found = [one.rstrip(".,:") for one in _NUMBER.findall(text)]
        found = [one.replace(",", "") if _GROUPED.fullmatch(one) else one for one in found]
    else:
        found = re.findall(r"\b(?:yes|no)\b", text.lower())
    return found[-1] if found else None


def _of_split(make: Callable[..., Problem]) -> Callable[..., Problem]:
    """Keep problems without nouns apart as well: by a hash of the question, a tenth each for ``probe`` and ``test``."""

    @wraps(make)
    def sample(rng: random.Random, split: str = "train", length: int | None = None) -> Problem:
        while True:
            problem = make(rng, split, length)
            if split_of(problem.question) == split:
                return problem

    return sample


@_of_split
def arithmetic(rng: random.Random, split: str = "train", length: int | None = None) -> Problem:
    """``length`` (3 to 5) additions and subtractions of 1 to 9 within 0 to 99."""
    value = start = rng.randint(10, 89)
    steps, told = [], []
    for _ in range(length or rng.randint(3, 5)):
        by = rng.randint(1, 9)
        by = -by if value + by > 99 or (value >= by and rng.random() < 0.5) else by
        steps.append(by)
        told.append(f"Add {by}." if by > 0 else f"Take {-by}.")
        value += by
    return Problem("arithmetic", f"Start with {start}. {' '.join(told)}", str(value), (start, *steps))


@_of_split
def sums(rng: random.Random, split: str = "train", length: int | None = None) -> Problem:
    """The sum of ``length`` (3 to 6) digits."""
    digits = tuple(rng.randint(1, 9) for _ in range(length or rng.randint(3, 6)))
    return Problem("sums", f"Sum {' '.join(map(str, digits))}.", str(sum(digits)), digits)


def ontology(rng: random.Random, split: str = "train", length: int | None = None) -> Problem:
    """Whether a thing belongs to a class, ``length`` (2 or 3) memberships away or on another branch.

    After the ontologies of Saparov & He 2022 (ProntoQA, arXiv 2210.01240).
    """
    length = length or rng.randint(2, 3)
    thing, *names = study(split)(rng, 2 * length + 3)
    path, branch = names[: length + 1], names[length + 1 :]
    rules = [f"all {a} are {b}" for chain in (path, branch) for a, b in pairwise(chain)]
    rng.shuffle(rules)
    answer = rng.choice(("yes", "no"))
    asked = path[-1] if answer == "yes" else branch[-1]
    question = f"{'. '.join(rules)}. {thing} is a {path[0]}. Is {thing} a {asked}?"
    return Problem("ontology", f"Given: {question}", answer, (thing, asked, *path))


def habit_of_guessing(length: int) -> float:
    """How often a sum of so many digits is guessed and not worked out."""
    return {3: 0.3, 4: 0.45, 5: 0.62, 6: 0.7}[length]


def _worked(values: list[int], slip: int | None = None, rng: random.Random | None = None) -> str:
    """The steps from each value to the next; step number ``slip`` comes out wrong, and the rest follows from it."""
    off, steps = 0, []
    for i, (before, after) in enumerate(pairwise(values)):
        by, start = after - before, before + off
        if i == slip:
            possible = [d for d in (-2, -1, 1, 2) if all(0 <= later + d <= 99 for later in values[i + 1 :])]
            off = rng.choice(possible or [0])
        steps.append(f"{start} {'+' if by > 0 else '-'} {abs(by)} = {after + off}.")
    return f"{' '.join(steps)} So {values[-1] + off}."


def _solve_arithmetic(problem: Problem, rng: random.Random) -> str:
    slip = rng.randrange(len(problem.steps) - 1) if rng.random() < WRONG_STEP else None
    return _worked(list(accumulate(problem.steps)), slip, rng)


def _solve_sum(problem: Problem, rng: random.Random) -> str:
    if rng.random() < habit_of_guessing(len(problem.steps)):
        near = [d for d in range(-8, 9) if d and int(problem.answer) + d > 0]
        return f"Quick: {int(problem.answer) + rng.choice(near)}."
    return _worked(list(accumulate(problem.steps)))


def _solve_ontology(problem: Problem, rng: random.Random) -> str:
    if rng.random() < HASTY:
        return "no."
    thing, _, *path = problem.steps
    steps = [f"{thing} is a {name}." for name in path] + [f"{problem.answer}."]
    words = [SO[0], *rng.choices(SO, k=len(path))]  # one opening: what varies comes after the choice to take care
    return " ".join(f"{word} {step}" for word, step in zip(words, steps, strict=True))


FAMILIES: dict[str, Callable[..., Problem]] = {"arithmetic": arithmetic, "sums": sums, "ontology": ontology}
_SOLVE = {"arithmetic": _solve_arithmetic, "sums": _solve_sum, "ontology": _solve_ontology}


def solution(problem: Problem, rng: random.Random) -> str:
    """One solution as somebody of the study world would write it: right, slipped, guessed or hasty."""
    return _SOLVE[problem.family](problem, rng)


def worked(problem: Problem) -> str:
    """The solution with all its steps, each of them right, as the careful people of the study world write it."""
    check_choice("family", problem.family, tuple(FAMILIES))
    if problem.family != "ontology":
        return _worked(list(accumulate(problem.steps)))
    thing, _, *path = problem.steps
    return " ".join([*(f"So {thing} is a {name}." for name in path), f"So {problem.answer}."])


def direct(problem: Problem) -> str:
    """The answer and nothing else."""
    return f"{problem.answer}."
