"""What a study model can do: shares of correct answers over seeded items, about nouns that its training text does not
hold. While a model trains, nouns of the split ``probe`` are used; those of ``test`` are kept for the finished one."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from statsmodels.stats.proportion import proportion_confint

from adaptlab.engine.generation import Completion, Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.scoring import Request, score
from adaptlab.studymodel.corpus import LETTERS, NOISE, SO
from adaptlab.tasks import instructions, knowledge, notes, reasoning
from adaptlab.tasks.knowledge import Fact
from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.words import study

LAYOUT = FORMATS["question"]
MakeRequest = Callable[[random.Random, str], Request]  # from a generator and a split


@dataclass(frozen=True)
class Ability:
    """Whether each item was answered correctly; ``chance``: the share that guessing reaches, where it is known."""

    name: str
    correctness: tuple[bool, ...]
    chance: float | None = None

    @property
    def n(self) -> int:
        return len(self.correctness)

    @property
    def n_correct(self) -> int:
        return sum(self.correctness)

    @property
    def share(self) -> float:
        return self.n_correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the share (Wilson)."""
        low, high = proportion_confint(self.n_correct, self.n, method="wilson")
        return float(low), float(high)


def measure(lm: LM, n: int = 500) -> list[Ability]:
    """Every ability of the first course on the test nouns and problems, ``n`` items each."""
    measured = [choices(lm, name, "test", n) for name in CHOICES]
    measured += [instruction(lm, shots, "test", n) for shots in (0, 1, 3)]
    measured += [instruction(lm, s, "test", n, task=c) for c in instructions.LIST_TASKS for s in (0, 3)]
    for family in reasoning.FAMILIES:
        attempts = solve(lm, family, "test", n)
        measured += [*grade(attempts), *grade_most_probable(attempts)]
    return measured


# --- one correct option among three or four ---------------------------------------------------------------------------


def choices(lm: LM, name: str, split: str, n: int, seed: int = 0) -> Ability:
    """One of `CHOICES`: how often the correct option, which is the first, is the most probable one."""
    return chosen(lm, name, *CHOICES[name], split, n, seed)


def chosen(lm: LM, name: str, make: MakeRequest, chance: float, split: str, n: int, seed: int = 0) -> Ability:
    """How often the first option of what ``make`` samples is the most probable one."""
    # One seed for each item, so that forward, reversal and unknown ask for the same fact of the same world.
    rows = score(lm, [make(random.Random(f"{split} {seed} {item}"), split) for item in range(n)]).options
    return Ability(name, tuple(row[0].logprob > max(other.logprob for other in row[1:]) for row in rows), chance)


def forward(rng: random.Random, split: str, n: int = 8) -> Request:
    """One of ``n`` facts in the prompt, as it stands there."""
    facts = _world(rng, knowledge.relation, n, split)
    return _cloze(rng, facts, facts)


def reversal(rng: random.Random, split: str, n: int = 8) -> Request:
    """One of ``n`` facts in the prompt, asked from its other end. No noun stands in two of them."""
    facts = _world(rng, knowledge.relation, n, split)
    return _cloze(rng, facts, [fact.reversed for fact in facts])


def reversal_of_two(rng: random.Random, split: str) -> Request:
    """As `reversal`, but the noun asked about stands in two facts: only the relation tells which of its partners is
    meant, and the other one is among the options."""
    facts = _world(rng, knowledge.relation, 7, split)
    target = rng.choice(facts)
    nouns = [noun for fact in facts for noun in (fact.a, fact.b)]
    (rival,) = study(split)(rng, 1, nouns)
    forms = [form for form in knowledge.RELATIONS if form not in (target.form, target.reversed.form)]
    facts.append(Fact(rng.choice(forms), rival, target.b))
    others = rng.sample([fact.a for fact in facts if fact.b != target.b], 2)
    return cloze_request(facts_prompt(rng, facts), target.reversed.stem, (target.a, rival, *others))


def syllogism(rng: random.Random, split: str) -> Request:
    """The conclusion from one of 4 pairs of premises in the prompt; no option is stated there."""
    facts = _world(rng, knowledge.syllogism, 4, split)
    return _cloze(rng, facts, knowledge.consequences(facts))


