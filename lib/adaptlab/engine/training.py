"""The training loop: AdamW over whatever requires a gradient, by any loss, on items in a seeded order.

Full weights, top layers and adapters differ only in what requires a gradient (`adapters.prepare_for_training`). The
loss is a function: `loss_mask.losses` for texts, `preference.Dpo` for pairs, any other of the same form. Items can be
made anew for every step, from what the model writes by then. Dropout stays off, as results are to be repeated. A run
with a folder can be killed anywhere and goes on with the same numbers.
"""

import hashlib
import math
import random
import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedModel

from adaptlab.engine import checkpoints
from adaptlab.engine.loss_mask import PASS, passes
from adaptlab.engine.loss_mask import losses as text_losses
from adaptlab.engine.machine import fast_kernels, has_bf16, keep_freed_memory, ordered_sums
from adaptlab.engine.training_config import TrainingConfig

MEMORY = 2 * 2**30  # bytes that the logits of one pass may take, with their gradients


class Diverged(ArithmeticError):
    """Training broke down, and the weights that it left are of no use."""


# (model, items) -> the loss of each item, to be divided by the sum of their `weight`s: [items]. An item's `len` is how
# many tokens it has.
Loss = Callable[[PreTrainedModel, Sequence], torch.Tensor]
# The number of a step, from 0 -> the items that it learns from. What is made depends on the number and the model alone.
Fresh = Callable[[int], Sequence]


@dataclass(frozen=True)
class Trained:
    """The log of a run: one line a step, with step, epoch, tokens, loss, lr, norm and seconds.

    With held-out items, the first line has their loss ``before`` the step, the last of each epoch theirs as
    ``held_out``. Losses are means by weight (for texts: a token), in nats.
    """

    log: list[dict] = field(repr=False)

    @property
    def tokens(self) -> int:
        """Tokens that went through the model to train it, each once an epoch."""
        return sum(line["tokens"] for line in self.log)

    @property
    def seconds(self) -> float:
        """Time of all steps."""
        return sum(line["seconds"] for line in self.log)


def train(
    model: PreTrainedModel,
    items: Sequence | Fresh,
    config: TrainingConfig,
    *,
    loss: Loss = text_losses,
    held_out: Sequence = (),
    folder: Path | None = None,
    save_every: int = 50,
    bar: bool | None = None,
) -> Trained:
    """Train, in place, what of the model requires a gradient.

    ``items``: what is learned from, or a function that makes the items of each step (then ``steps`` says how many
    steps there are, and the time of making them counts as theirs).
    ``folder``: where the run keeps what its next step depends on, every ``save_every`` steps; called again after a kill
    with the same model, items, config and loss, it goes on from there. Items count by their ``repr``. ``bar``: whether
    to show progress; left out, it is shown on a terminal. Raises ValueError where there is nothing to learn, or nothing
    to learn from, `checkpoints.CannotResume` where the folder holds another run, and `Diverged`.
    """
    if not items:
        raise ValueError("there is nothing to learn from: no items")
    if callable(items) and not config.steps:
        raise ValueError("items that are made for each step need a number of steps; found steps=0")
    if config.patience and not held_out:
        raise ValueError("patience needs held-out items to look at")
    run = _Run(model, items, config, loss, held_out)
    keep_freed_memory()
    hidden = None if bar is None else not bar
    with fast_kernels(model, run.low):
        checkpoints.run_steps(run, folder, save_every, desc="training", leave=False, disable=hidden)
        run.finish()
    return Trained(run.log)


