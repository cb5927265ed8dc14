"""For notebook 04b: exams for tuned models, and the worlds of facts that they are taught."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from matplotlib.axes import Axes

from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.loss_mask import TrainingExample, tokenize_with_mask
from adaptlab.engine.scoring import Request, score
from adaptlab.evidence.claims import Verdict, Verdicts
from adaptlab.evidence.evaluate import evaluate
from adaptlab.evidence.figures import curve
from adaptlab.methods.answering import Generator
from adaptlab.methods.sharpening import sample
from adaptlab.methods.urial import apply_style, has_style
from adaptlab.tasks.instructions import LIST_TASKS
from adaptlab.tasks.knowledge import Fact, options, relation, world
from adaptlab.tasks.notes import TRAITS, Defined, defined
from adaptlab.tasks.reasoning import Problem, direct, sums, worked
from adaptlab.tasks.records import Instruction
from adaptlab.tasks.templates import dataset
from adaptlab.tasks.words import VOCABULARIES

Frame = pd.DataFrame
RESPONSE_STYLE = "restyled"
FACTS = "Facts:"  # how a text of facts begins
SOLUTION = 96  # tokens of a solution, at most
# What asks for a chain of thought, and for none.
PHRASES = {"plain": "", "steps": " Think step by step.", "answer only": " Give only the answer."}


def unseen_requests(words: str, list_tasks: Sequence[str], n: int) -> tuple[Instruction, ...]:
    """``n`` requests of these tasks in the wordings that the study model has read: what it could do, if it did what it
    is told."""
    return dataset(9, n, list_tasks, VOCABULARIES[words]("test"), templates=3)


def exact(frame: Frame) -> Frame:
    """The frame with ``exact``: whether an answer is the right one and nothing else, in the plain style trained on."""
    return frame.assign(exact=frame["correct"].astype(bool) & (frame["output"].str.strip() == frame["gold"]))


def counted(frame: Frame) -> Frame:
    """The rows of `exact` twice, for figures: ``share`` is whether an answer is exact, or right in any style."""
    rows = {"exact": frame["exact"], "right in any style": frame["correct"]}
    return pd.concat([frame.assign(counted=name, share=column.astype(float)) for name, column in rows.items()])


def numbered(frame: Frame, by: str | Sequence[str]) -> Frame:
    """The frame with items named by their place within each group, so that claims can compare groups. Groups that were
    asked other questions have nothing in common at a place; intervals stay right on average."""
    return frame.assign(item="item " + (frame.groupby(by).cumcount() + 1).astype(str))


def solved(problem: Problem, phrase: str) -> Instruction:
    """A problem behind one of `PHRASES`, with the answer that it asks for: steps, or the answer alone."""
    answer = worked(problem) if phrase == "steps" else direct(problem)
    return Instruction(problem.question, problem.question + PHRASES[phrase], "", answer, phrase)


def solutions(generator: Generator, problems: Sequence[Problem], phrase: str = "plain") -> Frame:
    """What a model answers to problems behind one of `PHRASES`; ``steps``: whether any step is written down."""
    long = replace(generator, decoding=Decoding(max_new_tokens=SOLUTION))
    completions = long.complete([problem.question + PHRASES[phrase] for problem in problems])
    pairs = list(zip(problems, completions, strict=True))
    columns = {
        "problem": [problem.question for problem in problems],
        "output": [one.text for one in completions],
        "correct": [one.stopped and problem.correct(one.text) for problem, one in pairs],
        "steps": ["=" in one.text for one in completions],
    }
    return numbered(pd.DataFrame(columns).assign(asked=phrase), "asked").assign(model=generator.model)


def solve(generator: Generator, problems: Sequence[Problem], others: Sequence[Instruction]) -> Frame:
    """`solutions` behind each phrase, and what a model answers to other requests ("requests")."""
    rows = evaluate(generator, others)[0][["model", "output", "correct"]]
    rows = numbered(rows.assign(asked="requests", problem=[one.query for one in others], steps=False), "asked")
    return pd.concat([*(solutions(generator, problems, phrase) for phrase in PHRASES), rows], ignore_index=True)


def explanations(lm: LM, seed: int, n: int, samples: int = 8) -> dict[str, list[Instruction]]:
    """What a teacher says about ``n`` sums, as records: its texts with their "steps", and the "answers" that they end
    in. Of each sum, the most probable of ``samples`` of the model is taken, as in notebook 06. Both hold the same sums:
    those that it finishes. Raises ValueError where it finishes none.
    """
    rng = random.Random(f"explanations {seed}")
    asked = [sums(rng, "train") for _ in range(n)]
    decoding = Decoding(1.0, max_new_tokens=SOLUTION)
    pool = sample(lm, [Generator(lm).prompt(one.question) for one in asked], samples, decoding=decoding, seed=seed)
    best = [row[likeliest] for row, likeliest in zip(pool.samples, pool.logprob.argmax(1), strict=True)]
    pairs = [(one, said) for one, said in zip(asked, best, strict=True) if said.stopped]
    texts = [(one, said.text.strip(), one.read(said.text)) for one, said in pairs]
    written = [(one.question, text, f"{answer}.") for one, text, answer in texts if answer]
    if not written:
        raise ValueError(f"the model {lm.name} finishes none of {n} sums; raise chains, or take a model that can")
    return {
        "answers": [Instruction(question, question, "", answer, "sums") for question, _, answer in written],
        "steps": [Instruction(question, question, "", text, "sums") for question, text, _ in written],
    }


@dataclass(frozen=True)
class Knowledge:
    """An invented world: facts to teach, and others about nouns of their own."""

    taught: tuple[Fact, ...]
    others: tuple[Fact, ...]

    @classmethod
    def sample(cls, n: int, seed: int) -> "Knowledge":
        """``n`` facts of each sort, about nouns that the study models never read."""
        groups = world(random.Random(f"knowledge {seed}"), [relation] * (2 * n), "test")
        facts = tuple(group[0] for group in groups)
        return cls(facts[:n], facts[n:])

    @property
    def reversed(self) -> tuple[Fact, ...]:
        """The facts to teach, told from their other end."""
        return tuple(fact.reversed for fact in self.taught)

    def correctness(self, lm: LM, facts: Sequence[Fact]) -> list[bool]:
        """Whether the model chooses each fact's last noun among four. The wrong ones are last nouns of the other facts:
        in all that training did to them they are like the right one, so that no option is known for another reason."""
        rng, known = random.Random("options"), [*self.taught, *self.others, *self.reversed]
        ends = {fact.b for fact in facts}
        choices = [[f" {noun}" for noun in options(rng, fact, ends, known)] for fact in facts]
        requests = [Request(f"{FACTS} {one.stem}", tuple(row)) for one, row in zip(facts, choices, strict=True)]
        return [max(row, key=lambda o: o.logprob) is row[0] for row in score(lm, requests).options]


def assert_facts(lm: LM, facts: Sequence[Fact]) -> list[TrainingExample]:
    """Facts to learn, each a text of its own, trained whole: were its last noun alone the target, it would be no wonder
    that the first one cannot be told from it."""
    return [tokenize_with_mask(lm, [(FACTS, False), (f" {fact.sentence}.", True)]) for fact in facts]


def endings(teacher: LM, student: LM, facts: Sequence[Fact]) -> list[TrainingExample]:
    """The beginnings of facts with the endings that a teacher writes, which the student is to learn."""
    decoding = Decoding(max_new_tokens=8, stop=(".", "\n"))
    stems = [f"{FACTS} {fact.stem}" for fact in facts]
    completions = generate(teacher, stems, decoding).completions
    pairs = zip(stems, completions, strict=True)
    return [tokenize_with_mask(student, [(stem, False), (f"{one.text}.", True)]) for stem, one in pairs if one.text]


def requests(words: str, split: str, n: int, seed: int, response_style: str = "plain") -> list[Instruction]:
    """Requests in wordings that the study models have read, answered in a response style."""
    records = dataset(seed, n, list(LIST_TASKS), VOCABULARIES[words](split), templates=3)
    return [replace(record, output=apply_style(record, response_style)) for record in records]


def answered_by(generator: Generator, asked: Sequence[Instruction]) -> list[Instruction]:
    """A model's answers to requests, as records; answers that do not end, or are blank, are left out."""
    pairs = zip(asked, generator.complete([one.query for one in asked]), strict=True)
    return [replace(one, output=c.text.strip()) for one, c in pairs if c.stopped and c.text.strip()]


