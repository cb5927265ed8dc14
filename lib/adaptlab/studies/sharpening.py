"""For notebooks 06, 06b and 06c: problems with checkable answers, and the tables that a pool of samples gives."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from adaptlab.engine.generation import Completion, Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.methods.sharpening import (
    Pool,
    best_of,
    majority_of,
    metropolis,
    normalised,
    own_verdict,
    power_sample,
    powered,
    prune,
    sample,
    stop_when_sure,
)
from adaptlab.tasks import english_problems, reasoning
from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.reading import read
from adaptlab.tasks.reasoning import Problem
from adaptlab.tasks.records import Instruction, check_choice

Frame = pd.DataFrame
DEMONSTRATIONS = 4  # worked problems in front of each English one
LONGEST = {family: 80 for family in reasoning.FAMILIES}  # tokens of a solution; of English ones
LONGEST_IN_ENGLISH = 160
CHAINS = 8  # orders of a pool that a Metropolis chain walks through
Made = TypeVar("Made", Problem, Instruction)


@dataclass(frozen=True)
class Asked:
    """A problem, and the prompt that asks for its solution."""

    problem: Problem
    prompt: str


def problems(family: str, split: str, n: int, seed: int, file: str = "") -> list[Asked]:
    """``n`` problems of a family: those of the study world as they are, English ones behind four that are worked.
    Yes and no alternate where they are the answers.

    ``file``: of GSM8K, which then gives the word problems: its first four are shown, and others are asked; of these,
    every fourth is for the split ``test``.
    """
    check_choice("family", family, (*reasoning.FAMILIES, *english_problems.FAMILIES))
    rng, layout = random.Random(f"{family} {split} {seed}"), FORMATS["question"]
    if family in reasoning.FAMILIES:
        made = _balanced(lambda: reasoning.FAMILIES[family](rng, split), n)
        return [Asked(problem, layout.asked(problem.question)) for problem in made]
    if file and family == "word-problems":
        records = read(file, "instructions").records
        shown, rest = records[:DEMONSTRATIONS], records[DEMONSTRATIONS:]
        rest = [one for i, one in enumerate(rest) if (i % 4 == 0) == (split == "test")]
        if len(rest) < n:
            raise ValueError(f"problems_file: {file} has {len(rest)} problems for {split}; {n} are wanted")
        records = rng.sample(rest, n)
    else:
        make = english_problems.FAMILIES[family]
        shown = [make(random.Random(f"shown {family} {i}")) for i in range(DEMONSTRATIONS)]
        other = "probe" if split == "train" else split  # what is shown is of `train`
        records = _balanced(lambda: make(rng, split=other), n)
    worked = [(one.query, english_problems.worked(one)) for one in shown]
    return [Asked(Problem(family, r.query, r.output, ()), layout.prompt("", worked, r.query)) for r in records]


def _balanced(make: Callable[[], Made], n: int) -> list[Made]:
    """``n`` different ones of what is made; where answers are yes or no, they alternate, so that no sample of problems
    favours one."""
    found: dict[str, Made] = {}
    while len(found) < n:
        one = make()
        question, answer = (one.question, one.answer) if isinstance(one, Problem) else (one.query, one.output)
        if answer not in ("yes", "no") or answer == ("yes", "no")[len(found) % 2]:
            found.setdefault(question, one)
    return list(found.values())


@dataclass(frozen=True, eq=False)
class Attempts:
    """Problems, a pool of sampled solutions of each, and a greedy one. ``base``: the same of the model before it was
    trained, if it was. ``ask``: how the model is asked for its own verdict (`sharpening.own_verdict`), if it is."""

    lm: LM
    asked: list[Asked]
    pool: Pool
    greedy: list[Completion]
    base: "Attempts | None" = None
    ask: str = ""

    @cached_property
    def right(self) -> np.ndarray:
        """Which samples are right: [problems, samples]."""
        rows = zip(self.asked, self.pool.samples, strict=True)
        return np.array([_right([asked] * len(row), row) for asked, row in rows])

    @property
    def greedy_right(self) -> np.ndarray:
        """Which greedy solutions are right: [problems]."""
        return _right(self.asked, self.greedy)

    @property
    def answers(self) -> np.ndarray:
        """The answer that each sample ends in; None where there is none: [problems, samples]."""
        read = np.empty(self.pool.logprob.shape, dtype=object)
        for i, (asked, row) in enumerate(zip(self.asked, self.pool.samples, strict=True)):
            read[i] = [asked.problem.read(one.text) if one.stopped else None for one in row]
        return read

    @cached_property
    def rewards(self) -> dict[str, np.ndarray]:
        """What a sample can be chosen by, without knowing what is right: [problems, samples] each."""
        found = {"log p": self.pool.logprob, "log p / tokens": normalised(self.pool), "shortest": -self.pool.tokens}
        if self.ask:
            questions = [one.problem.question for one in self.asked]
            found["own verdict"] = own_verdict(self.lm, self.pool, questions, self.ask)
        return {name: np.where(np.isfinite(self.pool.logprob), value, -np.inf) for name, value in found.items()}


def _right(asked: Sequence[Asked], completions: Sequence[Completion]) -> np.ndarray:
    pairs = zip(asked, completions, strict=True)
    return np.array([one.stopped and asked.problem.correct(one.text) for asked, one in pairs])


def decoding(asked: Sequence[Asked], temperature: float = 1.0) -> Decoding:
    """How solutions of a family are written; after so many tokens, they are cut off, and count as wrong."""
    return Decoding(temperature=temperature, max_new_tokens=LONGEST.get(asked[0].problem.family, LONGEST_IN_ENGLISH))


def attempt(
    lm: LM, asked: Sequence[Asked], n: int, seed: int = 0, base: Attempts | None = None, ask: str = ""
) -> Attempts:
    """``n`` samples at temperature 1 and a greedy solution of every problem."""
    prompts = [one.prompt for one in asked]
    pool = sample(lm, prompts, n, decoding=decoding(asked), seed=seed)
    return Attempts(lm, list(asked), pool, generate(lm, prompts, decoding(asked, 0)).completions, base, ask)


def curves(attempts: Attempts, ns: Sequence[int]) -> Frame:
    """How often the best of n is right, for each rule of choosing and each n; one row for each problem.

    ``accuracy`` is exact over all subsets of the pool. *coverage*: whether any of n is right, which no rule can beat.
    *greedy* has no n; its rows say n = 1.
    """
    right, gold = attempts.right, [one.problem.answer for one in attempts.asked]
    found = {rule: best_of(reward, right, ns) for rule, reward in attempts.rewards.items()}
    found["majority"] = majority_of(attempts.answers, gold, ns)
    found["coverage"] = best_of(right, right, ns)
    rows = [
        by_item(attempts, accuracy[:, j], rule=rule, n=n) for rule, accuracy in found.items() for j, n in enumerate(ns)
    ]
    return pd.concat([*rows, by_item(attempts, attempts.greedy_right, rule="greedy", n=1)], ignore_index=True)


def greedy_text(attempts: Attempts) -> Frame:
    """One row for each problem: whether some sample is more probable than the greedy text (``beaten``), and whether
    the greedy text has more than half of all probability, so that none can be (``above half``)."""
    greedy = np.array([one.logprob if one.stopped else -np.inf for one in attempts.greedy])
    more = attempts.pool.logprob > greedy[:, None]
    pairs = zip(attempts.pool.samples, attempts.greedy, strict=True)
    beaten = (more & np.array([[one.tokens != best.tokens for one in row] for row, best in pairs])).any(1)
    rows = {"beaten": beaten.astype(float), "above half": (greedy > np.log(0.5)).astype(float)}
    return by_item(attempts, attempts.greedy_right).assign(**rows)


def powers(attempts: Attempts, alphas: Sequence[float], steps: int = 0, *, seed: int = 0) -> Frame:
    """How often a text is right that comes from p^alpha; one row for each problem, way and alpha.

    *weights*: importance weights on the pool, with the ``effective`` number of samples. *chain*: where a Metropolis
    chain over the pool ends, the mean of `CHAINS` orders. *cold tokens*: samples at temperature 1 / alpha, which is
    something else. With ``steps``, in their place *resampled*: so many Metropolis steps on the model after every block
    of 16 tokens; their ``cost`` is what was decoded, in samples of the usual length.
    """
    pool, right, frames = attempts.pool, attempts.right, []
    orders = [np.random.default_rng(i).permutation(right.shape[1]) for i in range(CHAINS)]
    prompts = [one.prompt for one in attempts.asked]
    for alpha in alphas:
        mean, effective = powered(pool.logprob, right, alpha)
        frames.append(by_item(attempts, mean, way="weights", alpha=alpha, effective=effective))
        ends = [metropolis(pool.logprob[:, order], right[:, order], alpha)[:, -1] for order in orders]
        frames.append(by_item(attempts, np.mean(ends, axis=0), way="chain", alpha=alpha))
        if not steps:
            cold = sample(attempts.lm, prompts, 4, decoding=decoding(attempts.asked, 1 / alpha), seed=seed)
            share = replace(attempts, pool=cold).right.mean(1)
            frames.append(by_item(attempts, share, way="cold tokens", alpha=alpha))
        else:
            how = decoding(attempts.asked)
            texts, decoded = power_sample(attempts.lm, prompts, alpha, steps=steps, decoding=how, seed=seed)
            cost = decoded / pool.tokens.mean() / len(texts)
            right_ones = _right(attempts.asked, texts)
            frames.append(by_item(attempts, right_ones, way="resampled", alpha=alpha, cost=cost))
    return pd.concat(frames, ignore_index=True)


def savings(attempts: Attempts, delta: float = 0.05) -> Frame:
    """One row for each problem: how many samples adaptive best-of-N takes (*stops*), and the share of decoded tokens
    that pruning saves with the same winner, side by side (*together*) and one by one (*alone*)."""
    decoded = attempts.pool.tokens.sum(1)
    # Where nothing was finished, nothing can be pruned.
    rows = zip(attempts.pool.samples, decoded, strict=True)
    kept = np.array([prune(row)[1:] if any(one.stopped for one in row) else (n, n) for row, n in rows])
    found = by_item(attempts, attempts.right.mean(1)).rename(columns={"accuracy": "one sample"})
    more = {"stops": stop_when_sure(attempts.pool.logprob, delta), "p*": np.exp(attempts.pool.logprob.max(1))}
    return found.assign(**more, decoded=decoded, together=1 - kept[:, 0] / decoded, alone=1 - kept[:, 1] / decoded)


def samples(attempts: Attempts) -> Frame:
    """Every sample as a row: problem, text, log p, tokens, right."""
    pool, n = attempts.pool, attempts.pool.logprob.shape[1]
    return pd.DataFrame(
        {
            "problem": [asked.problem.question for asked in attempts.asked for _ in range(n)],
            "text": [one.text.strip() for row in pool.samples for one in row],
            "log p": pool.logprob.ravel(),
            "tokens": pool.tokens.ravel(),
            "log p / tokens": normalised(pool).ravel(),
            "right": attempts.right.ravel(),
        }
    )


def by_item(attempts: Attempts, accuracy: np.ndarray, **columns: object) -> Frame:
    """One row for each problem, with its accuracy and further columns."""
    items = [f"item {i + 1}" for i in range(len(attempts.asked))]
    return pd.DataFrame({"model": attempts.lm.name, "item": items, "accuracy": accuracy.astype(float), **columns})


def scatter(rows: Frame, ax: Axes) -> None:
    """Every sample (rows of `samples`): its tokens and its log p, right ones and wrong ones apart."""
    rng = np.random.default_rng(0)
    for right, marker, color in ((True, "o", "tab:blue"), (False, "x", "tab:orange")):
        some = rows[rows.right == right]
        spread = some.tokens + rng.uniform(-0.3, 0.3, len(some))  # many stand at the same place
        ax.scatter(
            spread, some["log p"], marker=marker, s=22, alpha=0.5, color=color, label="right" if right else "wrong"
        )
    ax.legend(frameon=False)
