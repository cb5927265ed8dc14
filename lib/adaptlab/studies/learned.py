"""What training puts into a model: a manner, facts, or a likeness of another model (notebook 04b)."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.packing import TrainingExample, tokenize_with_mask
from adaptlab.engine.scoring import Request, score
from adaptlab.methods.tuning import FinetuneConfig, build_examples, tune
from adaptlab.methods.urial import apply_style, has_style
from adaptlab.methods.writing import Generator
from adaptlab.tasks.instructions import LIST_TASKS
from adaptlab.tasks.knowledge import Fact, cloze, relation, world
from adaptlab.tasks.records import Instruction
from adaptlab.tasks.templates import dataset
from adaptlab.tasks.words import VOCABULARIES

Frame = pd.DataFrame
MANNER = "restyled"
FACTS = "Facts:"  # how a page of facts begins
ENDING = Decoding(max_new_tokens=8, stop=(".", "\n"))


@dataclass(frozen=True)
class Knowledge:
    """An invented world: facts to teach, and others about nouns of their own."""

    taught: tuple[Fact, ...]
    others: tuple[Fact, ...]

    @classmethod
    def drawn(cls, n: int, seed: int) -> "Knowledge":
        """``n`` facts of each sort, about nouns that the study models never read."""
        groups = world(random.Random(f"knowledge {seed}"), [relation] * (2 * n), "test")
        facts = tuple(group[0] for group in groups)
        return cls(facts[:n], facts[n:])

    def asked(self, lm: LM, facts: Sequence[Fact]) -> list[bool]:
        """Whether the model chooses each fact's last noun among four. The wrong ones are last nouns of the other facts:
        in all that training did to them they are like the right one, so that no option is known for another reason."""
        rng, known = random.Random("options"), [*self.taught, *self.others, *map(_reversed, self.taught)]
        clozes = [cloze(rng, fact, sorted(other.b for other in facts), known) for fact in facts]
        questions = [Request(f"{FACTS} {one.stem}", tuple(f" {o}" for o in one.options)) for one in clozes]
        return [max(row, key=lambda o: o.logprob) is row[0] for row in score(lm, questions).options]


def _reversed(fact: Fact) -> Fact:
    assert fact.reversed, fact
    return fact.reversed


def stated(lm: LM, facts: Sequence[Fact]) -> list[TrainingExample]:
    """Facts to learn, each a text of its own, trained whole: were its last noun alone the target, it would be no wonder
    that the first one cannot be told from it."""
    return [tokenize_with_mask(lm, [(FACTS, False), (f" {fact.sentence}.", True)]) for fact in facts]


def told(lm: LM, fact: Fact, ending: str) -> TrainingExample:
    """The beginning of a fact with an ending, which is trained."""
    return tokenize_with_mask(lm, [(f"{FACTS} {fact.stem}", False), (ending, True)])


def requests(words: str, split: str, n: int, seed: int, manner: str = "plain") -> list[Instruction]:
    """Requests in wordings that the study models have met, answered in a manner."""
    records = dataset(seed, n, list(LIST_TASKS), VOCABULARIES[words](split), templates=3)
    return [replace(record, output=apply_style(record, manner)) for record in records]


def in_manner(writer: Generator, items: Sequence[Instruction]) -> list[bool]:
    """Whether each answer that the model writes is in `MANNER`, whatever it says."""
    completions = generate(writer.lm, [writer.prompt(item.query) for item in items], writer.decoding).completions
    return [one.stopped and has_style(one.text, MANNER) for one in completions]


def two_goals(
    lm: LM,
    words: str,
    numbers: Sequence[int],
    n: int,
    manner: FinetuneConfig,
    facts: FinetuneConfig,
    seeds: Sequence[int],
) -> Frame:
    """A manner taught with ``numbers`` of restyled answers, and ``n`` facts; asked for the manner of new requests, and
    for facts: those trained on, others, and the first from their other end. ``shots``: examples trained on."""
    frames = []
    for seed in seeds:
        world, items = Knowledge.drawn(n, seed), requests(words, "test", n, seed=100 + seed)
        asked = {"trained facts": world.taught, "other facts": world.others}
        asked["reversed facts"] = tuple(map(_reversed, world.taught))
        taught = tune(lm, stated(lm, world.taught), facts.seeded(seed))
        for name, model, shots in (("nothing", lm, 0), ("facts", taught.lm, n)):
            marks = {what: world.asked(model, of) for what, of in asked.items()}
            frames.append(_marked(marks, taught=name, shots=shots, seed=seed))
        records = requests(words, "train", max(numbers), seed, MANNER)
        writers = {0: Generator(lm)}
        for k in numbers:
            writers[k] = tune(lm, build_examples(lm, records[:k]), manner.seeded(seed)).writer()
        for k, writer in writers.items():
            marks = {"manner": in_manner(writer, items)}
            frames.append(_marked(marks, taught="manner" if k else "nothing", shots=k, seed=seed))
    return pd.concat(frames, ignore_index=True).assign(study="goals", model=lm.name)


def last(goals: Frame) -> Frame:
    """Of the rows of `two_goals`, those of the most examples."""
    return goals[goals["shots"] == goals.groupby("taught")["shots"].transform("max")].drop(columns="shots")


def _marked(marks: Mapping[str, Sequence[bool]], **conditions) -> Frame:
    """One row for each mark. Items are named by their place, so that claims can compare what was asked; every seed has
    questions of its own, so that those at one place have nothing in common (intervals stay right on average)."""
    rows = [
        {"asked": asked, "item": f"item {place}", "correct": mark}
        for asked, row in marks.items()
        for place, mark in enumerate(row, start=1)
    ]
    return pd.DataFrame(rows).assign(**conditions)


def imitated(
    teacher: LM,
    student: LM,
    words: str,
    number: int,
    n: int,
    manner: FinetuneConfig,
    facts: FinetuneConfig,
    seeds: Sequence[int],
) -> Frame:
    """Imitation: a teacher that knows ``n`` facts and answers in `MANNER`, trained twice as long as others; a student
    trained on what the teacher writes to ``number`` requests ("imitation"), or on how it ends the facts ("target"); and
    the student as it is ("nothing"), all in ``taught``. ``model`` is the student's name throughout: the claims are
    about the student."""
    frames = []
    for seed in seeds:
        world, items = Knowledge.drawn(n, seed), requests(words, "test", n, seed=100 + seed)
        both = [*stated(teacher, world.taught), *build_examples(teacher, requests(words, "train", n, seed, MANNER))]
        longer = replace(facts.training, steps=2 * facts.training.steps, epochs=2 * facts.training.epochs)
        master = tune(teacher, both, replace(facts, training=longer).seeded(seed)).lm
        asked = requests(words, "train", number, seed=50 + seed)
        copied = written_by(Generator(master), asked)
        endings = generate(master, [f"{FACTS} {fact.stem}" for fact in world.taught], ENDING).completions
        target = [
            told(student, fact, f"{one.text}.") for fact, one in zip(world.taught, endings, strict=True) if one.text
        ]
        models = {
            "teacher": master,
            "nothing": student,
            "imitation": tune(student, build_examples(student, copied), manner.seeded(seed)).lm,
            "target": tune(student, target, facts.seeded(seed)).lm,
        }
        for name, model in models.items():
            marks = {"manner": in_manner(Generator(model), items), "facts": world.asked(model, world.taught)}
            frames.append(_marked(marks, taught=name, seed=seed))
    return pd.concat(frames, ignore_index=True).assign(study="imitation", model=student.name)


def written_by(writer: Generator, asked: Sequence[Instruction]) -> list[Instruction]:
    """What a model writes to requests, as records; answers that do not end, or are blank, are left out."""
    texts = generate(writer.lm, [writer.prompt(one.query) for one in asked], writer.decoding).completions
    pairs = zip(asked, texts, strict=True)
    return [replace(one, output=w.text.strip()) for one, w in pairs if w.stopped and w.text.strip()]
