"""What a study model can do, measured on nouns that its training text does not hold.

Each ability is a share of right answers over seeded items. While a model trains, nouns of the split ``probe`` are used;
those of ``test`` are kept for the finished one.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from statsmodels.stats.proportion import proportion_confint
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.scoring import Request, score
from adaptlab.studymodel.corpus import LETTERS, NOISE, SO
from adaptlab.tasks import instructions, knowledge, notes, reasoning
from adaptlab.tasks.prompts import FORMATS
from adaptlab.tasks.words import some_nouns

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


def asked(context: str, stem: str, options: Sequence[str]) -> Request:
    """A sentence to complete, behind a prompt or behind none."""
    return Request(f"{context} {SO}{stem}".lstrip(), tuple(f" {option}" for option in options))


def _cloze(
    rng: random.Random, context: str, facts: Sequence[knowledge.Fact], true: Sequence[knowledge.Fact]
) -> Request:
    """One of the ``true`` sentences to complete. The wrong options end others of them: what part a noun plays in the
    facts does not tell it from the right one."""
    target = rng.choice(true)
    cloze = knowledge.cloze(rng, target, {fact.b for fact in true}, facts)
    return asked(context, cloze.stem, cloze.options)


def forward(rng: random.Random, split: str) -> Request:
    """One of 8 facts in the prompt, as it stands there."""
    facts = _world(rng, knowledge.relation, 8, split)
    return _cloze(rng, told(rng, facts), facts, facts)


def reversal(rng: random.Random, split: str, n: int = 8) -> Request:
    """One of ``n`` facts in the prompt, told from its other end. No noun stands in two of them."""
    facts = _world(rng, knowledge.relation, n, split)
    return _cloze(rng, told(rng, facts), facts, [fact.reversed for fact in facts])


def reversal_of_two(rng: random.Random, split: str) -> Request:
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


def syllogism(rng: random.Random, split: str) -> Request:
    """The conclusion from one of 4 pairs of premises in the prompt; what is stated is not an option."""
    facts = _world(rng, knowledge.syllogism, 4, split)
    return _cloze(rng, told(rng, facts), facts, knowledge.consequences(facts))


def unknown(rng: random.Random, split: str) -> Request:
    """The reversal of a fact that the prompt does not hold."""
    facts = _world(rng, knowledge.relation, 8, split)
    told(rng, facts)  # draw as `reversal` does, to ask the same
    return _cloze(rng, "", facts, [fact.reversed for fact in facts])


def _classification(shots: int, noise: float = 0) -> Callable[[random.Random, str], Request]:
    """Notes of three classes, called by letters; a share ``noise`` of the labels shown is drawn at random."""

    def classification(rng: random.Random, split: str) -> Request:
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
        return Request(page + layout.turn.replace("{query}", last.text), tuple(f" {name}" for name in options))

    return classification


CHOICES: dict[str, tuple[Callable[[random.Random, str], Request], float]] = {
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
    completions = generate(lm, prompts, Decoding(max_new_tokens=40)).completions
    marks = tuple(w.stopped and w.text.strip() == one.answer for w, one in zip(completions, last, strict=True))
    return Ability(f"instruction, {shots} shots" + (f", {cluster}" if cluster else ""), marks)


def _unlike(asked: instructions.ListRequest, rng: random.Random, split: str) -> instructions.ListRequest:
    """A request of another cluster: its answer shows the manner, not how the one asked is solved."""
    while (other := instructions.request(rng, split)).task == asked.task:
        pass
    return other


def asking(question: str) -> str:
    """A request as a prompt, up to where the answer begins."""
    return LAYOUT.turn.replace("{query}", question)


def _turn(one: instructions.ListRequest) -> str:
    return f"{asking(one.question)}{LAYOUT.separator}{one.answer}{LAYOUT.end}"


SAMPLES = 16


@dataclass(frozen=True)
class Solved:
    """Problems with one greedy solution each, and with some sampled ones."""

    problems: list[reasoning.Problem]
    greedy: list[str]
    sampled: list[list[str]]


def solve(lm: LM, family: str, split: str, n: int, samples: int = SAMPLES, seed: int = 0) -> Solved:
    """Let the model solve ``n`` problems greedily and ``samples`` times at temperature 1; "" is what has no end."""
    rng = random.Random(f"{family} {split} {seed}")
    problems = [reasoning.FAMILIES[family](rng, split) for _ in range(n)]
    prompts = [asking(problem.question) for problem in problems]
    greedy = [w.text if w.stopped else "" for w in generate(lm, prompts, Decoding(max_new_tokens=80)).completions]
    many = [prompt for prompt in prompts for _ in range(samples)]
    drawn = [
        w.text if w.stopped else ""
        for w in generate(lm, many, Decoding(temperature=1.0, max_new_tokens=80), seed=seed).completions
    ]
    return Solved(problems, greedy, [drawn[i * samples : (i + 1) * samples] for i in range(n)])


def graded(solved: Solved) -> list[Ability]:
    """Share right: greedy, the first sample, and any of the samples (coverage)."""
    family, guess = solved.problems[0].family, None if solved.problems[0].answer.isdigit() else 0.5
    right = [[p.correct(s) for s in drawn] for p, drawn in zip(solved.problems, solved.sampled, strict=True)]
    greedy = tuple(p.correct(s) for p, s in zip(solved.problems, solved.greedy, strict=True))
    abilities = [Ability(f"{family}, greedy", greedy, guess)]
    if samples := len(right[0]):
        lucky = guess and 1 - guess**samples  # a coin thrown so often is right once
        abilities += [
            Ability(f"{family}, one sample", tuple(row[0] for row in right), guess),
            Ability(f"{family}, coverage of {samples}", tuple(map(any, right)), lucky),
        ]
    return abilities


def preferred(lm: LM, solved: Solved) -> list[str]:
    """For each problem, the finished sample that the model itself finds most probable as a whole, "" if there is none.
    The end of a sample, a line break or EOS, is not counted."""
    options = [sorted({text for text in drawn if text}) for drawn in solved.sampled]
    questions = [
        Request(asking(problem.question), tuple(texts))
        for problem, texts in zip(solved.problems, options, strict=True)
        if texts
    ]
    rows = iter(score(lm, questions).options)
    best = []
    for texts in options:
        pairs = zip(texts, next(rows), strict=True) if texts else ()
        best.append(max(pairs, key=lambda pair: pair[1].logprob, default=("", None))[0])
    return best


def favoured(solved: Solved, chosen: Sequence[str]) -> list[Ability]:
    """What the model prefers among its own samples: how often that is right, and how often it is wrong and shorter
    than every right one, though there is a right one."""
    most, marks, shorter = f"{solved.problems[0].family}, most probable of {len(solved.sampled[0])}", [], []
    for problem, drawn, text in zip(solved.problems, solved.sampled, chosen, strict=True):
        right = [len(sample) for sample in drawn if problem.correct(sample)]
        marks.append(problem.correct(text))
        shorter.append(bool(right) and not marks[-1] and len(text) < min(right))
    return [Ability(most, tuple(marks)), Ability(f"{most}: wrong and shorter than any right one", tuple(shorter))]


PROBED = ("forward", "reversal", "syllogism", "classification, 3 shots", "classification, 32 shots")


def probe(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, n: int = 64) -> dict[str, float]:
    """A quick look at a model in training, for its log: shares of right answers over ``n`` items each."""
    lm = LM("probe", model.eval(), tokenizer, "in training")
    seen: list[Ability] = [
        *(choices(lm, name, "probe", n) for name in PROBED),
        *(instruction(lm, shots, "probe", n) for shots in (0, 3)),
        *(one for family in reasoning.FAMILIES for one in graded(solve(lm, family, "probe", n, samples=0))),
    ]
    model.train()
    return {ability.name: round(ability.share, 4) for ability in seen}


def measure(lm: LM, n: int = 500) -> list[Ability]:
    """Every ability on the test nouns and problems, ``n`` items each (tens of thousands of answers: minutes)."""
    measured = [choices(lm, name, "test", n) for name in CHOICES]
    measured += [instruction(lm, shots, "test", n) for shots in (0, 1, 3)]
    measured += [instruction(lm, s, "test", n, cluster=c) for c in instructions.LIST_TASKS for s in (0, 3)]
    for family in reasoning.FAMILIES:
        solved = solve(lm, family, "test", n)
        measured += [*graded(solved), *favoured(solved, preferred(lm, solved))]
    return measured
