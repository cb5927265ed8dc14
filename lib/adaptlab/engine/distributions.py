"""The whole next-token distribution along a text that is given: what a model would have said at every step of it."""

from collections.abc import Iterator, Sequence

import torch

from adaptlab.engine import cache, plain
from adaptlab.engine.cache import EMPTY, Trie, shared_length
from adaptlab.engine.models import LM
from adaptlab.engine.prefixes import prefilled


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
    if not cache.exact_trie(lm.model):
        yield from (plain.distributions(lm, [*row, *a], len(row)) for row, a in zip(ids, answers, strict=True))
        return
    shared = min((min(shared_length(ids[0], row), len(row) - 1) for row in ids), default=0)
    prefix = prefilled(lm, ids[0][:shared])[0] if shared else EMPTY
    for row, answer in zip(ids, answers, strict=True):
        trie = Trie()
        path = trie.insert([*row[shared:], *answer[:-1]])
        logits = cache.trie_logits(lm.model, prefix, trie, path[len(row) - shared - 1 :])
        yield logits.float().log_softmax(-1).cpu()
