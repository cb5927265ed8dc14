"""Instruction tuning: the records that a prompt would show are trained on instead.

The text of a record is that of a page with this one record (`prompts.FORMATS`), so that what is asked of a tuned model
looks like what it was trained on, and the same record can be shown or trained. By default only answers are trained,
as in the FLAN and Alpaca recipes (loss of the prompt 0).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from adaptlab.engine.adapters import MODIFIED, Lora, Trainable, prepare_for_training
from adaptlab.engine.cache import EMPTY, PrefixCache
from adaptlab.engine.lm import LM
from adaptlab.engine.packing import TrainingExample, losses, tokenize_with_mask
from adaptlab.engine.training import Loss, Trained, TrainingConfig, name_of_loss, train
from adaptlab.methods.writing import Generations, Generator
from adaptlab.tasks.prompts import FORMATS
from adaptlab.tasks.records import Conversation, Instruction


def build_examples(
    lm: LM, records: Sequence[Instruction | Conversation], style: str = "question", *, whole: bool = False
) -> list[TrainingExample]:
    """Each record as a text to train on: what is asked, and behind it the answer, which ends the text.

    In a conversation every answer is trained, what closes it included. ``whole``: train what is asked as well.
    """
    return [tokenize_with_mask(lm, FORMATS[style].training_parts(turns(record), whole=whole)) for record in records]


def turns(record: Instruction | Conversation) -> list[tuple[str, str]]:
    """What is asked and what is answered, turn by turn."""
    return record.turns


@dataclass(frozen=True)
class FinetuneConfig:
    """What of a model learns, and how it is trained."""

    trainable: Trainable = field(default_factory=Lora)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def seeded(self, seed: int) -> "FinetuneConfig":
        """The same with another seed: of the order of examples, and of adapters' first weights."""
        return replace(self, training=replace(self.training, seed=seed))


@dataclass(frozen=True)
class Tuned:
    """A tuned copy of a model, and what its training was: ``n`` examples."""

    lm: LM
    trained: Trained
    n: int

    def writer(self, style: str = "question", **more) -> "TunedGenerator":
        """The tuned model at work, with no demonstrations in its prompt; ``shots`` tells how many it was trained on."""
        return TunedGenerator(self.lm, "", self.n, style, trained=self.trained, **more)


@dataclass(frozen=True)
class TunedGenerator(Generator):
    """A tuned model that writes answers; what its training took is a part of the cost."""

    trained: Trained = field(default_factory=lambda: Trained([]))

    name = "tuned"

    def answer(self, items: Sequence[Instruction], prefix_cache: PrefixCache = EMPTY) -> Generations:
        """Write an answer to each item, and score the right one."""
        found = super().answer(items, prefix_cache)
        seconds = found.cost.seconds + self.trained.seconds
        return replace(found, cost=replace(found.cost, trained=self.trained.tokens, seconds=seconds))


def tune(
    lm: LM,
    examples: Sequence[TrainingExample],
    recipe: FinetuneConfig,
    *,
    loss: Loss = losses,
    held_out: Sequence[TrainingExample] = (),
    folder: Path | None = None,
    bar: bool | None = None,
) -> Tuned:
    """Train a copy of ``lm`` on the examples; ``lm`` stays as it is.

    ``loss``: that of `packing.losses`, unless another is named. ``folder``: where to go on
    from after a kill; ``bar``: whether to show progress (both as in `training.train`).
    """
    copy = prepare_for_training(lm, recipe.trainable, recipe.training.seed)
    trained = train(copy.model, examples, recipe.training, loss=loss, held_out=held_out, folder=folder, bar=bar)
    facts = f"{lm.digest} {recipe} {examples} {held_out} {name_of_loss(loss)}"
    named = f"{MODIFIED} {hashlib.sha256(facts.encode()).hexdigest()}"
    return Tuned(replace(copy, digest=named), trained, len(examples))
