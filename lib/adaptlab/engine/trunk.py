"""Layers that do not learn are computed once.

Where only the top layers of a model are trained, what enters the lowest of them never changes: it is computed when an
example is first met, and kept. Each further epoch, learning rate or seed then costs the top layers alone. Exact: the
losses are those of the whole model (tested, and the trained weights as well).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel

from adaptlab.engine import cache, packing
from adaptlab.engine.packing import Example


def frozen_layers(model: PreTrainedModel) -> int:
    """How many of the first layers, embeddings included, have nothing to learn; 0 where that cannot be used.

    It can where a model is a stack of layers over embeddings and nothing else is added to them (positions are rotary).
    """
    layers = getattr(model.base_model, "layers", None)
    if layers is None or not cache.exact_trie(model):
        return 0
    learning = [name for name, p in model.base_model.named_parameters() if p.requires_grad]
    below = [name for name in learning if not name.startswith(("layers.", "norm."))]
    learns = [i for i in range(len(layers)) if any(name.startswith(f"layers.{i}.") for name in learning)]
    return 0 if below else min(learns, default=len(layers))


class Trunk:
    """The losses of `packing.losses` for a model whose first layers are frozen, these computed once an example."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.depth = frozen_layers(model)
        self._kept: dict[tuple[int, ...], torch.Tensor] = {}

    def losses(self, model: PreTrainedModel, examples: Sequence[Example]) -> torch.Tensor:
        """For each example the sum of -log p over its trained tokens, in nats, with gradients: [examples]."""
        if not self.depth:
            return packing.losses(model, examples)
        self._read(model, [example for example in examples if example.ids not in self._kept])
        with _passing(model.base_model.layers[: self.depth]):
            return packing.losses(model, examples, states=[self._kept[example.ids] for example in examples])

    @torch.no_grad()
    def _read(self, model: PreTrainedModel, examples: Sequence[Example]) -> None:
        """Keep what enters the first layer that learns, for every token of these examples."""
        entered: list[torch.Tensor] = []
        layers = model.base_model.layers
        top = layers[self.depth] if self.depth < len(layers) else model.base_model.norm
        hook = top.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
        try:
            with _passing(layers[self.depth :]):
                if examples:
                    packing.losses(model, examples, room=0)
        finally:
            hook.remove()
        for states in entered:
            for example, row in zip(examples, states, strict=True):
                self._kept[example.ids] = row[: len(example)].clone()


@contextmanager
def _passing(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Layers that hand on what they are given."""
    for layer in layers:
        layer.forward = lambda hidden, *_, **__: hidden
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
