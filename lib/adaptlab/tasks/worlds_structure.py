"""A world with a hierarchy: categories that inherit, told in documents of several sentences.

After the semantic structure of Lampinen et al. 2025 (arXiv 2505.00661, section 3.1).
"""

import random
from collections import defaultdict

from adaptlab.tasks.knowledge import (
    ALL,
    ALL_CAN,
    ALL_LOOK,
    ASKED,
    FORM_COMPOSITIONS,
    FORM_INVERSES,
    FRAMES,
    TOLD,
    Fact,
    consequences,
    wrong_facts,
)
from adaptlab.tasks.wording import fill
from adaptlab.tasks.words import Vocabulary, fresh_words
from adaptlab.tasks.worlds import POOL, Document, World, ask

ROOTS, DEEPEST, BROADEST = 2, 4, 5
HELD_OUT = 0.1  # share of categories of which only the parent is told
BOTH_WAYS = 0.3  # share of facts that are told from their other end, too
OTHER_END = 0.25  # share of properties that are told from their other end only, so that they never end a sentence
FORWARD = (ALL, ALL_CAN, ALL_LOOK)


def structure(
    seed: int,
    categories: int = 110,
    documents: int = 3,
    items: int = 100,
    words: Vocabulary = fresh_words,
    properties: int = 6,
    repeat: bool = True,
) -> World:
    """``categories`` in two trees, each with a parent and 1 to ``properties`` properties (what it can do, how it
    looks), all of which its descendants inherit; about ``documents`` texts of 4 to 20 sentences for each, every fact in
    at least one. ``repeat`` False: the texts of a category tell of itself alone, so that a world is shorter.

    Up to ``items`` questions a split. ``forward``: what is stated. ``rephrase``: the same in other words.
    ``reversal``: from the other end, for facts never told from there. ``syllogism``: what a category inherits.
    ``holdout``: whatever follows about categories of which only the parent is told. A world of few categories has
    shorter texts and fewer questions.

    Raises ValueError for fewer than four categories.
    """
    if categories < 2 * ROOTS:
        raise ValueError(f"categories is {categories}: each of {ROOTS} trees has a parent and a child; set 4 or more")
    rng = random.Random(f"structure {seed}")
    each = max(16, categories // 4)  # even four generations of six leave some to differ in
    new = words(rng, categories + 2 * each)
    names, verbs, looks = new[:categories], new[categories : categories + each], new[categories + each :]
    parent = _trees(rng, names)
    leaves = [name for name in names if name not in parent.values() and name in parent]
    held_out = set(rng.sample(leaves, max(1, round(HELD_OUT * categories))))
    values = {ALL: names, ALL_CAN: verbs, ALL_LOOK: looks}
    own = _facts(rng, parent, names, held_out, {form: values[form] for form in (ALL_CAN, ALL_LOOK)}, properties)
    facts = [fact for of in own.values() for fact in of]
    backward = int(OTHER_END * each)
    own = _turned(rng, own, {*rng.sample(verbs, backward), *rng.sample(looks, backward)}, held_out)
    texts = _documents(rng, parent, own, documents, repeat)
    stated = {fact for document in texts for fact in document.facts}
    inferred = consequences(stated, FORM_INVERSES, FORM_COMPOSITIONS)
    known, ends = stated | set(inferred), {fact.b for fact in stated}
    questions = []
    for split, golds in _golds(facts, stated, inferred, held_out).items():
        wrong = {gold: wrong_facts(gold, values.get(gold.form, names), known) for gold in golds}
        # Nothing much is wrong about a root.
        fit = [gold for gold in golds if len({one.b in ends for one in wrong[gold]}) == 2 and len(wrong[gold]) >= POOL]
        chosen = rng.sample(fit, min(items, len(fit)))
        questions += [ask(rng, f"{split}-{i}", split, gold, wrong[gold], ends) for i, gold in enumerate(chosen)]
    return World("structure", texts, tuple(questions))


def _trees(rng: random.Random, names: list[str]) -> dict[str, str]:
    """Child -> parent; the first names are roots, and each has a child."""
    parent: dict[str, str] = {}
    depth, children = dict.fromkeys(names[:ROOTS], 0), defaultdict(int)
    for i, name in enumerate(names[ROOTS:]):
        open_ = [one for one in depth if depth[one] < DEEPEST and children[one] < BROADEST]
        over = names[i] if i < ROOTS else rng.choice(open_)
        parent[name], depth[name] = over, depth[over] + 1
        children[over] += 1
    return parent


def ancestors(parent: dict[str, str], name: str) -> list[str]:
    """The categories above one, nearest first, by child -> parent."""
    above = []
    while name in parent:
        above.append(name := parent[name])
    return above


def _facts(
    rng: random.Random,
    parent: dict[str, str],
    names: list[str],
    held_out: set[str],
    values: dict[str, list[str]],
    properties: int,
) -> dict[str, list[Fact]]:
    """What is told of each category itself; properties are those that it does not inherit already."""
    own: dict[str, list[Fact]] = {}
    every = [(form, value) for form, of in values.items() for value in of]
    for name in names:  # parents stand before their children
        inherited = {(fact.form, fact.b) for above in ancestors(parent, name) for fact in own[above]}
        free = [one for one in every if one not in inherited]
        new = [] if name in held_out else rng.sample(free, rng.randint(1, properties))
        above = [Fact(ALL, name, parent[name])] if name in parent else []
        own[name] = above + [Fact(form, name, b) for form, b in new]
    return own


def _turned(
    rng: random.Random, own: dict[str, list[Fact]], other_end: set[str], held_out: set[str]
) -> dict[str, list[Fact]]:
    """The facts as they are told: forward, from the other end, or both, in the texts of the category."""
    told: dict[str, list[Fact]] = {}
    for name, facts in own.items():
        backward = [Fact(FORM_INVERSES[fact.form], fact.b, fact.a) for fact in facts]
        turns = [fact.b in other_end for fact in facts]
        both = [name not in held_out and rng.random() < BOTH_WAYS for _ in facts]
        pairs = zip(facts, backward, turns, both, strict=True)
        told[name] = [fact for f, b, turn, two in pairs for fact in ([b] if turn else [f, b] if two else [f])]
    return told


def _documents(
    rng: random.Random, parent: dict[str, str], own: dict[str, list[Fact]], documents: int, repeat: bool
) -> tuple[Document, ...]:
    """Texts about a category and its relatives; the first one of a category tells all that is its own."""
    kin = defaultdict(list)
    for child, over in parent.items():
        kin[child].append(over)
        kin[over].append(child)
    every, texts = [fact for facts in own.values() for fact in facts], []
    for name, facts in own.items():
        near = [fact for other in kin[name] for fact in own[other]]
        near = near if len(near) >= 20 else near + every  # a small family has little to tell
        for n in range(documents):
            told = list(facts) if n == 0 else rng.sample(facts, rng.randint(1, len(facts)))
            room = rng.randint(max(4, len(told)), 20) - len(told) if repeat else 0
            untold = [fact for fact in dict.fromkeys(near) if fact not in told]
            told += rng.sample(untold, min(room, len(untold)))  # a small world has too few facts for the room
            rng.shuffle(told)
            text = " ".join(in_words(rng, fact) for fact in told)
            texts.append(Document(f"{name}-{n}", text, tuple(told)))
    return tuple(rng.sample(texts, len(texts)))


def in_words(rng: random.Random, fact: Fact) -> str:
    """A fact as a sentence of a document, in a random frame and wording, or as a question with its answer."""
    if fact.form in ASKED and rng.random() < 0.15:
        return fact.worded(ASKED[fact.form])
    return fill(rng.choice(FRAMES), fact=fact.worded(rng.choice(TOLD[fact.form])))


def _golds(facts: list[Fact], stated: set[Fact], inferred: list[Fact], held_out: set[str]) -> dict[str, list[Fact]]:
    """What to ask for, by split; ``facts`` are the world's own in their forward forms, however they were told."""
    own = {fact for fact in facts if fact.a not in held_out}
    turned = {Fact(FORM_INVERSES[fact.form], fact.b, fact.a) for fact in own}
    about = [fact for fact in inferred if not held_out & {fact.a, fact.b}]
    return {
        "rephrase": [fact for fact in facts if fact in own & stated],
        "reversal": [fact for fact in about if fact in own | turned],
        "syllogism": [fact for fact in about if fact.form in FORWARD and fact not in own],
        "holdout": [fact for fact in inferred if held_out & {fact.a, fact.b}],
        "forward": [fact for fact in facts if fact in own & stated],
    }
