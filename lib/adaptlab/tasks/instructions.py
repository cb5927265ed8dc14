"""Instructions over lists of words, with answers that can be checked, and the styles in which people respond.

A dozen tasks about lists (after the tasks and templates of FLAN, Wei et al. 2021, arXiv 2109.01652). Responses come in
styles, as on the web: plain, polite, chatty, restyled, wrong, or running on without a stop. Which style is usual
depends on the wording, so that a model of such text follows a bare instruction only sometimes.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from adaptlab.tasks.records import Instruction
from adaptlab.tasks.wording import fill, load_templates
from adaptlab.tasks.words import Vocabulary, study

WORDINGS, ALL_WORDINGS = 3, 10  # templates of each task that the study model read in its first course, and in all


Sample = tuple[list[str], str]  # a list, and the argument beside it


def with_list(template: str, words: Sequence[str], argument: str = "") -> str:
    """A template with its list and its argument in place."""
    return fill(template, x=" ".join(words), w=argument)


@dataclass(frozen=True)
class Task:
    """Ten templates, the exact answer to them, and random lists and arguments to fill them with.

    ``argument`` is "", "word" or "list". ``solve`` raises a ValueError or IndexError where there is no answer.
    """

    templates: tuple[str, ...]
    solve: Callable[[Sequence[str], str], str]
    sample: Callable[[random.Random, Vocabulary], Sample]
    argument: str = ""

    @property
    def bare(self) -> str:
        """The input without an instruction."""
        return {"": "{x}", "word": "{w}: {x}", "list": "{x} / {w}"}[self.argument]


def sample_list(rng: random.Random, vocabulary: Vocabulary) -> Sample:
    """3 to 5 words."""
    return vocabulary(rng, rng.randint(3, 5)), ""


def _with_inner(rng: random.Random, vocabulary: Vocabulary) -> Sample:
    words, _ = sample_list(rng, vocabulary)
    return words, rng.choice(words[:-1])


def _with_other(rng: random.Random, vocabulary: Vocabulary) -> Sample:
    words, _ = sample_list(rng, vocabulary)
    return words, vocabulary(rng, 1, words)[0]


def _with_either(rng: random.Random, vocabulary: Vocabulary) -> Sample:
    words, other = _with_other(rng, vocabulary)
    return words, rng.choice([rng.choice(words), other])


_SOLVE: dict[str, Callable[[Sequence[str], str], str]] = {
    "copy": lambda x, w: " ".join(x),
    "reverse": lambda x, w: " ".join(x[::-1]),
    "first": lambda x, w: x[0],
    "last": lambda x, w: x[-1],
    "second": lambda x, w: x[1],
    "rest": lambda x, w: " ".join(x[1:]),
    "swap": lambda x, w: " ".join([x[-1], *x[1:-1], x[0]]),
    "double": lambda x, w: " ".join(word for word in x for _ in range(2)),
    "count": lambda x, w: str(len(x)),
    "contains": lambda x, w: "yes" if w in x else "no",
    "after": lambda x, w: x[x.index(w) + 1],
    "replace": lambda x, w: " ".join([w, *x[1:]]),
}
_WITH_WORD = {"contains": _with_either, "after": _with_inner, "replace": _with_other}
LIST_TASKS = {
    name: Task(
        load_templates("lists")[name], solve, _WITH_WORD.get(name, sample_list), "word" if name in _WITH_WORD else ""
    )
    for name, solve in _SOLVE.items()
}


@dataclass(frozen=True)
class ListRequest:
    """An instruction as it is asked, its task and wording, and the right answer."""

    task: str
    wording: int
    question: str
    words: tuple[str, ...]
    argument: str
    answer: str


def request(rng: random.Random, split: str, task: str | None = None, wordings: int = WORDINGS) -> ListRequest:
    """A random request over 3 to 5 nouns of ``split``, in one of the first ``wordings`` templates of its task."""
    name = task or rng.choice(list(LIST_TASKS))
    chosen = LIST_TASKS[name]
    number = rng.randrange(wordings)
    # Not the order of `_with_either`: the corpus that published models have read was sampled in this one.
    sample = _with_either_word if name == "contains" else chosen.sample
    words, argument = sample(rng, study(split))
    question = with_list(chosen.templates[number], words, argument)
    return ListRequest(name, number, question, tuple(words), argument, chosen.solve(words, argument))


def _with_either_word(rng: random.Random, vocabulary: Vocabulary) -> Sample:
    words, _ = sample_list(rng, vocabulary)
    return words, rng.choice([rng.choice(words), *vocabulary(rng, 1, words)])


RESPONSE_STYLES = ("plain", "polite", "chatty", "restyled", "run-on", "wrong")
RESPONSE_FRAMES = {
    "plain": "{answer}",
    "polite": "Thank you for asking. It is {answer}.",
    "chatty": "Sure, here you go: {answer}. I hope that helps!",
    "restyled": "Answer: {answer}. In short, {answer}.",
}
USUAL = 0.6  # how often a wording is answered in its usual style, which is never the wrong one


@cache
def usual_response_style(task: str, wording: int) -> str:
    """The style in which most people of the study world answer this wording: plain for about half of them."""
    first = wording < WORDINGS
    numbers = range(WORDINGS) if first else range(WORDINGS, ALL_WORDINGS)
    wordings = [(name, i) for name in LIST_TASKS for i in numbers]
    random.Random("usual styles" if first else "usual styles of the other wordings").shuffle(wordings)
    place = wordings.index((task, wording)) / len(wordings)
    others = RESPONSE_STYLES[1:-1]
    return "plain" if place < 0.45 else others[int((place - 0.45) / 0.55 * len(others))]


def sample_response_style(rng: random.Random, asked: ListRequest) -> str:
    """A style for one document that begins with this request.

    Beside the usual style, plain is four times as frequent as each other one: an answer without ado is more likely
    plain than wrong, and the answers that follow can tell.
    """
    usual = usual_response_style(asked.task, asked.wording)
    others = [style for style in ("plain",) * 4 + RESPONSE_STYLES[1:] if style != usual]
    return usual if rng.random() < USUAL else rng.choice(others)


def answered(rng: random.Random, asked: ListRequest, response_style: str, split: str) -> tuple[str, str]:
    """The answer in a style, and what runs on behind it (blank except for ``run-on``)."""
    right = asked.answer
    if response_style == "wrong":
        others = [task for task in LIST_TASKS.values() if not task.argument]
        wrong = [answer for task in others if (answer := task.solve(asked.words, "")) != right]
        return rng.choice(wrong), ""
    if response_style == "run-on":
        return right, f" and then {' '.join(study(split)(rng, rng.randint(3, 6)))}"
    return fill(RESPONSE_FRAMES[response_style], answer=right), ""


def list_answer(record: Instruction) -> str | None:
    """The right answer to a record of the category "lists: TASK"; None for any other record.

    The word that a request is about, where there is one, stands in quotation marks.
    """
    kind, _, task = record.category.partition(": ")
    if kind != "lists":
        return None
    quoted = re.findall(r'"(\w+)"', record.instruction)
    return LIST_TASKS[task].solve(record.input.split(), quoted[0] if quoted else "")


def answers(plain: str) -> frozenset[str]:
    """An answer as it may be put: plain, or in one of the response styles of the study world."""
    return frozenset(fill(frame, answer=plain) for frame in RESPONSE_FRAMES.values())


def right(item: Instruction, text: str) -> bool:
    """Whether a text is the right answer and nothing else, in any of these styles."""
    return text.strip() in answers(item.output)
