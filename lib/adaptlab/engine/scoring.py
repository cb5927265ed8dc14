"""Log-probabilities of answer options; what questions share is computed once.

A naive scorer sends every option of every question through the model with the whole prompt in front of it. Here the
tokens that all questions share are prefilled once, the rest is packed into tries (`engine.kv_sharing`), and the LM
head runs only where an option's token is predicted. The numbers are the same; `Cost` says what was saved.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from adaptlab.engine import kv_sharing, plain
from adaptlab.engine.kv_sharing import EMPTY, PrefixCache, Trie, shared_length
from adaptlab.engine.lm import LM, runs_that_fit

PLANS = ("auto", "trie", "plain")
# Nodes in one packed row. Longer rows waste attention on branches that do not see each other, shorter ones
# leave the matrix units idle; on two CPU cores the time is flat between 512 and 1,024.
ROW_TOKENS = 768


@dataclass(frozen=True)
class Request:
    """A context (prompt and question), and the options to score as its continuation."""

    context: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class OptionScore:
    """log p(option | context) in nats, and the option's number of tokens, to normalise by."""

    logprob: float
    tokens: int


@dataclass(frozen=True)
class Cost:
    """Tokens that went through the model, tokens that did not have to, and seconds.

    ``prefilled``: shared prefix, computed now. ``cached``: shared prefix, taken from an earlier call. ``scored``:
    question and option tokens. ``decoded``: generated tokens. ``naive``: what one request at a time would compute.
    ``trained``: tokens that the model was trained on before, each as often as it was met.
    """

    prefilled: int = 0
    cached: int = 0
    scored: int = 0
    decoded: int = 0
    naive: int = 0
    seconds: float = 0.0
    trained: int = 0


@dataclass(frozen=True)
class Scores:
    """One tuple of options for each question, in order; the cost; and the prefix, for the next call."""

    options: list[tuple[OptionScore, ...]]
    cost: Cost
    prefix_cache: PrefixCache
    plan: str


@dataclass(frozen=True)
class _Encoded:
    """A question's options as whole token sequences, and where the scored part of each begins."""

    sequences: tuple[tuple[int, ...], ...]
    start: int

    @property
    def targets(self) -> int:
        return sum(len(s) - self.start for s in self.sequences)


def score(
    lm: LM,
    questions: Sequence[Request],
    *,
    prefix_cache: PrefixCache = EMPTY,
    plan: str = "auto",
    memory: float = 1.0,
) -> Scores:
    """Score every option of every question, exactly as if each had been run alone.

    ``prefix_cache``: that of an earlier `Scores`; as many of its leading tokens as fit are not computed again (a k-shot
    curve with nested demonstrations pays for each demonstration once).
    ``plan``: ``trie`` shares prefix and branches; ``plain`` runs padded batches of whole sequences; ``auto`` takes
    ``trie`` where it is known to be exact for the model's architecture.
    ``memory``: GiB that masks and logits may take beside the weights.

    Raises ValueError for an empty option, a question without options, or a sequence beyond the context length.
    """
    plan = plan_for(lm, plan)
    started = time.perf_counter()
    encoded = [_encode(lm, question) for question in questions]
    if not encoded:
        return Scores([], Cost(), prefix_cache, plan)
    naive = sum(len(s) - 1 for e in encoded for s in e.sequences)  # the last token is only ever predicted
    if plan == "trie":
        prefix, computed = shared_prefix(lm, [(s, e.start - 1) for e in encoded for s in e.sequences], prefix_cache)
        logprobs, scored = _score_tries(lm, prefix, encoded, memory)
        cost = Cost(computed, len(prefix) - computed, scored, naive=naive)
    else:
        rows = [(sequence, e.start) for e in encoded for sequence in e.sequences]
        prefix, logprobs, cost = EMPTY, plain.logprobs(lm, rows, memory), Cost(scored=naive, naive=naive)
    values = iter(logprobs)
    options = [tuple(OptionScore(next(values), len(sequence) - e.start) for sequence in e.sequences) for e in encoded]
    return Scores(options, replace(cost, seconds=time.perf_counter() - started), prefix, plan)


def plan_for(lm: LM, plan: str) -> str:
    """``trie`` or ``plain``; ``auto`` takes ``trie`` where that is exact. Raises ValueError for any other plan."""
    if plan not in PLANS:
        raise ValueError(f"plan must be one of {PLANS}, not {plan!r}")
    if plan == "auto":
        return "trie" if kv_sharing.exact_trie(lm.model) else "plain"
    return plan


