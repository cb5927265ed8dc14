"""Instructions over lists of words, with answers that can be checked, and the ways in which people answer them.

A dozen clusters of text functions, each with several wordings (after the clusters and templates of FLAN, Wei et al.
2021, arXiv 2109.01652). Answers come in styles, as on the web: plain, polite, chatty, restyled, wrong, or running on
without a stop. Which style is usual depends on the wording, so that a model of such text follows a bare instruction
only sometimes.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from adaptlab.tasks.words import some_nouns


def _nothing(rng: random.Random, words: Sequence[str], split: str) -> str:
    return ""


@dataclass(frozen=True)
class ListTask:
    """Wordings with ``{x}`` for the list and ``{w}`` for a word from ``pick``; ``solve`` gives the answer."""

    wordings: tuple[str, ...]
    solve: Callable[[Sequence[str], str], str]
    pick: Callable[[random.Random, Sequence[str], str], str] = _nothing


def _inside(rng: random.Random, words: Sequence[str], split: str) -> str:
    return rng.choice(words[:-1])


def _perhaps_inside(rng: random.Random, words: Sequence[str], split: str) -> str:
    return rng.choice([rng.choice(words), *some_nouns(rng, 1, split, avoid=words)])


def _outside(rng: random.Random, words: Sequence[str], split: str) -> str:
    return some_nouns(rng, 1, split, avoid=words)[0]


LIST_TASKS = {
    "copy": ListTask(
        ("Copy this list: {x}", "Say these words again: {x}", "Repeat the words {x}"), lambda x, w: " ".join(x)
    ),
    "reverse": ListTask(
        ("Reverse this list: {x}", "Say these words from last to first: {x}", "Turn around the words {x}"),
        lambda x, w: " ".join(x[::-1]),
    ),
    "first": ListTask(
        ("What is the first word in this list: {x}", "Give the first of these words: {x}", "Start of the words {x}"),
        lambda x, w: x[0],
    ),
    "last": ListTask(
        ("What is the last word in this list: {x}", "Give the last of these words: {x}", "End of the words {x}"),
        lambda x, w: x[-1],
    ),
    "second": ListTask(
        (
            "What is the second word in this list: {x}",
            "Give the second of these words: {x}",
            "Number 2 of the words {x}",
        ),
        lambda x, w: x[1],
    ),
    "rest": ListTask(
        (
            "Leave out the first word: {x}",
            "Say all but the first of these words: {x}",
            "Drop the start of the words {x}",
        ),
        lambda x, w: " ".join(x[1:]),
    ),
    "swap": ListTask(
        (
            "Swap the first and the last word: {x}",
            "Let the ends of this list change places: {x}",
            "Swap ends of the words {x}",
        ),
        lambda x, w: " ".join([x[-1], *x[1:-1], x[0]]),
    ),
    "double": ListTask(
        ("Say each word twice: {x}", "Double the words in this list: {x}", "Write twice each of the words {x}"),
        lambda x, w: " ".join(word for word in x for _ in range(2)),
    ),
    "count": ListTask(
        ("How many words are in this list: {x}", "Count these words: {x}", "Number of the words {x}"),
        lambda x, w: str(len(x)),
    ),
    "contains": ListTask(
        ("Is {w} in this list: {x}", "Is {w} one of these words: {x}", "Look for {w} in the words {x}"),
        lambda x, w: "yes" if w in x else "no",
        _perhaps_inside,
    ),
    "after": ListTask(
        ("Which word comes after {w} in this list: {x}", "Say what follows {w}: {x}", "Next to {w} in the words {x}"),
        lambda x, w: x[x.index(w) + 1],
        _inside,
    ),
    "replace": ListTask(
        (
            "Put {w} in place of the first word: {x}",
            "Change the first word to {w}: {x}",
            "Start with {w} the words {x}",
        ),
        lambda x, w: " ".join([w, *x[1:]]),
        _outside,
    ),
}


@dataclass(frozen=True)
class ListRequest:
    """An instruction as it is asked, its cluster and wording, and the right answer."""

    cluster: str
    wording: int
    question: str
    words: tuple[str, ...]
    argument: str
    answer: str


def request(rng: random.Random, split: str, cluster: str | None = None) -> ListRequest:
    """A random request over 3 to 5 nouns of ``split``."""
    name = cluster or rng.choice(list(LIST_TASKS))
    kind = LIST_TASKS[name]
    number = rng.randrange(len(kind.wordings))
    words = some_nouns(rng, rng.randint(3, 5), split)
    argument = kind.pick(rng, words, split)
    question = kind.wordings[number].replace("{w}", argument).replace("{x}", " ".join(words))
    return ListRequest(name, number, question, tuple(words), argument, kind.solve(words, argument))


STYLES = ("plain", "polite", "chatty", "restyled", "run-on", "wrong")
# Each holds the answer.
FRAMES = {
    "polite": "Thank you for asking. It is {0}.",
    "chatty": "Sure, here you go: {0}. I hope that helps!",
    "restyled": "Answer: {0}. In short, {0}.",
}
USUAL = 0.6  # how often a wording is answered in its usual style, which is never the wrong one


@cache
def usual_style(cluster: str, wording: int) -> str:
    """The style in which most people of the study world answer this wording: plain for about half of them."""
    wordings = [(name, i) for name, kind in LIST_TASKS.items() for i in range(len(kind.wordings))]
    random.Random("usual styles").shuffle(wordings)
    place = wordings.index((cluster, wording)) / len(wordings)
    manners = STYLES[1:-1]
    return "plain" if place < 0.45 else manners[int((place - 0.45) / 0.55 * len(manners))]


def style_of(rng: random.Random, asked: ListRequest) -> str:
    """A style for one document that begins with this request; beside the usual one, plain is four times as frequent
    as each other: an answer without ado is more likely plain than wrong, and the next ones can tell."""
    usual = usual_style(asked.cluster, asked.wording)
    others = [style for style in ("plain",) * 4 + STYLES[1:] if style != usual]
    return usual if rng.random() < USUAL else rng.choice(others)


def answered(rng: random.Random, asked: ListRequest, style: str, split: str) -> tuple[str, str]:
    """The answer in a style, and what runs on behind it (blank but for ``run-on``)."""
    right = asked.answer
    if style in FRAMES:
        return FRAMES[style].format(right), ""
    if style == "wrong":
        others = [kind for kind in LIST_TASKS.values() if kind.pick is _nothing]
        wrong = [answer for kind in others if (answer := kind.solve(asked.words, "")) != right]
        return rng.choice(wrong), ""
    if style == "run-on":
        return right, f" and then {' '.join(some_nouns(rng, rng.randint(3, 6), split))}"
    return right, ""
