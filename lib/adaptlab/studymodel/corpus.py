"""The text on which the study model is pretrained: seeded documents of several kinds.

The documents teach reading in context: facts and labels are sampled anew for each document, so that only the document
itself can tell them. Each document marks the characters that are *determined*: what follows from the text before, and
labels and answers, most of which can be known (not a first label, a slip or a guess). Training gives the others little
weight, since nobody can predict which fact comes next.
"""

import random
from collections.abc import Callable

from adaptlab.studymodel import corpus_shots, corpus_worlds
from adaptlab.studymodel.corpus_shots import DIALOGUE, add_answered
from adaptlab.studymodel.document import Document
from adaptlab.tasks import instructions, knowledge, notes, reasoning
from adaptlab.tasks.fact_reading import CUES
from adaptlab.tasks.knowledge import Fact
from adaptlab.tasks.prompt_formats import FORMATS, PromptFormat
from adaptlab.tasks.wording import fill, listed
from adaptlab.tasks.words import study

SPLIT = "train"
LINE = PromptFormat("{instruction}\n", "{query}:", " ", "\n", ("\n",))


# --- facts ---------------------------------------------------------------------------------------------------------

FRAMES = knowledge.FRAMES[:5]
OPENINGS = ("Facts:", "Known:", "A story:", "Here:")
SO, AGAIN, SAME = CUES