class _Run:
    """A model in training: its optimizer, the log so far, and the best weights seen."""

    def __init__(
        self, model: PreTrainedModel, items: Sequence | Fresh, config: TrainingConfig, loss: Loss, held_out: Sequence
    ) -> None:
        self.model, self.items, self.config, self.loss, self.held_out = model, items, config, loss, held_out
        self.low = config.bf16 and has_bf16(model.device)
        self.learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.learning:
            raise ValueError("there is nothing to train: no parameter requires a gradient")
        settings = {"lr": config.lr, "weight_decay": config.weight_decay, "fused": True}
        self.optimizer = torch.optim.AdamW(self.learning.values(), **settings)
        self.optimizer.zero_grad()  # whatever an interrupted run left behind
        self.optimizers = {"adamw": self.optimizer}
        self.per_epoch = config.steps if callable(items) else math.ceil(len(items) / config.batch)
        self.steps = config.steps or config.epochs * self.per_epoch
        self.log: list[dict] = []
        self.best = {name: p.detach().clone() for name, p in self.learning.items()} if config.patience else {}

    @property
    def heldout_losses(self) -> list[float]:
        """Held-out losses so far: before the first step, and behind every epoch."""
        return [line[name] for line in self.log for name in ("before", "held_out") if name in line]

    @property
    def done(self) -> bool:
        """Whether the last step was taken, or `patience` epochs brought no improvement."""
        losses = self.heldout_losses
        without_improvement = len(losses) - 1 - losses.index(min(losses)) if losses else 0
        return len(self.log) == self.steps or 0 < self.config.patience <= without_improvement

    def step(self) -> float:
        """Take one step, and add its line to the log; its loss."""
        number = len(self.log)
        line = {"step": number, "epoch": number // self.per_epoch}
        if self.held_out and not number:
            line["before"] = self._mean(self.held_out)
        started = time.perf_counter()
        batch = self.items(number) if callable(self.items) else self._batch(number)
        line["tokens"] = sum(map(len, batch))
        rate = self.config.lr * self.config.lr_factor(number, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        line["loss"] = self._mean(batch, learn=True)
        line["lr"] = rate
        line["norm"] = float(torch.nn.utils.clip_grad_norm_(self.learning.values(), self.config.clip))
        _check_finite(line)
        self.optimizer.step()
        self.optimizer.zero_grad()
        line["seconds"] = time.perf_counter() - started
        if self.held_out and ((number + 1) % self.per_epoch == 0 or number + 1 == self.steps):
            line["held_out"] = self._mean(self.held_out)
            _check_finite(line)
        self.log.append(line)
        if "held_out" in line and line["held_out"] == min(self.heldout_losses):
            self._remember()
        return line["loss"]

    def _batch(self, number: int) -> list:
        """The items of a step: every epoch takes all of them, in an order of its own."""
        epoch, place = divmod(number, self.per_epoch)
        order = random.Random(f"order {self.config.seed} {epoch}").sample(range(len(self.items)), len(self.items))
        return [self.items[i] for i in order[place * self.config.batch : (place + 1) * self.config.batch]]

    def _mean(self, items: Sequence, learn: bool = False) -> float:
        """The mean loss of items, its gradients added up if they are to learn from."""
        weight, total, device = sum(item.weight for item in items), 0.0, self.model.device
        vocabulary = self.model.config.get_text_config().vocab_size
        room = MEMORY // (12 * vocabulary)  # logits, their softmax, their gradient: four bytes each
        with torch.set_grad_enabled(learn), ordered_sums(device):
            for part in passes(items, min(PASS, room)):
                with torch.autocast(device.type, torch.bfloat16) if self.low else nullcontext():
                    share = self.loss(self.model, part).sum() / weight
                if learn:
                    share.backward()
                total += share.item()
        return total

    def _remember(self) -> None:
        for name, kept in self.best.items():
            kept.copy_(self.learning[name].detach())

    def finish(self) -> None:
        """Go back to the weights of the lowest held-out loss, if ``patience`` keeps them."""
        with torch.no_grad():
            for name, kept in self.best.items():
                self.learning[name].copy_(kept)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What is kept of the model: the weights that learn, and the best of them so far."""
        best = {f"best.{name}": kept for name, kept in self.best.items()}
        return {f"model.{name}": p for name, p in self.learning.items()} | best

    def origin(self) -> str:
        """What a run is made of: the config, the items, the loss, and the weights that it begins with."""
        named, items = name_of(self.loss), name_of(self.items) if callable(self.items) else self.items
        facts = f"{self.config} {items} {self.held_out} {self.low} {list(self.learning)} {named}"
        found = hashlib.sha256(facts.encode())
        for parameter in self.model.parameters():
            found.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy())
        return found.hexdigest()


def _check_finite(line: dict) -> None:
    """Raise `Diverged` for a step whose loss or gradient is no number, or whose loss has no gradient at all."""
    found = {name: line[name] for name in ("before", "loss", "norm", "held_out") if name in line}
    if all(map(math.isfinite, found.values())) and (line["norm"] or not line["loss"]):
        return
    said = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
    where = f"step {line['step']}, at a learning rate of {line['lr']:.3g}"
    raise Diverged(f"training diverged at {where} ({said}): begin again with a smaller lr or a longer warm_up")


def name_of(function: Callable) -> str:
    """What tells a loss, or what makes items, from others, and is the same in every run."""
    return re.sub(r" at 0x[0-9a-f]+", "", getattr(function, "__qualname__", repr(function)))
