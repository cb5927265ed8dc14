"""From methods to numbers: every method answers the same items; every experiment is a grid over its conditions."""

import dataclasses
import functools
import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import pandas as pd

from adaptlab.engine.generation import Completion
from adaptlab.engine.kv_sharing import EMPTY, PrefixCache
from adaptlab.engine.scoring import OptionScore
from adaptlab.evidence.frames import keep
from adaptlab.methods.answering import Generations, Generator, OptionScores
from adaptlab.tasks.instructions import answers, right
from adaptlab.tasks.records import Conversation, Instruction, Labelled

Frame = pd.DataFrame
Result = TypeVar("Result")
# the cost columns, beside `seconds`
TOKENS = ("prefilled", "cached", "scored", "decoded", "trained", "per_item", "per_option")


class Method(Protocol):
    """Whatever answers items: a prompted model, a tuned one, a baseline. Labelled items get `OptionScores`,
    instructions `Generations`."""

    name: str
    model: str
    shots: int

    def answer(self, items: Sequence, prefix_cache: PrefixCache = EMPTY) -> OptionScores | Generations: ...


def evaluate(method: Method, items: Sequence, *, prefix_cache: PrefixCache = EMPTY) -> tuple[Frame, PrefixCache]:
    """Let ``method`` answer ``items``; return one row per item, and the prefix cache for a longer prompt.

    Options compete on their sums of log-probabilities; completions do not compete. ``gold_prob`` is the gold option's
    share among the options, or the probability of the right text. Cost columns are spread evenly over the items, so
    that their sums are totals. Items with a ``cluster`` bring it along as a column.
    """
    found = method.answer(items, prefix_cache=prefix_cache)
    if isinstance(found, Generations):
        rows = [_completion_row(*row) for row in zip(items, found.completions, found.gold, strict=True)]
    else:
        rows = [_option_row(item, options) for item, options in zip(items, found.options, strict=True)]
    frame = pd.DataFrame(rows, columns=list(rows[0]) if rows else None)
    for place, (name, value) in enumerate((("model", method.model), ("method", method.name), ("shots", method.shots))):
        frame.insert(place, name, value)
    clusters = [getattr(item, "cluster", "") for item in items]
    if any(clusters):
        frame["cluster"] = [own or item for own, item in zip(clusters, frame["item"], strict=True)]
    spent = {name: getattr(found.cost, name) / max(1, len(items)) for name in (*TOKENS, "seconds")}
    return frame.assign(**spent), found.prefix_cache


def _option_row(item: Labelled, options: Mapping[str, OptionScore]) -> dict[str, Any]:
    choice = max(options, key=lambda label: options[label].logprob)
    gold, top = options[item.label], options[choice].logprob
    total = sum(math.exp(option.logprob - top) for option in options.values())
    return {
        "item": item.id,
        "gold": item.label,
        "choice": choice,
        "correct": choice == item.label,
        "gold_logprob": gold.logprob,
        "token_logprob": gold.logprob / gold.tokens,
        "gold_prob": math.exp(gold.logprob - top) / total,
        "output": "",
    }


def _completion_row(item: Instruction, completion: Completion, gold: OptionScore) -> dict[str, Any]:
    """A completion is correct where it has ended and says what is asked, in any response style
    (`instructions.right`); where nothing was generated, ``correct`` is missing."""
    generated = bool(completion.tokens)
    return {
        "item": item.id,
        "gold": item.output,
        "choice": "",
        "correct": completion.stopped and right(item, completion.text) if generated else math.nan,
        "gold_logprob": gold.logprob,
        "token_logprob": gold.logprob / gold.tokens,
        "gold_prob": math.exp(gold.logprob),
        "output": completion.text,
    }


def evaluate_turns(generator: Generator, conversations: Sequence[Conversation]) -> Frame:
    """What a model answers in each turn of the conversations: one row a turn, correct if it gives the reference.

    The second turn is about the model's own first answer, the reference about a right one: as in MT-Bench, an error in
    the first turn is carried on.
    """
    shared = {"model": generator.model, "method": generator.name, "shots": generator.shots}
    return pd.DataFrame(
        shared
        | {"turn": turn, "item": one.id, "gold": one.references[turn - 1], "output": completion.text}
        | {"correct": completion.stopped and completion.text in answers(one.references[turn - 1])}
        for turn, completions in enumerate(generator.converse(conversations), start=1)
        for one, completion in zip(conversations, completions, strict=True)
    )


