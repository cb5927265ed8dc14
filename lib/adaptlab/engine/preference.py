"""Losses that compare: DPO and the square loss of pairs, and the policy gradient of samples with an advantage.

The reference is the model as it was before training. Pairs need one number each of it, which is computed once: no
second model is kept in memory or run during training.
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

    ``reference``: log p(chosen) - log p(rejected), of the answers, under the reference model, in nats. ``gap``: the
    reward of the chosen minus that of the rejected, for `SquareLoss`. Raises ValueError where the two are the same:
    nothing could tell them apart.
    """

    chosen: TrainingExample
    rejected: TrainingExample
    reference: float
    gap: float = 0.0

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
def logprobs(model: PreTrainedModel, texts: Sequence[TrainingExample]) -> list[float]:
    """log p of the trained part of each text, in nats. A text that stands there several times is read once."""
    found: dict[TrainingExample, float] = {}
    for part in passes(dict.fromkeys(texts), PASS):
        found |= zip(part, (-losses(model, part)).tolist(), strict=True)
    return [found[text] for text in texts]


def referenced(model: PreTrainedModel, pairs: Sequence[tuple[TrainingExample, TrainingExample]]) -> list[Pair]:
    """Each (chosen, rejected) as a `Pair` whose reference is ``model`` as it is now: call this before training.

    Raises ValueError as `Pair` does.
    """
    known = iter(logprobs(model, list(chain.from_iterable(pairs))))
    return [Pair(chosen, rejected, next(known) - next(known)) for chosen, rejected in pairs]


@dataclass(frozen=True)
class _OfPairs:
    """A loss of pairs, for `training.train`: the smaller ``beta``, the farther the model may leave its reference.

    Raises ValueError unless ``beta`` is above 0.
    """

    beta: float = 0.1

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta must be above 0; found {self.beta!r}")

    def moved(self, model: PreTrainedModel, pairs: Sequence[Pair]) -> torch.Tensor:
        """beta * (log p(chosen) - log p(rejected) - reference), in nats, with gradients: [pairs]."""
        chosen, rejected = losses(model, [p.chosen for p in pairs] + [p.rejected for p in pairs]).chunk(2)
        return self.beta * (rejected - chosen - torch.tensor([p.reference for p in pairs], device=chosen.device))


class Dpo(_OfPairs):
    """Direct preference optimization: of two answers, the chosen one becomes the more probable.

    Rafailov et al. 2023, arXiv 2305.18290, section 4.
    """

    def __call__(self, model: PreTrainedModel, pairs: Sequence[Pair]) -> torch.Tensor:
        """-log sigmoid of what moved, in nats: [pairs]. It is log 2 where the model is still its own reference."""
        return -torch.nn.functional.logsigmoid(self.moved(model, pairs))


class SquareLoss(_OfPairs):
    """The square loss of REBEL, by which Huang et al. 2024 (arXiv 2412.01951, section 3.2) sharpen with a reward.

    It is 0 at the optimum of reward and KL, which is proportional to p_reference * exp(reward / beta).
    """

    def __call__(self, model: PreTrainedModel, pairs: Sequence[Pair]) -> torch.Tensor:
        """The squared difference between what moved and the gap of the rewards: [pairs]."""
        return (self.moved(model, pairs) - torch.tensor([p.gap for p in pairs], device=model.device)) ** 2


@dataclass(frozen=True)
class Sampled:
    """A text that the model wrote ``weight`` times, its answer trained; ``advantage``: how much better than expected it
    was, summed over those times."""

    example: TrainingExample
    advantage: float
    weight: int = 1

    def __len__(self) -> int:
        return len(self.example)


def policy_gradient(model: PreTrainedModel, samples: Sequence[Sampled]) -> torch.Tensor:
    """-advantage * log p(answer) of each sample, whose gradient is that of the expected reward (REINFORCE, Williams
    1992): [samples]. Samples have to be the model's own, of this step."""
    advantages = torch.tensor([one.advantage for one in samples], device=model.device)
    return advantages * losses(model, [one.example for one in samples])
