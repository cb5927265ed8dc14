"""What instruction tuning needs, and what it does not teach (notebook 04b). Each experiment is a tidy frame."""

import random
from collections.abc import Sequence
from itertools import product

import pandas as pd

from adaptlab.engine.models import LM
from adaptlab.engine.sampling import Decoding, continuations
from adaptlab.evidence.accounts import TOKENS
from adaptlab.evidence.evaluate import evaluate
from adaptlab.methods.tuning import Recipe, lessons, tune
from adaptlab.methods.writing import Writer
from adaptlab.tasks.definitions import Defined, defined
from adaptlab.tasks.notes import TRAITS
from adaptlab.tasks.reasoning import Problem, arithmetic
from adaptlab.tasks.records import Instruction
from adaptlab.tasks.templates import FORMATS, KINDS, dataset, held_out
from adaptlab.tasks.vocabularies import VOCABULARIES
from adaptlab.tasks.working import direct, worked

Frame = pd.DataFrame
# What asks for a chain of thought, and for none.
ASKED = {"steps": " Think step by step.", "answer only": " Give only the answer."}


def by_format(
    lm: LM, words: str, unseen: Sequence[str], number: int, n: int, recipe: Recipe, seeds: Sequence[int]
) -> Frame:
    """FLAN's ablation (Wei et al. 2021, figure 8): the same lists trained on bare, with the task's name, and with
    instructions; all asked with instructions, about clusters of which none was trained on. ``trained`` is "nothing" for
    the model as it is.
    """
    train, test = held_out(unseen)
    items = unseen_items(words, test, n)
    frames = []
    for seed in seeds:
        for format in FORMATS:
            records = dataset(seed, number, train, VOCABULARIES[words]("train"), format)
            writer = tune(lm, lessons(lm, records), recipe.seeded(seed)).writer()
            frames.append(evaluate(writer, items, study="format", seed=seed, taught=format)[0])
    bare = evaluate(Writer(lm), items, study="format", seed=seeds[0], taught="nothing")[0]
    return exact(pd.concat([*standing(bare, seeds), *frames], ignore_index=True))


def standing(frame: Frame, seeds: Sequence[int]) -> list[Frame]:
    """Rows that no draw changes, once for each seed; what they cost stands in the first."""
    free = frame.assign(**dict.fromkeys((*TOKENS, "seconds"), 0)) if "seconds" in frame else frame
    return [(free if place else frame).assign(seed=seed) for place, seed in enumerate(seeds)]


def unseen_items(words: str, clusters: Sequence[str], n: int) -> tuple[Instruction, ...]:
    """``n`` requests of these clusters in the wordings that the study model has met: what it could do, if it did what
    it is told."""
    return dataset(9, n, clusters, VOCABULARIES[words]("test"), templates=3)


def exact(frame: Frame) -> Frame:
    """The frame with ``exact``: whether an answer is just the right one, in the plain manner that was trained."""
    return frame.assign(exact=frame["correct"].astype(bool) & (frame["output"].str.strip() == frame["gold"]))


def by_kinds(
    lm: LM,
    words: str,
    unseen: Sequence[str],
    kinds: Sequence[int],
    number: int,
    n: int,
    recipe: Recipe,
    seeds: Sequence[int],
) -> Frame:
    """The same number of records from more and more kinds of tasks, drawn by seed; asked about kinds held out."""
    items = unseen_items(words, held_out(unseen)[1], n)
    frames = []
    for seed in seeds:
        order = random.Random(f"kinds {seed}").sample([kind for kind in KINDS if kind not in unseen], max(kinds))
        for count in kinds:
            clusters = [cluster for kind in order[:count] for cluster in KINDS[kind]]
            records = dataset(seed, number, clusters, VOCABULARIES[words]("train"))
            writer = tune(lm, lessons(lm, records), recipe.seeded(seed)).writer()
            frames.append(evaluate(writer, items, study="kinds", seed=seed, kinds=count)[0])
    return exact(pd.concat(frames, ignore_index=True))


