"""Ways to put an answer, and how to find it again.

"restyled" sets the answer apart between a friendly opening and a closing offer, the look that URIAL's demonstrations
teach (Lin et al. 2023, arXiv 2312.01552, section 3).
"""

import random
import re

from adaptlab.tasks.records import check_choice

_SURE = (
    "Of course, happy to do that.",
    "Gladly! Let me work it out.",
    "That is a good question.",
    "Hello! I can help.",
)
_OFFER = ("Let me know if there is more to do.", "If you want, I can explain.", "Is there anything else you need?")
_OH = ("Oh, lists!", "Ha, easy!", "Well, well.", "Hm, hold on.")
_BYE = ("That was fun!", "Hope it is what you were after!", "Bring on the next one!")

# Each holds one {}: the answer.
FRAMES = {
    "plain": ("{}",),
    "terse": ("= {}", "A: {}", "Ans: {}"),
    "chatty": tuple(f"{oh} I make it {{}}. {bye}" for oh in _OH for bye in _BYE),
    "restyled": tuple(f"{sure}\n\n{{}}\n\n{offer}" for sure in _SURE for offer in _OFFER),
}
STYLES = tuple(FRAMES)
_KNOWN = tuple(frame.split("{}") for frames in (*FRAMES.values(), ("{}.",)) for frame in frames)
_ANSWER = re.compile(r"[a-z0-9]+(?: [a-z0-9]+)*")


def styled(answer: str, style: str, rng: random.Random) -> str:
    """The answer in one of the frames of a style."""
    return rng.choice(FRAMES[check_choice("style", style, STYLES)]).format(answer)


def unstyled(text: str) -> str | None:
    """The answer in a text of any style, or None where a text is not exactly one answer in one frame.

    An answer is small letters and digits with single spaces between; white space around the text and a full stop behind
    a plain answer do no harm.
    """
    text = text.strip()
    found = {
        inner
        for before, after in _KNOWN
        if text.startswith(before) and text.endswith(after)
        if _ANSWER.fullmatch(inner := text[len(before) : len(text) - len(after)])
    }
    return found.pop() if len(found) == 1 else None