def grid(
    make: Callable[..., Any],
    items: Sequence | Callable[..., Sequence],
    *,
    nested: str | Sequence[str] = (),
    measure: Callable[[Any, Sequence], Frame] | None = None,
    **axes: Sequence,
) -> Frame:
    """The one loop of every experiment: for each combination of the values of ``axes``, among them ``seed``, make a
    method, let it answer the items, and stack the rows; every axis becomes a column.

    ``make(**cell)`` gives a method, or a pair of a method and a dict of further columns. ``items``: the same for all
    cells, or a function of the cell. ``nested``: the innermost axes, along which prompts share their beginnings; each
    reuses the prefix cache of the one before. ``measure(method, items)`` gives the rows, if `evaluate` is not meant.
    A cell whose untrained method and items equal those of an earlier cell (no demonstrations, another seed) is not
    evaluated again: its rows are copied, at no cost. Raises ValueError for an axis that is empty, or that names a value
    twice.
    """
    inner = [nested] if isinstance(nested, str) else list(nested)
    _check_axes(axes, inner)
    outer = [name for name in axes if name not in inner]
    frames: list[Frame] = []
    known: list[_Cell] = []
    for values in itertools.product(*(axes[name] for name in outer)):
        prefix = EMPTY
        for more in itertools.product(*(axes[name] for name in inner)):
            cell = dict(zip((*outer, *inner), (*values, *more), strict=True))
            found = _evaluated(make(**cell), items(**cell) if callable(items) else items, measure, prefix, known)
            prefix = found.prefix_cache
            frames.append(found.frame.assign(**{name: [value] * len(found.frame) for name, value in cell.items()}))
    frame = pd.concat(frames, ignore_index=True)
    keep(frame)
    return frame


def _check_axes(axes: Mapping[str, Sequence], inner: Sequence[str]) -> None:
    for name in ("seed", *inner):
        if name not in axes:
            raise ValueError(f"a grid needs the axis {name!r}; axes: {', '.join(axes) or 'none'}")
    for name, values in axes.items():
        if isinstance(values, str) or not len(values) or any(v in values[:i] for i, v in enumerate(values)):
            raise ValueError(f"{name} must name at least one value, none of them twice; found {values!r}")


@dataclasses.dataclass
class _Cell:
    """A method that was evaluated, on which items, and what came of it."""

    method: Any
    items: Sequence
    frame: Frame
    prefix_cache: PrefixCache = EMPTY


def _evaluated(made: Any, items: Sequence, measure: Callable | None, prefix: PrefixCache, known: list[_Cell]) -> _Cell:
    method, columns = made if isinstance(made, tuple) else (made, {})
    for cell in known:
        if method == cell.method and (items is cell.items or items == cell.items):
            free = {name: 0 for name in (*TOKENS, "seconds") if name in cell.frame}
            return dataclasses.replace(cell, frame=cell.frame.assign(**free, **columns))
    if measure:
        found = _Cell(method, items, measure(method, items))
    else:
        found = _Cell(method, items, *evaluate(method, items, prefix_cache=prefix))
    # A tuned model is not kept: none is made twice, and each holds its own weights.
    if dataclasses.is_dataclass(method) and getattr(method, "trained", None) is None:
        known.append(found)
    return dataclasses.replace(found, frame=found.frame.assign(**columns))


def align_items(frames: Mapping[str, Frame]) -> Frame:
    """Frames of several tasks as one with the column ``task``; items are named by their place among the items of their
    task, so that a claim can compare tasks."""
    return pd.concat(
        [
            frame.assign(task=task, item="item " + (frame["item"].factorize()[0] + 1).astype(str))
            for task, frame in frames.items()
        ],
        ignore_index=True,
    )


def once(function: Callable[..., Result]) -> Callable[..., Result]:
    """The function, computed once for each combination of arguments, whether they are named or not."""
    order, known = inspect.signature(function), functools.cache(function)

    @functools.wraps(function)
    def remembered(*given: object, **named: object) -> Result:
        return known(*order.bind(*given, **named).arguments.values())

    return remembered
