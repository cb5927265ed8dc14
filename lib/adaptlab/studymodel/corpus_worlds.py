"""Pages of the second course: documents of the kit's invented worlds, and what follows from them.

The documents have the wordings of `tasks.worlds` and `tasks.worlds_structure`, the conclusions those in which the
notebooks ask. Three things are never on such a page, so that a model can be asked whether it carries over what it
learned on others: one pair of relations, one figure of syllogism, and the hold-out questions of a hierarchy.
"""

import random
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from adaptlab.studymodel.document import Document
from adaptlab.tasks import knowledge, worlds
from adaptlab.tasks.knowledge import ALL, ALL_CAN, ALL_LOOK, FORM_INVERSES, Fact
from adaptlab.tasks.words import FIRST, SECOND, Vocabulary, study
from adaptlab.tasks.worlds_structure import in_words, structure

SPLIT = "train"
HELD_OUT_PAIR = ("{a} is sweeter than {b}", "{a} is sourer than {b}")
HELD_OUT_FIGURE = knowledge.SOME  # the first premise of "some a are b, all b are c"
LEAD = "So,"
TURNED = 0.25  # share of the facts of a line of categories that are told from their other end
PLAIN = 0.5  # share of such pages that use the plainest words
MANY = 200  # tokens of a page from which on some lines are longer than two
LONG_NOUNS = 0.3  # share of pages on which nouns may have a third syllable
_NOUN = re.compile(rf"\b(?:{'|'.join(FIRST)})(?:{'|'.join(SECOND)})+\b")
_PAIRS = [form for form in knowledge.RELATIONS[::2] if form not in HELD_OUT_PAIR]


def _words(rng: random.Random) -> Vocabulary:
    """Samples nouns of one page. A large world needs more nouns than have two syllables, so some have three."""
    long = rng.random() < LONG_NOUNS

    def sample(inner: random.Random, n: int) -> list[str]:
        found = study(SPLIT)(inner, n)
        return [noun + inner.choice(SECOND) if long and inner.random() < 0.5 else noun for noun in found]

    return sample


def far_end_facts(rng: random.Random, words: Vocabulary, n: int, pair: Sequence[str] = ()) -> list[Fact]:
    """``n`` facts (at most 19) with different relations; ``pair``: relations that the first fact has."""
    forms = [rng.choice((form, knowledge.INVERSES[form])) for form in rng.sample(_PAIRS, n - bool(pair))]
    forms = [rng.choice(pair), *forms] if pair else forms
    nouns = words(rng, 2 * n)
    return [Fact(form, *nouns[2 * i : 2 * i + 2]) for i, form in enumerate(forms)]


ASKED = 3  # far ends asked for on a page: the last ones of all could be told by exclusion


