"""The words that tasks are about: nouns of the study world, or common English ones.

A vocabulary is a function ``(rng, n, avoid=()) -> n different words``, none of them in ``avoid``. Each has the splits
of `nouns.SPLITS`, and no word stands in two of them, so that words can be held out as well as tasks.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from functools import cache

from adaptlab.tasks.nouns import SPLITS, some_nouns
from adaptlab.tasks.records import FieldError, check_choice

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
