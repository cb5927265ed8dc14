"""Worlds of invented facts: documents to learn from, and questions whose answers follow from them.

After the data sets of Lampinen et al. 2025 (arXiv 2505.00661, section 3.1); the texts are ours. The three with short
documents are made here, the one with a hierarchy in `worlds_structure`. Everything that a document may say and a
question may claim is a `Fact`, so that answers can be proved: a `World` with a wrong one cannot be made.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice, product
from typing import NamedTuple

from adaptlab.tasks.knowledge import (
    ALL,
    CALLED,
    COMPARATIVES,
    COMPARISON,
    COMPOSITIONS,
    FORM_COMPOSITIONS,
    FORM_INVERSES,
    FRAMES,
    NAMED,
    NO,
    REWORDED,
    SOME,
    TOLD,
    Fact,
    consequences,
    wrong_facts,
)
from adaptlab.tasks.records import FieldError, check_choice, check_unique, quote
from adaptlab.tasks.wording import fill
from adaptlab.tasks.words import Vocabulary, fresh_words

SPLITS = ("forward", "rephrase", "reversal", "comparison", "syllogism", "holdout", "sentence")
STATED = ("forward", "rephrase")  # splits that ask for what a document says
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
        """The right option, then the distractors of the pool: ``seen``, ``unseen`` or ``both``.

        Raises FieldError for a pool without distractors, where the item would be right for free.
        """
        pools = {"seen": self.seen, "unseen": self.unseen, "both": self.seen + self.unseen}
        check_choice("pool", pool, tuple(pools))
        if not pools[pool]:
            raise FieldError(f"item {self.id}: pool {pool!r}", "a distractor", "none")
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
        told = item.split in STATED
        if item.gold.fact not in (self.stated if told else self.inferred):
            expected = "a stated fact" if told else "an inferred fact"
            raise FieldError(f"item {item.id}: gold", expected, quote(item.gold.fact.sentence))
        for option in item.seen + item.unseen:
            if option.fact in self.stated | self.inferred:
                raise FieldError(f"item {item.id}: distractors", "what does not follow", quote(option.fact.sentence))


def ask(rng: random.Random, name: str, split: str, gold: Fact, wrong: Sequence[Fact], ends: Collection[str]) -> Item:
    """The gold fact's sentence to complete with its last noun; of what is stated, in other words.

    ``ends``: the words that end a sentence of a document.
    """
    form = REWORDED[gold.form] if split == "rephrase" else gold.form
    right, *others = (Option(fact.b, fact) for fact in (gold, *wrong))
    return Item(name, split, Fact(form, gold.a, gold.b).stem, right, *pools(rng, others, ends))


def pools(rng: random.Random, wrong: Sequence[Option], ends: Collection[str]) -> tuple[tuple[Option, ...], ...]:
    """Up to three wrong options that end like a sentence of a document, and up to three that do not."""
    both = ([o for o in wrong if o.fact.b in ends], [o for o in wrong if o.fact.b not in ends])
    return tuple(tuple(rng.sample(pool, min(POOL, len(pool)))) for pool in both)


# Three worlds of short documents: comparisons told from one end, syllogisms, and people known by a description.
FIGURES = ((ALL, ALL), (ALL, NO), (SOME, ALL))
ROLES = (
    "painter keeper founder builder captain guardian teacher inventor owner singer mayor doctor writer ruler brewer"
).split()


def reversals(seed: int, facts: int = 100, articles: int = 10, words: Vocabulary = fresh_words) -> World:
    """Comparisons of two things each, told from one end in ``articles`` documents (at most 10), asked from the other.

    As many facts say more as say less (the 28 comparatives take turns): else a tuned model that prefers what it has
    read most would look as if it knew, or refused to know. Each fact has four items: ``forward``, ``rephrase`` and
    ``reversal`` complete a sentence with a noun; ``comparison`` is the forced choice of the paper, "b is less" against
    "b is more".
    """
    rng = random.Random(f"reversals {seed}")
    things = words(rng, 2 * facts)
    pairs = cycle(rng.sample(COMPARATIVES, len(COMPARATIVES)))
    forms = [fill(COMPARISON, word=one) for one in islice((one for pair in pairs for one in pair), facts)]
    stated = [Fact(form, *things[2 * i : 2 * i + 2]) for i, form in enumerate(rng.sample(forms, facts))]
    known, ends = {f for fact in stated for f in (fact, fact.reversed)}, {fact.b for fact in stated}
    items = []
    for i, fact in enumerate(stated):
        for split, gold in (("rephrase", fact), ("reversal", fact.reversed)):
            items.append(ask(rng, f"{split}-{i}", split, gold, wrong_facts(gold, things, known), ends))
        stem = f"{fact.b} is"
        right, wrong = (_behind(stem, one) for one in (fact.reversed, Fact(fact.form, fact.b, fact.a)))
        items.append(Item(f"comparison-{i}", "comparison", stem, right, *pools(rng, [wrong], ends)))
    documents = _articles(rng, stated, articles)
    items += [ask(rng, f"forward-{i}", "forward", f, wrong_facts(f, things, known), ends) for i, f in enumerate(stated)]
    return World("reversals", documents, tuple(items))


def four_sentences(world: World, seed: int = 0) -> tuple[Item, ...]:
    """For each comparison of a world of `reversals`, told from its other end: the right sentence, one with a wrong
    relation, one with a wrong partner, and one with both.

    Relations and partners are those of other facts. Who knows that two things belong together, and not how, rates the
    first two alike; an item that offers nouns alone cannot tell him from who knows.
    """
    rng, items = random.Random(f"four sentences {seed}"), []
    facts = [item.gold.fact for item in world.items if item.split == "reversal"]
    for i, fact in enumerate(facts):
        relation = rng.choice([f.form for f in facts if f.form not in (fact.form, FORM_INVERSES[fact.form])])
        partner = rng.choice([f.b for f in facts if f is not fact])
        claims = ((fact.form, fact.b), (relation, fact.b), (fact.form, partner), (relation, partner))
        gold, *wrong = (_behind(fact.a, Fact(form, fact.a, b)) for form, b in claims)
        items.append(Item(f"sentence-{i}", "sentence", fact.a, gold, (), tuple(wrong)))
    return tuple(items)


def _behind(stem: str, fact: Fact) -> Option:
    """What follows the stem in the fact's sentence."""
    return Option(fact.sentence.removeprefix(f"{stem} "), fact)


