"""Direct preference optimization (DPO): of two answers, the chosen one becomes the more probable.

Rafailov et al. 2023, arXiv 2305.18290, section 4. The reference is the model as it was before training. The loss needs
one number a pair of it, which is computed once: no second model is kept in memory or run during training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from transformers import PreTrainedModel

from adaptlab.engine.loss_mask import PASS, TrainingExample, losses, passes


@dataclass(frozen=True)
class Pair:
    """Two texts that begin with the same prompt, each with its answer trained, of which one was chosen.

    ``reference``: log p(chosen) - log p(rejected), of the answers, under the reference model, in nats. Raises
    ValueError where the two are the same: nothing could tell them apart.
    """

    chosen: TrainingExample
    rejected: TrainingExample
    reference: float

    def __post_init__(self) -> None:
        if self.chosen == self.rejected:
            raise ValueError("the chosen and the rejected text are the same")

    def __len__(self) -> int:
        return len(self.chosen) + len(self.rejected)

    @property
    def weight(self) -> int:
        """What the pair counts in a mean: every pair the same, however long it is."""
        return 1


@torch.no_grad()
def referenced(model: PreTrainedModel, pairs: Sequence[tuple[TrainingExample, TrainingExample]]) -> list[Pair]:
    """Each (chosen, rejected) as a `Pair` whose reference is ``model`` as it is now: call this before training.

    A text that stands in several pairs is read once. Raises ValueError as `Pair` does.
    """
    nll: dict[TrainingExample, float] = {}
    for part in passes(dict.fromkeys(chain.from_iterable(pairs)), PASS):
        nll |= zip(part, losses(model, part).tolist(), strict=True)
    return [Pair(chosen, rejected, nll[rejected] - nll[chosen]) for chosen, rejected in pairs]


@dataclass(frozen=True)
class Dpo:
    """The loss of pairs, for `training.train`: the smaller ``beta``, the farther the model may leave its reference.

    Raises ValueError unless ``beta`` is above 0.
    """

    beta: float = 0.1

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta must be above 0; found {self.beta!r}")

    def __call__(self, model: PreTrainedModel, pairs: Sequence[Pair]) -> torch.Tensor:
        """For each pair -log sigmoid(beta * (log p(chosen) - log p(rejected) - reference)), in nats, with gradients:
        [pairs]. It is log 2 where the model is still its own reference."""
        chosen, rejected = losses(model, [p.chosen for p in pairs] + [p.rejected for p in pairs]).chunk(2)
        reference = torch.tensor([pair.reference for pair in pairs], device=chosen.device)
        return -torch.nn.functional.logsigmoid(self.beta * (rejected - chosen - reference))
