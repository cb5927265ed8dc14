"""What a study model can do, measured on nouns that its training text does not hold.

Each ability is a share of right answers over seeded items. While a model trains, nouns of the split ``probe`` are used;
those of ``test`` are kept for the finished one.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from statsmodels.stats.proportion import proportion_confint

from adaptlab.engine.models import LM
from adaptlab.engine.sampling import generate
from adaptlab.engine.scoring import Question, score
from adaptlab.studymodel.corpus import LETTERS, NOISE, SO
from adaptlab.tasks import instructions, knowledge, notes
from adaptlab.tasks.nouns import some_nouns
from adaptlab.tasks.prompts import FORMATS

LAYOUT = FORMATS["question"]


@dataclass(frozen=True)
class Ability:
    """Whether each item was answered right; ``chance`` is what guessing reaches, where that is known."""

    name: str
    marks: tuple[bool, ...]
    chance: float | None = None

    @property
    def n(self) -> int:
        return len(self.marks)

    @property
    def right(self) -> int:
        return sum(self.marks)

    @property
    def share(self) -> float:
        return self.right / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the share (Wilson)."""
        low, high = proportion_confint(self.right, self.n, method="wilson")
        return float(low), float(high)


# --- one right option among four --------------------------------------------------------------------------------------


def _world(rng: random.Random, kind: knowledge.Make, groups: int, split: str) -> list[knowledge.Fact]:
    return [fact for group in knowledge.world(rng, [kind] * groups, split) for fact in group]


def told(rng: random.Random, facts: Sequence[knowledge.Fact]) -> str:
    """Facts as a prompt, in random order."""
    return "Facts: " + " ".join(f"{fact.sentence}." for fact in rng.sample(list(facts), len(facts)))


def asked(context: str, stem: str, options: Sequence[str]) -> Question:
    """A sentence to complete, behind a prompt or behind none."""
    return Question(f"{context} {SO}{stem}".lstrip(), tuple(f" {option}" for option in options))


def _cloze(
    rng: random.Random, context: str, facts: Sequence[knowledge.Fact], true: Sequence[knowledge.Fact]
) -> Question:
    """One of the ``true`` sentences to complete. The wrong options end others of them: what part a noun plays in the
    facts does not tell it from the right one."""
    target = rng.choice(true)
    cloze = knowledge.cloze(rng, target, {fact.b for fact in true}, facts)
    return asked(context, cloze.stem, cloze.options)


def forward(rng: random.Random, split: str) -> Question:
    """One of 8 facts in the prompt, as it stands there."""
    facts = _world(rng, knowledge.relation, 8, split)
    return _cloze(rng, told(rng, facts), facts, facts)


def reversal(rng: random.Random, split: str, n: int = 8) -> Question:
    """One of ``n`` facts in the prompt, told from its other end. No noun stands in two of them."""
    facts = _world(rng, knowledge.relation, n, split)
    return _cloze(rng, told(rng, facts), facts, [fact.reversed for fact in facts])


def reversal_of_two(rng: random.Random, split: str) -> Question:
    """As `reversal`, but the noun asked about stands in two facts: only the relation tells which of its partners is
    meant, and the other one is among the options."""
    facts = _world(rng, knowledge.relation, 7, split)
    target = rng.choice(facts)
    nouns = [noun for fact in facts for noun in (fact.a, fact.b)]
    (rival,) = some_nouns(rng, 1, split, avoid=nouns)
    forms = [form for form in knowledge.RELATIONS if form not in (target.form, target.reversed.form)]
    facts.append(knowledge.Fact(rng.choice(forms), rival, target.b))
    others = rng.sample([fact.a for fact in facts if fact.b != target.b], 2)
    return asked(told(rng, facts), target.reversed.stem, (target.a, rival, *others))


def syllogism(rng: random.Random, split: str) -> Question:
    """The conclusion from one of 4 pairs of premises in the prompt; what is stated is not an option."""
    facts = _world(rng, knowledge.syllogism, 4, split)
    return _cloze(rng, told(rng, facts), facts, knowledge.consequences(facts))


