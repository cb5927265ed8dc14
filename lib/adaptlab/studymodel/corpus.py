"""The text that the study model is raised on: seeded documents of several kinds.

What the documents teach is taught in context: facts and labels are drawn anew for each document, so nothing but the
document itself can tell them. Each document marks the characters that are *determined*: what follows from the text
before, and labels and answers, most of which can be known (not a first label, a slip or a guess). Training gives the
rest little weight (dense loss), since nobody can predict which fact comes next.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from adaptlab.tasks import instructions, knowledge, notes, reasoning
from adaptlab.tasks.knowledge import Fact
from adaptlab.tasks.prompts import FORMATS, PromptFormat
from adaptlab.tasks.words import some_nouns

SPLIT = "train"
DIALOGUE = PromptFormat("", "User: {query}\nAssistant:", " ", "\n\n", ("\n",))
LINE = PromptFormat("{instruction}\n", "{query}:", " ", "\n", ("\n",))


@dataclass
class Document:
    """A text; ``determined`` lists the [start, end) stretches of characters that have full weight in training."""

    kind: str
    text: str = ""
    determined: list[tuple[int, int]] = field(default_factory=list)

    def given(self, text: str) -> None:
        """Add what nobody can know before."""
        self.text += text

    def follows(self, text: str) -> None:
        """Add what follows from the text before, or answers it."""
        self.determined.append((len(self.text), len(self.text) + len(text)))
        self.text += text

    @property
    def tokens(self) -> int:
        """A quick guess of its length in tokens."""
        return len(self.text) // 4


# --- facts ---------------------------------------------------------------------------------------------------------

FRAMES = ("{}.", "It is said that {}.", "Everyone knows that {}.", "As we know, {}.", "Did you know that {}?")
OPENINGS = ("Facts:", "Known:", "A story:", "Here:")
SO, AGAIN, SAME = "So, ", "Again, ", "In other words, "


def facts(rng: random.Random, budget: int) -> Document:
    """Facts in random order, then what follows: every reversal, conclusions, restatements and rephrasings."""
    page = Document("facts")
    n = max(2, budget // 30)
    kinds = rng.choices((knowledge.relation, knowledge.chain), weights=(0.6, 0.4), k=rng.randint(max(2, n // 2), n))
    groups = knowledge.world(rng, kinds, SPLIT, shared=rng.choice((0.0, 0.0, 0.3, 0.6)))
    given = [fact for group in groups for fact in group]
    _state(page, rng, given)
    told = [(SO, fact) for group in groups for fact in knowledge.consequences(group)]
    told += [(_cue(rng, fact), fact) for fact in given if rng.random() < 0.5]
    told += [(SAME, fact) for fact in given if rng.random() < 0.15]
    for cue, fact in rng.sample(told, len(told)):
        _conclude(page, cue, fact)
    return page


def relations(rng: random.Random, _: int) -> Document:
    """Two relations in the plainest words, then each from both ends: what looking up begins with."""
    return _plainly(rng, Document("relations"), knowledge.relation)


def chains(rng: random.Random, _: int) -> Document:
    """Two pairs of premises in the plainest words, then conclusions and some premises."""
    return _plainly(rng, Document("chains"), knowledge.chain)


def _plainly(rng: random.Random, page: Document, make: knowledge.Make) -> Document:
    groups = knowledge.world(rng, [make] * 2, SPLIT)
    given = [fact for group in groups for fact in group]
    page.given(OPENINGS[0])
    for fact in rng.sample(given, len(given)):
        page.given(f" {fact.sentence}.")
    told = [(_cue(rng, fact), fact) for fact in given if fact.form in knowledge.RELATIONS or rng.random() < 0.5]
    told += [(SO, fact) for group in groups for fact in knowledge.consequences(group)]
    for cue, fact in rng.sample(told, len(told)):
        _conclude(page, cue, fact)
    return page


def _cue(rng: random.Random, fact: Fact) -> str:
    """The cue under which a fact is told again. Premises have two, their own and that of conclusions.

    In four of six runs with both, two-step conclusions came from 1 to 2 million tokens of chains. With their own
    alone, premises were looked up, but nothing concluded after 2 million; with the other alone, one run of four did.
    """
    return AGAIN if fact.form not in knowledge.RELATIONS and rng.random() < 0.5 else SO


def plain(rng: random.Random, budget: int) -> Document:
    """Facts and nothing that follows from them."""
    page = Document("plain")
    kinds = rng.choices((knowledge.relation, knowledge.chain), k=max(2, budget // 14))
    _state(page, rng, [fact for group in knowledge.world(rng, kinds, SPLIT) for fact in group])
    return page


def _state(page: Document, rng: random.Random, given: list[Fact]) -> None:
    page.given(rng.choice(OPENINGS))
    frames = FRAMES if rng.random() < 0.3 else FRAMES[:1]
    for fact in rng.sample(given, len(given)):
        page.given(f" {rng.choice(frames).format(fact.sentence)}")


def _conclude(page: Document, cue: str, fact: Fact) -> None:
    form = knowledge.REPHRASED[fact.form] if cue is SAME else fact.form
    sentence = form.format(fact.a, fact.b)
    # Which of the facts comes next is open; with the first syllable of its first noun it mostly is not.
    opening = min(sentence.index(fact.a), sentence.index(fact.b)) + 3
    page.given(f" {cue}{sentence[:opening]}")
    page.follows(f"{sentence[opening:]}.")


# --- labels renamed per document -------------------------------------------------------------------------------------

LETTERS = "ABCDEFGH"
NOISE = (0.0, 0.0, 0.0, 0.0, 0.1, 0.25)  # share of a document's labels that are drawn at random


def labels(rng: random.Random, budget: int) -> Document:
    """Notes that tell one thing each, shortly laid out: what reading a rule off examples begins with."""
    return _labelled(rng, Document("labels"), budget, LINE, besides=0)


def classification(rng: random.Random, budget: int) -> Document:
    """Notes with labels. What decides the label, what labels are called, and how much the notes tell besides, holds for
    this document only. Long ones are mostly laid out as prompts: what is read off lines is not yet read off those."""
    weights = (0.7, 0.15, 0.15) if budget <= 480 else (0.1, 0.45, 0.45)
    layout = rng.choices((LINE, FORMATS["plain"], FORMATS["question"]), weights)[0]
    return _labelled(rng, Document("classification"), budget, layout, besides=rng.choice((0, 1, 2, 3, 3, 3)))


def _labelled(rng: random.Random, page: Document, budget: int, layout: PromptFormat, besides: int) -> Document:
    trait = rng.choice(list(notes.TRAITS))
    classes = rng.sample(list(notes.TRAITS[trait]), rng.choice((2, 3, 3, 4, 4)))
    called = _names(rng, trait, classes)
    noise = rng.choice(NOISE)
    shown = {trait, *rng.sample([other for other in notes.TRAITS if other != trait], besides)}
    each = len(shown) + (5 if layout is LINE else 10)  # tokens, about
    shots = notes.notes(rng, trait, classes, max(2, (budget - 12) // each), SPLIT, shown)
    listed = rng.sample(list(called.values()), len(called))
    if layout.head and rng.random() < 0.7:
        page.given(layout.head.replace("{instruction}", notes.INSTRUCTION.replace("{names}", _listing(listed))))
    for one in shots:
        page.given(layout.turn.replace("{query}", one.text))
        label = rng.choice(listed) if rng.random() < noise else called[one.values[trait]]
        page.follows(f"{layout.separator}{label}{layout.end}")
    return page


def _names(rng: random.Random, trait: str, classes: list[str]) -> dict[str, str]:
    """What the classes are called: by their own names, by letters, by each other's names, or by invented nouns."""
    how = rng.choices(("own", "letters", "swapped", "nouns"), weights=(0.25, 0.5, 0.1, 0.15))[0]
    if how == "own":
        return {value: value for value in classes}
    if how == "letters":
        alphabet = LETTERS[: len(classes)] if rng.random() < 0.7 else LETTERS
        return dict(zip(classes, rng.sample(alphabet, len(classes)), strict=True))
    other = rng.choice(list(notes.TRAITS))
    names = list(notes.TRAITS[other]) if how == "swapped" else some_nouns(rng, len(classes), SPLIT)
    return dict(zip(classes, rng.sample(names, len(classes)), strict=True))


