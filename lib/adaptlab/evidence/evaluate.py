"""The one road from a method to numbers: every method answers the same items and yields one row per item."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from adaptlab.engine.cache import EMPTY, Prefix
from adaptlab.engine.models import LM
from adaptlab.engine.scoring import Option
from adaptlab.methods.baselines import NaiveBayes
from adaptlab.methods.prompting import CHAT, FORMATS, LABELLINGS, Answers, InContext, demonstrate, draw, names
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


@dataclass(frozen=True)
class IclStudy:
    """The settings of a k-shot study, checked where they are made.

    ``shots``: numbers of demonstrations; ``seeds``: draws of them; ``items``: how many test items (balanced, the same
    for every setting), 0 for all; ``labellings``: what the classes are called (`prompting.LABELLINGS`);
    ``style``: a prompt format.
    """

    shots: Sequence[int]
    seeds: Sequence[int]
    items: int = 0
    labellings: Sequence[str] = LABELLINGS
    style: str = "plain"
    name: str = "icl"

    def __post_init__(self) -> None:
        for field in ("shots", "seeds", "labellings"):
            values = getattr(self, field)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{field} must name at least one value, none of them twice; found {list(values)}")
        if min(self.shots) < 0 or self.items < 0:
            raise ValueError(f"shots and items cannot be negative; found shots={list(self.shots)}, items={self.items}")
        for value, allowed in [(self.style, [*FORMATS, CHAT]), *((x, LABELLINGS) for x in self.labellings)]:
            if value not in allowed:
                raise ValueError(f"{value!r} is not one of {list(allowed)}")


def icl_curve(lm: LM, data: LabelledSet, study: IclStudy) -> pd.DataFrame:
    """Accuracy against the number of demonstrations: labellings x seeds x shots, on the same test items throughout.

    Demonstrations are nested, and each prompt reuses the keys and values of the shorter one before it.
    """
    test = balanced(data.test, study.items)
    draw(data.pool, max(study.shots), seed=0)  # too many shots for the pool should show now, not at the last k
    frames = []
    for labelling in study.labellings:
        for seed in study.seeds:
            prefix = EMPTY
            for k in sorted(study.shots):
                method = in_context(lm, data, study, labelling, seed, k)
                conditions = {"labels": labelling, "format": study.style}
                frame, prefix = evaluate(method, test, study=study.name, seed=seed, reuse=prefix, **conditions)
                frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def in_context(lm: LM, data: LabelledSet, study: IclStudy, labelling: str, seed: int, k: int) -> InContext:
    """The prompted model of one cell of the study."""
    called = names(data.labels, labelling, seed)
    listed = sorted(called.values())
    instruction = data.instruction.replace("{names}", f"{', '.join(listed[:-1])} or {listed[-1]}")
    demonstrations = demonstrate(draw(data.pool, k, seed), called, labelling, seed)
    return InContext(lm, instruction, demonstrations, called, study.style)


def baseline_curve(data: LabelledSet, study: IclStudy) -> pd.DataFrame:
    """The same draws of demonstrations, the same items, and no language model: naive Bayes on words."""
    test = balanced(data.test, study.items)
    frames = []
    for seed in study.seeds:
        for k in sorted(study.shots):
            method = NaiveBayes(tuple(draw(data.pool, k, seed)), data.labels)
            frames.append(evaluate(method, test, study=study.name, seed=seed, labels=method.name)[0])
    return pd.concat(frames, ignore_index=True)


def balanced(items: Sequence[Labelled], n: int) -> list[Labelled]:
    """``n`` items, class by class in turn; all of them for 0."""
    if n > len(items):
        raise ValueError(f"items must be at most {len(items)}, the number of test items, or 0 for all; found {n}")
    return draw(items, n, seed=0) if n else list(items)
