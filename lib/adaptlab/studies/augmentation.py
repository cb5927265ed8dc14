"""For notebooks 05, 05b and 05c: the texts of each condition, and when training pays."""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adaptlab.engine.lm import LM
from adaptlab.methods import augmentation, distillation
from adaptlab.methods.augmentation import Inferences
from adaptlab.methods.tuning import Tuned
from adaptlab.tasks.knowledge import Fact
from adaptlab.tasks.records import check_choice
from adaptlab.tasks.worlds import Document, Item, World, four_sentences

Frame = pd.DataFrame


BESIDE = ("own inferences", "wrong relation", "wrong partner", "oracle")


def check_beside(names: Sequence[str]) -> None:
    """Raise FieldError for a name of texts to train on beside documents that is none of `BESIDE`."""
    for name in names:
        check_choice("beside", name, BESIDE)


def one_each(world: World) -> tuple[Document, ...]:
    """One document of each set of facts, the first in order of the world: as much as has to be read to know all."""
    found: dict[tuple[Fact, ...], Document] = {}
    for document in world.documents:
        found.setdefault(document.facts, document)
    return tuple(found.values())


def questions(world: World, asked: str, seed: int = 0) -> tuple[Item, ...]:
    """The items of a split of the world; those of "sentence" are made of its reversals."""
    if asked == "sentence":
        return four_sentences(world, seed)
    return tuple(item for item in world.items if item.split == asked)


def to_infer(world: World, split: str) -> list[Fact]:
    """What the questions of a split ask for."""
    return list(dict.fromkeys(item.gold.fact for item in world.items if item.split == split))


def controls(world: World, wanted: Sequence[Fact], seed: int) -> dict[str, Callable[[], list[str]]]:
    """Sentences that no model has inferred, by the name of the condition."""
    return {
        "+ oracle": lambda: augmentation.oracle(wanted),
        "+ wrong relation": lambda: augmentation.wrong_relation(wanted, world, seed),
        "+ wrong partner": lambda: augmentation.wrong_partner(wanted, world, seed),
    }


def slanted(figure: Figure) -> Figure:
    """The figure with long names of conditions set so that they stand clear of each other."""
    for axes in figure.axes:
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")
    return figure


# --- when training pays -----------------------------------------------------------------------------------------------

BACKWARD = 3  # times the work of reading a token, for a token that is trained: forward, and backward twice as much


def work_before(tuned: Sequence[Tuned], inferred: Sequence[Inferences] = ()) -> float:
    """Tokens of work before the first use, mean over seeds: to infer (read and written) and to train (each token three
    times, once forward and twice backward)."""
    spent = [BACKWARD * one.trained.tokens for one in tuned]
    return float(np.mean(spent) + (np.mean([one.cost.computed for one in inferred]) if inferred else 0))


def break_even(frame: Frame, once: dict[str, float], reader: str = "in context") -> Frame:
    """After how many uses each tuned condition has cost less than ``reader``, in tokens of work.

    ``frame``: rows of `evaluate`, with a column ``condition``. A use is a question. It costs the reader all that stands
    in its prompt ("read at each use"), or, with its documents' keys and values kept, the question alone, as it
    costs the tuned model. ``once``: tokens of work before the first use: those that were inferred from and written, and
    three times those that were trained. Infinite where a use saves nothing.
    """
    uses = frame.groupby("condition", sort=False)[["per_item", "scored"]].mean()
    rows = []
    for condition, spent in once.items():
        saved = {
            "read at each use": uses.per_item[reader] - uses.per_item[condition],
            "kept as keys and values": uses.scored[reader] - uses.scored[condition],
        }
        for how, tokens in saved.items():
            rows.append((condition, how, spent, tokens, spent / tokens if tokens > 0.5 else np.inf))
    return pd.DataFrame(rows, columns=["condition", "documents", "once", "saved a use", "uses"])


def cost_lines(
    frame: Frame, once: dict[str, float], most: float, reader: str = "in context", ax: Axes | None = None
) -> Axes:
    """Tokens of work over the number of uses: one line for reading every time, one for each tuned condition."""
    axes = ax or plt.subplots(figsize=(8, 4.5), layout="constrained")[1]
    uses, per_use = np.linspace(0, most, 60), frame.groupby("condition", sort=False).per_item.mean()
    palette = iter(sns.color_palette("colorblind"))
    for condition, spent in {reader: 0.0, **once}.items():
        line = spent + per_use[condition] * uses
        axes.plot(uses, line / 1000, color=next(palette), label=condition, linewidth=2)
        axes.annotate(condition, (uses[-1], line[-1] / 1000), xytext=(6, 0), textcoords="offset points", va="center")
    axes.set(xlabel="uses (questions)", ylabel="thousand tokens of work")
    axes.margins(x=0.02)
    sns.despine(ax=axes)
    return axes


def left_to_learn(teacher: LM, student: LM, documents: Sequence[Document]) -> list[float]:
    """How far a student is from a teacher who reads each document, on what follows from the far end of its fact: KL in
    nats a token, one for each document."""
    facts = [document.facts[0] for document in documents]
    ends = [fact.reversed.sentence.removeprefix(fact.b) for fact in facts]
    tokens = [
        teacher.encode(f"{fact.b}{end}")[len(teacher.encode(fact.b)) :] for fact, end in zip(facts, ends, strict=True)
    ]
    asked = [f"{augmentation.LEAD} {fact.b}" for fact in facts]
    lessons = distillation.judged(teacher, [f"{document.text} " for document in documents], asked, tokens, own=False)
    with torch.inference_mode():
        found = distillation.divergence(student.model, lessons).tolist()
    return [nats / lesson.weight for nats, lesson in zip(found, lessons, strict=True)]


def gain_and_loss(places: dict[str, tuple[float, float]], ax: Axes | None = None) -> Axes:
    """What is lost (across) and gained (up), in shares right: one named dot for each way of training."""
    axes = ax or plt.subplots(figsize=(7, 4.5), layout="constrained")[1]
    for (name, (lost, gained)), colour in zip(places.items(), sns.color_palette("colorblind"), strict=False):
        axes.plot(lost, gained, "o", color=colour, markersize=9)
        axes.annotate(name, (lost, gained), xytext=(8, 4), textcoords="offset points")
    axes.axvline(0, color="0.6", linewidth=1)
    axes.axhline(0, color="0.6", linewidth=1)
    axes.set(xlabel="accuracy lost in other abilities", ylabel="right sentences gained")
    axes.margins(0.2)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -0.05), max(high, 0.1))  # a smaller loss is none that so few items can show
    sns.despine(ax=axes)
    return axes
