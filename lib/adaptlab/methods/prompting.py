"""How prompts are made: which demonstrations they hold, what the classes are called, and how all of it is laid out."""

import itertools
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from adaptlab.methods.selection import nearest_bm25
from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.records import Demonstration, FieldError, Labelled, check_choice
from adaptlab.tasks.splits import LabelledSet
from adaptlab.tasks.wording import fill, listed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adaptlab.tasks.worlds import Document, Item

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LABEL_MAPPINGS = ("letters", "words", "shuffled-letters", "shuffled-words")
SHIFTED = ("shifted-letters", "shifted-words")
CHAT = "chat"  # the tokenizer's own chat template, beside the formats of `prompt_formats.FORMATS`
FEW = 6  # demonstrations whose orders are few enough to list


def check_format(prompt_format: str, chat: bool = False) -> str:
    """The name itself, if there is a prompt format of this name. Raises FieldError (a ValueError) that lists them."""
    return check_choice("prompt_format", prompt_format, (*FORMATS, CHAT) if chat else tuple(FORMATS))


def render(
    prompt_format: str,
    instruction: str,
    demonstrations: Sequence[Demonstration],
    query: str,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
) -> str:
    """The prompt up to where the answer begins. A longer list of demonstrations only appends to the prompt of a
    shorter one, so that their computation can be shared.

    ``prompt_format``: a key of `prompt_formats.FORMATS`, or ``chat`` for the tokenizer's own chat template; where that
    has no place for an instruction, it stands in front of the first query. Raises ValueError for another format, and
    for ``chat`` with a tokenizer that has no template, or one that cannot be filled in.
    """
    if check_format(prompt_format, chat=True) != CHAT:
        return FORMATS[prompt_format].prompt(instruction, demonstrations, query)
    if not tokenizer or not tokenizer.chat_template:
        raise ValueError(f"this tokenizer has no chat template (a base model?); use one of {list(FORMATS)}")
    turns = []
    for one in demonstrations:
        turns += [{"role": "user", "content": one.query}, {"role": "assistant", "content": one.answer}]
    turns.append({"role": "user", "content": query})
    if instruction:
        with suppress(TemplateError):  # some templates refuse a system turn, others leave it out
            text = _fill(tokenizer, [{"role": "system", "content": instruction}, *turns])
            if instruction.strip() in text:
                return text
        turns[0] = turns[0] | {"content": f"{instruction}\n\n{turns[0]['content']}"}
    try:
        return _fill(tokenizer, turns)
    except TemplateError as error:
        raise ValueError(f"the chat template of this tokenizer cannot be filled in: {error}") from error


def _fill(tokenizer: "PreTrainedTokenizerBase", turns: list[dict[str, str]]) -> str:
    try:
        return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program, and can fail like one
        raise TemplateError(str(error)) from error


def name_labels(labels: Sequence[str], label_mapping: str, seed: int) -> dict[str, str]:
    """The label names: each class's own word, or a letter that the seed hands out."""
    check_choice("label_mapping", label_mapping, LABEL_MAPPINGS + SHIFTED)
    if label_mapping.endswith("words"):
        return {label: label for label in labels}
    letters = random.Random(f"letters {seed}").sample(LETTERS[: len(labels)], len(labels))
    return dict(zip(labels, letters, strict=True))


