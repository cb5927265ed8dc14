"""For notebooks 05, 05b and 05c: the texts of each condition, and when training pays."""

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adaptlab.engine.lm import LM
from adaptlab.methods import augmentation, distillation
from adaptlab.methods.augmentation import INFERRED, STATED, UNREADABLE, WRONG, Inferences
from adaptlab.methods.tuning import BACKWARD, Tuned
from adaptlab.tasks.fact_reading import read_fact
from adaptlab.tasks.knowledge import Fact
from adaptlab.tasks.reading import Reading
from adaptlab.tasks.records import FieldError, check_choice
from adaptlab.tasks.rows import at
from adaptlab.tasks.words import Vocabulary
from adaptlab.tasks.worlds import STATED as STATED_SPLITS
from adaptlab.tasks.worlds import Document, Item, World, between, descriptions, four_sentences, syllogisms
from adaptlab.tasks.worlds_structure import structure

Frame = pd.DataFrame


BESIDE = ("own inferences", "wrong relation", "wrong partner", "oracle")


def check_beside(names: Sequence[str]) -> None:
    """Raise FieldError for a name of texts to train on beside documents that is none of `BESIDE`."""
    for name in names:
        check_choice("beside", name, BESIDE)


@dataclass(frozen=True)
class Asked:
    """A question about a user's documents: ``stem`` is completed by one of ``choices``, of which the first is right.
    ``split``: "sentence" for questions, "forward" for the last words of documents."""

    id: str
    split: str
    stem: str
    choices: tuple[str, ...]
    document: str
    cluster: str

    @property
    def label(self) -> str:
        """The right choice."""
        return self.choices[0]

    def options(self, pool: str = "both") -> tuple[str, ...]:
        """The right choice, then up to three wrong ones, in whichever pool."""
        return self.choices


@dataclass(frozen=True)
class OwnWorld:
    """A user's documents, with questions about them and, for each document, a last word to complete: the
    last one that not all documents have. Where there are no questions, the last words are asked for in their place.

    What a document implies is not known: nothing can be graded as true, and no control be made of it. ``lead`` stands
    before each stem.
    """

    documents: tuple[Document, ...]
    items: tuple[Asked, ...]
    lead: str
    kind: str = "yours"


CHOICES = 4  # answers to choose from, the right one among them


def own_world(reading: Reading, seed: int, facts: int, lm: LM) -> OwnWorld:
    """``facts`` documents of a user's data, at random, or as many as fit into half of the model's room, with the
    questions that stand beside them. Wrong choices are the answers to other questions.

    Raises FormatError where fewer than two documents are left, or fewer than two different answers.
    """
    rng, chosen, room = random.Random(f"documents {seed}"), [], lm.context_length // 2
    for one in rng.sample(reading.records, len(reading.records)):
        size = len(lm.encode(one.text))
        if len(chosen) < facts and size <= room:
            chosen.append(one)
            room -= size
    texts = {one.id: one.text.rstrip() for one in chosen}
    questions = [(q.id, f"{q.query}\nAnswer:", q.answer, q.cluster) for q in reading.questions if q.cluster in texts]
    with at(reading.path, 1):
        if len(chosen) < 2:
            wanted = f"two documents (a text file is one; name a folder) within {lm.context_length // 2:,} tokens"
            raise FieldError("", wanted, f"{len(chosen)} among {len(reading.records)}")
        last = _last_words(texts)
        items = [*_asked(rng, "sentence", questions or last, texts), *_asked(rng, "forward", last, texts)]
    documents = tuple(Document(one.id, one.text, ()) for one in chosen)
    return OwnWorld(documents, tuple(items), "Question:" if questions else augmentation.LEAD)


def _last_words(texts: dict[str, str]) -> list[tuple[str, str, str, str]]:
    """Of each text the last word that not all of them have, behind the beginning of its sentence."""
    words = {id: re.findall(r"\w+", text) for id, text in texts.items()}
    shared = set.intersection(*(set(found) for found in words.values()))
    rows = []
    for id, text in texts.items():
        own = next((word for word in reversed(words[id]) if word not in shared), None)
        stem = re.split(r"[.!?]\s+", text[: text.rindex(own)])[-1].strip() if own else ""
        rows += [(id, stem, own, id)] if stem else []
    return rows


