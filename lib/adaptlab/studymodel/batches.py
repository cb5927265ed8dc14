"""Training batches, a pure function of recipe and step: so a run can go on anywhere."""

import random
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from adaptlab.studymodel.corpus import Document, document
from adaptlab.studymodel.recipes import Phase, Recipe

UNDETERMINED = 0.05  # loss weight of a token that nothing before it determines


def encode(tokenizer: PreTrainedTokenizerBase, page: Document) -> tuple[list[int], list[float]]:
    """Token ids of a document between BOS and EOS, and the loss weight of each: 1 for EOS, 0 for BOS."""
    encoding = tokenizer(page.text, add_special_tokens=False, return_offsets_mapping=True)
    determined = np.zeros(len(page.text) + 1, dtype=bool)
    for start, end in page.determined:
        determined[start:end] = True
    # A token's leading space belongs to it; its last character tells what it is part of.
    weights = [1.0 if determined[end - 1] else UNDETERMINED for _, end in encoding.offset_mapping]
    return [tokenizer.bos_token_id, *encoding.input_ids, tokenizer.eos_token_id], [0.0, *weights, 1.0]


class Batch(NamedTuple):
    """Token ids, their loss weights, and the number of the document that each belongs to (0 is padding);
    all [rows, tokens in a row]."""

    ids: np.ndarray
    weights: np.ndarray
    documents: np.ndarray


def batch(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, step: int) -> Batch:
    """The batch of one step: whole documents, the longest first, each in the first row that has room for it."""
    phase = recipe.phase(step)
    rows = recipe.tokens // phase.row
    ids = np.full((rows, phase.row), tokenizer.pad_token_id, dtype=np.int64)
    weights = np.zeros((rows, phase.row), dtype=np.float32)
    documents = np.zeros((rows, phase.row), dtype=np.int64)
    filled = [0] * rows
    drawn = _drawn(phase, tokenizer, random.Random(f"{recipe.seed} {step}"), rows * phase.row)
    for number, (tokens, given) in enumerate(sorted(drawn, key=lambda page: -len(page[0])), start=1):
        row = next((r for r in range(rows) if filled[r] + len(tokens) <= phase.row), None)
        if row is None:
            continue
        stretch = slice(filled[row], filled[row] + len(tokens))
        ids[row, stretch], weights[row, stretch], documents[row, stretch] = tokens, given, number
        filled[row] += len(tokens)
    return Batch(ids, weights, documents)


FULL = 0.97  # share of a batch that documents are drawn for: nearly all then find a place, the long ones as well


def _drawn(
    phase: Phase, tokenizer: PreTrainedTokenizerBase, rng: random.Random, room: int
) -> list[tuple[list[int], list[float]]]:
    """Encoded documents for a batch. Each kind has its share of the tokens on average: the last document of a kind,
    which would be too much, is taken with the chance that makes up for it."""
    pages: list[tuple[list[int], list[float]]] = []
    for kind, share in phase.mixture.items():
        left = share * FULL * room
        while left > 0:
            page = encode(tokenizer, document(rng, kind, phase.longest))
            length = len(page[0])
            if length > phase.row:
                continue
            if rng.random() > left / length:
                break
            pages.append(page)
            left -= length
    return pages
