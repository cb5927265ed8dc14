"""Batched generation, greedy or sampled; shared prompt prefixes are computed once.

All texts grow together as the rows of a batch (`adaptlab.engine.kv_sharing.Rows`): what all prompts begin with is
prefilled once and held once, a prompt with many samples is read once, and texts that have ended soon leave the batch.

A sample depends on the seed, its prompt, and how many samples of this prompt stand before it, and on nothing else: its
uniform numbers are drawn beforehand, one for each token, and the next token is where the cumulated probability passes
the number. So neither the batch nor the order of prompts changes a text (up to rounding in the logits).
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from adaptlab.engine import kv_sharing, machine, plain
from adaptlab.engine.kv_sharing import EMPTY, PrefixCache
from adaptlab.engine.lm import LM, check_fields, shared_length
from adaptlab.engine.scoring import Cost, plan_for, shared_prefix

MOST_ROWS = 512  # of a batch


@dataclass(frozen=True)
class Decoding:
    """How the next token is chosen, and where a text ends.

    ``temperature`` 0 is greedy decoding. ``top_p``: sample from the most probable tokens that have this share (Holtzman
    et al. 2020). ``repetition_penalty`` divides the logits of tokens that prompt or completion hold already, and
    multiplies negative ones (Keskar et al. 2019). ``stop``: strings that end a text.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 64
    stop: tuple[str, ...] = ("\n",)

    def __post_init__(self) -> None:
        listed = isinstance(self.stop, tuple | list) and all(isinstance(one, str) and one for one in self.stop)
        check_fields(
            self,
            temperature=("0 or more", self.temperature >= 0),
            top_p=("above 0 and at most 1", 0 < self.top_p <= 1),
            repetition_penalty=("above 0", self.repetition_penalty > 0),
            max_new_tokens=("1 or more", self.max_new_tokens >= 1),
            stop=("a tuple of strings, none of them empty", listed),
        )


@dataclass(frozen=True)
class Completion:
    """The text up to EOS or a stop string; ``stopped``: whether there was one.

    ``tokens`` include those that end it. ``logprobs``: log-probability of each of them, in nats, under the model as it
    is: before penalty, temperature and top-p.
    """

    text: str
    stopped: bool
    tokens: tuple[int, ...] = field(default=(), repr=False, compare=False)
    logprobs: tuple[float, ...] = field(default=(), repr=False, compare=False)

    @property
    def logprob(self) -> float:
        """log p(completion | prompt) in nats, with that of the end."""
        return sum(self.logprobs)


@dataclass(frozen=True)
class Generated:
    """One text for each prompt, in order; the cost; and the prefix that all prompts share, for the next call."""

    completions: list[Completion]
    cost: Cost
    prefix_cache: PrefixCache = field(repr=False)
    plan: str


def generate(
    lm: LM,
    prompts: Sequence[str | list[int]],
    decoding: Decoding = Decoding(),
    *,
    seed: int | tuple[int, ...] = 0,
    rows: int = MOST_ROWS,
    prefix_cache: PrefixCache = EMPTY,
    plan: str = "auto",
) -> Generated:
    """Continue every prompt, given as text or as token ids. A prompt that occurs n times gets n samples.

    ``rows``: prompts in one batch at most; texts do not depend on it. ``prefix_cache``: that of an earlier call.
    ``plan``: ``trie`` shares what prompts have in common; ``plain`` leaves padded batches to transformers, or single
    prompts where padding would change the text; ``auto`` takes ``trie`` where that is known to be exact. The texts are
    the same. Raises ValueError for a prompt that leaves no room for ``max_new_tokens``.
    """
    if rows < 1:
        raise ValueError(f"rows must be 1 or more; found {rows}")
    plan = plan_for(lm, plan)
    started, ids = time.perf_counter(), _encode(lm, prompts, decoding.max_new_tokens)
    uniforms = _uniforms(ids, decoding, seed)
    prefix, computed, nodes = EMPTY, 0, 0
    if plan == "trie" and ids:
        prefix, computed = shared_prefix(lm, [(row, len(row) - 1) for row in ids], prefix_cache)
    completions: dict[int, Completion] = {}
    for batch in _batches(lm, ids, min(rows, MOST_ROWS), decoding.max_new_tokens):
        chooser = Chooser(decoding, uniforms[batch])
        if plan == "trie":
            tokens, count = _grown(lm, [ids[i] for i in batch], prefix, chooser)
        else:
            tokens = plain.continued(lm, [ids[i] for i in batch], chooser)
            count = sum(len(ids[i]) for i in batch)
        nodes += count
        for row, (i, made) in enumerate(zip(batch, tokens, strict=True)):
            completions[i] = cut(lm, made, chooser.logprobs[row][: len(made)], decoding.stop)
    decoded = sum(len(one.tokens) for one in completions.values())
    alone = decoded + sum(map(len, ids))
    cost = Cost(computed, len(prefix) - computed, nodes, decoded, alone, alone, time.perf_counter() - started)
    return Generated([completions[i] for i in range(len(ids))], cost, prefix, plan)