def unknown(rng: random.Random, split: str) -> Question:
    """The reversal of a fact that the prompt does not hold."""
    facts = _world(rng, knowledge.relation, 8, split)
    told(rng, facts)  # draw as `reversal` does, to ask the same
    return _cloze(rng, "", facts, [fact.reversed for fact in facts])


def _classification(shots: int, noise: float = 0) -> Callable[[random.Random, str], Question]:
    """Notes of three classes, called by letters; a share ``noise`` of the labels shown is drawn at random."""

    def classification(rng: random.Random, split: str) -> Question:
        trait = rng.choice(list(notes.TRAITS))
        classes = rng.sample(list(notes.TRAITS[trait]), 3)
        called = dict(zip(classes, rng.sample(LETTERS, 3), strict=True))
        names, layout, page = list(called.values()), FORMATS["plain"], ""
        *shown, last = notes.notes(rng, trait, classes, shots + 1, split)
        for one in shown:
            label = rng.choice(names) if noise and rng.random() < noise else called[one.values[trait]]
            page += f"{layout.turn.replace('{query}', one.text)} {label}{layout.end}"
        right = called[last.values[trait]]
        options = [right, *(name for name in names if name != right)]
        return Question(page + layout.turn.replace("{query}", last.text), tuple(f" {name}" for name in options))

    return classification


CHOICES: dict[str, tuple[Callable[[random.Random, str], Question], float]] = {
    "forward": (forward, 0.25),
    "reversal": (reversal, 0.25),
    "reversal, noun in two facts": (reversal_of_two, 0.5),  # between the two partners, for who reads no relation
    "syllogism": (syllogism, 0.25),
    "unknown": (unknown, 0.25),
    **{f"classification, {k} shots": (_classification(k), 1 / 3) for k in (3, 8, 32)},
    # Added when `study` was seen to need few examples where every label is right; as noisy as training ever was.
    **{f"noisy classification, {k} shots": (_classification(k, max(NOISE)), 1 / 3) for k in (3, 8, 32)},
}


def choices(lm: LM, name: str, split: str, n: int, seed: int = 0) -> Ability:
    """One of `CHOICES`: how often the right option is the most probable one."""
    make, chance = CHOICES[name]
    # One seed for each item, so that forward, reversal and unknown ask for the same fact of the same world.
    rows = score(lm, [make(random.Random(f"{split} {seed} {item}"), split) for item in range(n)]).options
    return Ability(name, tuple(row[0].logprob > max(other.logprob for other in row[1:]) for row in rows), chance)


# --- written answers -----------------------------------------------------------------------------------------------


def instruction(lm: LM, shots: int, split: str, n: int, seed: int = 0, cluster: str | None = None) -> Ability:
    """How often a request is answered exactly, and stopped, after plain answers to ``shots`` requests of other
    clusters."""
    rng, others = random.Random(f"requests {split} {seed}"), random.Random(f"demonstrations {split} {seed}")
    last = [instructions.request(rng, split, cluster) for _ in range(n)]
    shown = ["".join(_turn(_unlike(one, others, split)) for _ in range(shots)) for one in last]
    prompts = [page + asking(one.question) for page, one in zip(shown, last, strict=True)]
    written = generate(lm, prompts, longest=40)
    marks = tuple(w.stopped and w.text.strip() == one.answer for w, one in zip(written, last, strict=True))
    return Ability(f"instruction, {shots} shots" + (f", {cluster}" if cluster else ""), marks)


def _unlike(asked: instructions.Request, rng: random.Random, split: str) -> instructions.Request:
    """A request of another cluster: its answer shows the manner, not how the one asked is solved."""
    while (other := instructions.request(rng, split)).cluster == asked.cluster:
        pass
    return other


def asking(question: str) -> str:
    """A request as a prompt, up to where the answer begins."""
    return LAYOUT.turn.replace("{query}", question)


def _turn(one: instructions.Request) -> str:
    return f"{asking(one.question)}{LAYOUT.seam}{one.answer}{LAYOUT.end}"
