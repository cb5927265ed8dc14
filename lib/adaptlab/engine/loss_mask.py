"""Training examples with their loss masks, packed several to a row, and the loss of each.

Packing without contamination: examples of a row do not see each other, and each starts at position 0, so that their
losses are those of rows of their own (tested to 1e-5). The LM head runs only where a token with a loss is predicted.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import TypeVar

import torch
from transformers import PreTrainedModel

from adaptlab.engine import kv_sharing, plain
from adaptlab.engine.lm import LM, runs_that_fit

# Tokens of a packed row. Attention over a row costs its square, so rows are short, and many of them stand in a batch:
# with SmolLM2 on a CPU, rows of 64 to 128 took about two thirds of the time of one row of 512.
MAX_TOKENS = 96
PASS = 1024  # tokens of one forward and backward pass at most

Sized = TypeVar("Sized")


@dataclass(frozen=True)
class TrainingExample:
    """Token ids, and for each whether it has a loss: whether it is to be predicted from those before it.

    Raises ValueError unless there is one mark for each token, and a loss on some token behind the first.
    """

    ids: tuple[int, ...]
    loss_mask: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.loss_mask):
            raise ValueError(f"{len(self.ids)} ids and {len(self.loss_mask)} marks: every token needs one")
        if not any(self.loss_mask):
            raise ValueError("no token of the example is trained")
        if self.loss_mask[0]:
            raise ValueError("the first token has nothing before it to be predicted from")

    @classmethod
    def behind(cls, prompt: Sequence[int], tokens: Sequence[int]) -> "TrainingExample":
        """Tokens that have a loss, all of them, behind a prompt without one."""
        return cls((*prompt, *tokens), (False,) * len(prompt) + (True,) * len(tokens))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def positions(self) -> list[int]:
        """Positions of the tokens that have a loss."""
        return [position for position, has_loss in enumerate(self.loss_mask) if has_loss]

    @property
    def targets(self) -> list[int]:
        """The tokens that have a loss."""
        return [self.ids[position] for position in self.positions]

    @property
    def weight(self) -> int:
        """What the example counts in a mean: its tokens that have a loss."""
        return sum(self.loss_mask)


def passes(items: Sequence[Sized], max_tokens: int = PASS) -> Iterator[list[Sized]]:
    """Items, shortest first, in runs of at most ``max_tokens`` tokens, or of one item that is longer."""
    return runs_that_fit(sorted(items, key=len), lambda part: sum(map(len, part)) <= max_tokens)


def pack(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Which examples stand in each row: no row holds more than ``max_tokens``, and rows are about equally long.

    The longest first, each goes to the row that is the shortest so far, among as few rows as this succeeds with (at
    most twice as many as there must be). A batch is as wide as its longest row, so equal rows waste little. Raises
    ValueError for an example that is longer than a row.
    """
    for i, need in enumerate(lengths):
        if need > max_tokens:
            raise ValueError(f"example {i} has {need} tokens; a row has room for {max_tokens}")
    longest_first = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    number = math.ceil(sum(lengths) / max_tokens)
    while True:
        rows: list[list[int]] = [[] for _ in range(number)]
        filled = [0] * number
        for i in longest_first:
            row = filled.index(min(filled))
            rows[row].append(i)
            filled[row] += lengths[i]
        if max(filled, default=0) <= max_tokens:
            return rows
        number += 1


def losses(
    model: PreTrainedModel, examples: Sequence[TrainingExample], *, max_tokens: int = MAX_TOKENS
) -> torch.Tensor:
    """For each example the sum of -log p over its tokens that have a loss, in nats, with gradients: [examples].

    ``max_tokens``: of a packed row, which may be as long as the longest example in any case. Models that cannot be
    packed exactly read one example after the other.
    """
    logits, owner = trained_logits(model, examples, max_tokens=max_tokens)
    order = [member for member, _ in groupby(owner)]
    wanted = torch.tensor([token for member in order for token in examples[member].targets], device=logits.device)
    each = torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="none")
    index = torch.tensor(owner, device=each.device)
    return each.new_zeros(len(examples)).index_add(0, index, each)