def _articles(rng: random.Random, facts: list[Fact], articles: int) -> tuple[Document, ...]:
    """Each fact in so many documents of one sentence, no two of a fact in the same frame."""
    if not 1 <= articles <= len(FRAMES):
        raise ValueError(f"articles must be 1 to {len(FRAMES)}, not {articles}")
    documents = []
    for i, fact in enumerate(facts):
        for n, frame in enumerate(rng.sample(FRAMES, articles)):
            sentence = fact.worded(rng.choice(TOLD.get(fact.form, [fact.form])))
            documents.append(Document(f"fact-{i}.{n}", fill(frame, fact=sentence), (fact,)))
    return tuple(rng.sample(documents, len(documents)))


def syllogisms(seed: int, examples: int = 69, words: Vocabulary = fresh_words) -> World:
    """Two premises a document, in random order; asked is what holds between their ends, among six statements: all,
    some and no, in both directions.

    Of "no" and "some" the converse follows, too; where one of them is gold, the other is not offered, and five
    statements are left. Classes may be empty, as in modern logic: "all" does not imply "some".
    """
    rng = random.Random(f"syllogisms {seed}")
    nouns = words(rng, 3 * examples)
    figures = rng.sample([*islice(cycle(FIGURES), examples)], examples)
    documents, golds = [], []
    for i, (first, second) in enumerate(figures):
        a, b, c = nouns[3 * i : 3 * i + 3]
        premises = rng.sample([Fact(first, a, b), Fact(second, b, c)], 2)
        golds.append(Fact(COMPOSITIONS[first, second], a, c))
        listed = rng.sample((a, b, c), 3)
        said = " ".join(f"{fact.sentence.capitalize()}." for fact in premises)
        text = f"{between(f'{listed[0]}, {listed[1]}', listed[2])} {said}"
        documents.append(Document(f"example-{i}", text, tuple(premises)))
    ends = {fact.b for document in documents for fact in document.facts}
    items = [_six_statements(rng, f"syllogism-{i}", gold, ends) for i, gold in enumerate(golds)]
    return World("syllogisms", tuple(documents), tuple(items))


def between(one: str, other: str) -> str:
    """What asks how two nouns are related; one of them may be a list."""
    return f"The relationships between {one} and {other} are:"


def _six_statements(rng: random.Random, name: str, gold: Fact, ends: set[str]) -> Item:
    one, other = rng.sample((gold.a, gold.b), 2)
    directions = ((gold.a, gold.b), (gold.b, gold.a))
    statements = [Fact(form, *both) for form, both in product((ALL, SOME, NO), directions)]
    wrong = [_capitalised(fact) for fact in statements if fact not in (gold, gold.reversed)]
    return Item(name, "syllogism", between(one, other), _capitalised(gold), *pools(rng, wrong, ends))


def _capitalised(fact: Fact) -> Option:
    """A statement as the documents write it."""
    return Option(fact.sentence.capitalize(), fact)


def descriptions(
    seed: int,
    people: int = 30,
    articles: int = 10,
    words: Vocabulary = fresh_words,
    roles: Sequence[str] = ROLES,
) -> World:
    """Three groups of ``people`` with a name and a description each: told from name to description, from description
    to name, and both ways (the reversal curse; Berglund et al. 2023, arXiv 2309.12288, experiment 1).

    Items: every direction that was told, as it stands in the plainest document and in other words, and for the first
    two groups the direction that was not.
    """
    rng = random.Random(f"descriptions {seed}")
    new = iter(words(rng, 3 * 3 * people))
    named = [
        Fact(NAMED, f"{next(new)} {next(new)}", f"the {rng.choice(roles)} of {next(new)}") for _ in range(3 * people)
    ]
    called = [Fact(CALLED, fact.b, fact.a) for fact in named]
    stated = named[:people] + called[people : 2 * people] + named[2 * people :] + called[2 * people :]
    untold = called[:people] + named[people : 2 * people]
    ends, known = {fact.b for fact in stated}, {*named, *called}
    values = {NAMED: [fact.b for fact in named], CALLED: [fact.a for fact in named]}
    items = [
        ask(rng, f"{split}-{i}", split, fact, wrong_facts(fact, values[fact.form], known), ends)
        for split, facts in (("rephrase", stated), ("reversal", untold))
        for i, fact in enumerate(facts)
    ]
    documents = _articles(rng, stated, articles)
    items += [
        ask(rng, f"forward-{i}", "forward", fact, wrong_facts(fact, values[fact.form], known), ends)
        for i, fact in enumerate(stated)
    ]
    return World("descriptions", documents, tuple(items))