def _encode(lm: LM, question: Request) -> _Encoded:
    """Tokenise context and option *joined*, since a tokenizer may merge across the seam.

    Scoring starts where the first option departs from the context's own tokens, the same place for all options,
    so that all are conditioned on the same tokens.
    """
    if not question.options or not all(question.options):
        raise ValueError(f"a question needs options, none of them empty; found {question.options!r}")
    context = lm.encode(question.context)
    sequences = tuple(tuple(lm.encode(question.context + option)) for option in question.options)
    start = min(shared_length(context, s) for s in sequences)
    if not start:
        raise ValueError(
            "nothing to condition on: the context is empty, and the tokenizer puts no token in front; "
            f"begin it with some text (context {question.context!r})"
        )
    for option, sequence in zip(question.options, sequences, strict=True):
        if len(sequence) <= start:
            raise ValueError(f"the tokenizer makes no token of the option {option!r}; it cannot be scored")
    longest = max(map(len, sequences))
    if longest > lm.context_length:
        raise ValueError(f"prompt and option take {longest} tokens; {lm.name} has room for {lm.context_length}")
    return _Encoded(sequences, start)


def shared_prefix(
    lm: LM, rows: Sequence[tuple[Sequence[int], int]], prefix_cache: PrefixCache = EMPTY
) -> tuple[PrefixCache, int]:
    """The tokens that all ``rows`` begin with, and how many of them had to be computed now.

    A row comes with how many of its tokens may be shared at most. What ``prefix_cache`` has of them is taken over, if
    the same model made it.
    """
    first = rows[0][0]
    ids = first[: min(min(shared_length(first, row), most) for row, most in rows)]
    owner = f"{lm.digest} {lm.dtype} {lm.device}"
    if prefix_cache.owner != owner:
        prefix_cache = replace(EMPTY, owner=owner)
    kept = prefix_cache.head(shared_length(prefix_cache.ids, ids))
    return kv_sharing.extend(lm.model, kept, ids[len(kept) :]), len(ids) - len(kept)


def _score_tries(lm: LM, prefix: PrefixCache, encoded: list[_Encoded], memory: float) -> tuple[list[float], int]:
    """Sum of log p over the scored part of every sequence, in their order; and how many nodes that took."""
    logprobs, scored = [], 0
    for group in _groups(lm, prefix, encoded, memory):
        trie, rows = Trie(), [(sequence, e.start) for e in group for sequence in e.sequences]
        # The last token is only ever predicted: it needs no node.
        paths = [trie.insert(sequence[len(prefix) : -1])[start - len(prefix) - 1 :] for sequence, start in rows]
        nodes, at = torch.tensor([node for path in paths for node in path]).unique(return_inverse=True)
        logits = kv_sharing.trie_logits(lm.model, prefix, trie, nodes.tolist()).float()
        at = at.to(logits.device)
        token = torch.tensor([t for sequence, start in rows for t in sequence[start:]], device=logits.device)
        found = (logits[at, token] - logits.logsumexp(-1)[at]).cpu().double()
        logprobs += [float(part.sum()) for part in found.split([len(path) for path in paths])]
        scored += len(trie)
    return logprobs, scored


def _groups(lm: LM, prefix: PrefixCache, encoded: list[_Encoded], memory: float) -> Iterator[list[_Encoded]]:
    """Questions in order, in groups whose masks and logits stay within ``memory`` GiB."""

    def fits(group: list[_Encoded]) -> bool:
        tokens = sum(max(map(len, e.sequences)) - len(prefix) + e.targets for e in group)
        logits = 8 * sum(e.targets for e in group) * lm.vocabulary
        masks = 4 * tokens * (len(prefix) + tokens)
        return tokens <= ROW_TOKENS and logits + masks <= memory * 2**30

    return runs_that_fit(encoded, fits)


def along(lm: LM, prompts: Sequence[str], answers: Sequence[Sequence[int]]) -> Iterator[torch.Tensor]:
    """For each prompt, log-probabilities [tokens of its answer, vocabulary] before every token of the answer.

    Answers are token ids, since two prompts may be given the same answer only in tokens. What all prompts begin with is
    computed once. Raises ValueError where prompt and answer do not fit into the context.
    """
    ids = [lm.encode(prompt) for prompt in prompts]
    for row, answer in zip(ids, answers, strict=True):
        if not row or not answer:
            raise ValueError("prompts and answers must have at least one token each")
        if len(row) + len(answer) > lm.context_length:
            raise ValueError(f"{len(row)} + {len(answer)} tokens do not fit into {lm.context_length}")
    if not ids:
        return
    if not kv_sharing.exact_trie(lm.model):
        yield from (plain.distributions(lm, [*row, *a], len(row)) for row, a in zip(ids, answers, strict=True))
        return
    prefix, _ = shared_prefix(lm, [(row, len(row) - 1) for row in ids])
    for row, answer in zip(ids, answers, strict=True):
        trie = Trie()
        path = trie.insert([*row[len(prefix) :], *answer[:-1]])
        logits = kv_sharing.trie_logits(lm.model, prefix, trie, path[len(row) - len(prefix) - 1 :])
        yield logits.float().log_softmax(-1).cpu()
