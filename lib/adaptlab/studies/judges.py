"""For notebook A2: answerers of known quality, and judges of known biases, which read the same prompts as real ones."""

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from adaptlab.evidence.judge import Answers, Judging, compare
from adaptlab.evidence.judge_stats import agreement, length_controlled, pull_of_place, win_rate
from adaptlab.evidence.stats import Interval
from adaptlab.tasks.instructions import RESPONSE_FRAMES, ListRequest, answered, answers, request
from adaptlab.tasks.records import Conversation, Message
from adaptlab.tasks.wording import fill

PROTOCOLS = ("one order", "both orders", "length controlled", "truth")
SKILL = 3.0  # log odds with which a simulated judge prefers a right answer to a wrong one
FAR = 6  # words: a difference in length of which a simulated judge takes notice
_PART = r"(?:^|\n)\[\w+\] {} {}(?: of assistant {})?\n(.*?)\n\["


@dataclass(frozen=True)
class SimulatedJudge:
    """Tosses a coin whose log odds are known: `SKILL` for the right answer, and its biases.

    ``place``: for the answer shown first; ``length``: for one that is far longer (tanh of the difference in words over
    `FAR`); ``thanks``: for one that begins with thanks. The coin is a hash of seed and prompt: the same question gets
    the same reply.
    """

    place: float = 0.0
    length: float = 0.0
    thanks: float = 0.0
    seed: int = 0

    def odds(self, reference: str, first: str, second: str) -> float:
        """The log odds with which it prefers the first answer to the second."""
        right = (first in answers(reference)) - (second in answers(reference))
        thanks = first.startswith("Thank") - second.startswith("Thank")
        longer = np.tanh((len(first.split()) - len(second.split())) / FAR)
        return SKILL * right + self.place + self.thanks * thanks + self.length * float(longer)

    def ask(self, prompt: str) -> str:
        """Its reply to a question of `judge.write_prompt` with a reference answer to the last turn."""
        turn = max(map(int, re.findall(r"\n\[\w+\] reference answer (\d+)\n", prompt)))
        asked = [("reference answer", ""), ("answer", "1"), ("answer", "2")]
        texts = (re.search(_PART.format(what, turn, name), prompt, re.DOTALL)[1] for what, name in asked)
        coin = int(hashlib.sha256(f"{self.seed} {prompt}".encode()).hexdigest()[:12], 16) / 16**12
        return f"Verdict: {1 if coin < expit(self.odds(*texts)) else 2}"


@dataclass(frozen=True)
class Answerer:
    """Right with a probability of ``accuracy``. Right answers are in ``style`` with a probability of ``styled``, wrong
    ones with ``styled_wrong``; all others are plain."""

    accuracy: float
    style: str
    styled: float
    styled_wrong: float

    def answer(self, rng: random.Random, asked: ListRequest) -> str:
        """An answer to a request of `instructions.request`."""
        right = rng.random() < self.accuracy
        text = asked.answer if right else answered(rng, asked, "wrong", "test")[0]
        styled = rng.random() < (self.styled if right else self.styled_wrong)
        return fill(RESPONSE_FRAMES[self.style if styled else "plain"], answer=text)


def truth(a: Answerer, b: Answerer) -> float:
    """The win rate of A with a judge of the same skill and without biases, over all requests."""
    only_a, only_b = a.accuracy * (1 - b.accuracy), b.accuracy * (1 - a.accuracy)
    return float(only_a * expit(SKILL) + only_b * expit(-SKILL) + (1 - only_a - only_b) / 2)


def pairs(a: Answerer, b: Answerer, n: int, name: str) -> tuple[list[Conversation], Answers, Answers]:
    """``n`` random requests, and what A and B answer; the same for the same name."""
    rng = random.Random(name)
    asked = {f"request {i}": request(rng, "test") for i in range(n)}
    items = [Conversation(id, (Message("user", one.question),), "", (one.answer,)) for id, one in asked.items()]
    said = ({id: [side.answer(rng, one)] for id, one in asked.items()} for side in (a, b))
    return items, *said


def simulated(a: Answerer, b: Answerer, judge: Judging, requests: int, comparisons: int, name: str) -> pd.DataFrame:
    """Comparisons of A and B by a judge, each over requests of its own: a row for each comparison (``item``) and one of
    `PROTOCOLS`, with ``win_rate``, its interval, and whether that has ``covered`` the truth."""
    right, rows = truth(a, b), []
    for n in range(comparisons):
        frame = compare(judge, *pairs(a, b, requests, f"{name} {n}"))
        found = (win_rate(frame, "order_1"), win_rate(frame), length_controlled(frame))
        numbers = [(one.estimate, one.low, one.high) for one in found] + [(right, right, right)]
        rows += [(f"comparison {n}", *each) for each in zip(PROTOCOLS, numbers, strict=True)]
    table = pd.DataFrame(
        [(item, protocol, *three) for item, protocol, three in rows],
        columns=["item", "protocol", "win_rate", "low", "high"],
    )
    return table.assign(model="simulated", covered=(table.low <= right) & (right <= table.high))


def rate(found: Interval) -> str:
    """A win rate in words."""
    return f"{found.estimate:.0%} [{found.low:.0%}, {found.high:.0%}]"


def told(frame: pd.DataFrame) -> list[str]:
    """What one turn's verdicts are worth, a sentence each; why not, where nothing can be said."""
    unread = (frame.verdict == "unreadable").sum()
    lines = [f"{len(frame) - unread} of {len(frame)} pairs got a verdict that can be read, in both orders."]
    try:
        moved = pull_of_place(frame).value_counts()
        lines.append(
            f"Swapping the answers moved {moved.drop('not', errors='ignore').sum()} verdicts: "
            f"{moved.get('first', 0)} to the answer shown first, {moved.get('second', 0)} to the second."
        )
        agreed, kappa = agreement(frame)
        lines.append(f"Judge and exact check say the same of {rate(agreed)} of the pairs (Cohen's kappa {kappa:.2f}).")
        lines.append(f"Win rate of A, both orders: {rate(win_rate(frame))}.")
        lines.append(f"Length-controlled: {rate(length_controlled(frame))}.")
    except ValueError as error:
        lines.append(f"More cannot be said: {error}.")
    return lines


def marked(frame: pd.DataFrame, items: Sequence[Conversation], a: Answers, b: Answers) -> pd.DataFrame:
    """The frame with the marks of the exact check, ``right_a`` and ``right_b``."""
    gold = {item.id: item.references for item in items}

    def marks(said: Answers) -> list[bool]:
        return [said[id][n - 1] in answers(gold[id][n - 1]) for id, n in zip(frame["item"], frame["turn"], strict=True)]

    return frame.assign(right_a=marks(a), right_b=marks(b))
