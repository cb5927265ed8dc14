"""For notebook 04: what a model is trained on, token by token, the conversations, and how far training moves a model.

Training code fails in silence: the end token masked together with the padding, two beginnings, the question trained as
well, a chat template that masks everything. So look at the mask, and assert.
"""

import random
from collections.abc import Sequence
from contextlib import suppress
from html import escape

import pandas as pd

from adaptlab.engine.lm import LM
from adaptlab.engine.loss_mask import MAX_TOKENS, TrainingExample, pack
from adaptlab.evidence.record import Record
from adaptlab.evidence.token_shift import token_shift
from adaptlab.methods.answering import Generator, fitting, shown
from adaptlab.tasks.reading import read
from adaptlab.tasks.records import Conversation, FieldError, Instruction, Message
from adaptlab.tasks.sets import answered, conversation
from adaptlab.tasks.splits import OpenSet
from adaptlab.tasks.words import VOCABULARIES

TALKS = 4  # conversations that are shown, and without which the comparison of second turns cannot be made
FAR = 8  # records that are shown to see how far they move the model
HELD_OUT = 12  # records of the pool that are not trained on while the loss is watched
TRAINED, READ, PADDING = "trained", "read only", "padding"
_BOX = "display:inline-block;padding:1px 3px;margin:1px;border-radius:3px;white-space:pre;font-family:monospace;"
_LOOK = {
    TRAINED: "background:#0b6fa4;color:#fff;font-weight:bold;",
    READ: "background:#e8e8e8;color:#333;",
    PADDING: "border:1px dashed #999;color:#999;",
}


def packed_tokens(lm: LM, examples: Sequence[TrainingExample], max_tokens: int = MAX_TOKENS) -> pd.DataFrame:
    """Examples as they are packed: one row for each token, with its ``row``, its ``segment`` (which example of the row,
    from 1; 0 is padding), its ``position`` in the example, its ``text`` and its ``role``."""
    lengths = [len(example) for example in examples]
    packed = pack(lengths, max(max_tokens, *lengths))
    width = max(sum(lengths[place] for place in row) for row in packed)
    found = []
    for number, row in enumerate(packed):
        for segment, place in enumerate(row, start=1):
            example = examples[place]
            for position, (token, trained) in enumerate(zip(example.ids, example.loss_mask, strict=True)):
                text = lm.tokenizer.decode([token])
                found.append((number, segment, position, text, TRAINED if trained else READ))
        empty = width - sum(lengths[place] for place in row)
        found += [(number, 0, 0, "", PADDING)] * empty
    return pd.DataFrame(found, columns=["row", "segment", "position", "text", "role"])


def show_loss_mask(lm: LM, examples: Sequence[TrainingExample], max_tokens: int = MAX_TOKENS) -> Record:
    """The packed rows as a picture, every token with its role; its text counts the roles in each row."""
    table = packed_tokens(lm, examples, max_tokens)
    counts = table.groupby(["row", "role"]).size().unstack(fill_value=0).reindex(columns=[TRAINED, READ, PADDING])
    counts = counts.fillna(0).astype(int)
    counts.insert(0, "texts", table.groupby("row")["segment"].nunique() - (counts[PADDING] > 0))
    legend = " ".join(_box(role, role) for role in _LOOK)
    rows = "".join(_picture(number, row, counts.loc[number]) for number, row in table.groupby("row"))
    payload = {"kind": "loss mask", "rows": counts.reset_index().to_dict("records")}
    return Record(payload, counts.to_string(), f"<div>{legend}</div>{rows}")


def _picture(number: int, row: pd.DataFrame, counts: pd.Series) -> str:
    parts = []
    for segment, some in row.groupby(row["segment"].replace(0, row["segment"].max() + 1)):
        name = "" if (some["segment"] == 0).all() else f"<b>text {segment}</b> "
        parts.append(name + "".join(_box(text, role) for text, role in zip(some["text"], some["role"], strict=True)))
    said = ", ".join(f"{counts[role]} {role}" for role in (TRAINED, READ, PADDING))
    return f'<div style="margin:8px 0"><b>row {number}</b> ({said})<br>{"<br>".join(parts)}</div>'


def _box(text: str, role: str) -> str:
    shown = escape(text.replace("\n", "⏎")) or "·"
    return f'<span title="{role}" style="{_BOX}{_LOOK[role]}">{shown}</span>'


