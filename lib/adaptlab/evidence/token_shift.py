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

from adaptlab.engine.generation import Completion, Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.scoring import along
from adaptlab.tasks.records import Instruction

SHIFTS = ("unshifted", "marginal", "shifted")
PARTS = ("first", "middle", "last")  # of an answer
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
    """One row for each token of each aligned answer, up to and with the first one that belongs to its end.

    ``rank`` (1 is the base's first choice), ``kind``, ``base_prob``, ``kl``: KL(aligned || base) in nats, the direction
    chosen here, as the paper does not tell its own; ``place`` counts from 0, ``part`` is first, middle or last. Where a
    layout ends answers with several tokens, the first of them is the decision, and what follows is forced. ``ended`` is
    False for answers that were cut off: their last token is a middle one.

    Raises ValueError where the two do not share their tokens, or ``how`` is not greedy.
    """
    if aligned.lm.tokenizer.get_vocab() != base.lm.tokenizer.get_vocab():
        raise ValueError(f"{aligned.lm.name} and {base.lm.name} read different tokens: ranks cannot be compared")
    if how.temperature:
        raise ValueError(f"the aligned answer is greedy (temperature 0); found {how.temperature}")
    prompts = [[source.prompt(item) for item in items] for source in (aligned, base)]
    completions = generate(aligned.lm, prompts[0], how).completions
    answers = [_with_first_of_end(aligned.lm, one) for one in completions]
    after, before = along(aligned.lm, prompts[0], answers), along(base.lm, prompts[1], answers)
    shared = {"model": base.lm.name, "aligned": aligned.name, "base": base.name, "seed": seed}
    rows = []
    for item, one, answer, p, q in zip(items, completions, answers, after, before, strict=True):
        facts = shared | {"item": item.id, "ended": one.stopped}
        rows += [facts | row for row in _rows(aligned.lm, answer, one.stopped, p, q)]
    return pd.DataFrame(rows)


def _with_first_of_end(lm: LM, completions: Completion) -> tuple[int, ...]:
    """The tokens of an answer and, where it has ended, the first one behind its last visible sign."""
    said = completions.text.rstrip()
    for n in range(len(completions.tokens)):
        if len(lm.tokenizer.decode(completions.tokens[:n], skip_special_tokens=True).rstrip()) >= len(said):
            return completions.tokens[: n + 1]
    return completions.tokens


def _rows(lm: LM, answer: Sequence[int], ended: bool, p: torch.Tensor, q: torch.Tensor) -> list[dict[str, object]]:
    """``p`` and ``q`` [tokens, vocabulary]: log-probabilities of the aligned and of the base source."""
    chosen = q.gather(1, torch.tensor(answer)[:, None])
    ranks = (q > chosen).sum(1) + 1
    kl = (p.exp() * (p - q)).nan_to_num().sum(1)
    last = len(answer) - 1 if ended else None
    return [
        {
            "place": place,
            "part": "last" if place == last else "middle" if place else "first",
            "token": lm.tokenizer.decode([token]),
            "rank": int(rank),
            "kind": SHIFTS[(rank > 1) + (rank > MARGINAL)],
            "base_prob": float(c.exp()),
            "kl": float(k),
        }
        for place, (token, rank, c, k) in enumerate(zip(answer, ranks.tolist(), chosen[:, 0], kl, strict=True))
    ]


def by_part(tokens: pd.DataFrame) -> pd.DataFrame:
    """Shares for claims: one row for each (seed, item, part), the part ``all`` among them.

    ``shifted``: share of tokens below the base's first three; ``beyond_half``: by how much the share of its own first
    choices exceeds one half. Items with an answer that was cut off, or too short to have a middle, are left out in
    every draw: each item that stays has every part in all draws. Where none stays, there are no rows.
    """
    marked = tokens.assign(shifted=tokens["rank"] > MARGINAL, beyond_half=(tokens["rank"] == 1) - 0.5)
    marked = marked[marked.groupby("item").ended.transform("all")]
    keys = ["model", "seed", "item"]
    parts = pd.concat([marked, marked.assign(part="all")], ignore_index=True)
    shares = parts.groupby([*keys, "part"], as_index=False)[["shifted", "beyond_half"]].mean()
    whole = shares.groupby("item").size() == tokens.seed.nunique() * 4
    return shares[shares["item"].isin(whole.index[whole])].reset_index(drop=True)
