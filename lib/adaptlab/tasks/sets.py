"""Data sets that come with the kit: messages and notes to classify, seed instructions, tasks with free answers, and
conversations."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from adaptlab import paths
from adaptlab.tasks import english_problems, notes, reasoning, templates
from adaptlab.tasks.instructions import LIST_TASKS, WORDINGS
from adaptlab.tasks.notes import load_notes
from adaptlab.tasks.reading import Reading, read
from adaptlab.tasks.records import Conversation, FieldError, Instruction, Message, check_choice, content_key
from adaptlab.tasks.rows import HUB_ID
from adaptlab.tasks.splits import POOL_AND_TEST, LabelledSet, OpenSet
from adaptlab.tasks.templates import TASKS, TEMPLATES, example
from adaptlab.tasks.wording import fill, load_templates
from adaptlab.tasks.words import VOCABULARIES, Vocabulary, fresh_words, study

DESKS = ("repair", "delivery", "billing", "hire")


def load_messages() -> LabelledSet:
    """400 messages to a bicycle shop, each for one of four desks; the card is ``data/messages/README.md``."""
    messages = read(paths.DATA / "messages" / "messages.jsonl", "labelled", strict=True).data
    return replace(
        messages, source=None, labels=DESKS, instruction="Each message to the shop goes to one desk: {names}."
    )


LABELLED: dict[str, Callable[[], LabelledSet]] = {"notes": load_notes, "messages": load_messages}


def load_task(name: str, columns: str = "") -> LabelledSet:
    """A labelled set: ``notes`` from the study world, ``messages`` in English, or that of a file, folder or Hub id, as
    `reading.read` understands it (``columns``: of `read`)."""
    if name in LABELLED:
        return LABELLED[name]()
    return _own(name, "labelled", columns, tuple(LABELLED)).data


def load_records(name: str, columns: str = "") -> OpenSet:
    """The records of a file, folder or Hub id as a task with free answers, as `reading.read` understands it."""
    return _own(name, "instructions", columns, ()).data


def _own(name: str, kind: str, columns: str, known: tuple[str, ...]) -> Reading:
    if known and not Path(name).exists() and not HUB_ID.fullmatch(name):
        check_choice("task", name, (*known, "a file", "a folder", "a Hub id"))
    return read(name, kind, columns)


TURNED = 2  # of a labelled set's templates, the last: the label is given and the text is to be written


def label_options(labels: tuple[str, ...]) -> str:
    """The classes as FLAN lists them below a question."""
    return "\n\nOPTIONS:\n" + "\n".join(f"- {label}" for label in labels)


def as_instructions(
    data: LabelledSet, split: str, seed: int = 0, templates: int = TEMPLATES
) -> tuple[Instruction, ...]:
    """A labelled set as instruction data: one record for each item of ``split`` ("pool" or "test"), under the item's
    id; the set's name is the category.

    The first ``templates`` of ``data/templates/labelled.yaml`` are used, at random. Eight ask for the label, with the
    classes below as OPTIONS; two give the label and ask for the text (FLAN has up to three of these). Test items are
    never turned around: such a text has no one right answer. Raises FieldError for a set without templates.
    """
    texts = load_templates("labelled")
    texts = texts[check_choice("data.name", data.name, tuple(texts))]
    check_choice("split", split, POOL_AND_TEST)
    if not 1 <= templates <= len(texts):
        raise FieldError("templates", f"1 to {len(texts)}", str(templates))
    usable = texts[:templates] if split == "pool" else texts[:-TURNED][:templates]
    rng = random.Random(f"{data.name} {split} {seed}")
    records = []
    for item in getattr(data, split):
        template = rng.choice(usable)
        if "{label}" in template:
            asked, answer = fill(template, label=item.label), item.text
        else:
            asked, answer = fill(template, text=item.text) + label_options(data.labels), item.label
        records.append(Instruction(item.id, asked, "", answer, data.name))
    return tuple(records)


def load_seed() -> tuple[Instruction, ...]:
    """168 instructions with right answers, in 13 categories; the card is ``data/instructions/README.md``.

    They play the part of the 175 seed tasks of Self-Instruct (Wang et al. 2022, arXiv 2212.10560, section 2.2).
    """
    return read(paths.DATA / "instructions" / "seed.json", "instructions", strict=True).records


LEXICON = 16  # words in each of the two lexicons
# What a digest of an English note keeps, and what it drops.
_SIZE = "small big heavy light narrow wide round flat".split()
_COLOUR = "red blue green white black yellow brown grey".split()
_EVENT = "arrived vanished melted burned fell moved cracked sank".split()
_TIME = "today yesterday twice overnight early late again daily".split()


def load_requests(
    words: str,
    pool: int,
    test: int,
    seed: int,
    list_tasks: Sequence[str] = (),
    wordings: int = WORDINGS,
    apart: bool = False,
) -> OpenSet:
    """Requests to do something with a list, about held-out words, in the first ``wordings`` templates of each task.

    ``list_tasks``: some of `instructions.LIST_TASKS`, all of them if none is named. ``apart``: no word of the test
    stands in the pool, whose words are then those of the split "train".
    """
    chosen, make = list(list_tasks or LIST_TASKS), VOCABULARIES[words]
    if apart:
        wanted = [(pool, f"{seed} pool", "train"), (test, seed, "test")]
        sets = [templates.dataset(s, n, chosen, make(split), templates=wordings) for n, s, split in wanted]
        return OpenSet("requests", *sets)
    records = templates.dataset(seed, pool + test, chosen, make("test"), templates=wordings)
    return OpenSet("requests", records[:pool], records[pool:])


def load_lexicon(words: str, pool: int, test: int, seed: int) -> OpenSet:
    """Lists of invented words and, word by word, their partners in another invented lexicon: nothing but the examples
    can tell them. One pair of lexicons a seed."""
    rng = random.Random(f"lexicon {seed}")
    invented = (study("test") if words == "study" else fresh_words)(rng, 2 * LEXICON)
    source, partner = invented[:LEXICON], dict(zip(invented[:LEXICON], invented[LEXICON:], strict=True))

    def pair() -> tuple[str, str]:
        listed = rng.sample(source, rng.randint(2, 4))
        return " ".join(listed), " ".join(partner[word] for word in listed)

    return _sampled("lexicon", pair, pool, test)


def load_digest(words: str, pool: int, test: int, seed: int) -> OpenSet:
    """Short notes, and the two words of each that a summary keeps: who, and what happened."""
    rng = random.Random(f"digest {seed}")

    def pair() -> tuple[str, str]:
        if words == "study":
            parts = notes.note(rng, "test").text.split()
        else:
            (noun,) = VOCABULARIES[words]("test")(rng, 1)
            parts = [rng.choice(_SIZE), rng.choice(_COLOUR), noun, rng.choice(_EVENT), rng.choice(_TIME)]
        return " ".join(parts), f"{parts[2]} {parts[3]}"

    return _sampled("digest", pair, pool, test)


def _sampled(name: str, pair: Callable[[], tuple[str, str]], pool: int, test: int) -> OpenSet:
    records: dict[str, Instruction] = {}
    for _ in range(100 * (pool + test)):
        if len(records) == pool + test:
            break
        asked, answer = pair()
        key = content_key(asked)
        records.setdefault(key, Instruction(f"{name}-{key[:12]}", asked, "", answer, name))
    else:
        raise FieldError("pool and test", f"no more than {len(records)} together", str(pool + test))
    items = tuple(records.values())
    return OpenSet(name, items[:pool], items[pool:], "pairs")


OPEN_TASKS: dict[str, Callable[..., OpenSet]] = {
    "requests": load_requests,
    "lexicon": load_lexicon,
    "digest": load_digest,
}


def load_open(name: str, words: str = "study", pool: int = 200, test: int = 200, seed: int = 0, **more) -> OpenSet:
    """A task with free answers by name, in the ``words`` of a vocabulary (`words.VOCABULARIES`)."""
    check_choice("task", name, tuple(OPEN_TASKS))
    check_choice("words", words, tuple(VOCABULARIES))
    return OPEN_TASKS[name](words, pool, test, seed, **more)


PROBLEMS = (*reasoning.FAMILIES, *english_problems.FAMILIES)


def load_problems(family: str, pool: int, test: int, seed: int) -> OpenSet:
    """Different problems of one of `PROBLEMS`, each with a worked solution in one line as its answer."""
    check_choice("problems", family, PROBLEMS)
    parts = []
    for split, n in (("train", pool), ("test", test)):
        rng, found = random.Random(f"{family} {split} {seed}"), {}
        while len(found) < n:
            question, solution = _problem(family, rng, split)
            found.setdefault(question, Instruction(f"{split} {len(found)}", question, "", solution, family))
        parts.append(tuple(found.values()))
    return OpenSet("problems", *parts)


def _problem(family: str, rng: random.Random, split: str) -> tuple[str, str]:
    if family in reasoning.FAMILIES:
        problem = reasoning.FAMILIES[family](rng, split)
        return problem.question, reasoning.worked(problem)
    record = english_problems.FAMILIES[family](rng, split=split)
    return record.query, english_problems.worked(record)


def solved(item: Instruction, text: str) -> bool:
    """Whether a solution of one of these problems ends in the right answer, by whatever steps."""
    number = not item.output.rstrip(".").endswith(("yes", "no"))
    return reasoning.final_answer(text, number) == reasoning.final_answer(item.output, number)


# Tasks whose answer is a list, so that there is something to go on with.
FIRST = ("copy", "double", "reverse", "swap", "rest", "replace")
FOLLOW_UPS = load_templates("follow_ups")  # task whose solver gives the answer -> what is said


def conversation(
    rng: random.Random,
    vocabulary: Vocabulary,
    first: str | None = None,
    follow_up: str | None = None,
    templates: int = TEMPLATES,
) -> Conversation:
    """Two user turns, their answers yet to be written; ``references`` are the right ones.

    ``first`` is one of `FIRST` and ``follow_up`` a key of `FOLLOW_UPS`, random unless given; the category names both.
    The first ``templates`` of its task word the opening. The second reference answers the follow-up about a right
    first answer.
    """
    first = check_choice("first", first or rng.choice(FIRST), FIRST)
    second = check_choice("follow_up", follow_up or rng.choice(list(FOLLOW_UPS)), tuple(FOLLOW_UPS))
    opening = example(rng, first, vocabulary, template=rng.randrange(templates))
    said = rng.choice(FOLLOW_UPS[second])
    name = f"{first} then {second}"
    key = content_key(f"{name} {opening.instruction} {said}")[:16]
    references = (opening.output, TASKS[second].solve(opening.output.split(), ""))
    return Conversation(key, (Message("user", opening.instruction), Message("user", said)), name, references)


def answered(asked: Conversation, rng: random.Random) -> Conversation:
    """The conversation with each user turn answered by its reference: to train on."""
    if len(asked.references) != len(asked.messages) or not all(asked.references):
        raise FieldError("references", f"{len(asked.messages)} answers, one a turn", str(len(asked.references)))
    turns = []
    for place, (turn, answer) in enumerate(zip(asked.messages, asked.references, strict=True)):
        check_choice(f"messages[{place}].role", turn.role, ("user",))
        # A choice of one still takes bits from the stream, on which all that is sampled later depends: the text that
        # published models were trained on was made so.
        turns += [turn, Message("assistant", rng.choice((answer,)))]
    return Conversation(asked.id, tuple(turns), asked.category, asked.references)
