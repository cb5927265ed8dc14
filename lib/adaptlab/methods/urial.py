"""Alignment by context: a system text and a few constant demonstrations in front of a base model.

URIAL (Lin et al. 2023, arXiv 2312.01552): the structure of the prompt is that of its prompt files
(`prompt_formats.FORMATS`). Answers end at the next heading, as in its scripts, or at a closing fence, which is ours;
system text and demonstrations are the kit's own. Later turns are appended as further blocks, with the model's own
answers.
"""

import random
import re

from adaptlab.engine.lm import LM
from adaptlab.methods.answering import Generator
from adaptlab.tasks.instructions import RESPONSE_FRAMES
from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.records import Demonstration, Instruction, PromptFile, check_choice
from adaptlab.tasks.splits import OpenSet
from adaptlab.tasks.wording import fill

URIAL = "urial"
SYSTEM = "Answer each request."
SHOTS = (0, 1, 3, 8)  # K of the published prompt files
RESPONSE_STYLES = tuple(RESPONSE_FRAMES)


def demonstrations(data: OpenSet, k: int, response_style: str, seed: int) -> PromptFile:
    """A prompt like URIAL's: the system text and ``k`` demonstrations, constant for all queries, in one response style.

    Each demonstration is of another list task as far as there are so many; more only append to fewer.
    """
    check_choice("response_style", response_style, RESPONSE_STYLES)
    order = random.Random(f"urial {seed}").sample(list(data.pool), len(data.pool))
    if k > len(order):
        raise ValueError(f"k must be at most {len(order)}, the size of the pool; found {k}")
    seen: set[str] = set()
    first, rest = [], []
    for record in order:
        (rest if record.category in seen else first).append(record)
        seen.add(record.category)
    shown = (Demonstration(record.query, apply_style(record, response_style)) for record in (first + rest)[:k])
    return PromptFile(SYSTEM, tuple(shown))


def apply_style(record: Instruction, response_style: str) -> str:
    """A record's answer in a response style."""
    return fill(RESPONSE_FRAMES[response_style], answer=record.output)


def has_style(text: str, response_style: str) -> bool:
    """Whether a text is an answer in this response style, right or wrong."""
    frame = RESPONSE_FRAMES[check_choice("response_style", response_style, RESPONSE_STYLES[1:])]
    return bool(re.fullmatch(".+".join(map(re.escape, frame.split("{answer}"))), text.strip(), re.DOTALL))


def aligned(lm: LM, file: PromptFile, **more) -> Generator:
    """The model with a prompt file in its context, the kit's or a published one; ``more``: of `Generator`."""
    text = FORMATS[URIAL].turns(file.demonstrations)
    # Published files hold the heading that the prompt format writes itself.
    system = file.system.removeprefix("# Instruction").strip("\n")
    return Generator(lm, text, len(file.demonstrations), URIAL, system, **more)
