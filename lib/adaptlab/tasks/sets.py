"""Data sets that come with the kit."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from adaptlab import paths
from adaptlab.tasks import notes, templates
from adaptlab.tasks.formats import load_alpaca, load_labelled
from adaptlab.tasks.instructions import FRAMES, LIST_TASKS
from adaptlab.tasks.notes import load_notes
from adaptlab.tasks.prompts import FORMATS
from adaptlab.tasks.records import (
    Conversation,
    FieldError,
    Instruction,
    LabelledSet,
    Message,
    check_choice,
    check_unique,
    content_key,
    shown,
)
from adaptlab.tasks.styles import styled
from adaptlab.tasks.templates import TASKS, TEMPLATES, example
from adaptlab.tasks.words import VOCABULARIES, Vocabulary, fresh_words, some_nouns

DESKS = ("repair", "delivery", "billing", "hire")


def load_messages() -> LabelledSet:
    """400 messages to a bicycle shop, each for one of four desks; the card is ``data/messages/README.md``."""
    messages = load_labelled(paths.DATA / "messages" / "messages.jsonl", DESKS)
    return replace(messages, instruction="Each message to the shop goes to one desk: {names}.")


LABELLED: dict[str, Callable[[], LabelledSet]] = {"notes": load_notes, "messages": load_messages}


def load_task(name: str) -> LabelledSet:
    """A labelled set of the kit by name: ``notes`` from the study world, or ``messages`` in English."""
    if name not in LABELLED:
        raise ValueError(f"task must be one of {list(LABELLED)}, not {name!r}")
    return LABELLED[name]()


def load_seed() -> tuple[Instruction, ...]:
    """168 instructions with right answers, in 13 categories; the card is ``data/instructions/README.md``.

    They play the part of the 175 seed tasks of Self-Instruct (Wang et al. 2022, arXiv 2212.10560, section 2.2).
    """
    return load_alpaca(paths.DATA / "instructions" / "seed.json")


def list_answer(record: Instruction) -> str | None:
    """The right answer to a record of the category "lists: CLUSTER"; None for any other record.

    The word that a request is about, where there is one, stands in quotation marks.
    """
    kind, _, cluster = record.category.partition(": ")
    if kind != "lists":
        return None
    quoted = re.findall(r'"(\w+)"', record.instruction)
    return LIST_TASKS[cluster].solve(record.input.split(), quoted[0] if quoted else "")


LEXICON = 16  # words in each of the two lexicons
# What a digest of an English note keeps, and what it drops.
_SIZE = "small big heavy light narrow wide round flat".split()
_COLOUR = "red blue green white black yellow brown grey".split()
_EVENT = "arrived vanished melted burned fell moved cracked sank".split()
_TIME = "today yesterday twice overnight early late again daily".split()


@dataclass(frozen=True)
class OpenSet:
    """Demonstrations are drawn from ``pool``, methods are judged on ``test``; no question stands in both.

    ``style`` is the layout (a key of `prompts.FORMATS`) in which the task is put.
    """

    name: str
    pool: tuple[Instruction, ...]
    test: tuple[Instruction, ...]
    style: str = "question"

    def __post_init__(self) -> None:
        check_choice("style", self.style, tuple(FORMATS))
        if not self.test:
            raise FieldError("test", "at least one item", "none")
        check_unique("id", (item.id for item in self.pool + self.test))
        known = {content_key(question(item)) for item in self.pool}
        for item in self.test:
            if content_key(question(item)) in known:
                raise FieldError("test", "questions that are not in the pool", f"that of item {shown(item.id)}")

    @property
    def prompt_format(self) -> str:
        return self.style

    def sample(self, k: int, seed: int) -> list[Instruction]:
        if not 0 <= k <= len(self.pool):
            raise ValueError(
                f"the number of records must be between 0 and {len(self.pool)}, the size of the pool; found {k}"
            )
        return random.Random(f"demonstrations {seed}").sample(list(self.pool), len(self.pool))[:k]

    def items(self, n: int = 0) -> list[Instruction]:
        if not 0 <= n <= len(self.test):
            raise ValueError(
                f"items must be at most {len(self.test)}, the number of test items, or 0 for all; found {n}"
            )
        return list(self.test[: n or None])


def question(item: Instruction) -> str:
    """What is asked: the instruction, and below it the input where there is one."""
    return f"{item.instruction}\n{item.input}" if item.input.strip() else item.instruction


def answers(plain: str) -> frozenset[str]:
    """An answer as it may be put: plain, or in one of the manners of the study world."""
    return frozenset((plain, *(frame.format(plain) for frame in FRAMES.values())))


def right(item: Instruction, text: str) -> bool:
    """Whether a text is the right answer and nothing else, in any of these manners."""
    return text.strip() in answers(item.output)


def load_requests(
    words: str,
    pool: int,
    test: int,
    seed: int,
    list_tasks: Sequence[str] = (),
    wordings: int = 3,
    apart: bool = False,
) -> OpenSet:
    """Requests to do something with a list, about held-out words; the study model has met the first three
    ``wordings`` of each cluster, and none of the other seven.

    ``clusters``: some of `instructions.LIST_TASKS`, all of them if none is named. ``apart``: no word of the test stands
    in the pool, whose words are then those of the split "train".
    """
    chosen, make = list(list_tasks or LIST_TASKS), VOCABULARIES[words]
    if apart:
        drawn = [(pool, f"{seed} pool", "train"), (test, seed, "test")]
        sets = [templates.dataset(s, n, chosen, make(split), templates=wordings) for n, s, split in drawn]
        return OpenSet("requests", *sets)
    records = templates.dataset(seed, pool + test, chosen, make("test"), templates=wordings)
    return OpenSet("requests", records[:pool], records[pool:])


def load_lexicon(words: str, pool: int, test: int, seed: int) -> OpenSet:
    """Lists of invented words and, word by word, their partners in another invented lexicon: nothing but the examples
    can tell them. One pair of lexicons a seed."""
    rng = random.Random(f"lexicon {seed}")
    drawn = some_nouns(rng, 2 * LEXICON, "test") if words == "study" else fresh_words(rng, 2 * LEXICON)
    source, partner = drawn[:LEXICON], dict(zip(drawn[:LEXICON], drawn[LEXICON:], strict=True))

    def pair() -> tuple[str, str]:
        listed = rng.sample(source, rng.randint(2, 4))
        return " ".join(listed), " ".join(partner[word] for word in listed)

    return _drawn("lexicon", pair, pool, test)


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

    return _drawn("digest", pair, pool, test)


def _drawn(name: str, pair: Callable[[], tuple[str, str]], pool: int, test: int) -> OpenSet:
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
    """A task with written answers by name, in the ``words`` of a vocabulary (`vocabularies.VOCABULARIES`)."""
    check_choice("task", name, tuple(OPEN_TASKS))
    check_choice("words", words, tuple(VOCABULARIES))
    return OPEN_TASKS[name](words, pool, test, seed, **more)


# Clusters whose answer is a list, so that there is something to go on with.
FIRST = ("copy", "double", "reverse", "swap", "rest", "replace")
# Cluster whose solver gives the answer -> what is said.
FOLLOW_UPS = {
    "reverse": ("Now reverse your answer.", "Say what you just said with its words in the opposite order."),
    "first": ("Now give only the first word of your answer.", "Which word does your answer begin with?"),
    "last": ("Now give only the last word of your answer.", "Which word does your answer end with?"),
    "second": ("Now give only the second word of your answer.", "Which word is number two in what you just said?"),
    "rest": ("Now leave out the first word of your answer.", "Say that again without its first word."),
    "swap": ("Now swap the first and the last word of your answer.", "Let the two ends of what you said trade places."),
    "double": ("Now say each word of your answer twice.", "Say that again, with every word two times in a row."),
    "count": ("How many words has your answer, in digits?", "Count the words you just said and give the number."),
}


def conversation(
    rng: random.Random,
    vocabulary: Vocabulary,
    first: str | None = None,
    follow_up: str | None = None,
    templates: int = TEMPLATES,
) -> Conversation:
    """Two user turns, their answers yet to be written; ``references`` are the right ones.

    ``first`` is one of `FIRST` and ``follow_up`` a key of `FOLLOW_UPS`, random unless given; the category names both.
    The first ``templates`` of its cluster word the opening. The second reference answers the follow-up about a right
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


def answered(asked: Conversation, style: str, rng: random.Random) -> Conversation:
    """The conversation with each user turn answered by its reference, in a style of `styles.STYLES`: to train on."""
    if len(asked.references) != len(asked.messages) or not all(asked.references):
        raise FieldError("references", f"{len(asked.messages)} answers, one a turn", str(len(asked.references)))
    turns = []
    for place, (turn, answer) in enumerate(zip(asked.messages, asked.references, strict=True)):
        check_choice(f"messages[{place}].role", turn.role, ("user",))
        turns += [turn, Message("assistant", styled(answer, style, rng))]
    return Conversation(asked.id, tuple(turns), asked.category, asked.references)
