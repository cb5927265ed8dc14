"""What a model infers from documents itself, to be trained on beside them; and what inferences of other makers do.

After Lampinen et al. 2025 (arXiv 2505.00661, section 3): *local* inferences are made from one document in the prompt,
*global* ones from several. Their prompts are not published; ours are short (`Ask`). Whatever is inferred is
the work of the model under test, sampled, and kept or dropped by rules that see no answer. The oracle, which knows the
world, and the two wrong augmenters are controls, and are always named so.
"""

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import fmean

import pandas as pd

from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.loss_mask import TrainingExample, tokenize_with_mask
from adaptlab.engine.scoring import Cost
from adaptlab.methods.selection import nearest_bm25
from adaptlab.tasks.fact_reading import read_facts, sentences
from adaptlab.tasks.knowledge import FORM_INVERSES, Fact
from adaptlab.tasks.records import check_choice, content_key
from adaptlab.tasks.worlds import World, between

LEAD = "So,"


@dataclass(frozen=True)
class Ask:
    """How inferences are asked for: ``head``, documents, ``lead``, and behind it what the model writes up to ``stop``.

    A base model that has not read such texts needs examples in the head.
    """

    head: str = ""
    lead: str = f" {LEAD}"
    stop: tuple[str, ...] = (".", "\n")
    max_new_tokens: int = 24

    def prompt(self, documents: Sequence[str], opening: str = "") -> str:
        """Documents and lead, and what the inference begins with."""
        return f"{self.head}{' '.join(documents)}{self.lead}{opening and f' {opening}'}"


# What inferences about a group of documents begin with, one prompt each.
Openings = Callable[[Sequence[str]], list[str]]


def free(documents: Sequence[str]) -> list[str]:
    """The model chooses what to infer. It mostly says again what stands first."""
    return [""]


def last_nouns(documents: Sequence[str]) -> list[str]:
    """How a sentence about each noun begins that stands last in a fact of the last document."""
    return _beginnings((FORM_INVERSES.get(fact.form, "{a}"), fact.b) for fact in read_facts(documents[-1]))


def nouns(documents: Sequence[str]) -> list[str]:
    """How a sentence about each noun of the last document's facts begins: those of `last_nouns` before the others."""
    others = _beginnings((fact.form, fact.a) for fact in read_facts(documents[-1]))
    return list(dict.fromkeys([*last_nouns(documents), *others]))


def _beginnings(places: Iterable[tuple[str, str]]) -> list[str]:
    """Of (form, noun in its first place), the noun with what the form puts before it, such as "all"."""
    return list(dict.fromkeys(form.partition("{a}")[0] + noun for form, noun in places))


def noun_pairs(documents: Sequence[str]) -> list[str]:
    """Every two nouns of the last document: what holds between them (the relation graph of EntiGraph, Yang et al. 2024,
    arXiv 2409.07431, is made so)."""
    known = dict.fromkeys(noun for fact in read_facts(documents[-1]) for noun in (fact.a, fact.b))
    return [between(*pair) for pair in combinations(known, 2)]


@dataclass(frozen=True)
class Inference:
    """A sentence that a model has inferred: the documents that stood in its prompt when it was first written, how often
    it was written in all, and its mean log-probability (nats a token, of the first time)."""

    text: str
    documents: tuple[int, ...]
    times: int
    logprob: float


@dataclass(frozen=True)
class Inferences:
    """Inferences in the order in which they were first written, none of them a sentence of the documents or one that is
    there already; how many completions that took, and what they cost."""

    kept: tuple[Inference, ...]
    completions: int
    cost: Cost

    @property
    def texts(self) -> list[str]:
        return [one.text for one in self.kept]

    @property
    def written(self) -> list[str]:
        """The texts, each as often as it was written."""
        return [one.text for one in self.kept for _ in range(one.times)]

    def written_again(self, times: int = 2) -> "Inferences":
        """Those that were written so many times, at least."""
        return replace(self, kept=tuple(one for one in self.kept if one.times >= times))

    def most_probable(self, share: float = 0.5) -> "Inferences":
        """The share with the highest mean log-probability, in the order in which they stand."""
        ranked = sorted(self.kept, key=lambda one: -one.logprob)[: round(share * len(self.kept))]
        return replace(self, kept=tuple(one for one in self.kept if one in ranked))

    def __add__(self, other: "Inferences") -> "Inferences":
        """Both, without what the first has already."""
        known = {content_key(one.text) for one in self.kept}
        more = tuple(one for one in other.kept if content_key(one.text) not in known)
        return Inferences(self.kept + more, self.completions + other.completions, self.cost + other.cost)


def groups(n: int, size: int, per_document: int = 1, seed: int = 0) -> list[tuple[int, ...]]:
    """Which documents stand together in a prompt: each of ``n`` in turn, behind ``size`` - 1 others (of another draw
    each of the ``per_document`` times). A size of 1 gives local inferences, more give global ones."""
    rng, found = random.Random(f"groups {seed} {size}"), []
    for _ in range(per_document):
        for i in range(n):
            others = rng.sample([j for j in range(n) if j != i], min(size, n) - 1)
            found.append((*others, i))
    return found


def related(documents: Sequence[str], near: int) -> list[tuple[int, ...]]:
    """As `groups`, each behind those ``near`` others that a word search (BM25) finds for it, the most alike last."""
    near = min(near, len(documents) - 1)
    return [(*others, i) for i, others in enumerate(nearest_bm25(documents, documents, near))]


