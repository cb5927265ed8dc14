"""Alignment by context: a system text and a few constant demonstrations in front of a base model.

URIAL (Lin et al. 2023, arXiv 2312.01552): the structure of the page is that of its prompt files (`prompts.FORMATS`).
Answers end at the next heading, as in its scripts, or at a closing fence, which is ours; system text and demonstrations
are the kit's own. Later turns are appended as further blocks, with the model's own answers.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from adaptlab.engine.generation import Completion, Decoding, generate
from adaptlab.methods.writing import Generator
from adaptlab.tasks.instructions import RESPONSE_FRAMES
from adaptlab.tasks.prompts import FORMATS
from adaptlab.tasks.records import Conversation, Demonstration, Instruction, PromptFile, check_choice
from adaptlab.tasks.splits import OpenSet

URIAL = "urial"
SYSTEM = "Answer each request."
SHOTS = (0, 1, 3, 8)  # K of the published prompt files
RESPONSE_STYLES = ("plain", *RESPONSE_FRAMES)


def demonstrations(data: OpenSet, k: int, manner: str, seed: int) -> PromptFile:
    """A prompt like URIAL's: the system text and ``k`` demonstrations, constant for all queries, in one manner.

    Each demonstration is of another cluster as far as there are so many; more only append to fewer.
    """
    check_choice("manner", manner, RESPONSE_STYLES)
    order = random.Random(f"urial {seed}").sample(list(data.pool), len(data.pool))
    if k > len(order):
        raise ValueError(f"k must be at most {len(order)}, the size of the pool; found {k}")
    seen: set[str] = set()
    first, rest = [], []
    for record in order:
        (rest if record.category in seen else first).append(record)
        seen.add(record.category)
    return PromptFile(SYSTEM, tuple(Demonstration(r.query, apply_style(r, manner)) for r in (first + rest)[:k]))


def apply_style(record: Instruction, manner: str) -> str:
    """A record's answer in a manner."""
    return RESPONSE_FRAMES[manner].format(record.output) if manner in RESPONSE_FRAMES else record.output


def has_style(text: str, manner: str) -> bool:
    """Whether a text is an answer in this manner of `instructions.RESPONSE_FRAMES`, whatever it says."""
    frame = RESPONSE_FRAMES[check_choice("manner", manner, tuple(RESPONSE_FRAMES))]
    return bool(re.fullmatch(".+".join(map(re.escape, frame.split("{0}"))), text.strip(), re.DOTALL))


def aligned(writer: Generator, file: PromptFile) -> Generator:
    """The writer behind a prompt file, the kit's or a published one."""
    shown = FORMATS[URIAL].turns(file.demonstrations)
    return replace(
        writer, shown=shown, shots=len(file.demonstrations), style=URIAL, instruction=_heading_off(file.system)
    )


def _heading_off(system: str) -> str:
    """Published files hold the heading that the layout writes itself."""
    return system.removeprefix("# Instruction").strip("\n")


def talk(
    writer: Generator, conversations: Sequence[Conversation], how: Decoding | None = None
) -> list[list[Completion]]:
    """Let the model answer every user turn of every conversation, its own answers to the turns before in the prompt.

    Answers lose the white space around them, as the published post-processing does; it also deletes every fence, which
    destroys answers that hold code: not done here. Returns one list of answers a turn, in the order of conversations.
    """
    if not conversations:
        return []
    layout, how = FORMATS[writer.style], how or writer.decoding
    turns = [[m.content for m in one.messages if m.role == "user"] for one in conversations]
    if len({len(asked) for asked in turns}) > 1:
        raise ValueError("conversations must have the same number of user turns")
    pages = [writer.shown] * len(turns)
    answers: list[list[Completion]] = []
    for place in range(len(turns[0])):
        asked = [turn[place] for turn in turns]
        prompts = [replace(writer, shown=page).prompt(query) for page, query in zip(pages, asked, strict=True)]
        texts = generate(writer.lm, prompts, how, seed=writer.seed).completions
        completions = [replace(w, text=w.text.strip()) for w in texts]
        pages = [
            page + layout.turns([(query, w.text)], writer.instruction)
            for page, query, w in zip(pages, asked, completions, strict=True)
        ]
        answers.append(completions)
    return answers
