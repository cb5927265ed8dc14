"""Examples to train on, packed side by side into rows that waste little, and the loss of each.

Packing without contamination: examples of a row do not see each other, and each starts at position 0, so that their
losses are those of rows of their own (tested to 1e-5). The LM head runs only where a trained token is predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from adaptlab.engine import cache, plain


@dataclass(frozen=True)
class Example:
    """Token ids, and which of them are trained: predicted, with a loss, from those before."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.trained):
            raise ValueError(f"{len(self.ids)} ids and {len(self.trained)} marks: every token needs one")
        if not any(self.trained):
            raise ValueError("no token of the example is trained")
        if self.trained[0]:
            raise ValueError("the first token has nothing before it to be predicted from")

    def __len__(self) -> int:
        return len(self.ids)


def pack(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Places of examples by row: no row holds more than ``room`` tokens (first fit, the longest first).

    At most about 11/9 of the least number of rows is used (Johnson 1973). Raises ValueError for an example that is
    longer than a row.
    """
    rows: list[list[int]] = []
    left: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        need = lengths[place]
        if need > room:
            raise ValueError(f"example {place} has {need} tokens; a row has room for {room}")
        row = next((i for i, free in enumerate(left) if free >= need), len(rows))
        if row == len(rows):
            rows.append([])
            left.append(room)
        rows[row].append(place)
        left[row] -= need
    return rows


def losses(model: PreTrainedModel, examples: Sequence[Example]) -> torch.Tensor:
    """For each example of one row the sum of -log p over its trained tokens, in nats, with gradients: [examples]."""
    nodes, targets, owners, start = [], [], [], 0
    for owner, example in enumerate(examples):
        for place, (token, trained) in enumerate(zip(example.ids, example.trained, strict=True)):
            if trained:
                nodes.append(start + place - 1)
                targets.append(token)
                owners.append(owner)
        start += len(example)
    if cache.exact_trie(model):
        logits = cache.row_logits(model, [example.ids for example in examples], nodes)
    else:
        logits = torch.cat([plain.logits(model, example.ids) for example in examples])[nodes]
    wanted = torch.tensor(targets, device=logits.device)
    each = torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="none")
    return each.new_zeros(len(examples)).index_add(0, torch.tensor(owners, device=each.device), each)
