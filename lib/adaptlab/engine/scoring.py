"""Log-probabilities of answer options; what questions share is computed once.

A naive scorer sends every option of every question through the model with the whole prompt in front of it. Here the
tokens that all questions share are prefilled once, the rest is packed into tries (`engine.kv_sharing`), and the LM
head runs only where an option's token is predicted. The numbers are the same; `Cost` says what was saved.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace

import torch

from adaptlab.engine import kv_sharing, machine, plain, score_store
from adaptlab.engine.kv_sharing import EMPTY, PrefixCache, Trie
from adaptlab.engine.lm import LM, shared_length
from adaptlab.engine.score_store import Found

PLANS = ("auto", "trie", "plain")
# Nodes in one packed row. Longer rows waste attention on branches that do not see each other, shorter ones
# leave the matrix units idle; on two CPU cores the time is flat between 512 and 1,024.
ROW_TOKENS = 768
WORTH_A_PREFIX = 16  # tokens that are rather computed in a pass of their own than once in every row


@dataclass(frozen=True)
class Request:
    """A context (prompt and question), and the options to score as its continuation."""

    context: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class OptionScore:
    """log p(option | context) in nats, and the option's number of tokens, to normalise by.

    ``greedy``: whether each of its tokens is the most probable one, so that greedy decoding would begin with it;
    whether the text would end there is not asked.
    """

    logprob: float
    tokens: int
    greedy: bool = False


@dataclass(frozen=True)
class Cost:
    """Tokens that went through the model, tokens that did not have to, and seconds.

    ``prefilled``: shared prefix, computed now. ``cached``: shared prefix, taken from an earlier call. ``scored``:
    question and option tokens. ``decoded``: generated tokens. ``trained``: tokens that the model was trained on before,
    each as often as it was met. To compare with, what would be computed if nothing were shared: ``per_item``, one
    request for each question with all its options side by side behind it; ``per_option``, one for each option.
    """

    prefilled: int = 0
    cached: int = 0
    scored: int = 0
    decoded: int = 0
    per_item: int = 0
    per_option: int = 0
    seconds: float = 0.0
    trained: int = 0

    @property
    def computed(self) -> int:
        """Tokens that went through the model to read or to write something."""
        return self.prefilled + self.scored + self.decoded

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


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

    @property
    def alone(self) -> int:
        """Tokens of one request with all options behind it; the last token of each is only ever predicted."""
        return self.start + self.targets - len(self.sequences)


def score(
    lm: LM,
    questions: Sequence[Request],
    *,
    prefix_cache: PrefixCache = EMPTY,
    plan: str = "auto",
) -> Scores:
    """Score every option of every question, exactly as if each had been run alone.

    ``prefix_cache``: that of an earlier `Scores`; as many of its leading tokens as fit are not computed again (a k-shot
    curve with nested demonstrations pays for each demonstration once).
    ``plan``: ``trie`` shares prefix and branches; ``plain`` runs padded batches of whole sequences; ``auto`` takes
    ``trie`` where it is known to be exact for the model's architecture.

    Raises ValueError for an empty option, a question without options, or a sequence beyond the context length.
    """
    plan = plan_for(lm, plan)
    started = time.perf_counter()
    encoded = _encode(lm, questions)
    if not encoded:
        return Scores([], Cost(), prefix_cache, plan)
    per_item, per_option = sum(e.alone for e in encoded), sum(len(s) - 1 for e in encoded for s in e.sequences)
    known = score_store.read(lm, [(e.sequences, e.start) for e in encoded])
    left = [e for e in encoded if (e.sequences, e.start) not in known]
    prefix, found, cost = _score(lm, left, prefix_cache, plan) if left else (prefix_cache, [], Cost())
    values = iter(found)
    fresh = {(e.sequences, e.start): [next(values) for _ in e.sequences] for e in left}
    score_store.write(lm, fresh)
    known |= fresh
    options = [tuple(OptionScore(*one) for one in known[e.sequences, e.start]) for e in encoded]
    cost = replace(cost, per_item=per_item, per_option=per_option, seconds=time.perf_counter() - started)
    return Scores(options, cost, prefix, plan)


def _score(
    lm: LM, encoded: list[_Encoded], prefix_cache: PrefixCache, plan: str
) -> tuple[PrefixCache, list[Found], Cost]:
    """The prefix, the score of every sequence in order, and what went through the model."""
    if plan == "trie":
        rows = [(sequence, e.start - 1) for e in encoded for sequence in e.sequences]
        prefix, computed = shared_prefix(lm, rows, prefix_cache)
        found, more, scored = _score_tries(lm, prefix, encoded)
        return prefix, found, Cost(computed + more, len(prefix) - computed, scored)
    rows = [(sequence, e.start) for e in encoded for sequence in e.sequences]
    return EMPTY, plain.logprobs(lm, rows), Cost(scored=sum(len(row) - 1 for row, _ in rows))


def plan_for(lm: LM, plan: str) -> str:
    """``trie`` or ``plain``; ``auto`` takes ``trie`` where that is exact. Raises ValueError for any other plan."""
    if plan not in PLANS:
        raise ValueError(f"plan must be one of {PLANS}, not {plan!r}")
    if plan == "auto":
        return "trie" if kv_sharing.exact_trie(lm.model) else "plain"
    return plan


def _encode(lm: LM, questions: Sequence[Request]) -> list[_Encoded]:
    """Tokenise contexts and options *joined*, since a tokenizer may merge across the seam.

    Scoring starts where the first option of a question departs from the context's own tokens, the same place for all
    its options, so that all are conditioned on the same tokens.
    """
    for question in questions:
        if not question.options or not all(question.options):
            raise ValueError(f"a question needs options, none of them empty; found {question.options!r}")
    texts = [question.context + option for question in questions for option in ("", *question.options)]
    ids, room, encoded = iter(lm.encode_all(texts)), lm.context_length, []
    for question in questions:
        context, sequences = tuple(next(ids)), tuple(tuple(next(ids)) for _ in question.options)
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
        if longest > room:
            raise ValueError(f"prompt and option take {longest} tokens; {lm.name} has room for {room}")
        encoded.append(_Encoded(sequences, start))
    return encoded


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


def _score_tries(lm: LM, prefix: PrefixCache, encoded: list[_Encoded]) -> tuple[list[Found], int, int]:
    """The score of every sequence, in their order; tokens that longer prefixes took, and nodes of tries."""
    scores, extended, scored = [], 0, 0
    for longer, group, more in _rows(lm, prefix, encoded, machine.room(lm.device)):
        trie, rows = Trie(), [(sequence, e.start) for e in group for sequence in e.sequences]
        # The last token is only ever predicted: it needs no node.
        paths = [trie.insert(sequence[len(longer) : -1])[start - len(longer) - 1 :] for sequence, start in rows]
        nodes, at = torch.tensor([node for path in paths for node in path]).unique(return_inverse=True)
        logits = kv_sharing.trie_logits(lm.model, longer, trie, nodes.tolist()).float()
        at = at.to(logits.device)
        token = torch.tensor([t for sequence, start in rows for t in sequence[start:]], device=logits.device)
        logprobs = (logits[at, token] - logits.logsumexp(-1)[at]).cpu().double()
        first = (logits.argmax(-1)[at] == token).cpu()
        parts = [len(path) for path in paths]
        pairs = zip(logprobs.split(parts), first.split(parts), parts, strict=True)
        scores += [(float(each.sum()), n, bool(best.all())) for each, best, n in pairs]
        extended, scored = extended + more, scored + len(trie)
    return scores, extended, scored


def _rows(
    lm: LM, prefix: PrefixCache, questions: list[_Encoded], room: int
) -> Iterator[tuple[PrefixCache, list[_Encoded], int]]:
    """Questions in order, in groups that fit into one packed row each; the prefix in front of them, and how many tokens
    of it were computed now.

    ``room``: bytes that masks and logits of a row may take.
    Questions that begin alike stand in one row, so that this beginning is computed once. Where they need several rows,
    it becomes a longer prefix of all of them.
    """

    def fits(group: list[_Encoded], nodes: int) -> bool:
        logits, masks = 8 * sum(e.targets for e in group) * lm.vocabulary, 4 * nodes * (len(prefix) + nodes)
        return nodes <= ROW_TOKENS and logits + masks <= room

    if len(questions) == 1 or fits(questions, _nodes(questions, len(prefix))):
        yield prefix, questions, 0
        return
    first = questions[0].sequences[0]
    depth = min(min(shared_length(first, e.sequences[0]), e.start - 1) for e in questions)
    computed = depth - len(prefix) if depth - len(prefix) >= WORTH_A_PREFIX else 0
    if computed:
        prefix = kv_sharing.extend(lm.model, prefix, first[len(prefix) : depth])
    runs = [list(run) for _, run in itertools.groupby(questions, lambda e: e.sequences[0][depth])]
    if len(runs) == 1:  # nothing tells them apart before their options do
        runs = [[e] for e in questions]
    row: list[_Encoded] = []
    taken = 0
    for run in runs:
        nodes = _nodes(run, len(prefix))
        if row and not fits([*row, *run], taken + nodes):
            yield prefix, row, computed
            row, taken, computed = [], 0, 0
        if fits(run, nodes):
            row, taken = [*row, *run], taken + nodes
        else:
            for group in _rows(lm, prefix, run, room):
                yield *group[:2], group[2] + computed
                computed = 0
    if row:
        yield prefix, row, computed


def _nodes(questions: list[_Encoded], past: int) -> int:
    """How many nodes their trie has."""
    trie = Trie()
    for e in questions:
        for sequence in e.sequences:
            trie.insert(sequence[past:-1])
    return len(trie)


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
