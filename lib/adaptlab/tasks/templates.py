"""Tasks turned into instruction data, after FLAN (Wei et al. 2021, arXiv 2109.01652, sections 2 and 4).

Every cluster of `instructions`, and two more, with ten paraphrased templates; three formats to tell what templates are
worth ("none", "name" and "instruction"); any vocabulary. A record asks in its ``instruction``, with the list filled
in as FLAN does it; its ``input`` is blank.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adaptlab.tasks.instructions import LIST_TASKS
from adaptlab.tasks.records import FieldError, Instruction, check_choice, check_unique, content_key, shown
from adaptlab.tasks.wordings import MORE
from adaptlab.tasks.words import Vocabulary

FORMATS = ("none", "name", "instruction")
TEMPLATES = 10
TRIES = 1000  # draws in a row that may bring nothing new

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

Drawn = tuple[list[str], str]


@dataclass(frozen=True)
class Task:
    """Ten templates, the exact answer to them, and random lists and arguments to fill them with.

    ``argument`` is "", "word" or "list". ``solve`` raises a ValueError or IndexError where there is no answer.
    """

    templates: tuple[str, ...]
    solve: Callable[[Sequence[str], str], str]
    draw: Callable[[random.Random, Vocabulary], Drawn]
    argument: str = ""

    @property
    def bare(self) -> str:
        """The input without an instruction."""
        return {"": "{x}", "word": "{w}: {x}", "list": "{x} / {w}"}[self.argument]


def _list(rng: random.Random, vocabulary: Vocabulary) -> Drawn:
    return vocabulary(rng, rng.randint(3, 5)), ""


def _with_inner(rng: random.Random, vocabulary: Vocabulary) -> Drawn:
    words, _ = _list(rng, vocabulary)
    return words, rng.choice(words[:-1])


def _with_other(rng: random.Random, vocabulary: Vocabulary) -> Drawn:
    words, _ = _list(rng, vocabulary)
    return words, vocabulary(rng, 1, words)[0]


def _with_either(rng: random.Random, vocabulary: Vocabulary) -> Drawn:
    words, other = _with_other(rng, vocabulary)
    return words, rng.choice([rng.choice(words), other])


def _two_lists(rng: random.Random, vocabulary: Vocabulary) -> Drawn:
    one, other = rng.sample(range(2, 6), 2)
    words = vocabulary(rng, one)
    return words, " ".join(vocabulary(rng, other, words))


def _perhaps_closed(rng: random.Random, vocabulary: Vocabulary) -> Drawn:
    words, _ = _list(rng, vocabulary)
    return ([*words[:-1], words[0]] if rng.random() < 0.5 else words), ""


def _longer(words: Sequence[str], argument: str) -> str:
    first, second = len(words), len(argument.split())
    if first == second:
        raise ValueError("neither list is longer")
    return "first" if first > second else "second"


def _ends(words: Sequence[str], argument: str) -> str:
    return "same" if words[0] == words[-1] else "different"


_WITH_WORD = {"contains": _with_either, "after": _with_inner, "replace": _with_other}

TASKS = {
    **{
        name: Task(
            cluster.wordings + MORE[name], cluster.solve, _WITH_WORD.get(name, _list), "word" * (name in _WITH_WORD)
        )
        for name, cluster in LIST_TASKS.items()
    },
    "longer": Task(MORE["longer"], _longer, _two_lists, "list"),
    "ends": Task(MORE["ends"], _ends, _perhaps_closed),
}


def held_out(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(tasks to train on, tasks held out) when the clusters ``names`` of `TASK_CLUSTERS` are held out whole."""
    for name in names:
        check_choice("names", name, tuple(TASK_CLUSTERS))
    if set(names) == set(TASK_CLUSTERS):
        raise FieldError("names", "at least one kind left to train on", "all of them")
    train = tuple(cluster for kind, list_tasks in TASK_CLUSTERS.items() if kind not in names for cluster in list_tasks)
    return train, tuple(cluster for cluster in TASKS if cluster not in train)