def far_ends(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """Facts in the plainest words, each with a relation of its own, and some of them from the other end: the relations
    alone have full weight.

    Where whole sentences have weight, the relation is diluted: 31 million tokens of `facts` had not taught it to any
    model, one or two million of these did.
    """
    doc = Document("far_ends")
    given = far_end_facts(rng, _words(rng), min(rng.randint(2, max(2, budget // 28)), len(_PAIRS)))
    doc.add_open("Facts:" + "".join(f" {fact.sentence}." for fact in given))
    for fact in rng.sample(given, min(len(given), ASKED)):
        told = fact.reversed if concludes else fact
        doc.add_open(f" {LEAD} {told.a}")
        doc.add_determined(told.sentence[len(told.a) : -len(told.b)].rstrip())
        doc.add_open(f" {told.b}.")
    return doc


def comparisons(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """Comparisons told from one end, then asked from either, and in other words."""
    world = worlds.reversals(rng.getrandbits(32), max(3, budget // 32), 1, _words(rng))
    return _page(Document("comparisons"), rng, world, ("reversal", "reversal") if concludes else ())


def quantifiers(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """As `syllogisms`, where quantifiers alone have full weight, and premises are asked for as well."""
    return _between(Document("quantifiers"), rng, budget, concludes, whole=False)


def syllogisms(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """Pairs of premises, each pair a document of its own, then what holds between the ends of each pair."""
    return _between(Document("syllogisms"), rng, budget, concludes, whole=True)


def _between(doc: Document, rng: random.Random, budget: int, concludes: bool, whole: bool) -> Document:
    world = worlds.syllogisms(rng.getrandbits(32), max(2, budget // 58), _words(rng))
    documents = [text for text in world.documents if not any(map(held_out, text.facts))]
    joint = _tell(doc, rng, [text.text for text in documents])
    said = [(item.stem, item.gold.fact) for item in world.items if not held_out(item.gold.fact)]
    premises = rng.sample([fact for text in documents for fact in text.facts], len(documents))
    again = [(worlds.between(*rng.sample((fact.a, fact.b), 2)), fact) for fact in premises]
    said = (said if concludes else []) + (again if not (concludes and whole) else [])
    for stem, fact in rng.sample(said, len(said)):
        quantifier, rest = fact.sentence.capitalize().split(" ", 1)
        doc.add_open(f"{joint}{LEAD} {stem}")
        doc.add_determined(f" {quantifier}")
        (doc.add_determined if whole else doc.add_open)(f" {rest}.")
    return doc


def people(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """As `descriptions`, where the words that tell one answer from another alone have full weight."""
    return _described(Document("people"), rng, budget, concludes, whole=False)


def introductions(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """People who are told by their description first, then who each of the named ones is: the words of the description
    alone have full weight. It is the hardest of the directions: behind a name that ends a sentence stands the
    description of somebody else."""
    return _introduced(Document("introductions"), rng, budget, concludes)


def portraits(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """As `introductions`, the other way round: people who are told by their name first, then what each of the described
    ones is called."""
    return _introduced(Document("portraits"), rng, budget, concludes, asked_for=knowledge.CALLED)


def colleagues(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """As `people` or as `introductions`, where all have one role: nothing but what they are of tells them apart."""
    role = [rng.choice(worlds.ROLES)]
    if rng.random() < 0.5:
        return _introduced(Document("colleagues"), rng, budget, concludes, role)
    return _described(Document("colleagues"), rng, budget, concludes, whole=False, roles=role, each=3)


def descriptions(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """People with a name and a description, told in one direction, then asked in both."""
    return _described(Document("descriptions"), rng, budget, concludes, whole=True)


def _introduced(
    doc: Document,
    rng: random.Random,
    budget: int,
    concludes: bool,
    roles: Sequence[str] = (),
    asked_for: str = knowledge.NAMED,
) -> Document:
    n = max(2, min(12, budget // 42))
    world = worlds.descriptions(rng.getrandbits(32), n, 1, _words(rng), roles or _roles(rng))
    asked = [one for one in world.items if one.split == "reversal" and one.gold.fact.form == asked_for]
    told = knowledge.FORM_INVERSES[asked_for]
    facts = {Fact(told, one.gold.fact.b, one.gold.fact.a) for one in asked}
    joint = _tell(doc, rng, [one.text for one in world.documents if one.facts[0] in facts])
    if not concludes:
        asked = [one for one in world.items if one.split == "forward" and one.gold.fact in facts]
    for one in rng.sample(asked, len(asked)):
        _answer(doc, f"{joint}{LEAD} ", one, whole=False)
    return doc


def _described(
    doc: Document,
    rng: random.Random,
    budget: int,
    concludes: bool,
    whole: bool,
    roles: Sequence[str] = (),
    each: float = 1.5,
) -> Document:
    """``each``: conclusions for each of the people."""
    groups = max(1, min(4, budget // 110))
    world = worlds.descriptions(rng.getrandbits(32), groups, 1, _words(rng), roles or _roles(rng))
    reversed_ = ("reversal", "reversal") if concludes else ()
    return _page(doc, rng, world, reversed_, conclusions=int(each * len(world.documents)), whole=whole)


def _roles(rng: random.Random) -> list[str]:
    """Few on some pages: who could tell people by their roles would not read what they are of."""
    return rng.sample(worlds.ROLES, rng.choice((1, 1, 1, 2, 4, len(worlds.ROLES))))


def links(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """As `hierarchy`, where the last noun of each sentence alone has full weight."""
    size = max(6, min(24, budget // 75))
    world = structure(rng.getrandbits(32), size, 1, 24, _words(rng), rng.choice((2, 3)), repeat=False)
    return _inherited(Document("links"), rng, world, concludes, 2 * size, whole=False)


def members(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """Categories with one property each, then who has a property or belongs to a category: the last noun of such a
    sentence alone has full weight."""
    return _of_one_property(Document("members"), rng, budget, "reversal" if concludes else "rephrase")


def heirs(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """As `members`, then what is inherited. With one property each, few endings of such a sentence are right."""
    return _of_one_property(Document("heirs"), rng, budget, "syllogism" if concludes else "rephrase")


def _of_one_property(doc: Document, rng: random.Random, budget: int, split: str) -> Document:
    size = max(8, min(24, budget // 45))
    world = structure(rng.getrandbits(32), size, 1, 24, _words(rng), 1, repeat=False)
    return _page(doc, rng, world, (split,), (), 2 * size, whole=False)


def families(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """Lines of two to four categories: the oldest can do something or looks some way, and another has a property of the
    other sort. Then what each of them can do and how it looks, whether its own or inherited: the last noun alone has
    full weight. None has more than one property of a sort, so one ending is right."""
    n = max(2, min(10, budget // 70))
    nouns = iter(_words(rng)(rng, 6 * n))
    documents: list[str] = []
    asked: list[Fact] = []
    for _ in range(n):
        line = _line(rng, nouns, budget)
        oldest, other = rng.sample((ALL_CAN, ALL_LOOK), 2)
        place = {oldest: len(line) - 1, other: rng.randrange(len(line))}
        value = {sort: next(nouns) for sort in place}
        for at, name in enumerate(line):
            own = [Fact(ALL, name, line[at + 1])] if at + 1 < len(line) else []
            own += [Fact(sort, name, value[sort]) for sort in place if place[sort] == at]
            if own:
                told = [_turned(rng, one) if concludes else one for one in rng.sample(own, len(own))]
                documents.append(" ".join(in_words(rng, one) for one in told))
        for sort, last in place.items():
            asked += [Fact(sort, name, value[sort]) for name in line[0 if concludes else last : last + 1]]
    return _ends_asked(Document("families"), rng, documents, asked)


def lines(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """Lines of two to four categories, of which the oldest has a property, all of one sort. Then what half of the lines
    inherit: were it all of them, the last could be told by exclusion."""
    return _inheriting(Document("lines"), rng, max(2, min(12, budget // 45)), budget, concludes)


def lineages(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """As `lines`, fewer on some pages, and half of the pages in the plainest words. On long pages the oldest categories
    are asked for as well."""
    n = rng.randint(2, max(2, min(12, budget // 40)))
    return _inheriting(Document("lineages"), rng, n, budget, concludes, plain=PLAIN, oldest=budget > MANY)


def _inheriting(
    doc: Document,
    rng: random.Random,
    n: int,
    budget: int,
    concludes: bool,
    plain: float = 0.0,
    oldest: bool = False,
) -> Document:
    nouns = iter(_words(rng)(rng, 5 * n))
    sort = rng.choice((ALL_CAN, ALL_LOOK))
    plainly = bool(plain) and rng.random() < plain
    documents: list[str] = []
    asked: list[Fact] = []
    for number in range(n):
        line, value = _line(rng, nouns, budget), next(nouns)
        facts = [*(Fact(ALL, *pair) for pair in pairwise(line)), Fact(sort, line[-1], value)]
        turned = [_turned(rng, one) for one in facts] if concludes else facts
        documents += [f"{one.sentence}." for one in facts] if plainly else [in_words(rng, one) for one in turned]
        if number < n // 2:
            of = line if oldest else line[:-1]
            asked += [Fact(sort, name, value) for name in (of if concludes else line[-1:])]
    return _ends_asked(doc, rng, documents, asked)


def _line(rng: random.Random, nouns: Iterator[str], budget: int) -> list[str]:
    """The names of categories, each of which belongs to the next."""
    return [next(nouns) for _ in range(rng.choice((2, 2, 2, 3, 4)) if budget > MANY else 2)]


def _turned(rng: random.Random, fact: Fact) -> Fact:
    """The fact, or the same from its other end."""
    return Fact(FORM_INVERSES[fact.form], fact.b, fact.a) if rng.random() < TURNED else fact


def _ends_asked(doc: Document, rng: random.Random, documents: Sequence[str], asked: Sequence[Fact]) -> Document:
    """Add documents, and facts of which the last noun alone has full weight."""
    joint = _tell(doc, rng, documents)
    for fact in rng.sample(asked, len(asked)):
        doc.add_open(f"{joint}{LEAD} {fact.stem}")
        doc.add_determined(f" {fact.b}")
        doc.add_open(".")
    return doc


def hierarchy(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """Categories that inherit, then what was told in other words, from the other end, and what is inherited."""
    size = max(6, min(24, budget // 75))
    world = structure(rng.getrandbits(32), size, 1, 24, _words(rng), rng.choice((2, 3)), repeat=False)
    return _inherited(Document("hierarchy"), rng, world, concludes, size, whole=True)


def _inherited(
    doc: Document, rng: random.Random, world: worlds.World, concludes: bool, conclusions: int, whole: bool
) -> Document:
    splits = ("reversal", "syllogism") if concludes else ()
    return _page(doc, rng, world, splits, ("rephrase",), conclusions, whole)


KINDS = (
    far_ends,
    comparisons,
    quantifiers,
    syllogisms,
    people,
    introductions,
    portraits,
    colleagues,
    descriptions,
    links,
    members,
    heirs,
    families,
    lines,
    lineages,
    hierarchy,
)


def _tell(doc: Document, rng: random.Random, texts: Sequence[str]) -> str:
    """Add texts in random order; returns what stands between them."""
    joint = rng.choice((" ", " ", "\n"))
    opening = "Facts:" + joint if rng.random() < 0.3 else ""
    doc.add_open(opening + joint.join(rng.sample(list(texts), len(texts))))
    return joint


def _page(
    doc: Document,
    rng: random.Random,
    world: worlds.World,
    inferred: Sequence[str],
    stated: Sequence[str] = worlds.STATED,
    conclusions: int | None = None,
    whole: bool = True,
) -> Document:
    """The documents of a world and sentences that answer its questions, of splits drawn from ``inferred`` and
    ``stated``: so many ``conclusions``, or one for each document. ``whole``: not only the answers have full weight."""
    joint = _tell(doc, rng, [text.text for text in world.documents if not any(map(held_out, text.facts))])
    splits = (*inferred, *stated)
    asked = {
        split: [one for one in world.items if one.split == split and not held_out(one.gold.fact)] for split in splits
    }
    for _ in range(conclusions or len(world.documents)):
        left = [split for split in splits if asked[split]]
        if not left:
            break
        of = asked[rng.choice(left)]
        _answer(doc, f"{joint}{LEAD} ", of.pop(rng.randrange(len(of))), whole)
    return doc


def _answer(doc: Document, before: str, item: worlds.Item, whole: bool) -> None:
    """Add an item and its answer. Which question comes next is open; with the first syllable of its first noun it
    mostly is not."""
    sentence = f"{item.stem} {item.gold.text}."
    if whole:
        opening = _NOUN.search(sentence).start() + 3
        doc.add_open(before + sentence[:opening])
        doc.add_determined(sentence[opening:])
        return
    doc.add_open(before + item.stem)
    for word in item.gold.text.split():
        (doc.add_open if word in ("the", "of") else doc.add_determined)(f" {word}")
    doc.add_open(".")


def held_out(fact: Fact) -> bool:
    """Whether a fact is of the relations or the figure that no page of these kinds holds."""
    return fact.form in HELD_OUT_PAIR or fact.form == HELD_OUT_FIGURE
