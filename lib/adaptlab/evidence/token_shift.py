"""How far does a way to align a model move its next-token distributions?

Token-distribution shift (Lin et al. 2023, arXiv 2312.01552, section 2.1): the aligned source answers greedily; at every
token of that answer, the base source is asked how it ranks the token. *Unshifted*: its own first choice; *marginal*:
among its first three; *shifted*: below. A source is any model behind any prompt: base against base with demonstrations,
or base against its tuned copy. The base follows the aligned answer all along, so this tells nothing about where it
would have gone by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from adaptlab.engine.distributions import along
from adaptlab.engine.models import LM
from adaptlab.engine.sampling import Decoding, continuations
from adaptlab.tasks.records import Instruction

KINDS = ("unshifted", "marginal", "shifted")
MARGINAL = 3  # ranks up to this one


@dataclass(frozen=True)
class Source:
    """A model, and what makes a prompt of an item for it."""

    name: str
    lm: LM
    prompt: Callable[[Instruction], str]


def token_shift(
    aligned: Source, base: Source, items: Sequence[Instruction], how: Decoding, *, seed: int = 0
) -> pd.DataFrame:
    """One row for each token of each aligned answer, the one that ends it included.

    ``rank`` (1 is the base's first choice), ``kind``, ``base_prob``, ``kl``: KL(aligned || base) in nats, the direction
    chosen here, as the paper does not tell its own; ``place`` counts from 0, ``part`` is first, middle or last.

    Raises ValueError where the two do not share their tokens, or ``how`` is not greedy.
    """
    if aligned.lm.tokenizer.get_vocab() != base.lm.tokenizer.get_vocab():
        raise ValueError(f"{aligned.lm.name} and {base.lm.name} read different tokens: ranks cannot be compared")
    if how.temperature:
        raise ValueError(f"the aligned answer is greedy (temperature 0); found {how.temperature}")
    prompts = [[source.prompt(item) for item in items] for source in (aligned, base)]
    answers = [w.tokens for w in continuations(aligned.lm, prompts[0], how).written]
    after, before = along(aligned.lm, prompts[0], answers), along(base.lm, prompts[1], answers)
    shared = {"model": base.lm.name, "aligned": aligned.name, "base": base.name, "seed": seed}
    rows = []
    for item, answer, p, q in zip(items, answers, after, before, strict=True):
        rows += [shared | {"item": item.id} | row for row in _rows(aligned.lm, answer, p, q)]
    return pd.DataFrame(rows)


def _rows(lm: LM, answer: Sequence[int], p: torch.Tensor, q: torch.Tensor) -> list[dict[str, object]]:
    """``p`` and ``q`` [tokens, vocabulary]: log-probabilities of the aligned and of the base source."""
    chosen = q.gather(1, torch.tensor(answer)[:, None])
    ranks = (q > chosen).sum(1) + 1
    kl = (p.exp() * (p - q)).nan_to_num().sum(1)
    last = len(answer) - 1
    return [
        {
            "place": place,
            "part": "last" if place == last else "middle" if place else "first",
            "token": lm.tokenizer.decode([token]),
            "rank": int(rank),
            "kind": KINDS[(rank > 1) + (rank > MARGINAL)],
            "base_prob": float(c.exp()),
            "kl": float(k),
        }
        for place, (token, rank, c, k) in enumerate(zip(answer, ranks.tolist(), chosen[:, 0], kl, strict=True))
    ]


def by_part(tokens: pd.DataFrame) -> pd.DataFrame:
    """Shares for claims: one row for each (seed, item, part), the part ``all`` among them.

    ``shifted``: share of tokens that are not the base's first choice; ``beyond_half``: by how much the share of those
    that are exceeds one half. Answers of fewer than three tokens have no middle and are left out, in every draw: each
    item that stays has every part in all draws.
    """
    marked = tokens.assign(shifted=tokens["rank"] > 1)
    keys = ["model", "seed", "item"]
    parts = pd.concat([marked, marked.assign(part="all")], ignore_index=True)
    shares = parts.groupby([*keys, "part"], as_index=False).shifted.mean()
    whole = shares.groupby("item").size() == tokens.seed.nunique() * 4
    return shares[shares.item.map(whole)].assign(beyond_half=lambda rows: 0.5 - rows.shifted).reset_index(drop=True)