def fill(template: str, words: Sequence[str], argument: str = "") -> str:
    """A template with its list and its argument in place."""
    return template.replace("{w}", argument).replace("{x}", " ".join(words))


def pattern(cluster: str, format: str, template: int) -> str:
    """The text of a format before it is filled in; ``template`` counts from 0 and matters to "instruction" only."""
    task = TASKS[check_choice("cluster", cluster, tuple(TASKS))]
    check_choice("format", format, FORMATS)
    if not 0 <= template < len(task.templates):
        raise FieldError("template", f"0 to {len(task.templates) - 1}", str(template))
    return {"none": task.bare, "name": f"[{cluster}] {task.bare}", "instruction": task.templates[template]}[format]


def _record(cluster: str, drawn: Drawn, format: str, template: int) -> Instruction:
    question = fill(pattern(cluster, format, template), *drawn)
    key = content_key(f"{cluster} {question}")[:16]
    return Instruction(f"{cluster}-{key}", question, "", TASKS[cluster].solve(*drawn), cluster)


def example(
    rng: random.Random,
    cluster: str,
    vocabulary: Vocabulary,
    format: str = "instruction",
    template: int | None = None,
) -> Instruction:
    """One random example of a cluster, its template (from 0) random unless given; the id is that of its content."""
    number = rng.randrange(TEMPLATES) if template is None else template
    pattern(cluster, format, number)  # complains before anything is drawn
    return _record(cluster, TASKS[cluster].draw(rng, vocabulary), format, number)


def dataset(
    seed: int,
    n: int,
    list_tasks: Sequence[str],
    vocabulary: Vocabulary,
    format: str = "instruction",
    templates: int | Sequence[int] = TEMPLATES,
) -> tuple[Instruction, ...]:
    """``n`` examples over ``clusters``, as many of each, or one more; no list with its argument occurs twice.

    The first ``templates`` of each cluster are used, or those named (from 0), equally often on average. The same seed
    draws the same lists in all formats and for all templates, so that these can be compared pair by pair. The clusters
    take turns in random order: any first part of the set is balanced as well.
    """
    _check_wish(n, list_tasks, templates)
    numbers = range(templates) if isinstance(templates, int) else templates
    rng, records, known = random.Random(f"templates {seed}"), [], set()
    while len(records) < n:
        for cluster in rng.sample(list(list_tasks), min(len(list_tasks), n - len(records))):
            drawn = _new(rng, cluster, vocabulary, known, n)
            records.append(_record(cluster, drawn, format, numbers[int(rng.random() * len(numbers))]))
    return tuple(records)


def _check_wish(n: int, list_tasks: Sequence[str], templates: int | Sequence[int]) -> None:
    if n < 1:
        raise FieldError("n", "1 or more", str(n))
    if isinstance(templates, int):
        if not 1 <= templates <= TEMPLATES:
            raise FieldError("templates", f"1 to {TEMPLATES}", str(templates))
    elif not templates or not set(templates) <= set(range(TEMPLATES)):
        raise FieldError("templates", f"numbers from 0 to {TEMPLATES - 1}", shown(templates))
    if isinstance(list_tasks, str) or not list_tasks:
        raise FieldError("clusters", "a list of clusters, not empty", shown(list_tasks))
    for cluster in list_tasks:
        check_choice("clusters", cluster, tuple(TASKS))
    check_unique("clusters", list_tasks)


def _new(rng: random.Random, cluster: str, vocabulary: Vocabulary, known: set[str], n: int) -> Drawn:
    """A list with its argument that is not yet known; it is from now on."""
    task = TASKS[cluster]
    for _ in range(TRIES):
        drawn = task.draw(rng, vocabulary)
        text = fill(task.bare, *drawn)
        if text not in known:
            known.add(text)
            return drawn
    found = f"{n}; {len(known)} were drawn, then nothing new of {cluster!r} in {TRIES} tries"
    raise FieldError("n", "no more than the vocabulary has different examples for", found)
