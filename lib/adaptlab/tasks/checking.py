"""Exact checks of instruction data, whoever wrote it: the right answer to a question, and whether a text gives it.

Both fail closed: what is not understood for certain has no answer, and is no right answer.
"""

import re
from functools import cache

from adaptlab.tasks.records import Instruction
from adaptlab.tasks.styles import unstyled
from adaptlab.tasks.templates import TASKS, Task, fill, pattern

_WORD = "[a-z]+"
_LIST = f"{_WORD}(?: {_WORD})+"


@cache
def _patterns() -> tuple[tuple[Task, re.Pattern], ...]:
    """Every template of every cluster, and its "name" format, as an expression with the groups x and w."""
    return tuple(
        (task, _expression(text, task.argument))
        for name, task in TASKS.items()
        for text in (*task.templates, pattern(name, "name", 0))
    )


def _expression(template: str, argument: str) -> re.Pattern:
    text = re.escape(template).replace(r"\{x\}", f"(?P<x>{_LIST})")
    return re.compile(text.replace(r"\{w\}", f"(?P<w>{_LIST if argument == 'list' else _WORD})"))


@cache
def template_words() -> frozenset[str]:
    """The words that templates are made of, in small letters. A list cannot hold them: it would be half a sentence."""
    return frozenset(word for task in TASKS.values() for text in task.templates for word in _words(fill(text, ())))


def _words(text: str) -> list[str]:
    return re.findall(_WORD, text.lower())


def solve_text(question: str) -> str | None:
    """The right answer to a question in the words of some template, or in the "name" format; None where it is in none
    of them, has no answer, or can be read in two ways with different answers."""
    answers = set()
    for task, expression in _patterns():
        if match := expression.fullmatch(question.strip()):
            groups = match.groupdict(default="")
            answers.add(_answer(task, groups["x"].split(), groups.get("w", "")))
    return answers.pop() if len(answers) == 1 else None


def _answer(task: Task, words: list[str], argument: str) -> str | None:
    if template_words() & {*words, *argument.split()}:
        return None
    if words.count(argument) > 1:  # which of them is meant?
        return None
    try:
        return task.solve(words, argument)
    except (IndexError, ValueError):
        return None


def correct(record: Instruction, text: str) -> bool:
    """Whether a text, in any of the styles of `styles`, gives the record's output and nothing else.

    Meant for outputs of small letters and digits, as those of `templates` are; others are never found correct.
    """
    return unstyled(text) == record.output