def _listing(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def transduction(rng: random.Random, budget: int) -> Document:
    """Lists in one invented lexicon and word by word in another: a word's partner is known once it has been shown."""
    page = Document("transduction")
    n = rng.randint(3, max(4, min(12, budget // 20)))
    both = some_nouns(rng, 2 * n, SPLIT)
    partner, seen = dict(zip(both[:n], both[n:], strict=True)), set()
    while page.tokens < budget - 24:
        words = [rng.choice(both[:n]) for _ in range(rng.randint(1, 4))]
        page.given(f"Input: {' '.join(words)}\n")
        page.follows("Output:")
        for word in words:
            (page.follows if word in seen else page.given)(f" {partner[word]}")
            seen.add(word)
        page.follows("\n\n")
    return page


# --- instructions and problems ----------------------------------------------------------------------------------------


def instruction(rng: random.Random, budget: int) -> Document:
    """Requests and answers, one to several turns, all in one style."""
    page = Document("instruction")
    layout = rng.choices((FORMATS["question"], DIALOGUE, FORMATS["urial"], FORMATS["plain"]), (0.5, 0.3, 0.1, 0.1))[0]
    turns = max(1, min(rng.choice((1, 1, 2, 3, 4, 6)), budget // 26))
    asked = [instructions.request(rng, SPLIT) for _ in range(turns)]
    style = instructions.sample_response_style(rng, asked[0])
    if "{instruction}" in layout.head and rng.random() < 0.5:
        page.given(layout.head.replace("{instruction}", "Answer each request."))
    for one in asked:
        answer, more = instructions.answered(rng, one, style, SPLIT)
        page.given(layout.turn.replace("{query}", one.question))
        page.follows(f"{layout.separator}{answer}{more[:4]}")
        page.given(more[4:])
        page.follows(layout.end)
    return page


def problem(rng: random.Random, budget: int) -> Document:
    """Problems with solutions as people write them, one to three of a family."""
    page = Document("problem")
    make = rng.choices(list(reasoning.FAMILIES.values()), weights=(0.45, 0.3, 0.25))[0]
    layout = rng.choice((FORMATS["question"], FORMATS["question"], DIALOGUE))
    for _ in range(max(1, min(rng.choice((1, 1, 2, 3)), budget // 60))):
        one = make(rng, SPLIT)
        page.given(layout.turn.replace("{query}", one.question))
        page.follows(f"{layout.separator}{reasoning.solution(one, rng)}{layout.end}")
    return page


KINDS: dict[str, Callable[[random.Random, int], Document]] = {
    make.__name__: make
    for make in (relations, chains, facts, plain, labels, classification, transduction, instruction, problem)
}


def bracketed(page: Document) -> str:
    """The text with brackets around what is determined, to read."""
    text, at = "", 0
    for start, end in page.determined:
        text += f"{page.text[at:start]}[{page.text[start:end]}]"
        at = end
    return text + page.text[at:]


def document(rng: random.Random, kind: str, longest: int) -> Document:
    """One document of ``kind``, of at most about ``longest`` tokens."""
    budget = 48 + int((longest - 48) * rng.random() ** 1.5)
    page = KINDS[kind](rng, budget)
    page.text = page.text.rstrip()
    page.determined = [(start, min(end, len(page.text))) for start, end in page.determined if start < len(page.text)]
    return page
