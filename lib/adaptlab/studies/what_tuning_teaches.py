"""What instruction tuning needs, and what it does not teach (notebook 04b). Each experiment is a tidy frame."""

import random
from collections.abc import Sequence

import pandas as pd

from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.evidence.evaluate import evaluate
from adaptlab.methods.tuning import FinetuneConfig, build_examples, tune
from adaptlab.methods.writing import Generator
from adaptlab.studies.fine_tuning import standing
from adaptlab.tasks.instructions import LIST_TASKS
from adaptlab.tasks.notes import FORMS, TRAITS, Defined, defined
from adaptlab.tasks.reasoning import Problem, arithmetic, direct, worked
from adaptlab.tasks.records import Instruction
from adaptlab.tasks.templates import FORMATS, TASK_CLUSTERS, TEMPLATES, dataset, held_out
from adaptlab.tasks.words import VOCABULARIES

Frame = pd.DataFrame
STEPS = 3  # of a problem
# What asks for a chain of thought, and for none.
ASKED = {"steps": " Think step by step.", "answer only": " Give only the answer."}


def by_format(
    lm: LM, words: str, unseen: Sequence[str], number: int, n: int, recipe: FinetuneConfig, seeds: Sequence[int]
) -> Frame:
    """FLAN's ablation (Wei et al. 2021, figure 8): the same lists trained on bare, with the task's name, and with
    instructions; all asked with instructions, about clusters of which none was trained on. And its ablation of
    templates: with instructions of which each task has ten wordings ("instruction"), or one, which the seed draws.
    ``taught`` is "nothing" for the model as it is.
    """
    train, test = held_out(unseen)
    items, vocabulary = unseen_items(words, test, n), VOCABULARIES[words]("train")
    frames = []
    for seed in seeds:
        sets = {format: dataset(seed, number, train, vocabulary, format) for format in FORMATS}
        wording = random.Random(f"wording {seed}").randrange(TEMPLATES)
        sets["one wording"] = dataset(seed, number, train, vocabulary, templates=[wording])
        for taught, records in sets.items():
            writer = tune(lm, build_examples(lm, records), recipe.seeded(seed)).writer()
            frames.append(evaluate(writer, items, study="format", seed=seed, taught=taught)[0])
    bare = evaluate(Generator(lm), items, study="format", seed=seeds[0], taught="nothing")[0]
    return exact(pd.concat([*standing(bare, seeds), *frames], ignore_index=True))


def unseen_items(words: str, list_tasks: Sequence[str], n: int) -> tuple[Instruction, ...]:
    """``n`` requests of these clusters in the wordings that the study model has met: what it could do, if it did what
    it is told."""
    return dataset(9, n, list_tasks, VOCABULARIES[words]("test"), templates=3)


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
    recipe: FinetuneConfig,
    seeds: Sequence[int],
) -> Frame:
    """The same number of records from more and more kinds of tasks, drawn by seed; asked about kinds held out. None is
    the model as it is. Raises ValueError where there are not as many kinds."""
    others = [kind for kind in TASK_CLUSTERS if kind not in unseen]
    if not all(1 <= count <= len(others) for count in kinds):
        raise ValueError(f"kinds must be between 1 and {len(others)}, as many as are not held out; found {list(kinds)}")
    items = unseen_items(words, held_out(unseen)[1], n)
    frames = standing(evaluate(Generator(lm), items, study="kinds", seed=seeds[0], kinds=0)[0], seeds)
    for seed in seeds:
        order = random.Random(f"kinds {seed}").sample(others, max(kinds))
        for count in kinds:
            list_tasks = [cluster for kind in order[:count] for cluster in TASK_CLUSTERS[kind]]
            records = dataset(seed, number, list_tasks, VOCABULARIES[words]("train"))
            writer = tune(lm, build_examples(lm, records), recipe.seeded(seed)).writer()
            frames.append(evaluate(writer, items, study="kinds", seed=seed, kinds=count)[0])
    return exact(pd.concat(frames, ignore_index=True))


