"""Data sets with a pool to demonstrate or train from and a test to be judged on, and how items are sampled from them.

`LabelledSet` (classification) and `OpenSet` (free answers) have the same two verbs: ``sample(k, seed)`` takes
demonstrations from the pool, ``items(n)`` takes test items. Samples are nested: the sample for a smaller ``k`` is the
beginning of the sample for a larger one, so that prompts grow at their end only.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.records import (
    FieldError,
    Instruction,
    Labelled,
    check_choice,
    check_texts,
    check_tuple,
    check_unique,
    content_key,
    quote,
)

if TYPE_CHECKING:
    from adaptlab.tasks.reading import Reading

POOL_AND_TEST = ("pool", "test")


class TooFew(ValueError):
    """A sample is wanted that is larger than what there is."""


def balanced_sample(items: Sequence[Labelled], k: int, seed: int, *, strict: bool = True) -> list[Labelled]:
    """``k`` items in rounds, each round one item of every class in random order; nested.

    The sample is never more than one item from balance; unless ``strict``, a class that is used up drops out of the
    rounds. Raises `TooFew` where there are too few items.
    """
    rng = random.Random(f"demonstrations {seed}")
    classes: dict[str, list[Labelled]] = {}
    for item in items:
        classes.setdefault(item.label, []).append(item)
    sizes = list(map(len, classes.values())) or [0]
    rounds = min(sizes) if strict else max(sizes)
    if k > sum(min(rounds, size) for size in sizes):
        raise TooFew(f"cannot sample {k} balanced demonstrations: the pool holds {min(sizes)} of its rarest class")
    shuffled = [rng.sample(members, min(rounds, len(members))) for members in classes.values()]
    sample = []
    for number in range(rounds):
        one_of_each = [members[number] for members in shuffled if number < len(members)]
        sample += rng.sample(one_of_each, len(one_of_each))
    return sample[:k]


def _check_number(items: Sequence, n: int) -> None:
    if not 0 <= n <= len(items):
        raise ValueError(f"items must be at most {len(items)}, the number of test items, or 0 for all; found {n}")


def leaked(
    pool: Iterable[Labelled | Instruction], test: Iterable[Labelled | Instruction]
) -> tuple[Labelled | Instruction, ...]:
    """The test items whose query, by `content_key`, stands in the pool as well."""
    known = {content_key(item.query) for item in pool}
    return tuple(item for item in test if content_key(item.query) in known)


@dataclass(frozen=True)
class LabelledSet:
    """A classification task: demonstrations come from ``pool``, methods are judged on ``test``.

    Labels are known, ids are unique over both splits, and no content stands in both. ``instruction`` tells a model
    what to do; ``{names}`` in it stands for the classes' names. ``source``: the reading of a user's data, where the set
    is none of the kit's; classes may then be of any size, and samples are as balanced as these allow.
    """

    name: str
    labels: tuple[str, ...]
    pool: tuple[Labelled, ...]
    test: tuple[Labelled, ...]
    instruction: str = "Each text has one label: {names}."
    source: "Reading | None" = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_texts(self, ("name", "instruction"))
        check_tuple("labels", self.labels, str)
        check_unique("labels", self.labels)
        check_tuple("pool", self.pool, Labelled, empty=True)
        check_tuple("test", self.test, Labelled)
        check_unique("id", (item.id for item in self.pool + self.test))
        for item in self.pool + self.test:
            check_choice(f"label of item {item.id}", item.label, self.labels)
        for item in leaked(self.pool, self.test):
            raise FieldError("test", "texts that are not in the pool", f"that of item {quote(item.id)}")

    def sample(self, k: int, seed: int) -> list[Labelled]:
        """``k`` demonstrations, balanced over the classes (`balanced_sample`)."""
        return balanced_sample(self.pool, k, seed, strict=self.source is None)

    def items(self, n: int = 0) -> list[Labelled]:
        """``n`` test items, balanced over the classes and always the same; all of them for 0, or where a user's data
        has no more."""
        if self.source and n >= len(self.test):
            return list(self.test)
        _check_number(self.test, n)
        return balanced_sample(self.test, n, seed=0, strict=self.source is None) if n else list(self.test)


@dataclass(frozen=True)
class OpenSet:
    """A task with free answers: demonstrations come from ``pool``, methods are judged on ``test``; no question stands
    in both. ``prompt_format``: the key of `prompt_formats.FORMATS` in which the task is put. ``source``: the reading of
    a user's data, where the set is none of the kit's."""

    name: str
    pool: tuple[Instruction, ...]
    test: tuple[Instruction, ...]
    prompt_format: str = "question"
    source: "Reading | None" = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_choice("prompt_format", self.prompt_format, tuple(FORMATS))
        if not self.test:
            raise FieldError("test", "at least one item", "none")
        check_unique("id", (item.id for item in self.pool + self.test))
        for item in leaked(self.pool, self.test):
            raise FieldError("test", "questions that are not in the pool", f"that of item {quote(item.id)}")

    def sample(self, k: int, seed: int) -> list[Instruction]:
        """``k`` demonstrations at random. Raises `TooFew` where there are not so many."""
        size = len(self.pool)
        if not 0 <= k <= size:
            raise TooFew(f"the number of records must be between 0 and {size}, the size of the pool; found {k}")
        return random.Random(f"demonstrations {seed}").sample(self.pool, size)[:k]

    def items(self, n: int = 0) -> list[Instruction]:
        """The first ``n`` test items; all of them for 0, or where a user's data has no more."""
        if self.source and n > len(self.test):
            return list(self.test)
        _check_number(self.test, n)
        return list(self.test[: n or None])
