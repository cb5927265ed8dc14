"""Invented facts, and what follows from them.

A fact is a form with two places. Some forms have an inverse (reversals: "a is bigger than b", "b is smaller than a"),
some compose (syllogisms: "all a are b", "all b are c"). `consequences` is the whole logic: every gold answer comes from
it. After the simple reversals and syllogisms of Lampinen et al. 2025 (arXiv 2505.00661, section 3.1). The words for
facts stand in ``data/templates/facts.yaml``.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from adaptlab.tasks.wording import fill, load_templates
from adaptlab.tasks.words import study

_TEXTS = load_templates("facts")
COMPARISON, ACTION = "{a} is {word} than {b}", "{a} {word} {b}"
COMPARATIVES = tuple(_TEXTS["comparatives"].items())
_PAIRS = {COMPARISON: COMPARATIVES, ACTION: tuple(_TEXTS["verbs"].items())}
ABILITIES = ("swim", "fly", "sing", "dig", "climb", "glow", "sleep", "jump")

ALL, SOME, NO = "all {a} are {b}", "some {a} are {b}", "no {a} are {b}"
IS_A, CAN, ALL_CAN = "{a} is a {b}", "{a} can {b}", "all {a} can {b}"
_TURNED = [tuple(fill(form, word=word) for word in pair) for form, pairs in _PAIRS.items() for pair in pairs]
INVERSES = {a: b for pair in _TURNED for a, b in (pair, pair[::-1])} | {SOME: SOME, NO: NO}
RELATIONS = tuple(form for form in INVERSES if form not in (SOME, NO))
# (first premise over a and b, second premise over b and c) -> conclusion over a and c
COMPOSITIONS = {
    (ALL, ALL): ALL,
    (ALL, NO): NO,
    (SOME, ALL): SOME,
    (ALL, ALL_CAN): ALL_CAN,
    (IS_A, ALL): IS_A,
    (IS_A, ALL_CAN): CAN,
}

# More forms, which the worlds of `worlds` use beside these.
NAMED, CALLED = "{a} is {b}", "{a} is called {b}"
ALL_LOOK = "all {a} look {b}"
AMONG = "among the {a} are the {b}"
DOERS, LOOKERS = "among those that can {a} are the {b}", "among those that look {a} are the {b}"
_FORWARD = {NAMED: CALLED, ALL: AMONG, ALL_CAN: DOERS, ALL_LOOK: LOOKERS}
FORM_INVERSES = INVERSES | _FORWARD | {b: a for a, b in _FORWARD.items()}
FORM_COMPOSITIONS = COMPOSITIONS | {(ALL, ALL_LOOK): ALL_LOOK}


def _for_each_word(name: str) -> dict[str, str]:
    """{form: the same in other words}, with an entry for each comparative and each verb."""
    table = _TEXTS[name].items()
    words = {form: [word for pair in pairs for word in pair] for form, pairs in _PAIRS.items()}
    return {fill(form, word=w): fill(other, word=w) for form, other in table for w in words.get(form, ("",))}


FRAMES, TOLD, ASKED = _TEXTS["frames"], _TEXTS["told"], _TEXTS["asked"]
REPHRASED, REWORDED = _for_each_word("rephrased"), _for_each_word("reworded")


@dataclass(frozen=True)
class Fact:
    """A form with its two places filled, such as ``Fact("all {a} are {b}", "bakda", "vogmi")``."""

    form: str
    a: str
    b: str

    def worded(self, form: str) -> str:
        """The fact in the words of a form, its own or another."""
        return fill(form, a=self.a, b=self.b)

    @property
    def sentence(self) -> str:
        return self.worded(self.form)

    @property
    def stem(self) -> str:
        """The sentence up to where its last noun begins."""
        return self.sentence.removesuffix(self.b).rstrip()

    @property
    def reversed(self) -> "Fact | None":
        """The same fact told from its other end, where its form has an inverse."""
        inverse = INVERSES.get(self.form)
        return inverse and Fact(inverse, self.b, self.a)


def consequences(
    facts: Iterable[Fact],
    inverses: Mapping[str, str] = INVERSES,
    compositions: Mapping[tuple[str, str], str] = COMPOSITIONS,
) -> list[Fact]:
    """Everything that follows from the facts by reversal and composition, in any number of steps, without themselves;
    in the order of the sentences (that of a set would differ from run to run)."""
    given = frozenset(facts)
    known, fresh = set(given), set(given)
    while fresh:
        about = _grouped(known, "a")
        ending = _grouped(known, "b")
        pairs = {(f, g) for f in fresh for g in about[f.b]} | {(f, g) for g in fresh for f in ending[g.a]}
        new = {Fact(inverses[f.form], f.b, f.a) for f in fresh if f.form in inverses}
        new |= {Fact(form, f.a, g.b) for f, g in pairs if f.a != g.b and (form := compositions.get((f.form, g.form)))}
        fresh = new - known
        known |= fresh
    return sorted(known - given, key=lambda fact: fact.sentence)


def _grouped(facts: Iterable[Fact], place: str) -> dict[str, list[Fact]]:
    groups = defaultdict(list)
    for fact in facts:
        groups[getattr(fact, place)].append(fact)
    return groups


def relation(rng: random.Random, nouns: Sequence[str]) -> list[Fact]:
    """One reversible fact about the first two nouns."""
    return [Fact(rng.choice(RELATIONS), *nouns[:2])]


def chain(rng: random.Random, nouns: Sequence[str]) -> list[Fact]:
    """Two premises, about the first three nouns, that compose."""
    first, second = rng.choice([*COMPOSITIONS, (ALL, ALL), (ALL, ALL)])
    a, b, c = nouns[:3]
    return [Fact(first, a, b), Fact(second, b, rng.choice(ABILITIES) if second == ALL_CAN else c)]


def syllogism(rng: random.Random, nouns: Sequence[str]) -> list[Fact]:
    """All a are b, all b are c."""
    a, b, c = nouns[:3]
    return [Fact(ALL, a, b), Fact(ALL, b, c)]


Make = Callable[[random.Random, Sequence[str]], list[Fact]]


def world(rng: random.Random, kinds: Sequence[Make], split: str, shared: float = 0.0) -> list[list[Fact]]:
    """One group of facts for each of ``kinds``; nouns come from ``split``.

    ``shared``: the share of groups that reuse a noun of an earlier one, so that a noun alone does not name its fact:
    its relation has to be read as well.
    """
    pool = study(split)(rng, 3 * len(kinds))
    groups: list[list[Fact]] = []
    for i, make in enumerate(kinds):
        own = pool[3 * i : 3 * i + 3]
        if groups and rng.random() < shared:
            own[rng.randrange(2)] = rng.choice([rng.choice(groups)[0].a, rng.choice(groups)[0].b])
        groups.append(make(rng, own))
    return groups


def wrong_facts(gold: Fact, nouns: Iterable[str], known: Collection[Fact]) -> list[Fact]:
    """The gold fact with another of the nouns in its last place, wherever that gives none that is known."""
    facts = [Fact(gold.form, gold.a, noun) for noun in nouns if noun not in (gold.a, gold.b)]
    return [fact for fact in facts if fact not in known]


def options(
    rng: random.Random, gold: Fact, nouns: Collection[str], known: Collection[Fact], n: int = 4
) -> tuple[str, ...]:
    """The gold fact's last noun and ``n - 1`` wrong ones, none of which makes a known fact true."""
    wrong = sorted(fact.b for fact in wrong_facts(gold, set(nouns), known))
    if len(wrong) < n - 1:
        raise ValueError(f"{n - 1} wrong options are wanted; these nouns leave {len(wrong)}: {wrong}")
    return (gold.b, *rng.sample(wrong, n - 1))
