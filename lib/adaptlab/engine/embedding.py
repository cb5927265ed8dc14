"""Texts as vectors, from a model's own hidden states: which texts are alike to the model."""

from collections.abc import Sequence

import numpy as np
import torch

from adaptlab.engine import plain
from adaptlab.engine.lm import LM, length_dependent


def embed(lm: LM, texts: Sequence[str], *, layer: int | None = None, rows: int = 32) -> np.ndarray:
    """One unit vector for each text, [texts, hidden size] in float32: the mean of its tokens' hidden states.

    ``layer``: the number of blocks that the states have passed, from 0 (token embeddings) to all of them; half of them
    if None. The last blocks shape a state for the prediction of the next token, and what a text is about is plainer
    before that: on 32 tasks, layers in between gave better features than the last (Skean et al., arXiv 2502.02013).
    A BOS that the tokenizer puts in front is read but not averaged: it sees no text, so its state is the same for all.

    ``rows``: texts in one forward pass. They change nothing in float32 but rounding, below 1e-5; in a call, the same
    tokens get the very same vector. Raises ValueError for no texts, for a text that is blank, that has no tokens or
    more than the context holds, and for a layer or a number of rows that there is not.
    """
    front = len(lm.encode(""))  # the BOS, or nothing
    ids = _encoded(lm, texts, front)
    depth = lm.model.config.get_text_config().num_hidden_layers
    layer = (depth + 1) // 2 if layer is None else layer
    if layer not in range(depth + 1):
        raise ValueError(f"layer must be 0 to {depth} for {lm.name}, not {layer!r}")
    if rows < 1:
        raise ValueError(f"rows must be at least 1, not {rows!r}")
    if length_dependent(lm.model):
        rows = 1
    distinct = sorted(set(ids), key=lambda row: (len(row), row))  # alike in length: little padding
    vectors: dict[tuple[int, ...], np.ndarray] = {}
    for start in range(0, len(distinct), rows):
        batch = distinct[start : start + rows]
        vectors |= zip(batch, _means(lm, batch, layer, front), strict=True)
    return np.stack([vectors[row] for row in ids])


def _encoded(lm: LM, texts: Sequence[str], front: int) -> list[tuple[int, ...]]:
    """Token ids of every text. Raises ValueError for one that cannot be embedded."""
    if isinstance(texts, str) or not len(texts):
        raise ValueError(f"texts must be a sequence of at least one text, not {texts!r}")
    ids = [tuple(lm.encode(text)) for text in texts]
    for i, (text, row) in enumerate(zip(texts, ids, strict=True)):
        if not text.strip():
            raise ValueError(f"texts[{i}] is blank: {text!r}")
        if len(row) <= front:
            raise ValueError(f"the tokenizer makes no token of texts[{i}]: {text!r}")
        if len(row) > lm.context_length:
            raise ValueError(f"texts[{i}] takes {len(row)} tokens; {lm.name} has room for {lm.context_length}")
    return ids


@torch.inference_mode()
def _means(lm: LM, batch: list[tuple[int, ...]], layer: int, front: int) -> np.ndarray:
    """Unit vectors [rows, hidden size] of one batch."""
    output = plain.right_padded(lm, batch, 1, output_hidden_states=True)  # no logits are wanted, and one is the least
    states = output.hidden_states[layer].float()
    # Sliced, not weighted by the mask: what stands on padding may be anything, NaN included.
    means = torch.stack([states[row, front : len(s)].mean(0) for row, s in enumerate(batch)])
    return torch.nn.functional.normalize(means).cpu().numpy()