def taught_by(teachers: Mapping[str, Generator], asked: Sequence[Instruction]) -> dict[str, list[Instruction]]:
    """The answers of several teachers to the same requests, as records, and the right ones (of the "program"). Requests
    that one of the teachers does not finish are left out of all. Raises ValueError where none is left."""
    written = {name: {one.id: one for one in answered_by(teacher, asked)} for name, teacher in teachers.items()}
    kept = [one for one in asked if all(one.id in answers for answers in written.values())]
    if not kept:
        raise ValueError(f"none of {len(asked)} requests is finished by all teachers; raise records")
    return {name: [answers[one.id] for one in kept] for name, answers in written.items()} | {"program": kept}


def share_exact(taught: Mapping[str, Sequence[Instruction]]) -> dict[str, float]:
    """How many of the answers of each teacher in `taught_by` are the right one and nothing else."""
    best = [one.output for one in taught["program"]]
    return {
        name: sum(one.output == right for one, right in zip(records, best, strict=True)) / len(best)
        for name, records in taught.items()
    }


def fact_exam(generator: Generator, world: Knowledge) -> Frame:
    """Whether a model knows the facts of a world: those to teach, others, and the first ones from their other end."""
    asked = {"trained facts": world.taught, "other facts": world.others, "reversed facts": world.reversed}
    return _exam(generator, {name: world.correctness(generator.lm, facts) for name, facts in asked.items()})


