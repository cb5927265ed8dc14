"""Problems solved in writing: right at once, right in one of many tries, and which of its tries a model prefers."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from adaptlab.engine.models import LM
from adaptlab.engine.sampling import generate
from adaptlab.engine.scoring import Question, score
from adaptlab.studymodel.abilities import Ability, asking
from adaptlab.tasks import reasoning

SAMPLES = 16


@dataclass(frozen=True)
class Solved:
    """Problems with one greedy solution each, and with some sampled ones."""

    problems: list[reasoning.Problem]
    greedy: list[str]
    sampled: list[list[str]]


def solve(lm: LM, family: str, split: str, n: int, samples: int = SAMPLES, seed: int = 0) -> Solved:
    """Let the model solve ``n`` problems greedily and ``samples`` times at temperature 1; "" is what has no end."""
    rng = random.Random(f"{family} {split} {seed}")
    problems = [reasoning.FAMILIES[family](rng, split) for _ in range(n)]
    prompts = [asking(problem.question) for problem in problems]
    greedy = [w.text if w.stopped else "" for w in generate(lm, prompts, longest=80)]
    many = [prompt for prompt in prompts for _ in range(samples)]
    drawn = [w.text if w.stopped else "" for w in generate(lm, many, temperature=1.0, longest=80, seed=seed)]
    return Solved(problems, greedy, [drawn[i * samples : (i + 1) * samples] for i in range(n)])


def graded(solved: Solved) -> list[Ability]:
    """Share right: greedy, the first sample, and any of the samples (coverage)."""
    family, guess = solved.problems[0].family, None if solved.problems[0].answer.isdigit() else 0.5
    right = [[p.correct(s) for s in drawn] for p, drawn in zip(solved.problems, solved.sampled, strict=True)]
    greedy = tuple(p.correct(s) for p, s in zip(solved.problems, solved.greedy, strict=True))
    abilities = [Ability(f"{family}, greedy", greedy, guess)]
    if samples := len(right[0]):
        lucky = guess and 1 - guess**samples  # a coin thrown so often is right once
        abilities += [
            Ability(f"{family}, one sample", tuple(row[0] for row in right), guess),
            Ability(f"{family}, coverage of {samples}", tuple(map(any, right)), lucky),
        ]
    return abilities


def preferred(lm: LM, solved: Solved) -> list[str]:
    """For each problem, the finished sample that the model itself finds most probable as a whole, "" if there is none.
    The end of a sample, a line break or EOS, is not counted."""
    options = [sorted({text for text in drawn if text}) for drawn in solved.sampled]
    questions = [
        Question(asking(problem.question), tuple(texts))
        for problem, texts in zip(solved.problems, options, strict=True)
        if texts
    ]
    rows = iter(score(lm, questions).options)
    best = []
    for texts in options:
        pairs = zip(texts, next(rows), strict=True) if texts else ()
        best.append(max(pairs, key=lambda pair: pair[1].logprob, default=("", None))[0])
    return best


def favoured(solved: Solved, chosen: Sequence[str]) -> list[Ability]:
    """What the model prefers among its own samples: how often that is right, and how often it is wrong and shorter
    than every right one, though there is a right one."""
    most, marks, shorter = f"{solved.problems[0].family}, most probable of {len(solved.sampled[0])}", [], []
    for problem, drawn, text in zip(solved.problems, solved.sampled, chosen, strict=True):
        right = [len(sample) for sample in drawn if problem.correct(sample)]
        marks.append(problem.correct(text))
        shorter.append(bool(right) and not marks[-1] and len(text) < min(right))
    return [Ability(most, tuple(marks)), Ability(f"{most}: wrong and shorter than any right one", tuple(shorter))]
