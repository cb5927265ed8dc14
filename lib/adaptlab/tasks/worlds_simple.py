"""Three worlds of short documents: comparisons told from one end, syllogisms, and people known by a description."""

import random
from itertools import cycle, islice, product

from adaptlab.tasks.knowledge import ALL, COMPARATIVES, COMPOSITIONS, NO, SOME, Fact
from adaptlab.tasks.words import Words, fresh_words
from adaptlab.tasks.worlds import CALLED, FRAMES, NAMED, Document, Item, Option, World, ask, pools, wrong_nouns

FIGURES = ((ALL, ALL), (ALL, NO), (SOME, ALL))
# Told of a person whose name or description stands in the other place; the plainest first.
TOLD = {
    NAMED: ("{} is {}", "{}, as it happens, is {}", "{} has long been {}", "{} became {}", "{} is best known as {}"),
    CALLED: ("{} is called {}", "{} goes by the name of {}", "{} is none other than {}", "{} was {}", "{} is {}"),
}
ROLES = (
    "painter keeper founder builder captain guardian teacher inventor owner singer mayor doctor writer ruler brewer"
).split()


def reversals(seed: int, facts: int = 100, articles: int = 10, words: Words = fresh_words) -> World:
    """Comparisons of two things each, told from one end in ``articles`` documents (at most 10); asked from the other.

    As many facts say more as say less (the 28 comparatives take turns): else a tuned model that prefers what it has
    read most would look as if it knew, or refused to know. Each fact has three items: ``rephrase`` and ``reversal``
    complete a sentence with a noun; ``comparison`` is the forced choice of the paper, "b is less" against "b is more".
    """
    rng = random.Random(f"reversals {seed}")
    things = words(rng, 2 * facts)
    pairs = cycle(rng.sample(COMPARATIVES, len(COMPARATIVES)))
    forms = [f"{{}} is {one} than {{}}" for one in islice((one for pair in pairs for one in pair), facts)]
    stated = [Fact(form, *things[2 * i : 2 * i + 2]) for i, form in enumerate(rng.sample(forms, facts))]
    known, ends = {f for fact in stated for f in (fact, fact.reversed)}, {fact.b for fact in stated}
    items = []
    for i, fact in enumerate(stated):
        for split, gold in (("rephrase", fact), ("reversal", fact.reversed)):
            items.append(ask(rng, f"{split}-{i}", split, gold, wrong_nouns(gold, things, known), ends))
        right, wrong = (_whole(one) for one in (fact.reversed, Fact(fact.form, fact.b, fact.a)))
        items.append(Item(f"comparison-{i}", "comparison", f"{fact.b} is", right, *pools(rng, [wrong], ends)))
    return World("reversals", _articles(rng, stated, articles, {}), tuple(items))


def _whole(fact: Fact) -> Option:
    """A comparison as what follows its first noun and "is"."""
    return Option(fact.sentence.removeprefix(f"{fact.a} is "), fact)


def _articles(
    rng: random.Random, facts: list[Fact], articles: int, told: dict[str, tuple[str, ...]]
) -> tuple[Document, ...]:
    """Each fact in so many documents of one sentence, no two of a fact in the same frame."""
    if not 1 <= articles <= len(FRAMES):
        raise ValueError(f"articles must be 1 to {len(FRAMES)}, not {articles}")
    documents = [
        Document(
            f"fact-{i}.{n}", frame.format(rng.choice(told.get(fact.form, (fact.form,))).format(fact.a, fact.b)), (fact,)
        )
        for i, fact in enumerate(facts)
        for n, frame in enumerate(rng.sample(FRAMES, articles))
    ]
    return tuple(rng.sample(documents, len(documents)))


def syllogisms(seed: int, examples: int = 69, words: Words = fresh_words) -> World:
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
        text = f"The relationships between {listed[0]}, {listed[1]} and {listed[2]} are: {said}"
        documents.append(Document(f"example-{i}", text, tuple(premises)))
    ends = {fact.b for document in documents for fact in document.facts}
    items = [_six_statements(rng, f"syllogism-{i}", gold, ends) for i, gold in enumerate(golds)]
    return World("syllogisms", tuple(documents), tuple(items))


def _six_statements(rng: random.Random, name: str, gold: Fact, ends: set[str]) -> Item:
    one, other = rng.sample((gold.a, gold.b), 2)
    directions = ((gold.a, gold.b), (gold.b, gold.a))
    statements = [Fact(form, *both) for form, both in product((ALL, SOME, NO), directions)]
    wrong = [Option(fact.sentence, fact) for fact in statements if fact not in (gold, gold.reversed)]
    stem = f"The relationships between {one} and {other} are:"
    return Item(name, "syllogism", stem, Option(gold.sentence, gold), *pools(rng, wrong, ends))


def descriptions(seed: int, people: int = 30, articles: int = 10, words: Words = fresh_words) -> World:
    """Three groups of ``people`` with a name and a description each: told from name to description, from description
    to name, and both ways (the reversal curse; Berglund et al. 2023, arXiv 2309.12288, experiment 1).

    Items: every direction that was told, in other words, and for the first two groups the direction that was not.
    """
    rng = random.Random(f"descriptions {seed}")
    drawn = iter(words(rng, 3 * 3 * people))
    named = [
        Fact(NAMED, f"{next(drawn)} {next(drawn)}", f"the {rng.choice(ROLES)} of {next(drawn)}")
        for _ in range(3 * people)
    ]
    called = [Fact(CALLED, fact.b, fact.a) for fact in named]
    stated = named[:people] + called[people : 2 * people] + named[2 * people :] + called[2 * people :]
    untold = called[:people] + named[people : 2 * people]
    ends, known = {fact.b for fact in stated}, {*named, *called}
    values = {NAMED: [fact.b for fact in named], CALLED: [fact.a for fact in named]}
    items = [
        ask(rng, f"{split}-{i}", split, fact, wrong_nouns(fact, values[fact.form], known), ends)
        for split, facts in (("rephrase", stated), ("reversal", untold))
        for i, fact in enumerate(facts)
    ]
    return World("descriptions", _articles(rng, stated, articles, TOLD), tuple(items))
