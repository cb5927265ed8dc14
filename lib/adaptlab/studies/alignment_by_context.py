"""Alignment by context (notebook 02b): demonstrations in front of an untuned model. Each experiment is a tidy frame."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pandas as pd

from adaptlab.engine.cache import EMPTY
from adaptlab.engine.generation import Completion
from adaptlab.engine.lm import LM
from adaptlab.evidence.evaluate import evaluate
from adaptlab.evidence.record import TOKENS
from adaptlab.evidence.token_shift import Source, token_shift
from adaptlab.methods import ablations, urial
from adaptlab.methods.writing import Generator, draw_records
from adaptlab.studies.icl_scaling import IclStudy, by_place, icl_curve
from adaptlab.tasks.instructions import answers
from adaptlab.tasks.prompts import FORMATS
from adaptlab.tasks.records import Conversation
from adaptlab.tasks.splits import LabelledSet, OpenSet

Frame = pd.DataFrame


def by_shots(
    lm: LM, data: OpenSet, n: int, shots: Sequence[int], manners: Sequence[str], seeds: Sequence[int]
) -> Frame:
    """URIAL's page with K demonstrations in each manner, ``n`` items, greedy.

    Without demonstrations there is no draw and no manner: these answers are written once, and stand for all of both.
    """
    items, frames = data.test[:n], []
    bare = evaluate(behind(lm, data, 0, manners[0], seeds[0]), items, study="urial", seed=seeds[0])[0]
    free = bare.assign(**dict.fromkeys((*TOKENS, "seconds"), 0))
    for manner, seed in product(manners, seeds):
        prefix = EMPTY
        if 0 in shots:
            frames.append((free if frames else bare).assign(manner=manner, seed=seed))
        for k in sorted(set(shots) - {0}):
            writer = behind(lm, data, k, manner, seed)
            frame, prefix = evaluate(writer, items, study="urial", seed=seed, prefix_cache=prefix, manner=manner)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def behind(lm: LM, data: OpenSet, k: int, manner: str, seed: int) -> Generator:
    """The model behind URIAL's page with ``k`` demonstrations."""
    return replace(urial.aligned(Generator(lm), urial.demonstrations(data, k, manner, seed)), seed=seed)


def by_decoding(
    lm: LM, data: OpenSet, n: int, shots: Sequence[int], grid: Sequence[tuple[float, float]], seeds: Sequence[int]
) -> Frame:
    """Plain demonstrations under a grid of (temperature, repetition penalty)."""
    frames = []
    for k, seed in product(shots, seeds):
        writer, prefix = behind(lm, data, k, "plain", seed), EMPTY
        for temperature, penalty in grid:
            how = replace(writer.decoding, temperature=temperature, repetition_penalty=penalty)
            conditions = {"temperature": temperature, "repetition_penalty": penalty, "study": "decoding", "seed": seed}
            frame, prefix = evaluate(replace(writer, how=how), data.test[:n], prefix_cache=prefix, **conditions)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def by_quality(lm: LM, data: OpenSet, n: int, shots: Sequence[int], seeds: Sequence[int]) -> Frame:
    """Demonstrations of high quality (all right) and of mixed (one in three wrong); right answers are scored."""
    kinds = {"high": ablations.correct, "mixed": ablations.mixed}
    frames, layout = [], FORMATS[data.prompt_format]
    for (quality, demonstrate), seed in product(kinds.items(), seeds):
        prefix = EMPTY
        for k in sorted(shots):
            shown = demonstrate(layout, draw_records(data.pool, k, seed), data.pool, seed)
            writer = Generator(lm, shown, k, data.prompt_format, writes=False)
            conditions = {"study": "quality", "seed": seed, "quality": quality}
            frame, prefix = evaluate(writer, data.test[:n], prefix_cache=prefix, **conditions)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def by_answers(
    lm: LM, data: OpenSet, sorting: LabelledSet, n: int, k: int, kinds: Sequence[str], seeds: Sequence[int]
) -> Frame:
    """What the demonstrations' answers are (`ablations.ABLATIONS`), for requests; and for sorting with words as labels,
    correct labels against shifted ones. Items of both tasks are named by their place, to be compared in one claim."""
    requests = icl_curve(lm, data, IclStudy([k], seeds, n, answers=kinds, writes=False))
    labels = {"words": "correct", "shifted-words": "shifted"}
    sorted_ = icl_curve(lm, sorting, IclStudy([k], seeds, n, label_mappings=list(labels)))
    sorted_["answers"] = sorted_["labels"].map(labels)
    return by_place([requests.assign(task="requests"), sorted_.assign(task="sorting")])


def shifts(lm: LM, data: OpenSet, n: int, k: int, manner: str, seeds: Sequence[int]) -> Frame:
    """Token-distribution shift between the model behind ``k`` demonstrations and behind none, in URIAL's layout."""
    bare = behind(lm, data, 0, manner, seeds[0])
    base = Source("no demonstrations", lm, lambda item: bare.prompt(item.query))
    frames = []
    for seed in seeds:
        writer = behind(lm, data, k, manner, seed)
        source = Source(f"{k} {manner}", lm, lambda item, writer=writer: writer.prompt(item.query))
        frames.append(token_shift(source, base, data.test[:n], writer.decoding, seed=seed))
    return pd.concat(frames, ignore_index=True)


def by_turn(
    lm: LM, data: OpenSet, conversations: Sequence[Conversation], k: int, manner: str, seeds: Sequence[int]
) -> Frame:
    """Conversations of two turns behind ``k`` demonstrations: one row a turn, right if it gives the reference.

    The second turn is about the model's own first answer, the reference about a right one: as in MT-Bench, an error in
    the first turn is carried on.
    """
    return pd.concat([turn_rows(behind(lm, data, k, manner, seed), conversations, seed) for seed in seeds])


def turn_rows(writer: Generator, conversations: Sequence[Conversation], seed: int, **conditions) -> Frame:
    """What a writer answers in each turn of the conversations, one row a turn, right if it gives the reference."""
    shared = {"study": "turns", "model": writer.model, "method": writer.name, "shots": writer.shots, "seed": seed}
    rows = []
    for turn, completions in enumerate(urial.talk(writer, conversations), start=1):
        pairs = zip(conversations, completions, strict=True)
        rows += [shared | conditions | {"turn": turn} | _turn_row(c, c.references[turn - 1], w) for c, w in pairs]
    return pd.DataFrame(rows)


def _turn_row(one: Conversation, reference: str, completions: Completion) -> dict[str, object]:
    said = completions.stopped and completions.text in answers(reference)
    return {"item": one.id, "gold": reference, "output": completions.text, "correct": said}