def unknown(rng: random.Random, split: str) -> Request:
    """What `reversal` asks, without the facts: nothing tells the answer."""
    known = reversal(rng, split)
    return Request(known.context[known.context.index(SO) :], known.options)


def facts_prompt(rng: random.Random, facts: Sequence[Fact]) -> str:
    """Facts as a prompt, in random order."""
    return "Facts: " + " ".join(f"{fact.sentence}." for fact in rng.sample(list(facts), len(facts)))


def cloze_request(prompt: str, stem: str, options: Sequence[str]) -> Request:
    """A sentence to complete, after a prompt or ("") after none."""
    return Request(f"{prompt} {SO}{stem}".lstrip(), tuple(f" {option}" for option in options))


def _world(rng: random.Random, make: knowledge.Make, groups: int, split: str) -> list[Fact]:
    return [fact for group in knowledge.world(rng, [make] * groups, split) for fact in group]


def _cloze(rng: random.Random, facts: Sequence[Fact], true: Sequence[Fact]) -> Request:
    """``facts`` as the prompt, and one of the ``true`` sentences to complete. The wrong options end others of them:
    what part a noun plays in the facts does not tell it from the correct one."""
    prompt, target = facts_prompt(rng, facts), rng.choice(true)
    return cloze_request(prompt, target.stem, knowledge.options(rng, target, {fact.b for fact in true}, facts))


def classification(rng: random.Random, split: str, shots: int, noise: float = 0) -> Request:
    """A note of one of three classes, named by letters; a share ``noise`` of the demonstrations' labels is random."""
    layout, trait = FORMATS["plain"], rng.choice(list(notes.TRAITS))
    classes = rng.sample(list(notes.TRAITS[trait]), 3)
    label_names = dict(zip(classes, rng.sample(LETTERS, 3), strict=True))
    names = list(label_names.values())
    *demonstrations, query = notes.notes(rng, trait, classes, shots + 1, split)
    answered = []
    for note in demonstrations:
        random_label = noise and rng.random() < noise
        answered.append((note.text, rng.choice(names) if random_label else label_names[note.values[trait]]))
    correct = label_names[query.values[trait]]
    options = [correct, *(name for name in names if name != correct)]
    return Request(layout.turns(answered) + layout.asked(query.text), tuple(f" {name}" for name in options))


# Added when `study` was seen to need few examples where every label is right; as noisy as training ever was.
_noisy = partial(classification, noise=max(NOISE))
CHOICES: dict[str, tuple[MakeRequest, float]] = {
    "forward": (forward, 0.25),
    "reversal": (reversal, 0.25),
    "reversal, noun in two facts": (reversal_of_two, 0.5),  # between the two partners, for a reader of no relation
    "syllogism": (syllogism, 0.25),
    "unknown": (unknown, 0.25),
    **{f"classification, {k} shots": (partial(classification, shots=k), 1 / 3) for k in (3, 8, 32)},
    **{f"noisy classification, {k} shots": (partial(_noisy, shots=k), 1 / 3) for k in (3, 8, 32)},
}


# --- generated answers ------------------------------------------------------------------------------------------------


def finished(lm: LM, prompts: Sequence[str], decoding: Decoding) -> list[str]:
    """The completion of each prompt; "" for one that did not end."""
    return [one.text if one.stopped else "" for one in generate(lm, prompts, decoding).completions]


def instruction(lm: LM, shots: int, split: str, n: int, seed: int = 0, task: str | None = None) -> Ability:
    """How often a request is answered exactly, and the answer ended, after plain answers to ``shots`` requests of
    other tasks."""
    rng, others = random.Random(f"requests {split} {seed}"), random.Random(f"demonstrations {split} {seed}")
    requests = [instructions.request(rng, split, task) for _ in range(n)]
    prompts = []
    for request in requests:
        demonstrations = [_other_task(request, others, split) for _ in range(shots)]
        prompts.append(LAYOUT.prompt("", [(one.question, one.answer) for one in demonstrations], request.question))
    answers = finished(lm, prompts, Decoding(max_new_tokens=40))
    correctness = tuple(text.strip() == one.answer for text, one in zip(answers, requests, strict=True))
    return Ability(f"instruction, {shots} shots" + (f", {task}" if task else ""), correctness)