def check_examples(lm: LM, examples: Sequence[TrainingExample], answers: Sequence[str]) -> pd.DataFrame:
    """The assertions that every set of training examples should pass; ``answers``: what each is meant to teach.

    Returns one row a check: in how many of how many examples it holds, and the places of those where it does not.
    """
    bos, eos = lm.tokenizer.bos_token_id, lm.tokenizer.eos_token_id
    said = [lm.tokenizer.decode(e.targets, skip_special_tokens=True).strip() for e in examples]
    passed = {
        "some token is trained": [e.weight > 0 for e in examples],
        "the end token is there, last, and trained": [e.ids[-1] == eos and e.loss_mask[-1] for e in examples],
        "there is one beginning at most": [e.ids.count(bos) <= 1 if bos != eos else True for e in examples],
        "what is trained is the answer and nothing else": [
            text == answer.strip() for text, answer in zip(said, answers, strict=True)
        ],
    }
    rows = [(name, sum(row), len(row), [i for i, ok in enumerate(row) if not ok]) for name, row in passed.items()]
    return pd.DataFrame(rows, columns=["check", "holds", "of", "fails at"])


def sample_conversations(words: str, split: str, n: int, seed: int, first: str | None = None) -> list[Conversation]:
    """``n`` conversations of two turns, answered plainly, whose openings have the wordings that the study models read.

    ``first``: the list task of the opening, random unless given.
    """
    rng = random.Random(f"talks {split} {seed}")
    asked = [conversation(rng, VOCABULARIES[words](split), first=first, templates=3) for _ in range(n)]
    return [answered(one, rng) for one in asked]


def fitted(
    lm: LM, data: OpenSet, shots: Sequence[int], numbers: Sequence[int], compared: int, seeds: Sequence[int]
) -> tuple[list[int], list[int], int]:
    """The numbers of records that a user's data allows: to show (the samples of all ``seeds`` have to fit into a
    prompt), to train on, and to compare. The kit's own requests allow them all.

    Raises FieldError where the pool has too few records for the notebook, and ValueError where too few fit.
    """
    if not data.source:
        return [*shots], [*numbers], compared
    if len(data.pool) <= HELD_OUT:
        raise FieldError("records", f"more than {HELD_OUT} in the pool, as so many are held out", f"{len(data.pool)}")
    kept, _ = fitting(
        lambda k: [shown(lm, data.sample(k, seed), data.prompt_format) for seed in seeds],
        data.test,
        sorted({*shots, FAR}),
        [k for k in (*shots, FAR) if k <= FAR],
    )
    kept = [k for k in kept if k in shots]
    return kept, [n for n in numbers if n <= len(data.pool)], min(compared, len(data.pool))


def own_conversations(file: str, items: int, columns: str = "") -> tuple[list[Conversation], list[Conversation]]:
    """Conversations of two turns from a user's file: those of the pool, to train on, and ``items`` of the test, asked,
    with the answers of the file as references. Both are empty where the file has no second turns."""
    made = read(file, "chat", columns)
    two = {}
    for one in made.records:
        with suppress(FieldError):
            turns = one.turns[:2]
            if len(turns) == 2:
                two[one.id] = turns
    pool = [_of_turns(one.id, two[one.id], True) for one in made.pool if one.id in two]
    test = [_of_turns(one.id, two[one.id], False) for one in made.test if one.id in two]
    return (pool, test[:items]) if len(pool) >= TALKS and len(test) > 1 else ([], [])


def _of_turns(id: str, turns: Sequence[tuple[str, str]], told: bool) -> Conversation:
    said = [m for query, answer in turns for m in (Message("user", query), Message("assistant", answer))]
    answers = tuple(answer for _, answer in turns)
    return Conversation(id, tuple(said if told else said[::2]), references=() if told else answers)


def distance(adapted: Generator, base: Generator, items: Sequence[Instruction]) -> pd.DataFrame:
    """How far a model was moved: one row for each item, with the mean over its answer's tokens of KL(adapted || base)
    in nats. The token that ends an answer is left out, unless there is no other: training examples and prompts end
    answers in different ways, which says nothing about the answer."""
    tokens = token_shift(adapted, base, items)
    inside = tokens[(tokens["part"] != "last") | (tokens["position"] == 0)]
    return inside.groupby(["model", "method", "item"], as_index=False)["kl"].mean().assign(shots=adapted.shots)
