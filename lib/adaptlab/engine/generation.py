"""Batched generation, greedy or sampled; shared prompt prefixes are computed once.

All texts grow together as branches of packed rows (`adaptlab.engine.kv_sharing.Branches`): the prefix that all prompts
share is prefilled once, a prompt with many samples is computed once, and a text that has ended costs nothing more.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from adaptlab.engine import plain
from adaptlab.engine.kv_sharing import EMPTY, Branches, PrefixCache
from adaptlab.engine.lm import LM, check_fields, runs_that_fit
from adaptlab.engine.scoring import ROW_TOKENS, Cost, plan_for, shared_prefix

MOST_BRANCHES = 64  # of one packed row: each attends, masked, to the tokens of all others


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
    """The text up to EOS or a stop string; ``stopped``: whether there was one. ``tokens`` include those that end it."""

    text: str
    stopped: bool
    tokens: tuple[int, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class Generated:
    """One text for each prompt, in order; the cost; and the prefix that all prompts share, for the next call."""

    completions: list[Completion]
    cost: Cost
    prefix_cache: PrefixCache = field(repr=False)
    plan: str


def generate(
    lm: LM,
    prompts: Sequence[str],
    decoding: Decoding = Decoding(),
    *,
    seed: int = 0,
    rows: int = 128,
    prefix_cache: PrefixCache = EMPTY,
    plan: str = "auto",
) -> Generated:
    """Continue every prompt; the same prompt may occur many times.

    ``rows``: prompts in one batch; sampled text depends on it and on ``seed``, and on nothing else. ``prefix_cache``:
    that of an earlier call. ``plan``: ``trie`` shares what prompts have in common; ``plain`` leaves padded batches to
    transformers, or single prompts where padding would change the text; ``auto`` takes ``trie`` where that is known to
    be exact. The texts are the same. Raises ValueError for a prompt that leaves no room for ``max_new_tokens``.
    """
    plan = plan_for(lm, plan)
    started, ids = time.perf_counter(), [_encode(lm, prompt, decoding.max_new_tokens) for prompt in prompts]
    prefix, computed, nodes = EMPTY, 0, 0
    if plan == "trie" and ids:
        prefix, computed = shared_prefix(lm, [(row, len(row) - 1) for row in ids], prefix_cache)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    tokens: dict[int, list[int]] = {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, len(order), rows):
            chosen = order[start : start + rows]
            batch = [ids[i] for i in chosen]
            if plan == "trie":
                made, count = _grown(lm, batch, prefix, decoding)
            else:
                made, count = plain.continued(lm, batch, decoding), sum(map(len, batch))
            nodes += count
            tokens |= zip(chosen, made, strict=True)
    completions = [_cut(lm, tokens[i], decoding.stop) for i in range(len(prompts))]
    decoded = sum(map(len, tokens.values()))
    naive = decoded + sum(map(len, ids))
    cost = Cost(computed, len(prefix) - computed, nodes, decoded, naive, time.perf_counter() - started)
    return Generated(completions, cost, prefix, plan)


def _encode(lm: LM, prompt: str, max_new_tokens: int) -> list[int]:
    ids = lm.encode(prompt)
    if not ids:
        raise ValueError("nothing to continue: the prompt is empty, and the tokenizer puts no token in front")
    if len(ids) + max_new_tokens > lm.context_length:
        room = f"do not fit into {lm.context_length} tokens"
        raise ValueError(f"a prompt of {len(ids)} tokens and {max_new_tokens} more {room}")
    return ids


def _grown(lm: LM, ids: list[list[int]], prefix: PrefixCache, decoding: Decoding) -> tuple[list[list[int]], int]:
    """New tokens for every prompt, the one that ends a text included; and how many prompt tokens were computed."""
    rows = [row[len(prefix) :] for row in ids]

    def fits(group: list[int]) -> bool:
        tokens = sum(len(rows[i]) for n, i in enumerate(group) if not n or rows[i] != rows[group[n - 1]])
        return tokens <= ROW_TOKENS and len(group) <= MOST_BRANCHES

    members = runs_that_fit(range(len(rows)), fits)
    groups = [_Group(group, Branches(lm.model, prefix, [rows[i] for i in group])) for group in members]
    nodes = sum(group.branches.nodes for group in groups)
    scores = torch.cat([group.branches.logits for group in groups]).float()
    completions: list[list[int]] = [[] for _ in ids]
    for length in range(1, decoding.max_new_tokens + 1):
        tokens = _chosen(ids, completions, scores, decoding)
        for group in groups:
            group.append(lm, tokens, completions, decoding.stop)
        groups = [group for group in groups if group.members]
        if not groups or length == decoding.max_new_tokens:
            break
        for group in groups:
            group.branches.grow([tokens[i] for i in group.members])
            scores[group.members] = group.branches.logits.float()
    return completions, nodes


@dataclass
class _Group:
    """Texts that grow in one packed row; ``members`` are their indices in the batch."""

    members: list[int]
    branches: Branches

    def append(self, lm: LM, tokens: list[int], completions: list[list[int]], stop: Sequence[str]) -> None:
        """Append every member's next token; members whose text has ended leave the group."""
        for member in self.members:
            completions[member].append(tokens[member])
        last = plain.ends(lm)
        going = [
            i
            for i, member in enumerate(self.members)
            if tokens[member] not in last and not plain.has_stop(lm, completions[member], stop)
        ]
        if going and len(going) < len(self.members):
            self.branches.keep(going)
        self.members = [self.members[i] for i in going]


def _chosen(ids: list[list[int]], completions: list[list[int]], scores: torch.Tensor, decoding: Decoding) -> list[int]:
    """The next token of every text. Ended texts are drawn for as well: so a sample does not depend on the length of the
    others, and is the one that transformers would draw."""
    steps, read = LogitsProcessorList(), None  # only the penalty needs the tokens so far
    if decoding.repetition_penalty != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(decoding.repetition_penalty))
        rows = [row + new for row, new in zip(ids, completions, strict=True)]
        width = max(map(len, rows))
        # Rows are filled up with a token that they hold anyway: a padding token would be penalised with the others.
        read = torch.tensor([row[:1] * (width - len(row)) + row for row in rows], device=scores.device)
    if decoding.temperature:
        steps.append(TemperatureLogitsWarper(float(decoding.temperature)))
        if decoding.top_p < 1:
            steps.append(TopPLogitsWarper(decoding.top_p))
    processed = steps(read, scores) if steps else scores
    if not decoding.temperature:
        return processed.argmax(-1).tolist()
    return torch.multinomial(processed.softmax(-1), num_samples=1)[:, 0].tolist()


def _cut(lm: LM, tokens: list[int], stop: Sequence[str]) -> Completion:
    last = set(plain.ends(lm))
    kept = list(takewhile(lambda token: token not in last, tokens))
    text = lm.tokenizer.decode(kept, skip_special_tokens=True)
    found = [at for string in stop if (at := text.find(string)) >= 0]
    stopped = len(kept) < len(tokens) or bool(found)
    return Completion(text[: min(found)] if found else text, stopped, tuple(tokens))
