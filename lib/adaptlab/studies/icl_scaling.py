"""Few-shot curves: numbers of demonstrations x draws of them x their orders x prompt formats, in one call."""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from adaptlab.engine.cache import EMPTY
from adaptlab.engine.lm import LM
from adaptlab.evidence.evaluate import Method, evaluate
from adaptlab.methods.ablations import ABLATIONS
from adaptlab.methods.baselines import NaiveBayes, WordForWord
from adaptlab.methods.prompting import CHAT, LABEL_MAPPINGS, SHIFTED, Chooser, demonstrate, draw, name_labels
from adaptlab.methods.writing import Generator, draw_records
from adaptlab.tasks.prompts import FORMATS
from adaptlab.tasks.records import Instruction, Labelled
from adaptlab.tasks.splits import LabelledSet, OpenSet

FEW = 6  # demonstrations whose orders are few enough to list


@dataclass(frozen=True)
class IclStudy:
    """The settings of a k-shot study, checked where they are made.

    ``shots``: numbers of demonstrations; ``seeds``: draws of them; ``items``: how many test items (balanced, the same
    for every setting), 0 for all; ``orders``: 0 is the order of the draw, any other number a permutation of it;
    ``styles``: prompt formats, the data's own if none is named. Labelled data: ``label_mappings`` are what the classes
    are called (`prompting.LABEL_MAPPINGS`). Written answers: ``answers`` are what demonstrations hold
    (`ablations.ABLATIONS`), and ``writes`` False scores the right answer without writing one.
    """

    shots: Sequence[int]
    seeds: Sequence[int]
    items: int = 0
    label_mappings: Sequence[str] = LABEL_MAPPINGS
    answers: Sequence[str] = ("correct",)
    styles: Sequence[str] = ()
    orders: Sequence[int] = (0,)
    writes: bool = True
    name: str = "icl"

    def __post_init__(self) -> None:
        for field in ("shots", "seeds", "label_mappings", "answers", "orders"):
            values = getattr(self, field)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{field} must name at least one value, none of them twice; found {list(values)}")
        if min(self.shots) < 0 or self.items < 0:
            raise ValueError(f"shots and items cannot be negative; found shots={list(self.shots)}, items={self.items}")
        for values, allowed in (
            (self.styles, [*FORMATS, CHAT]),
            (self.label_mappings, LABEL_MAPPINGS + SHIFTED),
            (self.answers, ABLATIONS),
        ):
            for value in values:
                if value not in allowed:
                    raise ValueError(f"{value!r} is not one of {list(allowed)}")


@dataclass(frozen=True)
class Cell:
    """One line of a study: what labels or answers are shown, in which format, from which draw, in which order."""

    shown: str
    style: str
    seed: int
    order: int = 0


def cells(data: LabelledSet | OpenSet, study: IclStudy) -> list[Cell]:
    """Every line of the study on these data."""
    shown = study.label_mappings if isinstance(data, LabelledSet) else study.answers
    if isinstance(data, OpenSet) and CHAT in study.styles:
        raise ValueError(f"written answers come in the formats {list(FORMATS)}; 'chat' is for labelled data")
    styles = study.styles or (data.prompt_format if isinstance(data, OpenSet) else "plain",)
    return [Cell(*cell) for cell in itertools.product(shown, styles, study.seeds, study.orders)]


def icl_curve(lm: LM, data: LabelledSet | OpenSet, study: IclStudy) -> pd.DataFrame:
    """Every line of the study at every number of shots, on the same test items throughout.

    Demonstrations are nested, and each prompt reuses the keys and values of the shorter one before it. A prompt that
    does not fit into the model's context is refused; `fitting` tells beforehand where a curve has to end.
    """
    test = _test(data, study)
    _pool_suffices(data, study)
    frames = []
    for cell in cells(data, study):
        prefix, labelled = EMPTY, isinstance(data, LabelledSet)
        conditions = {"labels": cell.shown, "format": cell.style, "order": cell.order}
        if not labelled:
            conditions["answers"] = conditions.pop("labels")
        for k in sorted(study.shots):
            method = method_of(lm, data, study, cell, k)
            frame, prefix = evaluate(
                method, test, study=study.name, seed=cell.seed, prefix_cache=prefix, task=data.name, **conditions
            )
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def task_curves(lm: LM, tasks: Mapping[str, LabelledSet | OpenSet], study: IclStudy) -> pd.DataFrame:
    """The same study on several tasks, as one frame with the column ``task``; items are named by their place, so that
    claims can compare tasks."""
    return by_place([icl_curve(lm, data, study).assign(task=name) for name, data in tasks.items()])


