"""Worlds of invented facts: documents to learn from, and questions whose answers follow from them.

After the data sets of Lampinen et al. 2025 (arXiv 2505.00661, section 3.1); the texts are ours. `worlds_simple` makes
the three with short documents, `worlds_structure` the one with a hierarchy. Everything that a document may say and a
question may claim is a `Fact` in one of the forms below, so that answers can be proved: a `World` with a wrong one
cannot be made.
"""

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from adaptlab.tasks.knowledge import ALL, ALL_CAN, COMPARATIVES, COMPOSITIONS, INVERSES, Fact, consequences
from adaptlab.tasks.records import FieldError, check_choice, check_unique, quote

NAMED, CALLED = "{} is {}", "{} is called {}"
ALL_LOOK = "all {} look {}"
AMONG, DOERS, LOOKERS = (
    "among the {} are the {}",
    "among those that can {} are the {}",
    "among those that look {} are the {}",
)
_PAIRS = {NAMED: CALLED, ALL: AMONG, ALL_CAN: DOERS, ALL_LOOK: LOOKERS}
FORM_INVERSES = INVERSES | _PAIRS | {b: a for a, b in _PAIRS.items()}
FORM_COMPOSITIONS = COMPOSITIONS | {(ALL, ALL_LOOK): ALL_LOOK}
# How a fact is asked about in words that no document uses.
REWORDED = {
    **{f"{{}} is {c} than {{}}": f"it is {{}} that is {c} than {{}}" for pair in COMPARATIVES for c in pair},
    NAMED: "the one known as {} is {}",
    CALLED: "the name of {} is {}",
    ALL: "every {} is a {}",
    ALL_CAN: "every {} is able to {}",
    ALL_LOOK: "every {} has the look of {}",
}
FRAMES = (
    "{}.",
    "It is said that {}.",
    "Everyone knows that {}.",
    "As we know, {}.",
    "Did you know that {}?",
    "Here is a fact: {}.",
    "Few people doubt that {}.",
    "Remember that {}.",
    "An old book says that {}.",
    "Note that {}.",
)
SPLITS = ("rephrase", "reversal", "comparison", "syllogism", "holdout")
POOL = 3  # distractors of each pool


class Document(NamedTuple):
    """A text, and the facts that it states; each sentence ends with the second place of its fact."""

    id: str
    text: str
    facts: tuple[Fact, ...]


class Option(NamedTuple):
    """A way to complete a stem, and what it would claim."""

    text: str
    fact: Fact


@dataclass(frozen=True)
class Item:
    """A stem to complete: ``gold`` is right, all others are wrong.

    Distractors come in two pools, since a tuned model prefers what it was trained to write, right or wrong: the last
    words of ``seen`` end a sentence of some document, those of ``unseen`` never do (Lampinen et al. 2025 draw from the
    first, and a model tuned on their data falls below chance). A pool holds at most three, and may be empty.
    """

    id: str
    split: str
    stem: str
    gold: Option
    seen: tuple[Option, ...]
    unseen: tuple[Option, ...]

    def __post_init__(self):
        check_choice("split", self.split, SPLITS)
        check_unique("options", (option.text for option in (self.gold, *self.seen, *self.unseen)))
        if not self.seen + self.unseen:
            raise FieldError(f"item {self.id}", "a distractor", "none")

    @property
    def label(self) -> str:
        """The right option, under the name that all items of the kit have for it."""
        return self.gold.text

    def options(self, pool: str = "both") -> tuple[str, ...]:
        """The right option, then the distractors of the pool: ``seen``, ``unseen`` or ``both``."""
        pools = {"seen": self.seen, "unseen": self.unseen, "both": self.seen + self.unseen}
        check_choice("pool", pool, tuple(pools))
        return (self.gold.text, *(option.text for option in pools[pool]))


@dataclass(frozen=True)
class World:
    """Documents and items. Raises FieldError for an item whose gold does not follow from the documents, whose gold
    is stated though it is to be inferred (or the other way round), or one of whose distractors follows as well."""

    kind: str
    documents: tuple[Document, ...]
    items: tuple[Item, ...]

    def __post_init__(self):
        check_unique("id", [document.id for document in self.documents] + [item.id for item in self.items])
        for item in self.items:
            self._check(item)

    @cached_property
    def stated(self) -> frozenset[Fact]:
        return frozenset(fact for document in self.documents for fact in document.facts)

    @cached_property
    def inferred(self) -> frozenset[Fact]:
        """What follows from the documents and stands in none of them."""
        return frozenset(consequences(self.stated, FORM_INVERSES, FORM_COMPOSITIONS))

    def _check(self, item: Item) -> None:
        told = item.split == "rephrase"
        if item.gold.fact not in (self.stated if told else self.inferred):
            expected = "a stated fact" if told else "an inferred fact"
            raise FieldError(f"item {item.id}: gold", expected, quote(item.gold.fact.sentence))
        for option in item.seen + item.unseen:
            if option.fact in self.stated | self.inferred:
                raise FieldError(f"item {item.id}: distractors", "what does not follow", quote(option.fact.sentence))


def wrong_nouns(gold: Fact, nouns: Iterable[str], known: Collection[Fact]) -> list[Option]:
    """The nouns that would make a sentence other than any in ``known`` of the gold fact's, in place of its last."""
    options = [Option(noun, Fact(gold.form, gold.a, noun)) for noun in nouns if noun not in (gold.a, gold.b)]
    return [option for option in options if option.fact not in known]


def ask(rng: random.Random, name: str, split: str, gold: Fact, wrong: Sequence[Option], ends: Collection[str]) -> Item:
    """The gold fact's sentence to complete with its last noun; of what is stated, in other words.

    ``ends``: the words that end a sentence of a document.
    """
    form = REWORDED[gold.form] if split == "rephrase" else gold.form
    stem = form.format(gold.a, "").rstrip()
    return Item(name, split, stem, Option(gold.b, gold), *pools(rng, wrong, ends))


def pools(rng: random.Random, wrong: Sequence[Option], ends: Collection[str]) -> tuple[tuple[Option, ...], ...]:
    """Up to three wrong options that end like a sentence of a document, and up to three that do not."""
    both = ([o for o in wrong if o.fact.b in ends], [o for o in wrong if o.fact.b not in ends])
    return tuple(tuple(rng.sample(pool, min(POOL, len(pool)))) for pool in both)
