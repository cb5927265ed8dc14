"""The one road from a method to numbers: every method answers the same items and yields one row per item."""

import math
from collections.abc import Sequence
from typing import Protocol

import pandas as pd

from adaptlab.engine.cache import EMPTY, PrefixCache
from adaptlab.engine.generation import Completion
from adaptlab.engine.scoring import Cost, OptionScore
from adaptlab.methods.prompting import OptionScores
from adaptlab.methods.writing import Generations
from adaptlab.tasks.instructions import right
from adaptlab.tasks.records import Instruction, Labelled

NORMALISE = {
    "sum": lambda option: option.logprob,
    "token": lambda option: option.logprob / option.tokens,
    "byte": lambda option: option.logprob / option.bytes,
}


class Method(Protocol):
    """Whatever answers items: a prompted model, a tuned one, a baseline. Labelled items get `OptionScores`,
    instructions `Generations`."""

    name: str
    model: str
    shots: int

    def answer(self, items: Sequence, prefix_cache: PrefixCache = EMPTY) -> OptionScores | Generations: ...


def evaluate(
    method: Method,
    items: Sequence[Labelled] | Sequence[Instruction],
    *,
    study: str,
    seed: int,
    by: str = "sum",
    prefix_cache: PrefixCache = EMPTY,
    **conditions,
) -> tuple[pd.DataFrame, PrefixCache]:
    """Let ``method`` answer ``items``; return one row per item, and the prefix for a longer prompt to reuse.

    ``by``: options compete on their ``sum`` of log-probabilities, or on it per ``token`` or ``byte``; written answers
    do not compete. ``gold_prob`` is the gold option's share among the options, or the probability of the right text.
    ``conditions`` become columns. Cost columns are spread evenly over the items, so that their sums are totals.
    """
    if by not in NORMALISE:
        raise ValueError(f"by must be one of {list(NORMALISE)}, not {by!r}")
    answers = method.answer(items, prefix_cache=prefix_cache)
    shared = {
        "study": study,
        "model": method.model,
        "method": method.name,
        "shots": method.shots,
        "seed": seed,
        **conditions,
    }
    if isinstance(answers, Generations):
        pairs = zip(items, answers.completions, answers.gold, strict=True)
        rows = [shared | _written_row(*pair) for pair in pairs]
    else:
        rows = [shared | _row(item, options, by) for item, options in zip(items, answers.options, strict=True)]
    spent = {name: value / len(items) for name, value in _spent(answers.cost).items()}
    return pd.DataFrame(rows).assign(**spent), answers.prefix_cache


def _spent(cost: Cost) -> dict[str, float]:
    return {
        "prefilled": cost.prefilled,
        "cached": cost.cached,
        "scored": cost.scored,
        "decoded": cost.decoded,
        "trained": cost.trained,
        "naive": cost.naive,
        "seconds": cost.seconds,
    }


def _row(item: Labelled, options: dict[str, OptionScore], by: str) -> dict[str, object]:
    strength = {label: NORMALISE[by](option) for label, option in options.items()}
    choice = max(strength, key=strength.get)
    top = max(strength.values())
    total = sum(math.exp(s - top) for s in strength.values())
    gold = options[item.label]
    return {
        "item": item.id,
        "gold": item.label,
        "choice": choice,
        "correct": choice == item.label,
        "gold_logprob": gold.logprob,
        "token_logprob": gold.logprob / gold.tokens,
        "gold_prob": math.exp(strength[item.label] - top) / total,
        "output": "",
    }


def _written_row(item: Instruction, completions: Completion, gold: OptionScore) -> dict[str, object]:
    """A written answer is right where it has ended and says what is asked, in any manner (`open_sets.right`); where
    nothing was written, ``correct`` is missing."""
    asked = bool(completions.tokens)
    return {
        "item": item.id,
        "gold": item.output,
        "choice": "",
        "correct": completions.stopped and right(item, completions.text) if asked else math.nan,
        "gold_logprob": gold.logprob,
        "token_logprob": gold.logprob / gold.tokens,
        "gold_prob": math.exp(gold.logprob),
        "output": completions.text,
    }