def _asked(
    rng: random.Random, split: str, rows: Sequence[tuple[str, str, str, str]], texts: dict[str, str]
) -> list[Asked]:
    answers = list(dict.fromkeys(answer for *_, answer, _ in rows))
    if len(answers) < 2:
        raise FieldError("", "questions, or last words, that differ in their answers", f"{len(answers)} answers")
    made = []
    for id, stem, answer, of in rows:
        others = [one for one in answers if one != answer]
        wrong = rng.sample(others, min(CHOICES - 1, len(others)))
        made.append(Asked(id, split, stem, (answer, *wrong), texts[of], of))
    return made


def beginnings(documents: Sequence[str]) -> list[str]:
    """What an inference about a user's document can begin with: the first words of its sentences and its names."""
    found = re.findall(r"(?:^|(?<=[.!?] ))\w+|(?<=\w )[A-Z]\w+", documents[-1])
    return list(dict.fromkeys(found))[:CHOICES] or [""]


def text_with(world: World | OwnWorld, item: Item | Asked) -> str:
    """The document that an item is about."""
    if isinstance(item, Asked):
        return item.document
    return next(one.text for one in one_each(world) if item.gold.fact.reversed in one.facts)


def graded(texts: Sequence[str], world: World | OwnWorld, wanted: Sequence[Fact]) -> tuple[float, float]:
    """Precision and recall of inferences; not a number for a user's documents, of which nobody knows what follows."""
    if isinstance(world, OwnWorld):
        return float("nan"), float("nan")
    return augmentation.precision_recall(texts, world, wanted)


def one_each(world: World | OwnWorld) -> tuple[Document, ...]:
    """One document of each set of facts, the first in order of the world: as much as has to be read to know all. Of
    a user's documents, whose facts are not known, all."""
    found: dict[tuple[Fact, ...] | str, Document] = {}
    for document in world.documents:
        found.setdefault(document.facts or document.id, document)
    return tuple(found.values())


def questions(world: World | OwnWorld, asked: str, seed: int = 0) -> tuple[Item | Asked, ...]:
    """The items of a split of the world; those of "sentence" are made of its reversals."""
    if asked == "sentence" and isinstance(world, World):
        return four_sentences(world, seed)
    return tuple(item for item in world.items if item.split == asked)


def to_infer(world: World | OwnWorld, split: str = "") -> list[Fact]:
    """What the questions of a split ask for, or all questions whose answers no document states."""
    asked = [item for item in world.items if (item.split == split if split else item.split not in STATED_SPLITS)]
    return list(dict.fromkeys(item.gold.fact for item in asked))


def controls(world: World, wanted: Sequence[Fact], seed: int) -> dict[str, Callable[[], list[str]]]:
    """Sentences that no model has inferred, in the words in which the world asks, by the name of the condition."""
    makers = {
        "+ oracle": lambda: augmentation.oracle(wanted),
        "+ wrong relation": lambda: augmentation.wrong_relation(wanted, world, seed),
        "+ wrong partner": lambda: augmentation.wrong_partner(wanted, world, seed),
    }
    if world.kind != "syllogisms":
        return makers
    return {name: lambda make=make: [_between(text) for text in make()] for name, make in makers.items()}


def _between(text: str) -> str:
    """A statement about two classes as `worlds.syllogisms` asks for it."""
    fact = read_fact(text)
    return f"{between(fact.a, fact.b)} {text.capitalize()}"


# --- other worlds, and how much is written about them -----------------------------------------------------------------

# What is asked about the worlds of notebook 05b -> (the world, the split of its items).
QUESTIONS = {
    "syllogism": ("syllogisms", "syllogism"),
    "who is it": ("descriptions", "reversal"),
    "other words": ("structure", "rephrase"),
    "other end": ("structure", "reversal"),
    "inherited": ("structure", "syllogism"),
    "held out": ("structure", "holdout"),
}
SORTS = {"other words": "stated", "held out": "held out"}  # of these questions; all others ask for what is "concluded"
PROPERTIES = 3  # of a category, at most
TRIES = 50  # hierarchies that are looked at for one with enough questions


