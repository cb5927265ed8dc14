"""Instruction tuning: the records that a prompt would show are trained on instead.

The text of a record is that of a prompt with this one record (`prompt_formats.FORMATS`), so that what is asked of a
tuned model looks like what it was trained on, and the same record can be shown or trained on. By default only answers
carry loss, as in the FLAN and Alpaca recipes (loss of the prompt 0).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from adaptlab.engine.adapters import Lora, Trainable, prepare_for_training
from adaptlab.engine.lm import LM, MODIFIED
from adaptlab.engine.loss_mask import TrainingExample, losses, tokenize_with_mask
from adaptlab.engine.training import Loss, Trained, TrainingConfig, name_of, train
from adaptlab.methods.answering import Generator
from adaptlab.methods.prompting import check_format
from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.records import Conversation, Instruction


def build_examples(
    lm: LM, records: Sequence[Instruction | Conversation], prompt_format: str = "question", *, whole: bool = False
) -> list[TrainingExample]:
    """One training example for each record: the question, and behind it the answer, which ends the text.

    In a conversation every answer carries loss (but those of weight 0), and so does what closes it. ``whole``: so do
    the questions. Raises ValueError for an unknown prompt format.
    """
    layout = FORMATS[check_format(prompt_format)]
    parts = [layout.training_parts(r.turns, whole, getattr(r, "read_only", ())) for r in records]
    return [tokenize_with_mask(lm, one) for one in parts]


@dataclass(frozen=True)
class FinetuneConfig:
    """Which parameters of a model are trained, and how."""

    trainable: Trainable = field(default_factory=Lora)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def seeded(self, seed: int) -> "FinetuneConfig":
        """The same with another seed: of the order of examples, and of the first weights of adapters."""
        return self.changed(seed=seed)

    def changed(self, **settings) -> "FinetuneConfig":
        """The same with other settings of its `TrainingConfig`, such as ``steps``."""
        return replace(self, training=replace(self.training, **settings))


# (the copy in training, the number of the step) -> the items that the step learns from
OnPolicy = Callable[[LM, int], Sequence]


BACKWARD = 3  # times the work of reading a token, for a token that is trained: forward, and backward twice as much


@dataclass(frozen=True)
class Tuned:
    """A tuned copy of a model, and what its training was, on ``n`` examples (or steps, each with fresh ones)."""

    lm: LM
    trained: Trained
    n: int

    def generator(self, prompt_format: str = "question", **more) -> Generator:
        """The tuned model, with no demonstrations in its prompt; ``shots`` tells how many it was trained on."""
        return Generator(self.lm, "", self.n, prompt_format, trained=self.trained, **more)


def tune(
    lm: LM,
    examples: Sequence[TrainingExample] | OnPolicy,
    config: FinetuneConfig,
    *,
    loss: Loss = losses,
    held_out: Sequence[TrainingExample] = (),
    folder: Path | None = None,
    bar: bool | None = None,
) -> Tuned:
    """Train a copy of ``lm`` on the examples; ``lm`` stays as it is.

    ``examples``: a list; or, for training on what the copy writes by then, a function of the copy and the step.
    ``loss``: of texts (`loss_mask.losses`), unless another is given. ``folder``: where a killed run goes on from;
    ``bar``: whether to show progress (both as in `training.train`).
    """
    copy = prepare_for_training(lm, config.trainable, config.training.seed)
    fresh = callable(examples)
    facts = f"{lm.digest} {config} {name_of(examples) if fresh else examples} {held_out} {name_of(loss)}"
    # Of a model that changes, no prefix may be kept from step to step: it has a digest of its own from the start.
    copy = replace(copy, digest=f"{MODIFIED} {hashlib.sha256(facts.encode()).hexdigest()}")
    items = partial(examples, copy) if fresh else examples
    trained = train(copy.model, items, config.training, loss=loss, held_out=held_out, folder=folder, bar=bar)
    return Tuned(copy, trained, len(trained.log) if fresh else len(examples))
