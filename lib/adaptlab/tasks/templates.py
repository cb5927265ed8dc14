"""Tasks turned into instruction data, after FLAN (Wei et al. 2021, arXiv 2109.01652, sections 2 and 4).

Every task of `instructions`, and two more, with ten paraphrased templates (``data/templates/lists.yaml``); three
formats to tell what templates are worth; any vocabulary. A record asks in its ``instruction``, with the list filled in
as FLAN does it; its ``input`` is blank. `solve_text` answers a question in any of these texts, whoever wrote it.
"""

import random
import re
from collections.abc import Sequence
from functools import cache

from adaptlab.tasks.instructions import LIST_TASKS, Sample, Task, sample_list, with_list
from adaptlab.tasks.records import FieldError, Instruction, check_choice, check_unique, content_key, quote
from adaptlab.tasks.wording import expression, load_templates
from adaptlab.tasks.words import Vocabulary

FORMATS = ("no template", "name", "instruction")
TEMPLATES = 10
TRIES = 1000  # samples in a row that may bring nothing new

# What FLAN calls a task cluster: to hold one out is to hold out all of its tasks.
TASK_CLUSTERS = {
    "copy": ("copy", "double"),
    "order": ("reverse", "swap"),
    "select": ("first", "last", "second", "rest"),
    "count": ("count",),
    "compare": ("longer",),
    "look up": ("contains", "after"),
    "edit": ("replace",),
    "classify": ("ends",),
}


def _two_lists(rng: random.Random, vocabulary: Vocabulary) -> Sample:
    one, other = rng.sample(range(2, 6), 2)
    words = vocabulary(rng, one)
    return words, " ".join(vocabulary(rng, other, words))


def _perhaps_closed(rng: random.Random, vocabulary: Vocabulary) -> Sample:
    words, _ = sample_list(rng, vocabulary)
    return ([*words[:-1], words[0]] if rng.random() < 0.5 else words), ""


def _longer(words: Sequence[str], argument: str) -> str:
    first, second = len(words), len(argument.split())
    if first == second:
        raise ValueError("neither list is longer")
    return "first" if first > second else "second"


def _ends(words: Sequence[str], argument: str) -> str:
    return "same" if words[0] == words[-1] else "different"


TASKS = {
    **LIST_TASKS,
    "longer": Task(load_templates("lists")["longer"], _longer, _two_lists, "list"),
    "ends": Task(load_templates("lists")["ends"], _ends, _perhaps_closed),
}