def other_world(kind: str, seed: int, size: int, words: Vocabulary, articles: int = 1) -> World:
    """A world of `QUESTIONS`, with questions of each sort for three fourths of its ``size``: so many syllogisms,
    categories, or people who are told from one end (and half as many who are told from both), each of these in
    ``articles`` documents.

    Raises FieldError where a world of this size has too few questions.
    """
    splits, items = [split for of, split in QUESTIONS.values() if of == kind], 3 * size // 4
    make = {
        "syllogisms": lambda i: syllogisms(seed, size, words),
        "descriptions": lambda i: descriptions(seed, size // 2, articles, words),
        # How many questions of a sort a hierarchy has is a matter of luck.
        "structure": lambda i: structure(TRIES * seed + i, size, 1, items, words, PROPERTIES, repeat=False),
    }[check_choice("kind", kind, tuple(of for of, _ in QUESTIONS.values()))]
    for i in range(TRIES if kind == "structure" else 1):
        world = make(i)
        asked = [item for split in splits for item in [one for one in world.items if one.split == split][:items]]
        if len(asked) == items * len(splits):
            return replace(world, items=tuple(asked))
    raise FieldError("size", f"a larger one, for {items} questions of each sort about {kind}", str(size))


def by_sort(frame: Frame) -> Frame:
    """Rows of the questions with the column ``sort``, items named so that those of different questions differ."""
    return frame.assign(sort=frame.question.map(SORTS).fillna("concluded"), item=frame.question + " " + frame["item"])


def as_many(lm: LM, texts: Sequence[str], tokens: int, seed: int) -> list[str]:
    """Texts in random order, again and again, until they have so many tokens; more tokens go on from where fewer end.
    Of no texts, none."""
    rng, found = random.Random(f"as many {seed}"), []
    while texts and tokens > 0:
        for text in rng.sample(texts, len(texts)):
            if tokens > 0:
                found.append(text)
                tokens -= len(lm.encode(text))
    return found


def log_linear(shares: pd.Series) -> tuple[float, float]:
    """(what each doubling of the index adds, the share of the variance that a line over the logarithm explains); of
    equal shares, 0 and not a number."""
    doublings, values = np.log2(shares.index.to_numpy(float)), shares.to_numpy(float)
    if np.ptp(values) == 0:
        return 0.0, math.nan
    slope, start = np.polyfit(doublings, values, 1)
    left = ((values - slope * doublings - start) ** 2).sum()
    return float(slope), float(1 - left / ((values - values.mean()) ** 2).sum())


def filtered(made: Inferences, worlds: Sequence[World]) -> Frame:
    """What filters keep of inferences, one row for each new sentence ("precision": is it true?) and one for each
    conclusion of the world's questions ("recall": is it among them?)."""
    (world,) = worlds
    filters = {"all": made, "written twice": made.written_again(), "the more probable half": made.most_probable()}
    rows = []
    for name, kept in filters.items():
        found = augmentation.judged(kept.texts, world)
        rows += [(name, "precision", r.text, r.sort == INFERRED) for r in found.itertuples() if r.sort != STATED]
        rows += [(name, "recall", fact.sentence, fact in {*found["fact"]}) for fact in to_infer(world)]
    return pd.DataFrame(rows, columns=["kept", "of", "item", "right"])


def sorted_bars(made: Inferences, world: World, ax: Axes) -> Axes:
    """How many inferences follow from the documents, are wrong, say again what is stated, or state nothing."""
    sorts = augmentation.judged(made.texts, world)["sort"].value_counts()
    counts = sorts.reindex([UNREADABLE, STATED, WRONG, INFERRED], fill_value=0)
    ax.barh(counts.index, counts, color="#0173b2")
    ax.set(xlabel="sentences")
    return ax


def slanted(figure: Figure) -> Figure:
    """The figure with long names of conditions set so that they stand clear of each other."""
    for axes in figure.axes:
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")
    return figure


# --- when training pays -----------------------------------------------------------------------------------------------


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