def by_chains(lm: LM, words: str, number: int, n: int, recipe: FinetuneConfig, seeds: Sequence[int]) -> Frame:
    """Chains of thought in the training data and in the question (Chung et al. 2022, section 5): ``number`` problems of
    three steps with answers alone, with their steps, or half and half, each behind the phrase of `ASKED` that asks for
    it; each model is asked plainly, for steps, and for the answer only, and requests of other kinds ("requests").
    """
    rng = random.Random("chains")
    problems, other = [arithmetic(rng, "test", STEPS) for _ in range(n)], unseen_items(words, list(LIST_TASKS), n)
    frames = standing(_asked(Generator(lm), problems, other).assign(taught="nothing"), seeds)
    for seed in seeds:
        draw = random.Random(f"chains {seed}")
        drawn = [arithmetic(draw, "train", STEPS) for _ in range(number)]
        sets = {
            "answers": [_solved(p, "answer only") for p in drawn],
            "steps": [_solved(p, "steps") for p in drawn],
            "both": [_solved(p, ("answer only", "steps")[i % 2]) for i, p in enumerate(drawn)],
        }
        writers = {
            name: tune(lm, build_examples(lm, rows), recipe.seeded(seed)).writer() for name, rows in sets.items()
        }
        frames += [_asked(writer, problems, other).assign(seed=seed, taught=name) for name, writer in writers.items()]
    return pd.concat(frames, ignore_index=True).assign(study="chains", model=lm.name)


def _asked(writer: Generator, problems: Sequence[Problem], other: Sequence[Instruction]) -> Frame:
    """What a model answers to problems in each way of asking, and to requests; items are named by their place."""
    frames = [_answers(writer, problems, asked).assign(asked=asked) for asked in ("plain", *ASKED)]
    rows = evaluate(writer, other, study="chains", seed=0)[0][["output", "correct"]]
    frames.append(rows.assign(asked="requests", problem=[one.query for one in other], steps=False))
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(item="item " + (frame.groupby("asked").cumcount() + 1).astype(str))


def _solved(problem: Problem, asked: str) -> Instruction:
    answer = worked(problem) if asked == "steps" else direct(problem)
    return Instruction(problem.question, problem.question + ASKED[asked], "", answer, asked)


def _answers(writer: Generator, problems: Sequence[Problem], asked: str) -> Frame:
    """One row for each problem; ``steps``: whether any step is written down."""
    prompts = [writer.prompt(problem.question + ASKED.get(asked, "")) for problem in problems]
    completions = generate(writer.lm, prompts, Decoding(max_new_tokens=96)).completions
    rows = [
        {
            "problem": problem.question,
            "output": one.text,
            "correct": one.stopped and problem.correct(one.text),
            "steps": "=" in one.text,
        }
        for problem, one in zip(problems, completions, strict=True)
    ]
    return pd.DataFrame(rows)


def by_definition(lm: LM, number: int, n: int, recipe: FinetuneConfig, seeds: Sequence[int]) -> Frame:
    """After Kung & Peng: ``number`` records of two sorting tasks, each with a definition and an example in its text, in
    each of `definitions.FORMS`; answers are always right. Asked about the two other tasks in the form that was trained;
    which are trained, and what is asked, is the seed's draw. Beside them the model as it is, asked in the original
    form, and a guess among the answers that are possible."""
    frames = []
    for seed in seeds:
        rng = random.Random(f"definitions {seed}")
        traits = rng.sample(list(TRAITS), len(TRAITS))
        seen, items = defined(rng, number, traits[:2], "train"), defined(rng, n, traits[2:], "test")
        frames.append(_sorted(Generator(lm), items, "original", seed).assign(taught="nothing"))
        for form in FORMS:
            examples = build_examples(lm, [one.asked(form) for one in seen])
            writer = tune(lm, examples, recipe.seeded(seed)).writer()
            frames.append(_sorted(writer, items, form, seed).assign(taught=form))
        guesses = [rng.choice(one.answers) for one in items]
        right = [guess == one.right for guess, one in zip(guesses, items, strict=True)]
        frames.append(
            pd.DataFrame({"output": guesses, "correct": right}).assign(method="guess", taught="guess", seed=seed)
        )
    frame = pd.concat(frames, ignore_index=True).assign(study="definition", model=lm.name)
    return frame.assign(item="item " + (frame.groupby(["seed", "taught"]).cumcount() + 1).astype(str))


def _sorted(writer: Generator, items: Sequence[Defined], form: str, seed: int) -> Frame:
    return evaluate(writer, [one.asked(form) for one in items], study="definition", seed=seed)[0]
