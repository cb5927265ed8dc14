"""What a study model can do with documents of invented worlds, many examples of a task, and follow-ups, as its second
course teaches; what it can do with the combinations that the course holds out; and what it says without the documents.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial

from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.scoring import Request, score
from adaptlab.studymodel import corpus_shots
from adaptlab.studymodel.abilities import Ability, MakeRequest, chosen, finished, forward, reversal
from adaptlab.studymodel.corpus_worlds import HELD_OUT_PAIR, LEAD, far_end_facts
from adaptlab.tasks import instructions, knowledge, worlds
from adaptlab.tasks.knowledge import Fact
from adaptlab.tasks.notes import load_notes
from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.sets import FIRST, FOLLOW_UPS, load_open
from adaptlab.tasks.sets import conversation as sample_conversation
from adaptlab.tasks.wording import fill, listed
from adaptlab.tasks.words import Vocabulary, study
from adaptlab.tasks.worlds import Item, World
from adaptlab.tasks.worlds_structure import structure

ROOM = 2048  # tokens that the longest of these prompts may take
EACH = 4  # items of one split in a world: they share its documents


# --- one right sentence among four ------------------------------------------------------------------------------------


def right_sentence(rng: random.Random, split: str, n: int, pair: Sequence[str] = ()) -> Request:
    """One of ``n`` facts told from its far end. The wrong sentences have the relation of another fact of the page, the
    partner of another, or both: nothing but the fact itself tells. ``pair``: relations that the fact asked for has."""
    facts = far_end_facts(rng, study(split), n, pair)
    target, other = facts[0], rng.choice(facts[1:])
    stranger = rng.choice([fact for fact in facts[1:] if fact is not other] or [other])
    right, wrong = target.reversed, other.reversed
    sentences = [
        right,
        Fact(wrong.form, right.a, right.b),
        Fact(right.form, right.a, stranger.a),
        Fact(wrong.form, right.a, stranger.a),
    ]
    page = " ".join(f"{fact.sentence}." for fact in rng.sample(facts, n))
    return Request(f"Facts: {page} {LEAD} {right.a}", tuple(one.sentence[len(right.a) :] + "." for one in sentences))


def written_inference(lm: LM, n: int, split: str, items: int, seed: int = 0) -> Ability:
    """How often the model writes exactly what follows, from the far end of one of ``n`` facts: the noun is given, the
    relation and the partner are written."""
    prompts, right = [], []
    for item in range(items):
        rng = random.Random(f"written {split} {seed} {item}")
        facts = far_end_facts(rng, study(split), n)
        target = facts[0].reversed
        page = " ".join(f"{fact.sentence}." for fact in rng.sample(facts, n))
        prompts.append(f"Facts: {page} {LEAD} {target.a}")
        right.append(target.sentence[len(target.a) :])
    completions = generate(lm, prompts, Decoding(max_new_tokens=16, stop=(".",))).completions
    correct = tuple(one.stopped and one.text == said for one, said in zip(completions, right, strict=True))
    return Ability(f"written inference, {n} facts", correct)


# --- questions about worlds -------------------------------------------------------------------------------------------

MAKERS: dict[str, Callable[[int, Vocabulary], World]] = {
    "comparisons": lambda seed, words: worlds.reversals(seed, 8, 1, words),
    "syllogisms": lambda seed, words: worlds.syllogisms(seed, 8, words),
    "descriptions": lambda seed, words: worlds.descriptions(seed, 4, 1, words),
    "hierarchy": lambda seed, words: structure(seed, 24, 1, EACH * 4, words, properties=3, repeat=False),
}


def _kind_of(item: Item) -> str:
    """The name under which an item counts, in its world."""
    if item.split == "syllogism" and item.stem.endswith(":"):
        return "held-out figure" if item.gold.fact.form == knowledge.SOME else "conclusion"
    if item.split == "reversal" and item.gold.fact.form in (knowledge.NAMED, knowledge.CALLED):
        return "name to description" if item.gold.fact.form == knowledge.NAMED else "description to name"
    return {"syllogism": "inherited"}.get(item.split, item.split)


def read_worlds(
    lm: LM, kind: str, split: str, n: int, *, seed: int = 0, documents: bool = True, each: int = EACH
) -> list[Ability]:
    """``n`` items of each kind of question about worlds of ``kind``, ``each`` of one world; ``documents`` False: asked
    without them. Raises ValueError where so many worlds do not hold so many."""
    found: dict[str, list[Request]] = {}
    number = 0
    while not found or min(map(len, found.values())) < n:
        world = MAKERS[kind](f"{split} {seed} {number}", study(split))
        pages = " ".join(one.text for one in world.documents) + f" {LEAD} " if documents else ""
        taken: dict[str, int] = {}
        for item in world.items:
            name = _kind_of(item)
            taken[name] = taken.get(name, 0) + 1
            if taken[name] <= each and len(found.setdefault(name, [])) < n:
                found[name].append(Request(pages + item.stem, tuple(f" {option}" for option in item.options())))
        number += 1
        if number > 4 * n:
            fewest = min(found, key=lambda name: len(found[name]))
            raise ValueError(f"{number} worlds of {kind} hold {len(found[fewest])} questions of {fewest!r}, not {n}")
    abilities = []
    for name, requests in found.items():
        chance = sum(1 / len(one.options) for one in requests) / len(requests)
        without = "" if documents else ", without the documents"
        abilities.append(_first_is_best(lm, f"{kind}, {name}{without}", requests, round(chance, 3)))
    return abilities


def _first_is_best(lm: LM, name: str, requests: Sequence[Request], chance: float) -> Ability:
    rows = score(lm, requests).options
    return Ability(name, tuple(row[0].logprob > max(other.logprob for other in row[1:]) for row in rows), chance)


# --- many examples, and follow-ups ------------------------------------------------------------------------------------


def many_requests(lm: LM, shots: int, split: str, n: int, held_out: bool = False, seed: int = 0) -> Ability:
    """Requests behind ``shots`` plain answers to requests of all clusters but their own; ``held_out``: of the clusters
    that the model has met on short pages alone."""
    rng = random.Random(f"many requests {split} {seed} {held_out}")
    clusters = [name for name in instructions.LIST_TASKS if (name in corpus_shots.HELD_OUT_CLUSTERS) == held_out]
    prompts, right = [], []
    for _ in range(n):
        asked = instructions.request(rng, split, rng.choice(clusters))
        others = [name for name in instructions.LIST_TASKS if name != asked.task]
        answered = [instructions.request(rng, split, rng.choice(others)) for _ in range(shots)]
        prompts.append(FORMATS["question"].prompt("", [(one.question, one.answer) for one in answered], asked.question))
        right.append(asked.answer)
    texts = finished(lm, prompts, Decoding(max_new_tokens=40))
    name = f"instruction, {shots} shots" + (", held-out clusters" if held_out else "")
    return Ability(name, tuple(text.strip() == one for text, one in zip(texts, right, strict=True)))


NOTES = 20  # of one set that is shown


def sorted_notes(lm: LM, shots: int, n: int) -> Ability:
    """Notes of four classes that letters name, behind ``shots`` demonstrations; of many sets shown, some notes each."""
    layout, requests = FORMATS["plain"], []
    for seed in range(-(-n // NOTES)):
        data = load_notes(seed=seed, test=NOTES)
        letters = random.Random(f"letters {seed}").sample("ABCD", 4)
        name = dict(zip(data.labels, letters, strict=True))
        header = layout.header(fill(data.instruction, names=listed("ABCD")))
        shown = header + layout.turns([(one.text, name[one.label]) for one in data.sample(shots, seed)])
        for one in data.test[:NOTES]:
            options = sorted(letters, key=lambda letter, right=name[one.label]: letter != right)
            requests.append(Request(shown + layout.asked(one.text), tuple(f" {letter}" for letter in options)))
    return _first_is_best(lm, f"notes by letters, {shots} shots", requests[:n], 0.25)


def open_task(lm: LM, task: str, shots: int, split: str, n: int) -> Ability:
    """A task with free answers that nothing but its examples tells; four items of each of many draws of the task."""
    prompts, right = [], []
    for place in range(-(-n // EACH)):
        data = load_open(task, pool=max(shots, 1), test=EACH, seed=10_000 * (split == "probe") + place)
        layout = FORMATS[data.prompt_format]
        shown = "".join(layout.turns(one.turns) for one in data.pool[:shots])
        prompts += [shown + layout.asked(one.query) for one in data.test]
        right += [one.output for one in data.test]
    texts = finished(lm, prompts[:n], Decoding(max_new_tokens=24, stop=("\n",)))
    return Ability(f"{task}, {shots} shots", tuple(t.strip() == r for t, r in zip(texts, right, strict=False)))


def follow_ups(lm: LM, shots: int, split: str, n: int, held_out: bool = False, seed: int = 0) -> Ability:
    """The second turn of a conversation, behind the right first answer and ``shots`` conversations."""
    rng = random.Random(f"follow-ups {split} {seed} {held_out}")
    firsts = [name for name in FIRST if name not in corpus_shots.HELD_OUT_CLUSTERS]
    seconds = [name for name in FOLLOW_UPS if (name in corpus_shots.HELD_OUT_CLUSTERS) == held_out]
    known = [name for name in FOLLOW_UPS if name not in corpus_shots.HELD_OUT_CLUSTERS]
    prompts, right = [], []

    def sample(of: Sequence[str]):
        return sample_conversation(rng, study(split), rng.choice(firsts), rng.choice(of), templates=3)

    for _ in range(n):
        asked = sample(seconds)
        turns = [
            (message.content, reference)
            for one in [*(sample(known) for _ in range(shots)), asked]
            for message, reference in zip(one.messages, one.references, strict=True)
        ]
        prompts.append(FORMATS["question"].prompt("", turns[:-1], turns[-1][0]))
        right.append(turns[-1][1])
    texts = finished(lm, prompts, Decoding(max_new_tokens=40))
    name = f"follow-ups, {shots} conversations" + (", held-out" if held_out else "")
    return Ability(name, tuple(text.strip() == one for text, one in zip(texts, right, strict=True)))


CHOICES: dict[str, tuple[MakeRequest, float]] = {
    "forward, 16 facts": (partial(forward, n=16), 0.25),
    "reversal, 16 facts": (partial(reversal, n=16), 0.25),
    **{f"right sentence, {n} facts": (partial(right_sentence, n=n), 0.25) for n in (8, 16)},
    "right sentence, held-out pair": (partial(right_sentence, n=8, pair=HELD_OUT_PAIR), 0.25),
}


PROBED = {
    *("syllogisms, conclusion", "descriptions, name to description", "descriptions, description to name"),
    *("hierarchy, rephrase", "hierarchy, reversal", "hierarchy, inherited"),
}


def measure(lm: LM, n: int = 500, split: str = "test") -> list[Ability]:
    """Every ability of the second course, ``n`` items each."""
    found = [chosen(lm, name, *CHOICES[name], split, n) for name in CHOICES]
    found += [written_inference(lm, facts, split, n) for facts in (8, 16)]
    for kind in MAKERS:
        found += read_worlds(lm, kind, split, n)
        found += read_worlds(lm, kind, split, n, documents=False)
    found += [many_requests(lm, 32, split, n), many_requests(lm, 32, split, n, held_out=True)]
    found += [sorted_notes(lm, shots, n) for shots in (0, 64)]
    found += [open_task(lm, task, shots, split, n) for task in ("lexicon", "digest") for shots in (0, 8, 32)]
    found += [follow_ups(lm, shots, split, n) for shots in (0, 1, 4)]
    found += [follow_ups(lm, 4, split, n, held_out=True)]
    return found


def probe(lm: LM, n: int) -> list[Ability]:
    """Some of them, for the log of a model in training; many items of few worlds, which is quick."""
    name = "right sentence, 8 facts"
    found = [chosen(lm, name, *CHOICES[name], "probe", n)]
    for kind in ("syllogisms", "descriptions", "hierarchy"):
        found += [one for one in read_worlds(lm, kind, "probe", n, each=16) if one.name in PROBED]
    found += [open_task(lm, task, 8, "probe", n) for task in ("lexicon", "digest")]
    return [*found, follow_ups(lm, 4, "probe", n)]
