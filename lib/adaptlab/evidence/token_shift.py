"""How far does a way to align a model move its next-token distributions?

Token-distribution shift (Lin et al. 2023, arXiv 2312.01552, section 2.1): the aligned model answers greedily; at every
token of that answer, the base is asked how it ranks the token. *Unshifted*: its own first choice; *marginal*: among its
first three; *shifted*: below. Both are models with prompts: a base with demonstrations and without, or a tuned copy and
its base. The base follows the aligned answer all along, so this tells nothing about where it would have gone by itself.
"""

from collections.abc import Sequence

import pandas as pd
import torch

from adaptlab.engine.generation import Completion, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.scoring import along
from adaptlab.methods.answering import Generator
from adaptlab.tasks.records import Instruction

SHIFTS = ("unshifted", "marginal", "shifted")
PARTS = ("first", "middle", "last")  # of an answer
MARGINAL = 3  # ranks up to this one


def token_shift(aligned: Generator, base: Generator, items: Sequence[Instruction]) -> pd.DataFrame:
    """One row for each token of each aligned answer, up to and with the first one that belongs to its end.

    ``rank`` (1 is the base's first choice), ``shift`` (one of `SHIFTS`), ``base_prob``, ``kl``: KL(aligned || base) in
    nats, the direction chosen here, as the paper does not tell its own; ``position`` counts from 0, ``part`` is first,
    middle or last. Where a prompt format ends answers with several tokens, the first of them is the decision, and what
    follows is forced. ``ended`` is False for answers that were cut off: their last token is a middle one.

    Raises ValueError where the two do not share their tokens, or the aligned model does not decode greedily.
    """
    if aligned.lm.tokenizer.get_vocab() != base.lm.tokenizer.get_vocab():
        raise ValueError(f"{aligned.lm.name} and {base.lm.name} read different tokens: ranks cannot be compared")
    if aligned.decoding.temperature:
        raise ValueError(f"the aligned answer is greedy (temperature 0); found {aligned.decoding.temperature}")
    prompts = [[generator.prompt(item.query) for item in items] for generator in (aligned, base)]
    completions = generate(aligned.lm, prompts[0], aligned.decoding).completions
    answers = [_with_first_of_end(aligned.lm, one) for one in completions]
    after, before = along(aligned.lm, prompts[0], answers), along(base.lm, prompts[1], answers)
    rows = []
    for item, one, answer, p, q in zip(items, completions, answers, after, before, strict=True):
        facts = {"model": base.model, "method": aligned.name, "item": item.id, "ended": one.stopped}
        rows += [facts | row for row in _rows(aligned.lm, answer, one.stopped, p, q)]
    return pd.DataFrame(rows)


def _with_first_of_end(lm: LM, completion: Completion) -> tuple[int, ...]:
    """The tokens of an answer and, where it has ended, the first one behind its last visible sign."""
    said = completion.text.rstrip()
    for n in range(len(completion.tokens)):
        if len(lm.tokenizer.decode(completion.tokens[:n], skip_special_tokens=True).rstrip()) >= len(said):
            return completion.tokens[: n + 1]
    return completion.tokens


def _rows(lm: LM, answer: Sequence[int], ended: bool, p: torch.Tensor, q: torch.Tensor) -> list[dict[str, object]]:
    """``p`` and ``q`` [tokens, vocabulary]: log-probabilities of the aligned and of the base source."""
    chosen = q.gather(1, torch.tensor(answer)[:, None])
    ranks = (q > chosen).sum(1) + 1
    kl = (p.exp() * (p - q)).nan_to_num().sum(1)
    last = len(answer) - 1 if ended else None
    return [
        {
            "position": place,
            "part": "last" if place == last else "middle" if place else "first",
            "token": lm.tokenizer.decode([token]),
            "rank": int(rank),
            "shift": SHIFTS[(rank > 1) + (rank > MARGINAL)],
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
