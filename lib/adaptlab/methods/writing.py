"""A model that answers in writing from its prompt alone: what it writes, and how likely it finds the right answer."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from adaptlab.engine.cache import EMPTY, PrefixCache
from adaptlab.engine.generation import Completion, Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.scoring import Cost, OptionScore, Request, score
from adaptlab.tasks.prompts import FORMATS
from adaptlab.tasks.records import Demonstration, Instruction
from adaptlab.tasks.splits import random_sample

MAX_NEW_TOKENS = 32  # tokens of an answer


@dataclass(frozen=True)
class Generations:
    """For every item, what was written and what the right answer scored; what that cost; the prefix to reuse."""

    completions: list[Completion]
    gold: list[OptionScore]
    cost: Cost
    prefix_cache: PrefixCache = EMPTY


@dataclass(frozen=True)
class Generator:
    """A model that writes answers behind ``shown``, the text of its demonstrations.

    ``style``: the layout of the question, a key of `prompts.FORMATS`; ``instruction`` fills the layout's head.
    ``writes`` False: right answers are scored and nothing is written, which costs less.
    """

    lm: LM
    shown: str = ""
    shots: int = 0
    style: str = "question"
    instruction: str = ""
    how: Decoding | None = None
    writes: bool = True
    seed: int = 0

    name = "in-context"

    @property
    def model(self) -> str:
        return self.lm.name

    @property
    def decoding(self) -> Decoding:
        """How answers are written: greedily, up to where the layout ends them, unless said otherwise."""
        return self.how or Decoding(max_new_tokens=MAX_NEW_TOKENS, stop=FORMATS[self.style].stop)

    def prompt(self, asked: str) -> str:
        """The page up to where the answer begins."""
        layout = FORMATS[self.style]
        return layout.header(self.instruction) + self.shown + layout.asked(asked, self.instruction)

    def answer(self, items: Sequence[Instruction], prefix_cache: PrefixCache = EMPTY) -> Generations:
        """Write an answer to each item, and score the right one; both share the prompt.

        What closes the answer is not scored: whether another turn follows or the text ends is not the model's to know.
        """
        layout, prompts = FORMATS[self.style], [self.prompt(item.query) for item in items]
        golds = [f"{layout.separator}{item.output}" for item in items]
        scores = score(
            self.lm, [Request(p, (gold,)) for p, gold in zip(prompts, golds, strict=True)], prefix_cache=prefix_cache
        )
        gold = [row[0] for row in scores.options]
        if not self.writes:
            return Generations([Completion("", False)] * len(items), gold, scores.cost, scores.prefix_cache)
        texts = generate(self.lm, prompts, self.decoding, seed=self.seed, prefix_cache=scores.prefix_cache)
        return Generations(texts.completions, gold, _sum(scores.cost, texts.cost), scores.prefix_cache)


def _sum(first: Cost, second: Cost) -> Cost:
    return Cost(*(getattr(first, field.name) + getattr(second, field.name) for field in fields(Cost)))


def draw_records(pool: Sequence[Instruction], k: int, seed: int) -> list[Instruction]:
    """``k`` records at random; the draw for a smaller ``k`` is the beginning of the draw for a larger one."""
    return random_sample(pool, k, seed)


def paired(records: Sequence[Instruction]) -> tuple[Demonstration, ...]:
    """Records as demonstrations: question and right answer."""
    return tuple(Demonstration(record.query, record.output) for record in records)