def infer(
    lm: LM,
    documents: Sequence[str],
    together: Sequence[tuple[int, ...]],
    *,
    openings: Openings = nouns,
    ask: Ask | None = None,
    samples: int = 2,
    temperature: float = 0.7,
    seed: int = 0,
) -> Inferences:
    """What the model infers from each group of documents: ``samples`` completions of each opening.

    A completion that does not end is no inference.
    """
    ask = ask or Ask()
    asked = [
        (group, opening)
        for group in together
        for opening in openings([documents[i] for i in group])
        for _ in range(samples)
    ]
    prompts = [ask.prompt([documents[i] for i in group], opening) for group, opening in asked]
    decoding = Decoding(temperature=temperature, max_new_tokens=ask.max_new_tokens, stop=ask.stop)
    found = generate(lm, prompts, decoding, seed=seed)
    stated = {content_key(said) for document in documents for said in sentences(document)}
    seen: dict[str, Inference] = {}
    for (group, opening), one in zip(asked, found.completions, strict=True):
        text = f"{opening}{one.text}".strip().rstrip(".")
        key = content_key(text)
        said = content_key(next(sentences(text), text))
        if not one.stopped or not one.text.strip() or said in stated:
            continue
        if key in seen:
            seen[key] = replace(seen[key], times=seen[key].times + 1)
        else:
            seen[key] = Inference(f"{text}.", group, 1, one.logprob / max(1, len(one.tokens)))
    return Inferences(tuple(seen.values()), len(prompts), found.cost)


# --- what they are worth, by the logic of the world -------------------------------------------------------------------

STATED, INFERRED, WRONG, UNREADABLE = "says again what is stated", "follows", "is wrong", "states nothing"


def judged(texts: Sequence[str], world: World) -> pd.DataFrame:
    """Each text, the fact that it states (None where it states none), and what it is in this world."""
    rows = []
    for text in texts:
        fact = next(iter(read_facts(text)), None)
        known = {True: STATED, False: INFERRED}
        sort = UNREADABLE if fact is None else WRONG
        if fact is not None and fact in world.stated | world.inferred:
            sort = known[fact in world.stated]
        rows.append((text, fact, sort))
    return pd.DataFrame(rows, columns=["text", "fact", "sort"])


def precision_recall(texts: Sequence[str], world: World, wanted: Collection[Fact]) -> tuple[float, float]:
    """(the share of the texts that are true, of those that say anything new; the share of ``wanted`` among them)."""
    found = judged(texts, world)
    new = found[found["sort"] != STATED]
    said = set(found["fact"].dropna())
    precision = float((new["sort"] == INFERRED).mean()) if len(new) else float("nan")
    return precision, fmean(fact in said for fact in wanted) if wanted else float("nan")


# --- controls: augmenters that know the world, or get it wrong --------------------------------------------------------


def oracle(wanted: Sequence[Fact]) -> list[str]:
    """What follows, by the logic of the world: the best that any augmenter could write."""
    return [f"{fact.sentence}." for fact in wanted]


Swap = Callable[[Fact, Fact], Fact]  # of a true fact and another one: a wrong fact


def wrong_relation(wanted: Sequence[Fact], world: World, seed: int = 0) -> list[str]:
    """What follows, with the relation of another fact: the right things are brought together, nothing true is said."""
    return _swapped(wanted, world, seed, lambda fact, other: Fact(other.form, fact.a, fact.b))


def wrong_partner(wanted: Sequence[Fact], world: World, seed: int = 0) -> list[str]:
    """What follows, with the last noun of another fact: the relation is right, and nothing true is said."""
    return _swapped(wanted, world, seed, lambda fact, other: Fact(fact.form, fact.a, other.b))


def _swapped(wanted: Sequence[Fact], world: World, seed: int, make: Swap) -> list[str]:
    rng, known, found = random.Random(f"swapped {seed}"), world.stated | world.inferred, []
    for fact in wanted:
        made = [(other.form, make(fact, other)) for other in wanted]
        wrong = [(form, one) for form, one in made if one not in known and one.a != one.b]
        if not wrong:
            raise ValueError(f"nothing wrong can be made of {fact.sentence!r}: the world has too few facts")
        alike = [one for form, one in wrong if form == fact.form]  # partners of the same sort, where there are some
        found.append(f"{rng.choice(alike or [one for _, one in wrong]).sentence}.")
    return found


# --- training examples ------------------------------------------------------------------------------------------------


def split(document: str, cumulative: bool = False) -> list[tuple[str, str]]:
    """A document as (what stands before, a sentence of it), one for each sentence: nothing before it, or all earlier
    ones (Lampinen et al. 2025, sentence splitting)."""
    parts = [f"{said}." for said in sentences(document)]
    return [(" ".join(parts[:i]) if cumulative else "", part) for i, part in enumerate(parts)]


def as_question(text: str) -> str:
    """A sentence as a question that asks for its last word, with its answer."""
    head, _, last = text.rstrip(".").rpartition(" ")
    return f"Question: {head} what? Answer: {last}."


@dataclass(frozen=True)
class Texts:
    """Texts to train on. ``loss``: "whole", or "end", the last word alone: then a noun that ends no sentence is never
    learned, whatever the text says of it."""

    lm: LM = field(repr=False)
    loss: str = "whole"

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, ("whole", "end"))

    def of(self, documents: Sequence[str], inferences: Sequence[str] = ()) -> list[TrainingExample]:
        """Documents as they are, and each inference behind the lead that asks for it."""
        texts = [*documents, *(f"{LEAD} {text}" for text in inferences)]
        return [tokenize_with_mask(self.lm, self._parts(text), ends=False) for text in texts]

    def _parts(self, text: str) -> list[tuple[str, bool]]:
        if self.loss == "whole":
            return [(text, True)]
        head, _, last = text.rpartition(" ")
        return [(head, False), (f" {last}", True)]
