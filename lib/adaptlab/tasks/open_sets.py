"""Tasks whose answers are written, not chosen: requests, translation between invented lexicons, and digests.

Together with sorting (`LabelledSet`) they show that a curve over shots has no one shape.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adaptlab.tasks import notes, templates
from adaptlab.tasks.instructions import CLUSTERS, FRAMES
from adaptlab.tasks.nouns import some_nouns
from adaptlab.tasks.prompts import FORMATS
from adaptlab.tasks.records import FieldError, Instruction, check_choice, check_unique, content_key, shown
from adaptlab.tasks.vocabularies import VOCABULARIES
from adaptlab.tasks.words import fresh_words

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
    clusters: Sequence[str] = (),
    wordings: int = 3,
    apart: bool = False,
) -> OpenSet:
    """Requests to do something with a list, about held-out words; the study model has met the first three
    ``wordings`` of each cluster, and none of the other seven.

    ``clusters``: some of `instructions.CLUSTERS`, all of them if none is named. ``apart``: no word of the test stands
    in the pool, whose words are then those of the split "train".
    """
    chosen, make = list(clusters or CLUSTERS), VOCABULARIES[words]
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
