"""Showing against training (notebook 04): the same records in the prompt or in the weights. Each experiment is a tidy
frame."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from adaptlab.engine.adapters import Trainable
from adaptlab.engine.lm import LM
from adaptlab.engine.training import TrainingConfig
from adaptlab.evidence.evaluate import evaluate
from adaptlab.evidence.record import TOKENS
from adaptlab.evidence.token_shift import Source, token_shift
from adaptlab.methods.tuning import FinetuneConfig, Tuned, build_examples, tune, turns
from adaptlab.methods.writing import Generator, draw_records
from adaptlab.studies.alignment_by_context import turn_rows
from adaptlab.tasks.prompts import FORMATS
from adaptlab.tasks.records import Conversation, Instruction
from adaptlab.tasks.sets import answered, conversation
from adaptlab.tasks.splits import OpenSet
from adaptlab.tasks.words import VOCABULARIES

Frame = pd.DataFrame
LIST = 3  # words of an answer that has a beginning, a middle and an end


def shown(lm: LM, records: Sequence[Instruction | Conversation], style: str) -> Generator:
    """The model behind a page that shows these records."""
    page = "".join(FORMATS[style].turns(turns(record)) for record in records)
    return Generator(lm, page, len(records), style)


def tuned_on(
    lm: LM, records: Sequence[Instruction | Conversation], style: str, recipe: FinetuneConfig, seed: int
) -> Tuned:
    """The model tuned on these records."""
    return tune(lm, build_examples(lm, records, style), recipe.seeded(seed))


def by_number(
    lm: LM,
    data: OpenSet,
    n: int,
    shots: Sequence[int],
    numbers: Sequence[int],
    recipe: FinetuneConfig,
    seeds: Sequence[int],
) -> Frame:
    """``n`` items, answered with ``shots`` records in the prompt, and with ``numbers`` of records trained on.

    Both draw the same records, and draws are nested. Every page is read anew, so that each row pays for its own;
    `spent` adds what it all cost.
    """
    items = _first(data, n)
    frames = standing(evaluate(shown(lm, [], data.prompt_format), items, study="number", seed=seeds[0])[0], seeds)
    for seed in seeds:
        conditions = {"study": "number", "seed": seed}
        for k in sorted(set(shots) - {0}):
            frames.append(
                evaluate(shown(lm, draw_records(data.pool, k, seed), data.prompt_format), items, **conditions)[0]
            )
        for number in numbers:
            tuned = tuned_on(lm, draw_records(data.pool, number, seed), data.prompt_format, recipe, seed)
            frames.append(evaluate(tuned.writer(data.prompt_format), items, **conditions)[0])
    return spent(pd.concat(frames, ignore_index=True))


def _first(data: OpenSet, n: int) -> Sequence[Instruction]:
    if not 1 <= n <= len(data.test):
        raise ValueError(f"items must be between 1 and {len(data.test)}, the number of test requests; found {n}")
    return data.test[:n]


def standing(frame: Frame, seeds: Sequence[int]) -> list[Frame]:
    """Rows that no draw changes, once for each seed; what they cost stands in the first."""
    free = frame.assign(**{column: 0 for column in (*TOKENS, "seconds") if column in frame})
    return [(free if place else frame).assign(seed=seed) for place, seed in enumerate(seeds)]


def spent(frame: Frame) -> Frame:
    """The frame with ``computed``: tokens that went through the model, where one to learn from counts three times (one
    pass forward, and about two backward)."""
    once = frame[["prefilled", "scored", "decoded"]].sum(axis=1)
    return frame.assign(computed=once + 3 * frame["trained"])


def by_turn(
    lm: LM,
    pool: Sequence[Conversation],
    talks: Sequence[Conversation],
    shots: Sequence[int],
    numbers: Sequence[int],
    recipe: FinetuneConfig,
    seeds: Sequence[int],
    style: str = "question",
) -> Frame:
    """Both turns of ``talks``, with ``shots`` answered conversations in the prompt, and with ``numbers`` trained on."""
    frames = []
    for seed in seeds:
        for k in shots:
            frames.append(turn_rows(shown(lm, draw_records(pool, k, seed), style), talks, seed))
        for number in numbers:
            tuned = tuned_on(lm, draw_records(pool, number, seed), style, recipe, seed)
            frames.append(turn_rows(tuned.writer(style), talks, seed))
    return pd.concat(frames, ignore_index=True)


def distances(lm: LM, data: OpenSet, n: int, number: int, recipe: FinetuneConfig, seeds: Sequence[int]) -> Frame:
    """How far the same ``number`` of records moves the model, shown and trained on: one row for each item, with the
    mean over its answer's tokens of KL(adapted || base), in nats. The base reads the bare question. The token that ends
    an answer is left out, unless there is no other: lessons and pages end answers in different ways, which says nothing
    about the answer."""
    bare = Generator(lm, style=data.prompt_format)
    base = Source("bare", lm, _prompting(bare))
    frames = []
    for seed in seeds:
        records = draw_records(data.pool, number, seed)
        tuned = tuned_on(lm, records, data.prompt_format, recipe, seed).writer(data.prompt_format)
        for writer in (shown(lm, records, data.prompt_format), tuned):
            source = Source(writer.name, writer.lm, _prompting(writer))
            tokens = token_shift(source, base, _first(data, n), bare.decoding, seed=seed)
            inside = tokens[(tokens["part"] != "last") | (tokens["place"] == 0)]
            means = inside.groupby(["model", "seed", "item"], as_index=False)["kl"].mean()
            frames.append(means.assign(method=writer.name, shots=number))
    return pd.concat(frames, ignore_index=True)


def _prompting(writer: Generator) -> Callable[[Instruction], str]:
    return lambda item: writer.prompt(item.query)


def by_how(
    lm: LM,
    data: OpenSet,
    n: int,
    number: int,
    hows: Mapping[Trainable, float],
    training: TrainingConfig,
    seeds: Sequence[int],
) -> Frame:
    """The same records learned in several ways, each with its own learning rate; and the model as it is ("none").

    ``learning``: how many parameters learned; ``state``: MB for their gradients and AdamW's two moments, in float32;
    ``training``: seconds of all steps.
    """
    items = _first(data, n)
    bare = evaluate(Generator(lm, style=data.prompt_format), items, study="how", seed=seeds[0])[0]
    frames = standing(bare.assign(how="none", learning=0, state=0.0, training=0.0), seeds)
    for seed in seeds:
        records = draw_records(data.pool, number, seed)
        for how, lr in hows.items():
            recipe = FinetuneConfig(how, replace(training, lr=lr))
            tuned = tuned_on(lm, records, data.prompt_format, recipe, seed)
            learned = sum(p.numel() for p in tuned.lm.model.parameters() if p.requires_grad)
            facts = {"how": str(how), "learning": learned, "state": 12 * learned / 1e6}
            frame = evaluate(tuned.writer(data.prompt_format), items, study="how", seed=seed, **facts)[0]
            frames.append(frame.assign(training=tuned.trained.seconds))
    return pd.concat(frames, ignore_index=True)


def shifts(aligned: Mapping[int, LM], base: LM, data: OpenSet, n: int) -> Frame:
    """Token-distribution shift between tuned copies of a model, one a seed, and itself; both read the bare question.
    Asked are the first ``n`` requests whose right answer is a list: a yes or a count has no middle."""
    lists = [item for item in data.test if len(item.output.split()) >= LIST][:n]
    bare = Generator(base, style=data.prompt_format)
    before = Source(base.name, base, _prompting(bare))
    frames = []
    for seed, lm in aligned.items():
        source = Source("tuned", lm, _prompting(replace(bare, lm=lm)))
        frames.append(token_shift(source, before, lists, bare.decoding, seed=seed))
    return pd.concat(frames, ignore_index=True)


def conversations(words: str, split: str, n: int, seed: int, first: str | None = None) -> list[Conversation]:
    """``n`` conversations of two turns, answered plainly, whose openings the study models have met the like of."""
    rng = random.Random(f"talks {split} {seed}")
    asked = [conversation(rng, VOCABULARIES[words](split), first=first, templates=3) for _ in range(n)]
    return [answered(one, rng) for one in asked]
