"""Words that nobody has read before: nonsense of plausible sounds, none of it in an English dictionary.

For worlds that any model reads; the study model's own invented words are in `nouns`.
"""

import hashlib
import random
from collections.abc import Callable, Collection, Sequence
from functools import cache

from english_words import get_english_words_set

from adaptlab.tasks.records import FieldError, check_choice

# First syllables end and second ones begin with consonants that do not meet inside the words of the study vocabulary:
# so no token can straddle the seam.
FIRST = (
    "bak beb bok dak deb dop fep fok fub gak gep gub jek jop jub kag keb kug lat lep lok lub mig mok "
    "mub nak nep nuk pab pek pok rak reb rup sab sek sok sug tak teb tup vab vek vog vut zab zek zop"
).split()
SECOND = [consonant + vowel for consonant in "dfjmvz" for vowel in "aeiou"]

SPLITS = ("train", "probe", "test")


@cache
def nouns(split: str) -> tuple[str, ...]:
    """All nouns of a split: ``train`` (four fifths), ``probe`` or ``test`` (a tenth each).

    Every syllable occurs in every split; no pair of syllables occurs in two.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, not {split!r}")
    held_out = {0: "probe", 5: "test"}
    return tuple(
        first + second
        for i, first in enumerate(FIRST)
        for j, second in enumerate(SECOND)
        if held_out.get((i + 3 * j) % 10, "train") == split
    )


def some_nouns(rng: random.Random, n: int, split: str, avoid: Sequence[str] = ()) -> list[str]:
    """``n`` different nouns of a split, none of them in ``avoid``.

    They differ in their first syllable as long as there are first syllables left: so the first token of a noun tells it
    from the others of its document.
    """
    if n + len(avoid) > len(nouns(split)):
        raise ValueError(f"there are {len(nouns(split))} nouns in split {split!r}; {n + len(avoid)} are wanted")
    drawn: list[str] = []
    taken = {noun[:3] for noun in avoid}
    while len(drawn) < n:
        noun = rng.choice(nouns(split))
        if noun[:3] not in taken or (len(taken) == len(FIRST) and noun not in drawn and noun not in avoid):
            taken.add(noun[:3])
            drawn.append(noun)
    return drawn


ONSETS = "b bl br d dr f fl fr g gl gr j k kl kr l m n p pl pr r sk sl sn sp st t tr v w y z".split()
VOWELS = "aeiou"
CODAS = "b d f g k l lb ld lf lk lm lp m mp n nd nk p r rb rd rf rk rm rn rp sk sp t v x z".split()
LONGEST = 3  # tokens

Words = Callable[[random.Random, int], list[str]]  # draws so many different words


@cache
def dictionary() -> frozenset[str]:
    """The English words of Webster's Second and of the GNU dictionary, in lower case."""
    return frozenset(get_english_words_set(["web2", "gcide"], lower=True, alpha=True))


def fresh_words(
    rng: random.Random, n: int, avoid: Collection[str] = (), count_tokens: Callable[[str], int] | None = None
) -> list[str]:
    """``n`` different words of 4 or 5 letters that are neither English nor in ``avoid``.

    ``count_tokens`` says how many tokens a tokenizer makes of a word behind a space; words of more than three are left
    out. Raises ValueError where so many words cannot be had.
    """
    drawn: dict[str, None] = {}
    for _ in range(200 * n + 1000):
        if len(drawn) == n:
            return list(drawn)
        word = _sound(rng)
        short = count_tokens is None or count_tokens(f" {word}") <= LONGEST
        if len(word) in (4, 5) and short and word not in avoid and word not in dictionary():
            drawn[word] = None
    raise ValueError(f"{n} fresh words are wanted; only {len(drawn)} were found in {200 * n + 1000} tries")


def _sound(rng: random.Random) -> str:
    one = rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS)
    return one if rng.random() < 0.5 else one + rng.choice(VOWELS)


Vocabulary = Callable[..., list[str]]

# Concrete nouns of one spelling and one everyday sense; none of them stands in a template.
ENGLISH = tuple(
    """
    dog cat horse cow sheep goat pig rabbit fox wolf lion tiger zebra camel donkey monkey elephant giraffe kangaroo
    hedgehog squirrel otter beaver hamster rat frog toad lizard snake turtle crocodile eagle owl sparrow robin pigeon
    parrot penguin ostrich goose hen rooster swan peacock salmon trout tuna shark whale dolphin octopus lobster shrimp
    spider ant bee wasp butterfly beetle snail worm mosquito
    apple pear banana cherry plum lemon grape peach melon strawberry raspberry coconut pineapple mango carrot potato
    tomato onion garlic cabbage lettuce spinach pumpkin cucumber mushroom bean broccoli celery bread cheese honey sugar
    salt pepper rice flour soup cake biscuit pancake sandwich sausage bacon egg noodle pizza chocolate oak willow maple
    daisy tulip lily daffodil sunflower cactus moss fern ivy
    table chair sofa bed pillow blanket curtain carpet cupboard shelf lamp candle mirror clock vase bucket broom towel
    soap sponge kettle teapot saucepan spoon fork knife bowl mug jug bottle basket oven fridge freezer toaster ladder
    hammer screwdriver spade shovel rake axe needle button zipper ribbon rope
    wheel bicycle tractor lorry tram bus taxi helicopter airplane rocket canoe ferry yacht raft submarine bridge tunnel
    castle church school hospital library museum theatre factory garage barn kitchen bedroom bathroom garden chimney
    roof window door wall fence
    shirt jacket coat sweater skirt hat scarf glove sock shoe boot sandal slipper apron necklace bracelet umbrella
    wallet suitcase backpack
    pencil notebook envelope postcard newspaper magazine eraser crayon guitar violin piano drum trumpet flute harp
    accordion camera telephone radio television computer keyboard microphone telescope microscope thermometer balloon
    kite doll puzzle
    mountain river lake ocean beach island forest meadow valley volcano glacier cloud rainbow snowflake icicle pebble
    feather
    doctor nurse teacher farmer baker butcher carpenter plumber sailor painter dentist
    """.split()
)


def split_of(text: str) -> str:
    """The split that a text falls in by its hash: a tenth each for ``probe`` and ``test``, the rest for ``train``."""
    place = int(hashlib.sha256(text.encode()).hexdigest(), 16) % 10
    return {0: "probe", 1: "test"}.get(place, "train")


@cache
def english_words(split: str) -> tuple[str, ...]:
    """The English words of a split."""
    check_choice("split", split, SPLITS)
    return tuple(word for word in ENGLISH if split_of(word) == split)


def study(split: str = "train") -> Vocabulary:
    """The invented nouns of a split."""
    check_choice("split", split, SPLITS)

    def draw(rng: random.Random, n: int, avoid: Sequence[str] = ()) -> list[str]:
        return some_nouns(rng, n, split, avoid)

    return draw


def english(split: str = "train") -> Vocabulary:
    """The English words of a split."""
    return of_words(english_words(split))


def of_words(words: Sequence[str]) -> Vocabulary:
    """A vocabulary of the words given."""

    def draw(rng: random.Random, n: int, avoid: Sequence[str] = ()) -> list[str]:
        free = [word for word in words if word not in avoid]
        if n > len(free):
            raise FieldError("n", f"at most {len(free)}, the words that are left", str(n))
        return rng.sample(free, n)

    return draw


VOCABULARIES = {"study": study, "english": english}