def _encode(lm: LM, prompts: Sequence[str | list[int]], max_new_tokens: int) -> list[list[int]]:
    read = iter(lm.encode_all([prompt for prompt in prompts if isinstance(prompt, str)]))
    ids = [next(read) if isinstance(prompt, str) else prompt for prompt in prompts]
    lm.check_tokens(ids)
    for row in ids:
        if not row:
            raise ValueError("nothing to continue: the prompt is empty, and the tokenizer puts no token in front")
        if len(row) + max_new_tokens > lm.context_length:
            room = f"do not fit into {lm.context_length} tokens"
            raise ValueError(f"a prompt of {len(row)} tokens and {max_new_tokens} more {room}")
    return ids


def _uniforms(ids: Sequence[Sequence[int]], decoding: Decoding, seed: int | tuple[int, ...]) -> np.ndarray:
    """A number in [0, 1) for every token of every text: [prompts, max_new_tokens], or [prompts, 0] for greedy ones."""
    found = np.zeros((len(ids), decoding.max_new_tokens if decoding.temperature else 0))
    places: dict[tuple[int, ...], list[int]] = {}
    for i, row in enumerate(ids):
        places.setdefault(tuple(row), []).append(i)
    for row, repeats in places.items() if decoding.temperature else ():
        key = hashlib.sha256(repr((seed, row)).encode()).digest()
        found[repeats] = np.random.default_rng(list(key)).random((len(repeats), decoding.max_new_tokens))
    return found


def _batches(lm: LM, ids: Sequence[Sequence[int]], rows: int, new: int) -> Iterator[list[int]]:
    """Prompts, shorter ones and equal ones together, in batches whose own keys, values and logits fit into memory."""
    config = lm.model.config.get_text_config()
    token = 2 * config.num_hidden_layers * config.hidden_size * lm.dtype.itemsize  # or less, where heads share keys
    batch: list[int] = []
    shared, longest, room = 0, 0, machine.room(lm.device)
    for i in sorted(range(len(ids)), key=lambda i: (len(ids[i]), ids[i])):
        both = min(shared, shared_length(ids[i], ids[batch[0]])) if batch else len(ids[i])
        most = max(longest, len(ids[i]))
        need = (len(batch) + 1) * ((most - both + new) * token + 24 * lm.vocabulary)
        if batch and (len(batch) == rows or need > room):
            yield batch
            batch, both, most = [], len(ids[i]), len(ids[i])
        batch.append(i)
        shared, longest = both, most
    if batch:
        yield batch


