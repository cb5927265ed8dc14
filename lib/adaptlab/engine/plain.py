"""Scoring and generation without sharing, for architectures that cannot be packed exactly: padded batches, or one
text at a time where padding would change the numbers."""

import inspect
from collections.abc import Iterator, Sequence

import torch
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel, StoppingCriteriaList
from transformers.utils import ModelOutput

from adaptlab.engine import kv_sharing, machine
from adaptlab.engine.lm import LM, has_cache, length_dependent, runs_that_fit

Row = tuple[tuple[int, ...], int]  # a token sequence, and where its scored part begins


def logprobs(lm: LM, rows: Sequence[Row]) -> list[tuple[float, int, bool]]:
    """Of every row, in the order given, the sum of log p over its scored part, in nats, the number of tokens there, and
    whether each of them is the most probable one.

    Rows are padded on the right, where a causal model cannot see the padding.
    """
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    found = [value for batch in batches(lm, [rows[i] for i in order]) for value in _batch_logprobs(lm, batch)]
    values = dict(zip(order, found, strict=True))
    return [values[i] for i in range(len(rows))]


def batches(lm: LM, rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows, which come shortest first, in batches whose logits fit: from the earliest start to the longest end."""
    most, room = 1 if length_dependent(lm.model) else 8, machine.room(lm.device)

    def fits(batch: list[Row]) -> bool:
        positions = len(batch[-1][0]) - min(start for _, start in batch) + 1
        return len(batch) <= most and 8 * len(batch) * positions * lm.vocabulary <= room

    return runs_that_fit(rows, fits)


@torch.inference_mode()
def _batch_logprobs(lm: LM, batch: list[Row]) -> list[tuple[float, int, bool]]:
    width, first = max(len(s) for s, _ in batch), min(start for _, start in batch) - 1
    logits = right_padded(lm, [s for s, _ in batch], width - first).logits[:, first - width :].float()
    sums = []
    for row, (s, start) in enumerate(batch):
        predicted = torch.tensor(s[start:], device=logits.device)
        at = logits[row, start - 1 - first : len(s) - 1 - first]
        chosen = at.gather(-1, predicted[:, None])[:, 0] - at.logsumexp(-1)
        best = bool((at.argmax(-1) == predicted).all())
        sums.append((float(chosen.cpu().double().sum()), len(predicted), best))
    return sums


def right_padded(lm: LM, rows: Sequence[Sequence[int]], keep: int, **more: object) -> ModelOutput:
    """The model's output for a batch, padded on the right, where a causal model cannot see it.

    ``keep``: at how many positions, from the end, logits are wanted; some models compute all of them.
    """
    ids = torch.full((len(rows), max(map(len, rows))), lm.tokenizer.pad_token_id or 0)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    if "logits_to_keep" in inspect.signature(lm.model.forward).parameters:
        more["logits_to_keep"] = keep
    return lm.model(input_ids=ids.to(lm.device), attention_mask=mask.to(lm.device), use_cache=False, **more)


def continued(lm: LM, ids: list[list[int]], chooser) -> list[list[int]]:
    """New tokens for every prompt by transformers' own `generate`, the one that ends a text included.

    ``chooser``: a `generation.Chooser`. Prompts that must not be padded are continued one by one, and where `generate`
    gives other numbers than a whole pass, every token has a pass of its own.
    """
    if lm.batching == "together":
        # A cache of full length: a stray window in a config must not shorten it.
        return _generated(lm, ids, chooser, range(len(ids)), past_key_values=kv_sharing.EMPTY.fork())
    if lm.batching == "alone":
        return [row for place, one in enumerate(ids) for row in _generated(lm, [one], chooser, [place])]
    return [_read_anew(lm, one, chooser, place) for place, one in enumerate(ids)]


def _generated(lm: LM, ids: list[list[int]], chooser, rows: Sequence[int], **more: object) -> list[list[int]]:
    tokens, mask = padded(lm, ids)
    width, padding, ended = tokens.shape[1], (mask == 0).sum(-1).tolist(), Ends(lm, chooser.decoding.stop)
    config = GenerationConfig(
        max_new_tokens=chooser.decoding.max_new_tokens,
        pad_token_id=lm.tokenizer.pad_token_id,
        eos_token_id=ends(lm),
        use_cache=has_cache(lm.model),
    )

    def chosen(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Leave the chosen tokens alone possible."""
        texts = (row[skipped:] for row, skipped in zip(input_ids.tolist(), padding, strict=True))
        one = torch.tensor(chooser.choose(texts, scores, rows), device=scores.device)
        return torch.full_like(scores, -torch.inf).scatter(-1, one[:, None], 0)

    def stopped(input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        texts = input_ids[:, width:].tolist()
        return torch.tensor([ended(text) for text in texts], device=input_ids.device)

    with torch.inference_mode():
        out = lm.model.generate(
            tokens,
            attention_mask=mask,
            generation_config=config,
            logits_processor=LogitsProcessorList([chosen]),
            stopping_criteria=StoppingCriteriaList([stopped]),
            **more,
        )
    made = out[:, width:].tolist()
    # Behind its end a text is filled up while others grow.
    return [row[: next((n for n in range(1, len(row)) if ended(row[:n])), len(row))] for row in made]


@torch.inference_mode()
def _read_anew(lm: LM, ids: list[int], chooser, place: int) -> list[int]:
    text, ended = [], Ends(lm, chooser.decoding.stop)
    while not ended(text) and len(text) < chooser.decoding.max_new_tokens:
        text += chooser.choose([ids + text], logits(lm.model, ids + text)[-1:], [place])
    return text


def padded(lm: LM, ids: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts side by side, padded on the left, and their attention mask: [prompts, longest]."""
    width, pad = max(map(len, ids)), lm.tokenizer.pad_token_id
    tokens = torch.tensor([[pad] * (width - len(row)) + row for row in ids], device=lm.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids], device=lm.device)
    return tokens, mask


def ends(lm: LM) -> list[int]:
    """The tokens that end a text: a chat model may have several."""
    ids = lm.model.generation_config.eos_token_id
    return ids if isinstance(ids, list) else [lm.tokenizer.eos_token_id if ids is None else ids]


class Ends:
    """Whether a text has just ended: with an end token, or with a stop string."""

    def __init__(self, lm: LM, stop: Sequence[str]) -> None:
        self._tokenizer, self._last, self._stop = lm.tokenizer, set(ends(lm)), stop
        self._tail = max((len(string.encode()) for string in stop), default=0)  # a token is at least one byte
        self._may_end: dict[int, bool] = {}

    def __call__(self, tokens: Sequence[int]) -> bool:
        if not tokens or tokens[-1] in self._last:
            return bool(tokens)
        if tokens[-1] not in self._may_end:
            # Alone, a token may lose its leading space, or be a part of a character.
            text = self._tokenizer.decode(tokens[-1:]) + " "
            self._may_end[tokens[-1]] = "\ufffd" in text or any(c in text for string in self._stop for c in string)
        if not self._may_end[tokens[-1]]:
            return False
        text = self._tokenizer.decode(list(tokens[-self._tail :]))
        return any(string in text for string in self._stop)


@torch.inference_mode()
def distributions(lm: LM, ids: list[int], start: int) -> torch.Tensor:
    """Log-probabilities [tokens from ``start`` on, vocabulary] before each of these tokens, by one pass of its own."""
    return logits(lm.model, ids[:-1])[start - 1 :].float().log_softmax(-1).cpu()


def logits(model: PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    """Next-token logits [tokens, vocabulary] of one text, by a pass of its own."""
    return model(torch.tensor([list(ids)], device=model.device), use_cache=False).logits[0]