def by_place(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Frames of several tasks as one, each item named by its place among the items of its task."""
    return pd.concat(
        [frame.assign(item="item " + (frame["item"].factorize()[0] + 1).astype(str)) for frame in frames],
        ignore_index=True,
    )


def fitting(lm: LM, data: LabelledSet | OpenSet, study: IclStudy) -> tuple[IclStudy, list[int]]:
    """The study without the numbers of shots that the model has no room for, and these numbers.

    The rule: a number of shots stays if, on every line of the study, the prompt of the longest test item fits into the
    context with its longest answer and with what may be written; so no line ends earlier than the others. Raises
    ValueError where not even the smallest number fits.
    """
    test = _test(data, study)
    _pool_suffices(data, study)
    # Which item needs most depends on whether its answer is scored or room is kept for writing one: look at both.
    longest = [max(test, key=lambda item: len(lm.encode(text(item)))) for text in (_asked, _text)]
    kept, left_out = [], []
    for k in sorted(study.shots):
        methods = [method_of(lm, data, study, cell, k) for cell in cells(data, study)]
        fits = all(_tokens(lm, method, item) <= lm.context_length for method in methods for item in longest)
        (kept if fits else left_out).append(k)
    if not kept:
        raise ValueError(f"{lm.name} has room for {lm.context_length} tokens: too few for {min(left_out)} shots")
    return replace(study, shots=kept), left_out


def _asked(item: Labelled | Instruction) -> str:
    return item.text if isinstance(item, Labelled) else item.query


def _text(item: Labelled | Instruction) -> str:
    return item.text if isinstance(item, Labelled) else f"{item.query} {item.output}"


def _tokens(lm: LM, method: Chooser | Generator, item: Labelled | Instruction) -> int:
    if isinstance(method, Chooser):
        asked = method.question(item.text)
        return max(len(lm.encode(asked.context + option)) for option in asked.options)
    prompt = method.prompt(item.query)
    room = method.decoding.longest if method.writes else 0
    return max(len(lm.encode(f"{prompt}{FORMATS[method.style].separator}{item.output}")), len(lm.encode(prompt)) + room)


def _pool_suffices(data: LabelledSet | OpenSet, study: IclStudy) -> None:
    """Too many shots for the pool should show now, not at the last k."""
    (draw if isinstance(data, LabelledSet) else draw_records)(data.pool, max(study.shots), seed=0)


def method_of(lm: LM, data: LabelledSet | OpenSet, study: IclStudy, cell: Cell, k: int) -> Chooser | Generator:
    """The prompted model of one line of the study with ``k`` demonstrations."""
    if isinstance(data, LabelledSet):
        return in_context(lm, data, cell, k)
    records = reordered(draw_records(data.pool, k, cell.seed), cell.order)
    shown = ABLATIONS[cell.shown](FORMATS[cell.style], records, data.pool, cell.seed)
    return Generator(lm, shown, k, cell.style, writes=study.writes)


def in_context(lm: LM, data: LabelledSet, cell: Cell, k: int) -> Chooser:
    """The model that sorts behind ``k`` demonstrations of labelled data."""
    label_names = name_labels(data.labels, cell.shown, cell.seed)
    listed = sorted(label_names.values())
    instruction = data.instruction.replace("{names}", f"{', '.join(listed[:-1])} or {listed[-1]}")
    demonstrations = demonstrate(draw(data.pool, k, cell.seed), label_names, cell.shown, cell.seed)
    return Chooser(lm, instruction, tuple(reordered(demonstrations, cell.order)), label_names, cell.style)


def reordered(drawn: Sequence, order: int) -> list:
    """The demonstrations in an order of their own for each number; 0 is the order of the draw.

    Few demonstrations have few orders: they are all used before one comes again.
    """
    if not order or len(drawn) < 2:
        return list(drawn)
    if len(drawn) > FEW:
        return random.Random(f"order {order}").sample(list(drawn), len(drawn))
    _, *others = itertools.permutations(drawn)
    random.Random("orders").shuffle(others)
    return list([*others, tuple(drawn)][(order - 1) % (len(others) + 1)])


def baseline_curve(data: LabelledSet | OpenSet, study: IclStudy) -> pd.DataFrame:
    """The same draws of demonstrations, the same items, and no language model: naive Bayes on words for labelled data,
    a dictionary of what the demonstrations give away for written answers."""
    test, frames = _test(data, study), []
    for seed in study.seeds:
        for k in sorted(study.shots):
            if isinstance(data, LabelledSet):
                method: Method = NaiveBayes(tuple(draw(data.pool, k, seed)), data.labels)
            else:
                method = WordForWord(tuple(draw_records(data.pool, k, seed)))
            conditions = {"labels": method.name, "task": method.name}
            frames.append(evaluate(method, test, study=study.name, seed=seed, **conditions)[0])
    return pd.concat(frames, ignore_index=True)


def _test(data: LabelledSet | OpenSet, study: IclStudy) -> list:
    return data.items(study.items)


def balanced(items: Sequence[Labelled], n: int) -> list[Labelled]:
    """``n`` items, class by class in turn; all of them for 0."""
    if n > len(items):
        raise ValueError(_too_many(items, n))
    return draw(items, n, seed=0) if n else list(items)


def _too_many(items: Sequence, n: int) -> str:
    return f"items must be at most {len(items)}, the number of test items, or 0 for all; found {n}"
