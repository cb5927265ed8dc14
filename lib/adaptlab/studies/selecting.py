"""Does it matter which demonstrations are shown? Ways to choose them, on the axes of every other curve."""

from collections.abc import Callable, Sequence

import pandas as pd

from adaptlab.engine.lm import LM
from adaptlab.evidence.evaluate import evaluate
from adaptlab.methods.prompting import Selected, demonstrate
from adaptlab.methods.selection import medoids, nearest_bm25, nearest_embedding, random_choice
from adaptlab.studies.icl_scaling import Cell, balanced, in_context
from adaptlab.tasks.records import Labelled
from adaptlab.tasks.splits import LabelledSet

Texts = Sequence[str]
# For every query, places in the pool. The nearest know no draw: they are run for one seed, that is one deal of letters.
WAYS: dict[str, Callable[[LM, Texts, Texts, int, int], list[list[int]]]] = {
    "random": lambda lm, pool, queries, k, seed: random_choice(pool, queries, k, seed),
    "diverse": lambda lm, pool, queries, k, seed: [medoids(lm, pool, k, seed, queries)] * len(queries),
    "nearest, words": lambda lm, pool, queries, k, seed: nearest_bm25(pool, queries, k),
    "nearest, states": lambda lm, pool, queries, k, seed: nearest_embedding(lm, pool, queries, k),
}
DRAWN = ("random", "diverse")


def selection_curve(
    lm: LM,
    data: LabelledSet,
    shots: Sequence[int],
    seeds: Sequence[int],
    items: int = 0,
    label_mapping: str = "letters",
    ways: Sequence[str] = tuple(WAYS),
) -> pd.DataFrame:
    """Accuracy against shots for every way to choose demonstrations; column ``way``.

    ``random`` and ``diverse`` show all items the same page, whose computation is shared; for the nearest, each item has
    a page of its own, and the bill shows it.
    """
    test, frames = balanced(data.test, items), []
    for way in ways:
        if way not in WAYS:
            raise ValueError(f"ways must be among {list(WAYS)}, not {way!r}")
        for seed in seeds if way in DRAWN else seeds[:1]:
            for k in sorted(shots):
                method = _selected(lm, data, way, label_mapping, seed, k, test)
                frames.append(evaluate(method, test, study="selection", seed=seed, way=way, labels=label_mapping)[0])
    return pd.concat(frames, ignore_index=True)


def _selected(
    lm: LM, data: LabelledSet, way: str, label_mapping: str, seed: int, k: int, test: Sequence[Labelled]
) -> Selected:
    plain = in_context(lm, data, Cell(label_mapping, "plain", seed), 0)
    places = WAYS[way](lm, [item.text for item in data.pool], [item.text for item in test], k, seed)
    shown = (demonstrate([data.pool[i] for i in row], plain.label_names, label_mapping, seed) for row in places)
    chosen = {item.text: row for item, row in zip(test, shown, strict=True)}
    return Selected(lm, plain.instruction, chosen[test[0].text], plain.label_names, plain.style, chosen)
