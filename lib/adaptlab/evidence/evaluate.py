"""The one road from a method to numbers: every method answers the same items and yields one row per item."""

import math
from collections.abc import Sequence
from typing import Protocol

import pandas as pd

from adaptlab.engine.cache import EMPTY, Prefix
from adaptlab.engine.models import LM
from adaptlab.engine.scoring import Option
from adaptlab.methods.baselines import NaiveBayes
from adaptlab.methods.prompting import Answers, InContext, demonstrate, draw, names
from adaptlab.tasks.records import Labelled, LabelledSet

NORMALISE = {
    "sum": lambda option: option.logprob,
    "token": lambda option: option.logprob / option.tokens,
    "byte": lambda option: option.logprob / option.bytes,
}


class Method(Protocol):
    """Whatever answers items: a prompted model, a tuned one, a baseline."""

    name: str
    model: str
    shots: int

    def answer(self, items: Sequence[Labelled], reuse: Prefix = EMPTY) -> Answers: ...


def evaluate(
    method: Method,
    items: Sequence[Labelled],
    *,
    study: str,
    seed: int,
    by: str = "sum",
    reuse: Prefix = EMPTY,
    **conditions,
) -> tuple[pd.DataFrame, Prefix]:
    """Let ``method`` answer ``items``; return one row per item, and the prefix for a longer prompt to reuse.

    ``by``: options compete on their ``sum`` of log-probabilities, or on it per ``token`` or ``byte``.
    ``conditions`` become columns. Cost columns are spread evenly over the items, so that their sums are totals.
    """
    if by not in NORMALISE:
        raise ValueError(f"by must be one of {list(NORMALISE)}, not {by!r}")
    answers = method.answer(items, reuse=reuse)
    shared = {
        "study": study,
        "model": method.model,
        "method": method.name,
        "shots": method.shots,
        "seed": seed,
        **conditions,
    }
    rows = [shared | _row(item, options, by) for item, options in zip(items, answers.options, strict=True)]
    cost = answers.cost
    spent = {
        "prefilled": cost.prefilled,
        "cached": cost.reused,
        "scored": cost.scored,
        "decoded": 0,
        "trained": 0,
        "naive": cost.naive,
        "seconds": cost.seconds,
    }
    return pd.DataFrame(rows).assign(**{name: value / len(items) for name, value in spent.items()}), answers.prefix


def _row(item: Labelled, options: dict[str, Option], by: str) -> dict[str, object]:
    strength = {label: NORMALISE[by](option) for label, option in options.items()}
    choice = max(strength, key=strength.get)
    top = max(strength.values())
    total = sum(math.exp(s - top) for s in strength.values())
    return {
        "item": item.id,
        "gold": item.label,
        "choice": choice,
        "correct": choice == item.label,
        "gold_logprob": options[item.label].logprob,
        "gold_prob": math.exp(strength[item.label] - top) / total,
        "output": "",
    }


def icl_curve(
    lm: LM,
    data: LabelledSet,
    *,
    study: str,
    instruction: str,
    shots: Sequence[int],
    seeds: Sequence[int],
    labellings: Sequence[str],
    items: int = 0,
    style: str = "plain",
) -> pd.DataFrame:
    """Accuracy against the number of demonstrations: labellings x seeds x shots, on the same test items throughout.

    Demonstrations are nested, and each prompt reuses the keys and values of the shorter one before it.
    ``instruction`` may hold ``{names}``, the classes' names in their order in the prompt. ``items``: how many test
    items (balanced, the same for every setting); 0 means all.
    """
    test = balanced(data.test, items)
    frames = []
    for labelling in labellings:
        for seed in seeds:
            called = names(data.labels, labelling, seed)
            drawn = draw(data.pool, max(shots), seed)
            demonstrations = demonstrate(drawn, called, labelling, seed)
            listed = instruction.replace("{names}", _listed(sorted(called.values())))
            prefix = EMPTY
            for k in sorted(shots):
                method = InContext(lm, listed, demonstrations[:k], called, style)
                frame, prefix = evaluate(
                    method, test, study=study, seed=seed, reuse=prefix, labels=labelling, format=style
                )
                frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def baseline_curve(
    data: LabelledSet, *, study: str, shots: Sequence[int], seeds: Sequence[int], items: int = 0
) -> pd.DataFrame:
    """The same draws of demonstrations, the same items, and no language model: naive Bayes on words."""
    test = balanced(data.test, items)
    frames = [
        evaluate(NaiveBayes(tuple(draw(data.pool, k, seed)), data.labels), test, study=study, seed=seed, labels="any")[
            0
        ]
        for seed in seeds
        for k in shots
    ]
    return pd.concat(frames, ignore_index=True)


def balanced(items: Sequence[Labelled], n: int) -> list[Labelled]:
    """The first ``n`` items, class by class in turn; all of them for 0."""
    return draw(items, n, seed=0) if n else list(items)


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
