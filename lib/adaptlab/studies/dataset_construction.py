"""For notebook 01: instruction data of three sources on the same axes, requests made harder, a world's hierarchy."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adaptlab.engine.lm import LM
from adaptlab.evidence.stats import proportion_interval
from adaptlab.methods.answering import shown
from adaptlab.methods.evol_instruct import (
    OPERATIONS,
    Rewritten,
    as_records,
    by_model,
    carried_out,
    eliminated,
    simple_request,
)
from adaptlab.methods.self_instruct import Made
from adaptlab.tasks.datacard import sample_records, statistics
from adaptlab.tasks.instructions import LIST_TASKS, ListRequest, list_answer
from adaptlab.tasks.knowledge import ALL
from adaptlab.tasks.records import Instruction
from adaptlab.tasks.templates import dataset, solve_text
from adaptlab.tasks.words import VOCABULARIES, Vocabulary, fresh_words
from adaptlab.tasks.worlds import World
from adaptlab.tasks.worlds_structure import ancestors


def templated(vocabulary: str, seed: int, n: int = 48) -> tuple[Instruction, ...]:
    """``n`` records filled into templates: the first three of each list task, which the study model has read."""
    return dataset(seed, n, tuple(LIST_TASKS), VOCABULARIES[vocabulary]("train"), templates=3)


def world_words(vocabulary: str) -> Vocabulary:
    """Where worlds take their words from: the study model's test nouns, which it never read, or fresh inventions."""
    return VOCABULARIES["study"]("test") if vocabulary == "study" else fresh_words


def survived(runs: Mapping[int, Made]) -> pd.DataFrame:
    """How many drafts came to each filter and how many passed, all runs together."""
    rows = pd.concat([pd.DataFrame(made.survival) for made in runs.values()])
    table = rows.groupby("filter", sort=False)[["in", "out"]].sum()
    return table.assign(share=table["out"] / table["in"])


def known_answer(record: Instruction) -> str | None:
    """The right answer, where a program can tell: requests in the words of a template, and the seed set's lists."""
    return list_answer(record) or (None if record.input.strip() else solve_text(record.instruction))


def compare(sources: Mapping[str, Sequence[Instruction]], seed: int = 0) -> pd.DataFrame:
    """One row a source, all on as many records as the smallest has: lengths, diversity, duplicates, right answers.

    ``right`` is the share among the ``checkable`` ones: those for which a program knows the answer.
    """
    n = min(map(len, sources.values()))
    rows = {}
    for name, records in sources.items():
        told = statistics(records, sample=n, seed=seed)
        answers = [
            (one.output, answer)
            for one in sample_records(records, n, seed)
            if (answer := known_answer(one)) is not None
        ]
        rows[name] = {
            "records": n,
            "words asked": told["words"]["instruction"]["mean"],
            "words answered": told["words"]["output"]["mean"],
            "distinct words": told["distinct_1"],
            "distinct pairs": told["distinct_2"],
            "nearest ROUGE-L": told["nearest_rouge_l"],
            "duplicates": told["exact_duplicates"],
            "checkable": len(answers),
            "right": sum(a == b for a, b in answers) / len(answers) if answers else None,
        }
    return pd.DataFrame(rows).T


def error_frame(model: str, sources: Mapping[str, Mapping[int, Sequence[Instruction]]]) -> pd.DataFrame:
    """Rows for a claim: is the answer right? ``sources`` holds records by source and seed; of each, as many as the
    smallest has checkable ones, in random order. A record's number is its item."""
    checked = {
        (source, seed): _correctness(records, seed)
        for source, runs in sources.items()
        for seed, records in runs.items()
    }
    n = min(map(len, checked.values()))
    if n < 2:
        raise ValueError(
            f"a run of the model has {n} records that a program can check, not two; raise prompts or rounds"
        )
    return pd.DataFrame(
        {"model": model, "source": source, "seed": seed, "item": item, "correct": correct}
        for (source, seed), correctness in checked.items()
        for item, correct in enumerate(correctness[:n])
    )


def _correctness(records: Sequence[Instruction], seed: int) -> list[bool]:
    found = [one.output == answer for one in records if (answer := known_answer(one)) is not None]
    return random.Random(f"checked {seed}").sample(found, len(found))


MEASURES = ("words asked", "words answered", "distinct pairs", "nearest ROUGE-L", "duplicates", "right")


