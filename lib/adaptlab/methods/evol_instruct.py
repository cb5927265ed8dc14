"""Evol-Instruct: requests are rewritten into harder or new ones, and the failures are eliminated.

After Xu et al. 2023 (WizardLM, arXiv 2304.12244, section 3.2). Three of its six operations, each done in two ways: by a
rule of ours, whose right answer is known, and by a model that is shown what the rule did to other requests.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from adaptlab.engine.generation import Completion
from adaptlab.engine.lm import LM
from adaptlab.methods.generation_recipes import PAGES
from adaptlab.tasks.instructions import LIST_TASKS, WORDINGS, ListRequest, with_list
from adaptlab.tasks.records import Instruction
from adaptlab.tasks.sets import FOLLOW_UPS
from adaptlab.tasks.templates import TASKS, solve_text
from adaptlab.tasks.wording import expression
from adaptlab.tasks.words import Vocabulary

SIMPLE = ("copy", "double", "reverse", "swap")  # a list in, a list out: what more can be demanded of
NAMED = ("after", "replace")  # about a word that is named
SHOWN = 3  # requests with what became of them


def simple_request(rng: random.Random, vocabulary: Vocabulary) -> ListRequest:
    """A random request to begin with, in a wording that the study model has read."""
    name = rng.choice(SIMPLE)
    return _asked(name, rng.randrange(WORDINGS), *LIST_TASKS[name].sample(rng, vocabulary))


def _asked(name: str, wording: int, words: Sequence[str], argument: str = "") -> ListRequest:
    task = LIST_TASKS[name]
    question = with_list(task.templates[wording], words, argument)
    return ListRequest(name, wording, question, tuple(words), argument, task.solve(words, argument))


def deepen(rng: random.Random, one: ListRequest, vocabulary: Vocabulary) -> ListRequest:
    """One more demand: something is to be done with the answer, too."""
    then = rng.choice(list(FOLLOW_UPS))
    stop = "" if one.question[-1] in ".?!" else "."
    question = f"{one.question}{stop} {rng.choice(FOLLOW_UPS[then])}"
    answer = TASKS[then].solve(one.answer.split(), "")
    return replace(one, task=f"{one.task} then {then}", question=question, answer=answer)


def concretise(rng: random.Random, one: ListRequest, vocabulary: Vocabulary) -> ListRequest:
    """The same list, and a question about one word by name in place of all of them."""
    name = rng.choice(NAMED)
    word = rng.choice(one.words[:-1]) if name == "after" else vocabulary(rng, 1, one.words)[0]
    return _asked(name, one.wording, one.words, word)


def broaden(rng: random.Random, one: ListRequest, vocabulary: Vocabulary) -> ListRequest:
    """Another task about other words, of the same rarity: the study model has read all tasks equally often."""
    name = rng.choice([task for task in LIST_TASKS if task != one.task])
    return _asked(name, one.wording, *LIST_TASKS[name].sample(rng, vocabulary))


OPERATIONS: dict[str, Callable[[random.Random, ListRequest, Vocabulary], ListRequest]] = {
    "deepen": deepen,
    "concretise": concretise,
    "broaden": broaden,
}


class Rewritten(NamedTuple):
    """A request, what was made of it (blank if nothing that can be read), and what else was on the writer's page."""

    original: ListRequest
    text: str
    before: tuple[str, ...] = ()


def by_model(
    lm: LM, rng: random.Random, operation: str, requests: Sequence[ListRequest], vocabulary: Vocabulary
) -> list[Rewritten]:
    """What a model makes of requests. It continues a page of questions and answers on which each of `SHOWN` other
    requests is followed by what the rule made of it, and last comes the one to rewrite."""
    page: list[ListRequest] = []
    for other in (simple_request(rng, vocabulary) for _ in range(SHOWN)):
        page += [other, OPERATIONS[operation](rng, other, vocabulary)]
    drafts = PAGES.write(lm, [as_records([*page, one]) for one in requests], rng.randrange(2**31))
    texts = ["" if isinstance(draft, str) else draft.instruction for draft in drafts]
    before = tuple(one.question for one in page)
    return [Rewritten(one, text, before) for one, text in zip(requests, texts, strict=True)]


def as_records(requests: Sequence[ListRequest]) -> list[Instruction]:
    """Requests as records, named by their place: what was made of one request is one item."""
    return [Instruction(f"request {i}", one.question, "", one.answer, one.task) for i, one in enumerate(requests, 1)]


# What fails: the paper's four cases in its order, in a form that needs no judge, between two of ours.
STEPS = ("no request", "nothing new", "hard to answer", "empty answer", "copied", "no right answer")
# "no" and "not" are none of them: they may be answers.
_STOP_WORDS = frozenset("a an and are as at be but by for from has in is it its of on or so that the to".split())
_WORD = re.compile(r"[^\W_]+")
_FRAME = ("Question:", "Answer:")  # of the page


def eliminated(made: Rewritten, answer: Completion) -> str:
    """The first of `STEPS` that a rewritten request fails, ``answer`` being a model's answer to it; "" if none.

    The paper asks a model whether anything is new, and takes a short "sorry" as a sign that a request is too hard; here
    it is no new word, and an answer that does not end.
    """
    new, said = _words(made.text), _words(answer.text)
    failed = (
        not new,
        new <= _words(made.original.question),
        not answer.stopped,
        said <= _STOP_WORDS,
        any(mark in made.text for mark in _FRAME) or made.text in made.before,
        right_answer(made.text) is None,
    )
    return next((name for name, fails in zip(STEPS, failed, strict=True) if fails), "")


def carried_out(operation: str, made: Rewritten) -> bool:
    """Whether a request was rewritten as its operation asks: no step of the paper's elimination looks at that."""
    original, text = made.original, made.text
    listed = " ".join(original.words)
    if right_answer(text) is None:
        return False
    if operation == "deepen":
        return text.startswith(original.question) and text != original.question
    if operation == "broaden":
        return listed not in text
    templates = [template for name in NAMED for template in LIST_TASKS[name].templates]
    return any(re.fullmatch(expression(template, x=re.escape(listed), w=r"\w+"), text) for template in templates)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def right_answer(text: str) -> str | None:
    """The right answer to a request in the words of a template, with one more demand or without; None where a program
    cannot tell."""
    demands = ((said, TASKS[name]) for name, wordings in FOLLOW_UPS.items() for said in wordings)
    for said, task in demands:
        if text.endswith(f" {said}"):
            head = text.removesuffix(f" {said}")
            first = solve_text(head) or solve_text(head.removesuffix("."))
            try:
                return task.solve(first.split(), "") if first else None
            except IndexError:
                return None
    return solve_text(text)
