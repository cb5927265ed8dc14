"""Invented facts, and what follows from them.

A fact is a form with two places. Some forms have an inverse (reversals: "a is bigger than b", "b is smaller than a"),
some compose (syllogisms: "all a are b", "all b are c"). `consequences` is the whole logic: every gold answer comes from
it. After the simple reversals and syllogisms of Lampinen et al. 2025 (arXiv 2505.00661, section 3.1).
"""

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from adaptlab.tasks.words import some_nouns


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(tuple(pair.split("/")) for pair in text.split(", "))


COMPARATIVES = _pairs(
    "bigger/smaller, faster/slower, older/younger, taller/shorter, stronger/weaker, richer/poorer, louder/quieter, "
    "brighter/darker, warmer/colder, heavier/lighter, thicker/thinner, harder/softer, nearer/farther, sweeter/sourer"
)
VERBS = _pairs(
    "feeds/is fed by, leads/is led by, finds/is found by, helps/is helped by, paints/is painted by, owns/is owned by"
)
ABILITIES = ("swim", "fly", "sing", "dig", "climb", "glow", "sleep", "jump")

ALL, SOME, NO = "all {} are {}", "some {} are {}", "no {} are {}"
IS_A, CAN, ALL_CAN = "{} is a {}", "{} can {}", "all {} can {}"


_TURNED = [(f"{{}} is {more} than {{}}", f"{{}} is {less} than {{}}") for more, less in COMPARATIVES]
_TURNED += [(f"{{}} {active} {{}}", f"{{}} {passive} {{}}") for active, passive in VERBS]
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
NAMED, CALLED = "{} is {}", "{} is called {}"
ALL_LOOK = "all {} look {}"
AMONG = "among the {} are the {}"
DOERS, LOOKERS = "among those that can {} are the {}", "among those that look {} are the {}"
_FORWARD = {NAMED: CALLED, ALL: AMONG, ALL_CAN: DOERS, ALL_LOOK: LOOKERS}
FORM_INVERSES = INVERSES | _FORWARD | {b: a for a, b in _FORWARD.items()}
FORM_COMPOSITIONS = COMPOSITIONS | {(ALL, ALL_LOOK): ALL_LOOK}


@dataclass(frozen=True)
class Fact:
    """A form with its two places filled, such as ``Fact("all {} are {}", "bakda", "vogmi")``."""

    form: str
    a: str
    b: str

    @property
    def sentence(self) -> str:
        return self.form.format(self.a, self.b)

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
    pool = some_nouns(rng, 3 * len(kinds), split)
    groups: list[list[Fact]] = []
    for i, make in enumerate(kinds):
        own = pool[3 * i : 3 * i + 3]
        if groups and rng.random() < shared:
            own[rng.randrange(2)] = rng.choice([rng.choice(groups)[0].a, rng.choice(groups)[0].b])
        groups.append(make(rng, own))
    return groups


@dataclass(frozen=True)
class Cloze:
    """A sentence to complete with one noun: the first option is the right one."""

    stem: str
    options: tuple[str, ...]


def cloze(rng: random.Random, target: Fact, nouns: Collection[str], known: Collection[Fact], n: int = 4) -> Cloze:
    """The target's stem with its last noun and ``n - 1`` wrong ones, none of which makes a known fact true."""
    true = {f.b for f in known if (f.form, f.a) == (target.form, target.a)} | {target.a, target.b}
    wrong = sorted(set(nouns) - true)
    if len(wrong) < n - 1:
        raise ValueError(f"{n - 1} wrong options are wanted; these nouns leave {len(wrong)}: {wrong}")
    wrong = rng.sample(wrong, n - 1)
    return Cloze(target.stem, (target.b, *wrong))


# Facts in other words, for the corpus of the study model.
REPHRASED = {
    **{f"{{}} is {c} than {{}}": f"compared with {{1}}, {{0}} is {c}" for pair in COMPARATIVES for c in pair},
    **{f"{{}} {v} {{}}": f"it is {{0}} who {v} {{1}}" for pair in VERBS for v in pair},
    ALL: "every {} is a {}",
    SOME: "at least one {} is a {}",
    NO: "not one {} is a {}",
    IS_A: "{1} is what {0} is",
    CAN: "{} is able to {}",
    ALL_CAN: "every {} can {}",
}
# The same for questions about a world, in words that none of its documents uses.
REWORDED = {
    **{f"{{}} is {c} than {{}}": f"it is {{}} that is {c} than {{}}" for pair in COMPARATIVES for c in pair},
    NAMED: "the one known as {} is {}",
    CALLED: "the name of {} is {}",
    ALL: "every {} is a {}",
    ALL_CAN: "every {} is able to {}",
    ALL_LOOK: "every {} has the look of {}",
}