def _grown(lm: LM, ids: list[list[int]], prefix: PrefixCache, chooser: "Chooser") -> tuple[list[list[int]], int]:
    """New tokens for every prompt, the one that ends a text included; and how many prompt tokens were computed."""
    decoding, first = chooser.decoding, ids[0]
    common = min(min(shared_length(first, row), len(row) - 1) for row in ids)
    more = kv_sharing.extend(lm.model, prefix, first[len(prefix) : common])
    rows = kv_sharing.Rows(lm.model, more, [row[common:] for row in ids], min(64, decoding.max_new_tokens))
    texts: list[list[int]] = [[] for _ in ids]
    live, ended, ends = list(range(len(ids))), set(), plain.Ends(lm, decoding.stop)
    while True:
        tokens = chooser.choose((ids[i] + texts[i] for i in live), rows.logits, live)
        for i, token in zip(live, tokens, strict=True):
            if i not in ended:
                texts[i].append(token)
                if ends(texts[i]) or len(texts[i]) == decoding.max_new_tokens:
                    ended.add(i)
        if len(ended) == len(ids):
            return texts, common - len(prefix) + rows.nodes
        going = [place for place, i in enumerate(live) if i not in ended]
        if len(going) <= 0.8 * len(live):  # to leave out every row as it ends would copy the others each time
            rows.keep(going)
            live, tokens = [live[place] for place in going], [tokens[place] for place in going]
        rows.grow(tokens)


class Chooser:
    """Chooses the next token of every text of a batch, and keeps the log-probability that the model gave it.

    ``uniforms`` [texts, tokens]: the numbers that sampled tokens are chosen by. ``logprobs``: for each text those of
    its tokens so far, in nats.
    """

    def __init__(self, decoding: Decoding, uniforms: np.ndarray) -> None:
        self.decoding, self._uniforms = decoding, torch.from_numpy(uniforms)
        self.logprobs: list[list[float]] = [[] for _ in uniforms]
        self._steps = LogitsProcessorList()
        if decoding.repetition_penalty != 1:
            self._steps.append(RepetitionPenaltyLogitsProcessor(decoding.repetition_penalty))
        if decoding.temperature:
            self._steps.append(TemperatureLogitsWarper(float(decoding.temperature)))
            if decoding.top_p < 1:
                self._steps.append(TopPLogitsWarper(decoding.top_p))

    def choose(self, texts: Iterable[list[int]], logits: torch.Tensor, rows: Sequence[int]) -> list[int]:
        """The next token of each text; ``rows``: its place in the batch. ``logits``: [texts, vocabulary]."""
        logits, read = logits.float(), None
        if self.decoding.repetition_penalty != 1:
            texts = list(texts)
            width = max(map(len, texts))
            # Filled up with a token that a text holds anyway: a padding token would be penalised with the others.
            filled = [text[:1] * (width - len(text)) + text for text in texts]
            read = torch.tensor(filled, device=logits.device)
        scores = self._steps(read, logits) if self._steps else logits
        if self.decoding.temperature:
            # In 64 bits, which MPS has not: there the CPU chooses.
            cumulated = (scores.cpu() if scores.device.type == "mps" else scores).double().softmax(-1).cumsum(-1)
            drawn = self._uniforms[list(rows), [len(self.logprobs[row]) for row in rows]].to(cumulated.device)
            tokens = torch.searchsorted(cumulated, drawn[:, None] * cumulated[:, -1:], right=True).to(logits.device)
        else:
            tokens = scores.argmax(-1, keepdim=True)
        found = (logits.gather(-1, tokens)[:, 0] - logits.logsumexp(-1)).tolist()
        for row, logprob in zip(rows, found, strict=True):
            self.logprobs[row].append(logprob)
        return tokens[:, 0].tolist()


def cut(lm: LM, tokens: Sequence[int], logprobs: Sequence[float], stop: Sequence[str]) -> Completion:
    """A completion of these tokens: its text, up to an end token or a stop string."""
    last = set(plain.ends(lm))
    kept = list(takewhile(lambda token: token not in last, tokens))
    text = lm.tokenizer.decode(kept, skip_special_tokens=True)
    found = [at for string in stop if (at := text.find(string)) >= 0]
    stopped = len(kept) < len(tokens) or bool(found)
    return Completion(text[: min(found)] if found else text, stopped, tuple(tokens), tuple(logprobs))