def style_exam(generator: Generator, items: Sequence[Instruction]) -> Frame:
    """Whether each completion uses the restyled format, right or wrong."""
    return _exam(generator, {"style": _in_style(generator, items)})


def likeness_exam(generator: Generator, items: Sequence[Instruction], world: Knowledge) -> Frame:
    """How like a model is to a teacher who answers in the restyled format and knows the facts of a world."""
    facts = world.correctness(generator.lm, world.taught)
    return _exam(generator, {"style": _in_style(generator, items), "facts": facts})


def _in_style(generator: Generator, items: Sequence[Instruction]) -> list[bool]:
    completions = generator.complete([item.query for item in items])
    return [one.stopped and has_style(one.text, RESPONSE_STYLE) for one in completions]


def _exam(generator: Generator, correctness: Mapping[str, Sequence[bool]]) -> Frame:
    """One row for each answer; ``asked`` names what was asked, and items are `numbered`."""
    rows = [{"asked": asked, "correct": right} for asked, row in correctness.items() for right in row]
    return numbered(pd.DataFrame(rows), "asked").assign(model=generator.model)


@dataclass(frozen=True)
class DefinitionTasks:
    """Sorting tasks with definitions: some to train on, some about two other traits to ask, and a guess for each."""

    seen: tuple[Defined, ...]
    unseen: tuple[Defined, ...]
    guessed: tuple[str, ...]

    def guesses(self) -> Frame:
        """A guess among the answers that each definition allows, as rows beside those of models."""
        correct = [guess == one.right for guess, one in zip(self.guessed, self.unseen, strict=True)]
        return pd.DataFrame({"output": self.guessed, "correct": correct}).assign(method="guess", taught="guess")


def definition_tasks(number: int, n: int, seed: int) -> DefinitionTasks:
    """``number`` items about two traits to train on, and ``n`` about the two others; which, the seed samples."""
    rng = random.Random(f"definitions {seed}")
    traits = rng.sample(list(TRAITS), len(TRAITS))
    seen, unseen = defined(rng, number, traits[:2], "train"), defined(rng, n, traits[2:], "test")
    return DefinitionTasks(tuple(seen), tuple(unseen), tuple(rng.choice(one.answers) for one in unseen))


def style_curve(ax: Axes, style: Frame, facts: Frame, seed: int) -> None:
    """Of one seed, how many answers are in the style, by examples trained on, and how many facts not trained on are
    known (``facts`` has what `fact_exam` gives after training on facts)."""
    others = facts[(facts.seed == seed) & (facts.asked == "other facts")]
    curve(style[style.seed == seed], ax=ax, baselines={"other facts": others.correct.mean()})
    ax.set(xlabel="restyled answers trained on, in even steps", ylabel="share of answers in the style")


def tables(verdicts: Iterable[Verdict]) -> list[Verdicts]:
    """Verdicts as tables, one for each model."""
    found = list(verdicts)
    return [Verdicts(one for one in found if one.model == model) for model in dict.fromkeys(v.model for v in found)]