def _other_task(request: instructions.ListRequest, rng: random.Random, split: str) -> instructions.ListRequest:
    """A request of another task: its answer shows the response style, not how ``request`` is solved."""
    while (other := instructions.request(rng, split)).task == request.task:
        pass
    return other


OTHERS = ("forward", "reversal", "classification, 8 shots", "instruction, 3 shots")
_KNOWN: dict[tuple[str, int], dict[str, float]] = {}  # what `others` found, by the digest of a model and ``n``


def others(lm: LM, n: int) -> dict[str, float]:
    """What a study model that was trained for something else can still do: its accuracy in each of `OTHERS`, on ``n``
    items each."""
    if (lm.digest, n) not in _KNOWN:
        measured = [choices(lm, name, "test", n) for name in OTHERS if name in CHOICES]
        _KNOWN[lm.digest, n] = {one.name: one.share for one in (*measured, instruction(lm, 3, "test", n))}
    return _KNOWN[lm.digest, n]


@dataclass(frozen=True)
class Attempts:
    """A problem, a greedy solution and some sampled ones."""

    problem: reasoning.Problem
    greedy: Completion
    sampled: Sequence[Completion]

    def correct(self, completion: Completion) -> bool:
        """Whether a solution ended, and is right."""
        return completion.stopped and self.problem.correct(completion.text)


def solve(lm: LM, family: str, split: str, n: int, samples: int = 16, seed: int = 0) -> list[Attempts]:
    """Let the model solve ``n`` problems greedily and ``samples`` times at temperature 1."""
    rng = random.Random(f"{family} {split} {seed}")
    problems = [reasoning.FAMILIES[family](rng, split) for _ in range(n)]
    prompts = [LAYOUT.asked(problem.question) for problem in problems]
    greedy = generate(lm, prompts, Decoding(max_new_tokens=80)).completions
    repeated = [prompt for prompt in prompts for _ in range(samples)]
    sampled = generate(lm, repeated, Decoding(temperature=1.0, max_new_tokens=80), seed=seed).completions
    return [Attempts(problems[i], greedy[i], sampled[i * samples : (i + 1) * samples]) for i in range(n)]


def grade(attempts: Sequence[Attempts]) -> list[Ability]:
    """Share correct: greedy, the first sample, and any of the samples (coverage)."""
    family, samples = attempts[0].problem.family, len(attempts[0].sampled)
    guess = None if attempts[0].problem.answer.isdigit() else 0.5
    abilities = [Ability(f"{family}, greedy", tuple(one.correct(one.greedy) for one in attempts), guess)]
    rows = [[one.correct(each) for each in one.sampled] for one in attempts]
    if samples:
        coverage = guess and 1 - guess**samples  # a coin thrown so often comes out right once
        abilities += [
            Ability(f"{family}, one sample", tuple(row[0] for row in rows), guess),
            Ability(f"{family}, coverage of {samples}", tuple(map(any, rows)), coverage),
        ]
    return abilities


def grade_most_probable(attempts: Sequence[Attempts]) -> list[Ability]:
    """Of each problem the finished sample to which the model gives the highest probability as a whole: how often it is
    correct, and how often wrong and shorter than every correct one, though there is a correct one."""
    name = f"{attempts[0].problem.family}, most probable of {len(attempts[0].sampled)}"
    correctness, shorter = [], []
    for one in attempts:
        finished = [each for each in one.sampled if each.stopped]
        best = max(finished, key=lambda each: each.logprob, default=Completion("", False))
        lengths = [len(each.text) for each in finished if one.correct(each)]
        correctness.append(one.correct(best))
        shorter.append(bool(lengths) and not correctness[-1] and len(best.text) < min(lengths))
    wrong = f"{name}: wrong and shorter than any right one"
    return [Ability(name, tuple(correctness)), Ability(wrong, tuple(shorter))]
