"""What is it about demonstrations that helps? The same questions with right answers, wrong ones, none, or no layout.

After the prompt files of Zhao et al. 2024 (arXiv 2405.19874, qa_matching). Only ``shifted`` changes nothing but the
pairing: every answer stands there still, once, so lengths and manner are those of ``correct``. The others also change
what answers look like: read them with that in mind.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from adaptlab.tasks.prompt_formats import PromptFormat
from adaptlab.tasks.records import Instruction

Records = Sequence[Instruction]
_QUERY = "{query}"


def correct(layout: PromptFormat, records: Records, pool: Records, seed: int) -> str:
    """Every question with its right answer."""
    return layout.turns((record.query, record.output) for record in records)


def shifted(layout: PromptFormat, records: Records, pool: Records, seed: int) -> str:
    """Answers moved on by one, the last to the first question. A single demonstration has nothing to move on to and
    stays right; so may an answer that two questions share."""
    answers = [record.output for record in records]
    return _answered(layout, records, answers[-1:] + answers[:-1])


def same_task(layout: PromptFormat, records: Records, pool: Records, seed: int) -> str:
    """Answers that belong to other questions of the same category."""
    return _answered(layout, records, _others(records, pool, seed, lambda a, b: a == b))


def other_task(layout: PromptFormat, records: Records, pool: Records, seed: int) -> str:
    """Answers that belong to questions of other categories."""
    return _answered(layout, records, _others(records, pool, seed, lambda a, b: a != b))


def no_answers(layout: PromptFormat, records: Records, pool: Records, seed: int) -> str:
    """The questions alone: each turn ends behind its question."""
    cut = replace(layout, turn=layout.turn[: layout.turn.index(_QUERY) + len(_QUERY)])
    return "".join(f"{cut.asked(record.query)}{layout.end}" for record in records)


def broken_format(layout: PromptFormat, records: Records, pool: Records, seed: int) -> str:
    """Questions and right answers run together, without the layout that the last question has."""
    return "".join(f"{record.query} {record.output} " for record in records)


ABLATIONS: dict[str, Callable[[PromptFormat, Records, Records, int], str]] = {
    "correct": correct,
    "shifted": shifted,
    "same task": same_task,
    "other task": other_task,
    "no answers": no_answers,
    "broken format": broken_format,
}


def possible(pool: Records) -> list[str]:
    """The names of the ablations that a pool allows: without several categories there is no other task, and where a
    category has one answer only, no other answer of the same one."""
    said: dict[str, set[str]] = {}
    for record in pool:
        said.setdefault(record.category, set()).add(record.output)
    lacking = {"same task"} if min(map(len, said.values())) < 2 else set()
    lacking |= {"other task"} if len(said) < 2 else set()
    return [name for name in ABLATIONS if name not in lacking]


def mixed(layout: PromptFormat, records: Records, pool: Records, seed: int, wrong: float = 1 / 3) -> str:
    """Demonstrations of mixed quality: each is wrong with a chance of ``wrong``, with an answer of its own category's.

    Nested: what is shown for fewer records is the beginning of what is shown for more.
    """
    if not 0 <= wrong <= 1:
        raise ValueError(f"wrong must be a chance between 0 and 1; found {wrong}")
    rng = random.Random(f"quality {seed}")
    others = _others(records, pool, seed, lambda a, b: a == b)
    answers = [other if rng.random() < wrong else r.output for r, other in zip(records, others, strict=True)]
    return _answered(layout, records, answers)


def _answered(layout: PromptFormat, records: Records, answers: Sequence[str]) -> str:
    return layout.turns((record.query, answer) for record, answer in zip(records, answers, strict=True))


def _others(records: Records, pool: Records, seed: int, fits: Callable[[str, str], bool]) -> list[str]:
    """For each record an answer of another one whose category fits, and which is not its own answer."""
    rng, found = random.Random(f"answers {seed}"), []
    for record in records:
        choices = [r.output for r in pool if fits(r.category, record.category) and r.output != record.output]
        if not choices:
            raise ValueError(f"the pool has no other answer for record {record.id!r} of {record.category!r}")
        found.append(rng.choice(choices))
    return found