def held_out(clusters: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(tasks to train on, tasks held out) when some of `TASK_CLUSTERS` are held out whole."""
    for name in clusters:
        check_choice("clusters", name, tuple(TASK_CLUSTERS))
    if set(clusters) == set(TASK_CLUSTERS):
        raise FieldError("clusters", "at least one cluster left to train on", "all of them")
    train = tuple(task for name, tasks in TASK_CLUSTERS.items() if name not in clusters for task in tasks)
    return train, tuple(task for task in TASKS if task not in train)


def pattern(task: str, format: str, template: int) -> str:
    """The text of a format before it is filled in; ``template`` counts from 0 and matters to "instruction" only."""
    texts, bare = TASKS[check_choice("task", task, tuple(TASKS))].templates, TASKS[task].bare
    check_choice("format", format, FORMATS)
    if not 0 <= template < len(texts):
        raise FieldError("template", f"0 to {len(texts) - 1}", str(template))
    return {"no template": bare, "name": f"[{task}] {bare}", "instruction": texts[template]}[format]


def _record(task: str, sample: Sample, format: str, template: int) -> Instruction:
    question = with_list(pattern(task, format, template), *sample)
    key = content_key(f"{task} {question}")[:16]
    return Instruction(f"{task}-{key}", question, "", TASKS[task].solve(*sample), task)


def example(
    rng: random.Random, task: str, vocabulary: Vocabulary, format: str = "instruction", template: int | None = None
) -> Instruction:
    """One random example of a task, its template (from 0) random unless given; the id is that of its content."""
    number = rng.randrange(TEMPLATES) if template is None else template
    pattern(task, format, number)  # complains before anything is sampled
    return _record(task, TASKS[task].sample(rng, vocabulary), format, number)


def dataset(
    seed: int,
    n: int,
    list_tasks: Sequence[str],
    vocabulary: Vocabulary,
    format: str = "instruction",
    templates: int | Sequence[int] = TEMPLATES,
) -> tuple[Instruction, ...]:
    """``n`` examples of ``list_tasks``, as many of each, or one more; no list with its argument occurs twice.

    The first ``templates`` of each task are used, or those named (from 0), equally often on average. The same seed
    gives the same lists in all formats and for all templates, so that these can be compared pair by pair. The tasks
    take turns in random order: any first part of the set is balanced as well.
    """
    _check_wish(n, list_tasks, templates)
    numbers = range(templates) if isinstance(templates, int) else templates
    rng, records, known = random.Random(f"templates {seed}"), [], set()
    while len(records) < n:
        for task in rng.sample(list(list_tasks), min(len(list_tasks), n - len(records))):
            sample = _new(rng, task, vocabulary, known, n)
            records.append(_record(task, sample, format, numbers[int(rng.random() * len(numbers))]))
    return tuple(records)


def _check_wish(n: int, list_tasks: Sequence[str], templates: int | Sequence[int]) -> None:
    if n < 1:
        raise FieldError("n", "1 or more", str(n))
    if isinstance(templates, int):
        if not 1 <= templates <= TEMPLATES:
            raise FieldError("templates", f"1 to {TEMPLATES}", str(templates))
    elif not templates or not set(templates) <= set(range(TEMPLATES)):
        raise FieldError("templates", f"numbers from 0 to {TEMPLATES - 1}", quote(templates))
    if isinstance(list_tasks, str) or not list_tasks:
        raise FieldError("list_tasks", "a list of tasks, not empty", quote(list_tasks))
    for task in list_tasks:
        check_choice("list_tasks", task, tuple(TASKS))
    check_unique("list_tasks", list_tasks)


def _new(rng: random.Random, task: str, vocabulary: Vocabulary, known: set[str], n: int) -> Sample:
    """A list with its argument that is not yet known; it is from now on."""
    for _ in range(TRIES):
        sample = TASKS[task].sample(rng, vocabulary)
        text = with_list(TASKS[task].bare, *sample)
        if text not in known:
            known.add(text)
            return sample
    found = f"{n}; {len(known)} were sampled, then nothing new of {task!r} in {TRIES} tries"
    raise FieldError("n", "no more than the vocabulary has different examples for", found)


# Reading a question back: what is not understood for certain has no answer.
_WORD = "[a-z]+"
_LIST = f"{_WORD}(?: {_WORD})+"


@cache
def _patterns() -> tuple[tuple[Task, re.Pattern], ...]:
    """Every template of every task, and its "name" format, as an expression with the groups x and w."""
    return tuple(
        (task, re.compile(expression(text, x=_LIST, w=_LIST if task.argument == "list" else _WORD)))
        for name, task in TASKS.items()
        for text in (*task.templates, pattern(name, "name", 0))
    )


@cache
def template_words() -> frozenset[str]:
    """The words that templates are made of, in small letters. A list cannot hold them: it would be half a sentence."""
    texts = (with_list(text, ()) for task in TASKS.values() for text in task.templates)
    return frozenset(word for text in texts for word in re.findall(_WORD, text.lower()))


def solve_text(question: str) -> str | None:
    """The right answer to a question in the words of some template, or in the "name" format.

    None where it is in none of them, has no answer, or can be read in two ways with different answers.
    """
    answers = set()
    for task, form in _patterns():
        if match := form.fullmatch(question.strip()):
            groups = match.groupdict(default="")
            answers.add(_solve(task, groups["x"].split(), groups.get("w", "")))
    return answers.pop() if len(answers) == 1 else None


def _solve(task: Task, words: list[str], argument: str) -> str | None:
    if template_words() & {*words, *argument.split()}:
        return None
    if words.count(argument) > 1:  # which of them is meant?
        return None
    try:
        return task.solve(words, argument)
    except (IndexError, ValueError):
        return None
