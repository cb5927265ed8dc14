"""How to train: lengths, rates and their schedule."""

import math
from dataclasses import dataclass

from adaptlab.engine.lm import check_fields

DECAYS = ("linear", "cosine", "none")


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    ``epochs``: how often every item is met. ``steps``: how many steps are taken instead, unless it is 0. ``batch``:
    items a step. ``lr``: peak learning rate of AdamW (betas .9 and .999); it rises linearly over the share ``warm_up``
    of the steps and then falls to 0 as ``decay`` says. ``clip``: the largest norm of a gradient. ``seed`` orders the
    items. ``patience``: stop after so many epochs without a lower held-out loss, and go back to the weights where it
    was lowest; 0 trains to the end. ``bf16``: products in bfloat16 where the hardware does them (weights and their
    updates stay as they are); off by default, as results then differ from machine to machine.
    """

    epochs: int = 4
    steps: int = 0
    batch: int = 8
    lr: float = 1e-3
    warm_up: float = 0.1
    decay: str = "linear"
    weight_decay: float = 0.0
    clip: float = 1.0
    seed: int = 0
    patience: int = 0
    bf16: bool = False

    def __post_init__(self) -> None:
        check_fields(
            self,
            epochs=("1 or more", self.epochs >= 1),
            steps=("0 or more", self.steps >= 0),
            batch=("1 or more", self.batch >= 1),
            lr=("above 0 and finite", 0 < self.lr < math.inf),
            warm_up=("0 to 1", 0 <= self.warm_up <= 1),
            decay=(f"one of {DECAYS}", self.decay in DECAYS),
            weight_decay=("0 or more, and finite", 0 <= self.weight_decay < math.inf),
            clip=("above 0", self.clip > 0),
            patience=("0 or more", self.patience >= 0),
        )

    def lr_factor(self, step: int, steps: int) -> float:
        """The share of the peak learning rate at a step, from 0."""
        rising = math.ceil(self.warm_up * steps)
        if step < rising:
            return (step + 1) / rising
        left = (steps - step) / max(1, steps - rising)
        return {"linear": left, "cosine": 0.5 - 0.5 * math.cos(math.pi * left), "none": 1.0}[self.decay]