def demonstrate(
    items: Sequence[Labelled], label_names: Mapping[str, str], label_mapping: str, seed: int
) -> tuple[Demonstration, ...]:
    """Items with the names of their labels; with a ``shuffled-`` mapping, names are permuted within each round.

    A permutation of all names for each round of `LabelledSet.sample` keeps the list balanced and nested like the
    unshuffled one: only the pairing of text and name is lost. With a ``shifted-`` mapping, names move on by one place,
    the last to the first text, as answers do in `ablations.shifted`: hardly any stays right, but lists are not nested.
    Min et al. 2022 (arXiv 2202.12837) sample names at random instead, which also changes how often each occurs.
    """
    answers = [label_names[item.label] for item in items]
    if label_mapping.startswith("shuffled"):
        rng, every = random.Random(f"shuffle {seed}"), list(label_names.values())
        rounds = -(-len(items) // len(every))
        answers = [name for _ in range(rounds) for name in rng.sample(every, len(every))][: len(items)]
    elif label_mapping.startswith("shifted"):
        answers = answers[-1:] + answers[:-1]
    return tuple(Demonstration(item.text, answer) for item, answer in zip(items, answers, strict=True))


def reordered(demonstrations: Sequence, order: int) -> list:
    """The demonstrations in an order of their own for each number; 0 keeps the order of the sample.

    Few demonstrations have few orders: all of them are used before one comes again.
    """
    if not order or len(demonstrations) < 2:
        return list(demonstrations)
    if len(demonstrations) > FEW:
        return random.Random(f"order {order}").sample(list(demonstrations), len(demonstrations))
    _, *others = itertools.permutations(demonstrations)
    random.Random("orders").shuffle(others)
    return list([*others, tuple(demonstrations)][(order - 1) % (len(others) + 1)])


@dataclass(frozen=True)
class ClassPrompt:
    """The prompt of a classification task; called with an item, it gives the context and, for each class, the option
    that stands for it.

    ``label_names``: (class, name in the prompt) for each class. ``chosen``: (text, its own demonstrations) for each
    item, where demonstrations are chosen item by item; else all items share ``demonstrations``.
    """

    instruction: str
    demonstrations: tuple[Demonstration, ...]
    label_names: tuple[tuple[str, str], ...]
    prompt_format: str = "plain"
    tokenizer: "PreTrainedTokenizerBase | None" = None
    chosen: tuple[tuple[str, tuple[Demonstration, ...]], ...] = ()

    def __post_init__(self) -> None:
        check_format(self.prompt_format, chat=True)

    def __call__(self, item: Labelled) -> tuple[str, dict[str, str]]:
        """(the text up to where the answer begins, {class: option})."""
        own = dict(self.chosen)[item.text] if self.chosen else self.demonstrations
        context = render(self.prompt_format, self.instruction, own, item.text, self.tokenizer)
        separator = FORMATS[self.prompt_format].separator if self.prompt_format in FORMATS else ""
        return context, {label: separator + name for label, name in self.label_names}


def class_prompt(
    data: LabelledSet,
    demonstrations: Sequence[Labelled],
    seed: int = 0,
    *,
    label_mapping: str = "words",
    prompt_format: str = "plain",
    order: int = 0,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    chosen: Mapping[str, Sequence[Labelled]] | None = None,
) -> ClassPrompt:
    """The prompt that shows these items of a labelled set as demonstrations.

    ``seed`` deals out letters and shuffles labels. ``label_mapping``: one of `LABEL_MAPPINGS` or `SHIFTED`. ``order``:
    a permutation, as in `reordered`. ``chosen``: demonstrations of its own for each text.
    """
    label_names = name_labels(data.labels, label_mapping, seed)
    names = sorted(label_names.values())
    if len(names) < 2:
        raise FieldError("labels", "two classes or more", str(len(names)))
    instruction = fill(data.instruction, names=listed(names))

    def shown(items: Sequence[Labelled]) -> tuple[Demonstration, ...]:
        return tuple(reordered(demonstrate(items, label_names, label_mapping, seed), order))

    own = tuple((text, shown(items)) for text, items in (chosen or {}).items())
    return ClassPrompt(instruction, shown(demonstrations), tuple(label_names.items()), prompt_format, tokenizer, own)


@dataclass(frozen=True)
class WorldPrompt:
    """The documents of an invented world, a space, and the stem to complete; options are the gold completion and the
    distractors of ``pool`` (seen, unseen or both). ``lead`` stands before each stem."""

    documents: tuple["Document", ...] = ()
    pool: str = "both"
    lead: str = ""

    def __call__(self, item: "Item") -> tuple[str, dict[str, str]]:
        """(documents and stem, {completion: the same behind a space})."""
        pages = " ".join(document.text for document in self.read(item))
        stem = " ".join(part for part in (pages, self.lead, item.stem) if part)
        return stem, {option: f" {option}" for option in item.options(self.pool)}

    def read(self, item: "Item") -> tuple["Document", ...]:
        """The documents that stand in the item's prompt."""
        return self.documents


@dataclass(frozen=True)
class RetrievedPrompt(WorldPrompt):
    """As `WorldPrompt`, with the ``k`` documents alone that BM25 finds for the item's stem, the nearest last."""

    k: int = 1

    def read(self, item: "Item") -> tuple["Document", ...]:
        (places,) = nearest_bm25([document.text for document in self.documents], [item.stem], self.k)
        return tuple(self.documents[place] for place in places)