def source_bars(table: pd.DataFrame) -> Figure:
    """A row of panels, one a measure of `compare`, with a bar a source and its value behind it; shares run from 0 to 1.

    ``right`` has a 95 % Wilson interval and the number of checkable records.
    """
    figure, axes = plt.subplots(1, len(MEASURES), figsize=(13, 1 + 0.5 * len(table)), sharey=True, layout="constrained")
    for ax, measure in zip(axes, MEASURES, strict=True):
        values = table[measure].astype(float)
        bars = ax.barh(table.index, values.fillna(0), color=[f"C{i}" for i in range(len(table))], height=0.6)
        if measure != "right":
            ax.bar_label(bars, [f"{value:.2f}" for value in values], padding=3, fontsize=9)
        ax.set_title(measure, fontsize=10)
        ax.set_xlim(0, 1 if values.max() <= 1 else None)
        ax.spines[["top", "right"]].set_visible(False)
    for place, (n, share) in enumerate(zip(table["checkable"], table["right"], strict=True)):
        if n:
            interval = proportion_interval(round(share * n), int(n))
            axes[-1].plot([interval.low, interval.high], [place] * 2, color="0.5", linewidth=1.5)
        known = f"{share:.2f}, n = {n:.0f}" if n else "not known"
        axes[-1].text(1.03, place, known, va="center", fontsize=9)
    axes[0].invert_yaxis()
    return figure


def evolved(vocabulary: str, seed: int, n: int) -> dict[str, list[ListRequest]]:
    """``n`` simple requests ("original"), and what the rule of each operation of Evol-Instruct makes of them."""
    rng, words = random.Random(f"evolved {seed}"), VOCABULARIES[vocabulary]("test")
    original = [simple_request(rng, words) for _ in range(n)]
    made = {name: [rule(rng, one, words) for one in original] for name, rule in OPERATIONS.items()}
    return {"original": original} | made


def drafts(lm: LM, vocabulary: str, seed: int, made: Mapping[str, Sequence[ListRequest]], n: int = 3) -> pd.DataFrame:
    """A row for each request that a rule or the model rewrote, with the step that ``eliminated`` it, whether it was
    ``kept``, and whether it is what the operation asks for (``as asked``); ``made`` is what `evolved` gives. The model
    answers each behind ``n`` of its kind, with their answers."""
    rng, rows = random.Random(f"drafts {seed}"), []
    examples = evolved(vocabulary, seed + 10_000, n)
    for operation in OPERATIONS:
        answerer = shown(lm, as_records(examples[operation]))
        pairs = zip(made["original"], made[operation], strict=True)
        written = {
            "rule": [Rewritten(one, new.question) for one, new in pairs],
            "model": by_model(lm, rng, operation, made["original"], VOCABULARIES[vocabulary]("train")),
        }
        for by, some in written.items():
            answers = answerer.complete([one.text for one in some])
            for i, (one, answer) in enumerate(zip(some, answers, strict=True), 1):
                row = {"operation": operation, "by": by, "seed": seed, "item": f"request {i}", "model": lm.name}
                row |= {"original": one.original.question, "text": one.text, "eliminated": eliminated(one, answer)}
                rows.append(row | {"as asked": carried_out(operation, one)})
    frame = pd.DataFrame(rows)
    return frame.assign(kept=frame.eliminated == "")


STATED = {"color": "0.65", "linewidth": 1}
ABOUT, INFERRED = {"edgecolor": "C1"}, {"edgecolor": "C1", "linestyle": (0, (3, 2))}


def hierarchy(world: World, about: str = "", ax: Axes | None = None) -> Axes:
    """The categories of a structure as trees, parents above; lines are what documents say.

    Dashed boxes show which categories ``about``, in the solid box, belongs to without any document saying so; left
    out, it is the one with the longest line of ancestors.
    """
    axes = ax or plt.subplots(figsize=(9, 5))[1]
    parent = {fact.a: fact.b for fact in sorted(world.stated, key=lambda fact: fact.sentence) if fact.form == ALL}
    about = about or max(sorted(parent), key=lambda name: len(ancestors(parent, name)))
    boxes = {about: ABOUT} | dict.fromkeys(ancestors(parent, about)[1:], INFERRED)
    positions = _positions(parent)
    for child, over in parent.items():
        axes.plot(*zip(positions[child], positions[over], strict=True), **STATED, zorder=1)
    inches = axes.get_position().width * axes.figure.get_figwidth()
    size = min(9, 20 * inches / (1 + max(x for x, _ in positions.values())))  # points: else neighbours overlap
    for name, (x, y) in positions.items():
        box = {"facecolor": "white", "pad": 2} | boxes.get(name, {"edgecolor": "none"})
        axes.text(x, y, name, ha="center", va="center", fontsize=size, color="0.25", bbox=box, zorder=2)
    axes.set_axis_off()
    axes.margins(0.06, 0.1)
    return axes


def _positions(parent: dict[str, str]) -> dict[str, tuple[float, float]]:
    """Leaves side by side in the order of their trees, everybody else above the middle of its children."""
    children = defaultdict(list)
    for child, over in parent.items():
        children[over].append(child)
    positions: dict[str, tuple[float, float]] = {}

    def place(name: str, x: float, depth: int) -> float:
        """Where the next leaf to the right of this family goes."""
        right = x
        for child in children[name]:
            right = place(child, right, depth + 1)
        inner = [positions[child][0] for child in children[name]]
        positions[name] = ((inner[0] + inner[-1]) / 2 if inner else x, -depth)
        return max(right, x + 1)

    x = 0.0
    for root in sorted(set(parent.values()) - set(parent)):
        x = place(root, x, 0)
    return positions
