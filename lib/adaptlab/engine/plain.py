"""Scoring without sharing: whole sequences in padded batches, for architectures that cannot be packed exactly."""

from collections.abc import Iterator, Sequence

import torch

from adaptlab.engine import cache
from adaptlab.engine.models import LM

Row = tuple[tuple[int, ...], int]  # a token sequence, and where its scored part begins


def logprobs(lm: LM, rows: Sequence[Row], memory: float) -> list[float]:
    """Sum of log p over the scored part of every row, in nats and in the order given.

    Rows are padded on the right, where a causal model cannot see the padding. ``memory``: GiB for logits.
    """
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    found = [value for batch in batches(lm, [rows[i] for i in order], memory) for value in _batch_logprobs(lm, batch)]
    values = dict(zip(order, found, strict=True))
    return [values[i] for i in range(len(rows))]


def batches(lm: LM, rows: Sequence[Row], memory: float) -> Iterator[list[Row]]:
    """Runs of rows, shortest first, whose logits fit: they reach from the earliest start to the longest end."""
    most = 1 if cache.length_dependent(lm.model) else 8
    batch, first = [], 0
    for sequence, start in rows:
        earliest = min(first, start) if batch else start
        logits = 8 * (len(batch) + 1) * (len(sequence) - earliest + 1) * lm.vocabulary
        if batch and (len(batch) == most or logits > memory * 2**30):
            yield batch
            batch, earliest = [], start
        batch.append((sequence, start))
        first = earliest
    yield batch


@torch.inference_mode()
def _batch_logprobs(lm: LM, batch: list[Row]) -> list[float]:
    width = max(len(s) for s, _ in batch)
    ids = torch.full((len(batch), width), lm.tokenizer.pad_token_id or 0)
    mask = torch.zeros_like(ids)
    for row, (s, _) in enumerate(batch):
        ids[row, : len(s)] = torch.tensor(s)
        mask[row, : len(s)] = 1
    first = min(start for _, start in batch) - 1
    output = lm.model(
        input_ids=ids.to(lm.device), attention_mask=mask.to(lm.device), logits_to_keep=width - first, use_cache=False
    )
    logits = output.logits.float()
    sums = []
    for row, (s, start) in enumerate(batch):
        predicted = torch.tensor(s[start:], device=logits.device)
        at = logits[row, start - 1 - first : len(s) - 1 - first]
        chosen = at.gather(-1, predicted[:, None])[:, 0] - at.logsumexp(-1)
        sums.append(float(chosen.cpu().double().sum()))
    return sums