def facts(rng: random.Random, budget: int, concludes: bool = True) -> Document:
    """Facts in random order, then what follows: every reversal, conclusions, restatements and rephrasings.

    ``concludes`` False, here and elsewhere: nothing but what the document has stated is said again.
    """
    doc = Document("facts")
    n = max(2, budget // 30)
    kinds = rng.choices((knowledge.relation, knowledge.chain), weights=(0.6, 0.4), k=rng.randint(max(2, n // 2), n))
    groups = knowledge.world(rng, kinds, SPLIT, shared=rng.choice((0.0, 0.0, 0.3, 0.6)))
    given = [fact for group in groups for fact in group]
    _assert_facts(doc, rng, given)
    conclusions = [(SO, fact) for group in groups for fact in knowledge.consequences(group) if concludes]
    conclusions += [(_cue(rng, fact), fact) for fact in given if rng.random() < 0.5]
    conclusions += [(SAME, fact) for fact in given if rng.random() < 0.15]
    return _conclude(doc, rng, conclusions)


def relations(rng: random.Random, _: int, concludes: bool = True) -> Document:
    """Two relations in the plainest words, then each from both ends: the first step in looking facts up."""
    return _two_groups(rng, Document("relations"), knowledge.relation, concludes)


def chains(rng: random.Random, _: int, concludes: bool = True) -> Document:
    """Two pairs of premises in the plainest words, then conclusions and some premises."""
    return _two_groups(rng, Document("chains"), knowledge.chain, concludes)


def _two_groups(rng: random.Random, doc: Document, make: knowledge.Make, concludes: bool) -> Document:
    groups = knowledge.world(rng, [make] * 2, SPLIT)
    given = [fact for group in groups for fact in group]
    doc.add_open(OPENINGS[0])
    for fact in rng.sample(given, len(given)):
        doc.add_open(f" {fact.sentence}.")
    conclusions = [(_cue(rng, fact), fact) for fact in given if fact.form in knowledge.RELATIONS or rng.random() < 0.5]
    conclusions += [(SO, fact) for group in groups for fact in knowledge.consequences(group) if concludes]
    return _conclude(doc, rng, conclusions or [(SO, given[0])])


def _cue(rng: random.Random, fact: Fact) -> str:
    """The cue that introduces a fact repeated. Premises have two, their own and that of conclusions.

    In four of six runs with both, two-step conclusions came from 1 to 2 million tokens of chains. With their own
    alone, premises were looked up, but nothing concluded after 2 million; with the other alone, one run of four did.
    """
    return AGAIN if fact.form not in knowledge.RELATIONS and rng.random() < 0.5 else SO


def plain(rng: random.Random, budget: int) -> Document:
    """Facts and nothing that follows from them."""
    doc = Document("plain")
    kinds = rng.choices((knowledge.relation, knowledge.chain), k=max(2, budget // 14))
    _assert_facts(doc, rng, [fact for group in knowledge.world(rng, kinds, SPLIT) for fact in group])
    return doc


def _assert_facts(doc: Document, rng: random.Random, given: list[Fact]) -> None:
    doc.add_open(rng.choice(OPENINGS))
    frames = FRAMES if rng.random() < 0.3 else FRAMES[:1]
    for fact in rng.sample(given, len(given)):
        doc.add_open(f" {fill(rng.choice(frames), fact=fact.sentence)}")


def _conclude(doc: Document, rng: random.Random, conclusions: list[tuple[str, Fact]]) -> Document:
    """Add (cue, fact) sentences in random order."""
    for cue, fact in rng.sample(conclusions, len(conclusions)):
        sentence = fact.worded(knowledge.REPHRASED[fact.form]) if cue is SAME else fact.sentence
        # Which of the facts comes next is open; with the first syllable of its first noun it mostly is not.
        opening = min(sentence.index(fact.a), sentence.index(fact.b)) + 3
        doc.add_open(f" {cue}{sentence[:opening]}")
        doc.add_determined(f"{sentence[opening:]}.")
    return doc


# --- labels with new names in every document --------------------------------------------------------------------------

LETTERS = "ABCDEFGH"
NOISE = (0.0, 0.0, 0.0, 0.0, 0.1, 0.25)  # share of a document's labels that are random


def labels(rng: random.Random, budget: int) -> Document:
    """Notes of one trait each on short lines: the first step in inferring a rule from examples."""
    return _labelled(rng, Document("labels"), budget, LINE, other_traits=0)


def classification(rng: random.Random, budget: int) -> Document:
    """Notes with labels. The trait that decides the label, the label names, and the number of other traits are those of
    this document only. Long ones mostly have the layout of prompts: a rule learned on lines does not carry over."""
    weights = (0.7, 0.15, 0.15) if budget <= 480 else (0.1, 0.45, 0.45)
    layout = rng.choices((LINE, FORMATS["plain"], FORMATS["question"]), weights)[0]
    return _labelled(rng, Document("classification"), budget, layout, other_traits=rng.choice((0, 1, 2, 3, 3, 3)))


def _labelled(rng: random.Random, doc: Document, budget: int, layout: PromptFormat, other_traits: int) -> Document:
    trait = rng.choice(list(notes.TRAITS))
    classes = rng.sample(list(notes.TRAITS[trait]), rng.choice((2, 3, 3, 4, 4)))
    label_names = _label_names(rng, trait, classes)
    noise = rng.choice(NOISE)
    traits = {trait, *rng.sample([other for other in notes.TRAITS if other != trait], other_traits)}
    each = len(traits) + (5 if layout is LINE else 10)  # tokens, about
    shots = notes.notes(rng, trait, classes, max(2, (budget - 12) // each), SPLIT, traits)
    names = rng.sample(list(label_names.values()), len(label_names))
    if layout.head and rng.random() < 0.7:
        doc.add_open(layout.header(fill(notes.INSTRUCTION, names=listed(names))))
    for note in shots:
        doc.add_open(layout.asked(note.text))
        label = rng.choice(names) if rng.random() < noise else label_names[note.values[trait]]
        doc.add_determined(f"{layout.separator}{label}{layout.end}")
    return doc


def _label_names(rng: random.Random, trait: str, classes: list[str]) -> dict[str, str]:
    """What the classes are called: their own names, letters, the values of any trait, or invented nouns."""
    source = rng.choices(("own", "letters", "swapped", "nouns"), weights=(0.25, 0.5, 0.1, 0.15))[0]
    if source == "own":
        return {value: value for value in classes}
    if source == "letters":
        alphabet = LETTERS[: len(classes)] if rng.random() < 0.7 else LETTERS
        return dict(zip(classes, rng.sample(alphabet, len(classes)), strict=True))
    other = rng.choice(list(notes.TRAITS))
    names = list(notes.TRAITS[other]) if source == "swapped" else study(SPLIT)(rng, len(classes))
    return dict(zip(classes, rng.sample(names, len(classes)), strict=True))


def transduction(rng: random.Random, budget: int) -> Document:
    """Lists translated word by word between two invented lexicons: a word's partner is known once it was shown."""
    doc = Document("transduction")
    n = rng.randint(3, max(4, min(12, budget // 20)))
    both = study(SPLIT)(rng, 2 * n)
    partner, seen = dict(zip(both[:n], both[n:], strict=True)), set()
    while doc.tokens < budget - 24:
        words = [rng.choice(both[:n]) for _ in range(rng.randint(1, 4))]
        doc.add_open(f"Input: {' '.join(words)}\n")
        doc.add_determined("Output:")
        for word in words:
            (doc.add_determined if word in seen else doc.add_open)(f" {partner[word]}")
            seen.add(word)
        doc.add_determined("\n\n")
    return doc


# --- instructions and problems ----------------------------------------------------------------------------------------


def instruction(rng: random.Random, budget: int) -> Document:
    """Requests and answers, one to several turns, all in one style."""
    doc = Document("instruction")
    layout = rng.choices((FORMATS["question"], DIALOGUE, FORMATS["urial"], FORMATS["plain"]), (0.5, 0.3, 0.1, 0.1))[0]
    turns = max(1, min(rng.choice((1, 1, 2, 3, 4, 6)), budget // 26))
    requests = [instructions.request(rng, SPLIT) for _ in range(turns)]
    style = instructions.sample_response_style(rng, requests[0])
    if "{instruction}" in layout.head and rng.random() < 0.5:
        doc.add_open(layout.header("Answer each request."))
    return add_answered(doc, rng, layout, requests, style)


def problem(rng: random.Random, budget: int) -> Document:
    """One to three problems of a family, with solutions as people write them."""
    doc = Document("problem")
    make = rng.choices(list(reasoning.FAMILIES.values()), weights=(0.45, 0.3, 0.25))[0]
    layout = rng.choice((FORMATS["question"], FORMATS["question"], DIALOGUE))
    for _ in range(max(1, min(rng.choice((1, 1, 2, 3)), budget // 60))):
        one = make(rng, SPLIT)
        doc.add_open(layout.asked(one.question))
        doc.add_determined(f"{layout.separator}{reasoning.solution(one, rng)}{layout.end}")
    return doc


INFERRING = {make.__name__ for make in (relations, chains, facts, *corpus_worlds.KINDS)}
_FIRST = (relations, chains, facts, plain, labels, classification, transduction, instruction, problem)
FIRST_COURSE = tuple(make.__name__ for make in _FIRST)
KINDS: dict[str, Callable[..., Document]] = {
    make.__name__: make for make in (*_FIRST, *corpus_worlds.KINDS, *corpus_shots.KINDS)
}


def document(rng: random.Random, kind: str, max_length: int, concludes: bool = True) -> Document:
    """One document of ``kind``, of at most about ``max_length`` tokens; ``concludes`` False: what could be inferred
    from what it states is not said."""
    budget = 48 + int((max_length - 48) * rng.random() ** 1.5)
    doc = KINDS[kind](rng, budget) if concludes or kind not in INFERRING else KINDS[kind](rng, budget, False)
    doc.text = doc.text.rstrip()
    doc.determined = [(start, min(end, len(doc.text))) for start, end in doc.determined if start < len(doc.text)]
    return doc