def by_chains(lm: LM, number: int, n: int, length: int, recipe: Recipe, seeds: Sequence[int]) -> Frame:
    """Chains of thought in the training data and in the question (Chung et al. 2022, section 5): ``number`` problems
    with answers alone, with their steps, or half and half; each asked plainly, for steps, and for the answer only.
    """
    rng = random.Random("chains")
    problems = [arithmetic(rng, "test", length) for _ in range(n)]
    bare = [_answers(Writer(lm), problems, asked).assign(taught="nothing", asked=asked) for asked in ("plain", *ASKED)]
    frames = standing(pd.concat(bare), seeds)
    for seed in seeds:
        draw = random.Random(f"chains {seed}")
        drawn = [arithmetic(draw, "train", length) for _ in range(number)]
        sets = {
            "answers": [_solved(p, "answer only") for p in drawn],
            "steps": [_solved(p, "steps") for p in drawn],
            "both": [_solved(p, ("answer only", "steps")[i % 2]) for i, p in enumerate(drawn)],
        }
        writers = {name: tune(lm, lessons(lm, rows), recipe.seeded(seed)).writer() for name, rows in sets.items()}
        for (name, writer), asked in product(writers.items(), ("plain", *ASKED)):
            frames.append(_answers(writer, problems, asked).assign(seed=seed, taught=name, asked=asked))
    return pd.concat(frames, ignore_index=True).assign(study="chains", model=lm.name)


def _solved(problem: Problem, asked: str) -> Instruction:
    answer = worked(problem) if asked == "steps" else direct(problem)
    return Instruction(problem.question, problem.question + ASKED[asked], "", answer, asked)


def _answers(writer: Writer, problems: Sequence[Problem], asked: str) -> Frame:
    """One row for each problem; ``steps``: whether any step is written down."""
    prompts = [writer.prompt(problem.question + ASKED.get(asked, "")) for problem in problems]
    written = continuations(writer.lm, prompts, Decoding(longest=96)).written
    rows = [
        {
            "item": problem.question,
            "output": one.text,
            "correct": one.stopped and problem.correct(one.text),
            "steps": "=" in one.text,
        }
        for problem, one in zip(problems, written, strict=True)
    ]
    return pd.DataFrame(rows)


def by_definition(lm: LM, number: int, n: int, recipe: Recipe, seeds: Sequence[int]) -> Frame:
    """Kung & Peng: ``number`` examples of two sorting tasks with original definitions, with simplified ones, and with
    original ones but wrong answers; asked about the two other tasks in the form that was trained. Which tasks are
    trained is the seed's draw. Beside them, the model as it is, and a guess among the answers that are possible."""
    frames = []
    for seed in seeds:
        rng = random.Random(f"definitions {seed}")
        traits = rng.sample(list(TRAITS), len(TRAITS))
        seen, items = defined(rng, number, traits[:2], "train"), defined(rng, n, traits[2:], "test")
        sets = {
            "original": [one.asked("original") for one in seen],
            "simplified": [one.asked("simplified") for one in seen],
            "delusive": [one.asked("original", one.wrong(rng)) for one in seen],
        }
        writers = {name: tune(lm, lessons(lm, rows), recipe.seeded(seed)).writer() for name, rows in sets.items()}
        for name, writer in ({"nothing": Writer(lm)} | writers).items():
            asked = [one.asked("simplified" if name == "simplified" else "original") for one in items]
            frames.append(evaluate(writer, asked, study="definition", seed=seed, taught=name)[0])
        frames.append(_guessed(frames[-1], items, rng))
    frame = pd.concat(frames, ignore_index=True)
    place = frame.groupby(["seed", "taught"]).cumcount() + 1
    return frame.assign(item="item " + place.astype(str))


def _guessed(like: Frame, items: Sequence[Defined], rng: random.Random) -> Frame:
    """A guess for each item, among the answers that its definition allows."""
    output = [rng.choice(one.answers) for one in items]
    return like.assign(
        taught="guess", output=output, correct=[o == i.right for o, i in zip(output, items, strict=True)]
    )
