"""Examples to train on, packed side by side into rows that waste little, and the loss of each.

Packing without contamination: examples of a row do not see each other, and each starts at position 0, so that their
losses are those of rows of their own (tested to 1e-5). The LM head runs only where a trained token is predicted.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from transformers import PreTrainedModel

from adaptlab.engine import cache, plain
from adaptlab.engine.lm import LM

# Tokens of a packed row. Attention over a row costs its square, so rows are short, and many of them stand in a batch:
# with SmolLM2 on a CPU, rows of 64 to 128 took about two thirds of the time of one row of 512.
ROOM = 96


@dataclass(frozen=True)
class TrainingExample:
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

    @property
    def places(self) -> list[int]:
        """Where the trained tokens stand."""
        return [place for place, trained in enumerate(self.trained) if trained]

    @property
    def targets(self) -> list[int]:
        """The trained tokens."""
        return [self.ids[place] for place in self.places]

    @property
    def weight(self) -> int:
        """What the example counts in a mean: its trained tokens."""
        return sum(self.trained)


def pack(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Places of examples by row: no row holds more than ``room`` tokens, and rows are about equally long.

    The longest first, each goes to the row that is the shortest so far, among as few rows as this succeeds with (at
    most twice as many as there must be). A batch is as wide as its longest row, so equal rows waste little. Raises
    ValueError for an example that is longer than a row.
    """
    for place, need in enumerate(lengths):
        if need > room:
            raise ValueError(f"example {place} has {need} tokens; a row has room for {room}")
    longest_first = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    number = math.ceil(sum(lengths) / room)
    while True:
        rows: list[list[int]] = [[] for _ in range(number)]
        filled = [0] * number
        for place in longest_first:
            row = filled.index(min(filled))
            rows[row].append(place)
            filled[row] += lengths[place]
        if max(filled, default=0) <= room:
            return rows
        number += 1


def losses(model: PreTrainedModel, examples: Sequence[TrainingExample], *, room: int = ROOM) -> torch.Tensor:
    """For each example the sum of -log p over its trained tokens, in nats, with gradients: [examples].

    ``room``: tokens of a packed row, or as many as the longest example has; 0 gives every example a row of its own.
    Models that cannot be packed exactly read one example after the other.
    """
    if not cache.exact_trie(model):
        return torch.stack(
            [_nll(plain.logits(model, e.ids)[[n - 1 for n in e.places]], e.targets).sum() for e in examples]
        )
    lengths = [len(example) for example in examples]
    rows = pack(lengths, max(room, *lengths)) if room else [[place] for place in range(len(examples))]
    nodes = [
        (number, start + place - 1)
        for number, row in enumerate(rows)
        for member, start in zip(row, accumulate((lengths[m] for m in row), initial=0), strict=False)
        for place in examples[member].places
    ]
    order = [member for row in rows for member in row]
    texts = [[examples[member].ids for member in row] for row in rows]
    logits = cache.row_logits(model, texts, tuple(map(list, zip(*nodes, strict=True))))
    each = _nll(logits, [token for member in order for token in examples[member].targets])
    owner = torch.tensor([member for member in order for _ in examples[member].places], device=each.device)
    return each.new_zeros(len(examples)).index_add(0, owner, each)


def _nll(logits: torch.Tensor, tokens: Sequence[int]) -> torch.Tensor:
    """-log p of each token, from the logits before it."""
    wanted = torch.tensor(tokens, device=logits.device)
    return torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="none")


def tokenize_with_mask(lm: LM, parts: Sequence[tuple[str, bool]], ends: bool = True) -> TrainingExample:
    """A text in parts, (text, whether it is trained), tokenised as one, so that it is read as it will be written.

    ``ends`` appends the end token, trained with the last part: a model that never learned where to end runs on. The
    tokenizer's own BOS, where it puts one, is read only. Raises ValueError for a text that does not fit into the
    context, a tokenizer that names no end token, and a token that takes in a letter of either kind of part: behind the
    bare prompt, it would never be met.
    """
    texts = [text for text, _ in parts]
    whole = "".join(texts)
    encoding = lm.tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    bounds = list(accumulate(map(len, texts)))
    front = lm.encode("")
    ids, trained = list(front), [False] * len(front)
    for token, (start, end) in zip(encoding.input_ids, encoding.offset_mapping, strict=True):
        first, last = (min(bisect_right(bounds, place), len(parts) - 1) for place in (start, max(start, end - 1)))
        if parts[first][1] != parts[last][1] and whole[start : bounds[first]].strip():
            raise ValueError(f"the token {whole[start:end]!r} takes in a part that is trained and one that is not")
        ids.append(token)
        trained.append(parts[last][1])
    if ends:
        if lm.tokenizer.eos_token_id is None:
            raise ValueError(f"the tokenizer of {lm.name} names no end token")
        ids.append(lm.tokenizer.eos_token_id)
        trained.append(parts[-1][1])
    if len(ids) > lm.context_length:
        raise ValueError(f"a text of {len(ids)} tokens does not fit into the {lm.context_length} of {lm.name}")
    return TrainingExample(tuple(ids), (False, *trained[1:]))  # nothing stands before the first, to predict it from