def trained_logits(
    model: PreTrainedModel, examples: Sequence[TrainingExample], *, max_tokens: int = MAX_TOKENS
) -> tuple[torch.Tensor, list[int]]:
    """(logits of every token that has a loss, [tokens, vocabulary], with gradients; the example that each belongs to).

    Those of an example stand together, in their order; the examples in any.
    """
    if not kv_sharing.exact_trie(model):
        rows = [plain.logits(model, e.ids)[[n - 1 for n in e.positions]] for e in examples]
        return torch.cat(rows), [i for i, e in enumerate(examples) for _ in e.positions]
    lengths = [len(example) for example in examples]
    rows = pack(lengths, max(max_tokens, *lengths))
    nodes = [
        (number, start + position - 1)
        for number, row in enumerate(rows)
        for member, start in zip(row, accumulate((lengths[m] for m in row), initial=0), strict=False)
        for position in examples[member].positions
    ]
    texts = [[examples[member].ids for member in row] for row in rows]
    owner = [member for row in rows for member in row for _ in examples[member].positions]
    return row_logits(model, texts, tuple(map(list, zip(*nodes, strict=True)))), owner


def row_logits(
    model: PreTrainedModel,
    rows: Sequence[Sequence[Sequence[int]]],
    nodes: tuple[Sequence[int], Sequence[int]],
) -> torch.Tensor:
    """Next-token logits [nodes, vocabulary], with gradients, of whole texts packed side by side into rows.

    ``rows``: each a list of texts in token ids. No text sees another, and each has positions of its own from 0.
    ``nodes``: the row of each node, and its place in the row; the LM head runs on these alone.
    """
    shape = len(rows), max(sum(map(len, row)) for row in rows)
    ids, owner, positions = (torch.full(shape, fill, device=model.device) for fill in (0, -1, 0))
    for i, row in enumerate(rows):
        sizes = torch.tensor([len(text) for text in row], device=model.device)
        end = int(sizes.sum())
        ids[i, :end] = torch.tensor([token for text in row for token in text], device=model.device)
        owner[i, :end] = torch.arange(len(row), device=model.device).repeat_interleave(sizes)
        positions[i, :end] = torch.cat([torch.arange(len(text), device=model.device) for text in row])
    visible = (owner[:, :, None] == owner[:, None]) & (positions[:, :, None] >= positions[:, None])
    mask = kv_sharing.masks(model, 0, visible, positions, positions)
    body = model.base_model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False)
    logits = model.get_output_embeddings()(body.last_hidden_state[nodes])
    cap = getattr(model.config, "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def tokenize_with_mask(lm: LM, parts: Sequence[tuple[str, bool]], ends: bool = True) -> TrainingExample:
    """Tokenize a text given in parts, (text, whether it has a loss), as one text, with its loss mask.

    ``ends`` appends the end token, with the last part's mark: a model that never learned where to end runs on. BOS, if
    the tokenizer adds one, carries no loss. Raises ValueError for a text that does not fit into the context, for a
    tokenizer that names no end token, and for a token that spans a part with a loss and one without: at inference, the
    prompt alone would never produce it.
    """
    texts = [text for text, _ in parts]
    whole = "".join(texts)
    encoding = lm.tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    lm.check_tokens([encoding.input_ids])
    bounds = list(accumulate(map(len, texts)))
    bos = lm.encode("")  # or nothing
    ids = [] if encoding.input_ids[:1] == bos else bos
    mask = [False] * len(ids)
    for token, (start, end) in zip(encoding.input_ids, encoding.offset_mapping, strict=True):
        first, last = (min(bisect_right(bounds, place), len(parts) - 1) for place in (start, max(start, end - 1)))
        if parts[first][1] != parts[last][1] and whole[start : bounds[first]].strip():
            raise ValueError(f"the token {whole[start:end]!r} takes in a part that is trained and one that is not")
        ids.append(token)
        mask.append(parts[last][1])
    if ends:
        if lm.tokenizer.eos_token_id is None:
            raise ValueError(f"the tokenizer of {lm.name} names no end token")
        ids.append(lm.tokenizer.eos_token_id)
        mask.append(parts[-1][1])
    if len(ids) > lm.context_length:
        raise ValueError(f"a text of {len(ids)} tokens does not fit into the {lm.context_length} of {lm.name}")
    return TrainingExample(tuple(ids), (False, *mask[1:]))  # nothing stands before the first, to predict it from
