"""In-context learning: demonstrations, prompt formats, and a model that answers from its prompt alone."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from transformers import PreTrainedTokenizerBase

from adaptlab.engine.cache import EMPTY, PrefixCache
from adaptlab.engine.lm import LM
from adaptlab.engine.scoring import Cost, OptionScore, Request, score
from adaptlab.tasks.prompts import FORMATS
from adaptlab.tasks.records import Demonstration, Labelled
from adaptlab.tasks.splits import balanced_sample

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LABEL_MAPPINGS = ("letters", "words", "shuffled-letters", "shuffled-words")
SHIFTED = ("shifted-letters", "shifted-words")


CHAT = "chat"


def render(
    style: str,
    instruction: str,
    demonstrations: Sequence[Demonstration],
    query: str,
    tokenizer: PreTrainedTokenizerBase,
) -> str:
    """The prompt up to where the answer begins. A longer list of demonstrations only appends to a shorter one's
    prompt, so that their computation can be shared.

    ``style``: a key of `FORMATS`, or ``chat`` for the tokenizer's own chat template. Raises ValueError for another.
    """
    if style == CHAT:
        return _render_chat(instruction, demonstrations, query, tokenizer)
    if style not in FORMATS:
        raise ValueError(f"format must be one of {[*FORMATS, CHAT]}, not {style!r}")
    return FORMATS[style].prompt(instruction, demonstrations, query)


def _render_chat(
    instruction: str, demonstrations: Sequence[Demonstration], query: str, tokenizer: PreTrainedTokenizerBase
) -> str:
    if not tokenizer.chat_template:
        raise ValueError(f"this tokenizer has no chat template (a base model?); use one of {list(FORMATS)}")
    messages = [{"role": "system", "content": instruction}]
    for d in demonstrations:
        messages += [{"role": "user", "content": d.query}, {"role": "assistant", "content": d.answer}]
    messages.append({"role": "user", "content": query})
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    # A template may write the BOS that the tokenizer will put in front as well: two of them shift every score.
    bos = tokenizer.bos_token
    adds_bos = tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
    return text.removeprefix(bos) if bos and adds_bos else text


def draw(pool: Sequence[Labelled], k: int, seed: int) -> list[Labelled]:
    """``k`` demonstrations in rounds, each round one item of every class in random order.

    The draw for a smaller ``k`` is the beginning of the draw for a larger one, and never more than one item from
    balance. Raises ValueError where the pool is too small.
    """
    return balanced_sample(pool, k, seed)


def name_labels(labels: Sequence[str], label_mapping: str, seed: int) -> dict[str, str]:
    """What each class is called in the prompt: its own word, or a letter that a seed hands out."""
    if label_mapping not in LABEL_MAPPINGS + SHIFTED:
        raise ValueError(f"labels must be among {LABEL_MAPPINGS + SHIFTED}, not {label_mapping!r}")
    if label_mapping.endswith("words"):
        return {label: label for label in labels}
    letters = random.Random(f"letters {seed}").sample(LETTERS[: len(labels)], len(labels))
    return dict(zip(labels, letters, strict=True))


def demonstrate(
    items: Sequence[Labelled], label_names: dict[str, str], label_mapping: str, seed: int
) -> tuple[Demonstration, ...]:
    """Items with their classes' names; for a ``shuffled-`` labelling, names are permuted within each round.

    A permutation of all names for each round of `draw` keeps the list balanced and nested like the unshuffled one:
    only the pairing of text and name is lost. For a ``shifted-`` one they move on by one place, the last to the first
    text, as answers do in `ablations.shifted`: hardly any stays right, but lists are not nested. Min et al. 2022
    (arXiv 2202.12837) draw names at random instead, which also changes how often each occurs.
    """
    answers = [label_names[item.label] for item in items]
    if label_mapping.startswith("shuffled"):
        rng, every = random.Random(f"shuffle {seed}"), list(label_names.values())
        rounds = -(-len(items) // len(every))
        answers = [name for _ in range(rounds) for name in rng.sample(every, len(every))][: len(items)]
    elif label_mapping.startswith("shifted"):
        answers = answers[-1:] + answers[:-1]
    return tuple(Demonstration(item.text, answer) for item, answer in zip(items, answers, strict=True))


@dataclass(frozen=True)
class OptionScores:
    """For every item, what each class scored; what that cost; and the prefix to reuse for a longer prompt."""

    options: list[dict[str, OptionScore]]
    cost: Cost
    prefix_cache: PrefixCache = EMPTY


@dataclass(frozen=True)
class Chooser:
    """A model that classifies from its prompt: an instruction, ``k`` demonstrations, the query."""

    lm: LM
    instruction: str
    demonstrations: tuple[Demonstration, ...]
    label_names: dict[str, str]
    style: str = "plain"

    name = "in-context"

    @property
    def model(self) -> str:
        return self.lm.name

    @property
    def shots(self) -> int:
        return len(self.demonstrations)

    def question(self, text: str) -> Request:
        """The prompt for one text, with the classes' names as options."""
        context = render(self.style, self.instruction, self.demonstrations, text, self.lm.tokenizer)
        separator = FORMATS[self.style].separator if self.style in FORMATS else ""
        return Request(context, tuple(f"{separator}{name}" for name in self.label_names.values()))

    def answer(self, items: Sequence[Labelled], prefix_cache: PrefixCache = EMPTY) -> OptionScores:
        """Score all classes for all items; ``reuse`` the prefix of a shorter prompt's `OptionScores`."""
        scores = score(self.lm, [self.question(item.text) for item in items], prefix_cache=prefix_cache)
        options = [dict(zip(self.label_names, row, strict=True)) for row in scores.options]
        return OptionScores(options, scores.cost, scores.prefix_cache)


@dataclass(frozen=True)
class Selected(Chooser):
    """A model that classifies each text behind demonstrations chosen for it: ``chosen`` holds them by text."""

    chosen: Mapping[str, tuple[Demonstration, ...]] = field(default_factory=dict)

    def question(self, text: str) -> Request:
        """The prompt for one text, with its own demonstrations."""
        return Chooser.question(replace(self, demonstrations=self.chosen[text]), text)
