"""Pretrain a study model: ``adaptlab pretrain NAME``.

A run can be killed anywhere. What it saved last is whole and batches are a function of the step, so the next run goes
on from there with exactly the numbers of an uninterrupted one (on one machine's processor, with as many threads).
"""

import hashlib
import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from adaptlab.engine.checkpoints import run_steps
from adaptlab.engine.machine import can_compile, has_bf16, keep_freed_memory, name_of, ordered_sums
from adaptlab.studymodel.corpus import document
from adaptlab.studymodel.document import Document
from adaptlab.studymodel.recipes import ModelRecipe, Phase

UNDETERMINED = 0.05  # loss weight of a token that nothing before it determines


def encode(tokenizer: PreTrainedTokenizerBase, doc: Document) -> tuple[list[int], list[float]]:
    """Token ids of a document between BOS and EOS, and the loss weight of each; EOS has weight 1, BOS 0."""
    encoding = tokenizer(doc.text, add_special_tokens=False, return_offsets_mapping=True)
    determined = np.zeros(len(doc.text) + 1, dtype=bool)
    for start, end in doc.determined:
        determined[start:end] = True
    # A token's leading space belongs to it; its last character tells what it is part of.
    weights = [1.0 if determined[end - 1] else UNDETERMINED for _, end in encoding.offset_mapping]
    return [tokenizer.bos_token_id, *encoding.input_ids, tokenizer.eos_token_id], [0.0, *weights, 1.0]


class Batch(NamedTuple):
    """Token ids, their loss weights and the number of their document (0: padding); all [rows, tokens in a row]."""

    ids: np.ndarray
    weights: np.ndarray
    documents: np.ndarray


def batch(recipe: ModelRecipe, tokenizer: PreTrainedTokenizerBase, step: int) -> Batch:
    """The batch of one step: whole documents, the longest first, each in the first row with room for it."""
    phase = recipe.phase(step)
    rows = recipe.tokens // phase.row
    ids = np.full((rows, phase.row), tokenizer.pad_token_id, dtype=np.int64)
    weights = np.zeros((rows, phase.row), dtype=np.float32)
    documents = np.zeros((rows, phase.row), dtype=np.int64)
    filled = [0] * rows
    rng = random.Random(f"{recipe.seed} {step}")
    sampled = _sample_documents(phase, tokenizer, rng, rows * phase.row, recipe.concludes)
    for number, (tokens, given) in enumerate(sorted(sampled, key=lambda one: -len(one[0])), start=1):
        row = next((r for r in range(rows) if filled[r] + len(tokens) <= phase.row), None)
        if row is None:
            continue
        span = slice(filled[row], filled[row] + len(tokens))
        ids[row, span], weights[row, span], documents[row, span] = tokens, given, number
        filled[row] += len(tokens)
    return Batch(ids, weights, documents)


FILL = 0.97  # share of a batch for which documents are sampled: nearly all then find a place, the long ones as well
TRIES = 100


def _sample_documents(
    phase: Phase, tokenizer: PreTrainedTokenizerBase, rng: random.Random, room: int, concludes: bool = True
) -> list[tuple[list[int], list[float]]]:
    """Encoded documents for ``room`` tokens. Each kind gets its share of the tokens on average: its last document,
    which is longer than what is left, is kept with the probability that makes up for that. Raises ValueError for a kind
    of which `TRIES` documents on end are longer than a row."""
    encoded: list[tuple[list[int], list[float]]] = []
    for kind, share in phase.mixture.items():
        left, too_long = share * FILL * room, 0
        while left > 0:
            one = encode(tokenizer, document(rng, kind, phase.max_length, concludes))
            length = len(one[0])
            if length > phase.row:
                too_long += 1
                if too_long == TRIES:
                    raise ValueError(f"{TRIES} documents {kind!r} on end are longer than a row of {phase.row} tokens")
                continue
            too_long = 0
            if rng.random() > left / length:
                break
            encoded.append(one)
            left -= length
    return encoded


def lr_factor(step: int, steps: int, warm_up: int = 100, falls: float = 0.5) -> float:
    """The share of the peak learning rate at a step: it rises in a line, stays, and falls in a line to 2 % over the
    share ``falls`` of the steps."""
    left = (steps - step) / max(1, steps * falls)
    return min(1.0, (step + 1) / warm_up, 0.02 + 0.98 * left)


class Trainer:
    """A model in pretraining: weights, optimizers, and ``log``, which has one line for each step taken.

    ``until``: how many steps to take in all; left out, those of the recipe. ``probe``, given model and step, measures
    abilities every ``probe_every`` steps and at the recipe's end, for the log. ``fast``: compile the loss where there
    is a compiler (half a minute once, a third of the time saved afterwards).
    """

    def __init__(
        self,
        recipe: ModelRecipe,
        tokenizer: PreTrainedTokenizerBase,
        device: torch.device,
        *,
        until: int | None = None,
        probe: Callable[[LlamaForCausalLM, int], dict[str, float]] | None = None,
        probe_every: int = 100,
        fast: bool = True,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.tokenizer, self.device = recipe, tokenizer, device
        self.steps = min(until or recipe.steps, recipe.steps)
        self.probe, self.probe_every = probe, probe_every
        self.log: list[dict] = []
        self.bf16 = has_bf16(device)
        # Written-out attention: the fused kernels' backward pass is the slower one for small heads on a CPU.
        config = recipe.config()
        config._attn_implementation = "eager"
        self.model = LlamaForCausalLM(config).to(device)
        self.optimizers = self._optimizers()
        compiled = fast and can_compile(device)
        self._loss = torch.compile(self._plain_loss, dynamic=False) if compiled else self._plain_loss

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Muon (Jordan et al. 2024) for matrices and AdamW for embeddings and norms, as its author advises; and AdamW
        for all, where a course wants that."""
        inner = [p for n, p in self.model.named_parameters() if p.ndim == 2 and "embed" not in n]
        rest = [p for n, p in self.model.named_parameters() if p.ndim != 2 or "embed" in n]
        adamw = partial(torch.optim.AdamW, betas=(0.9, 0.98), weight_decay=0.01)
        made = {"muon": torch.optim.Muon(inner, lr=0.0, weight_decay=0.02), "adamw": adamw(rest, lr=0.0)}
        return made | (
            {"all": adamw(self.model.parameters(), lr=0.0)} if any(c.lr for c in self.recipe.courses) else {}
        )

    def _begin_course(self) -> None:
        """Round the weights, and forget what the optimizers know."""
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.copy_(parameter.to(torch.bfloat16))
        for optimizer in self.optimizers.values():
            optimizer.state.clear()

    @property
    def done(self) -> bool:
        """Whether the last step was taken."""
        return len(self.log) >= self.steps

    def step(self) -> float:
        """Take the next step and add its line to the log; returns the loss of determined tokens."""
        started, number = time.perf_counter(), len(self.log)
        if number and number == self.recipe.course(number)[0]:
            self._begin_course()
        taken = batch(self.recipe, self.tokenizer, number)
        losses = self.update(taken, number)
        seconds = round(time.perf_counter() - started, 3)
        line = {"step": number, "batch": _digest(taken), "tokens": int((taken.weights > 0).sum())}
        line |= {**losses, "seconds": seconds, "device": name_of(self.device)}
        if self.probe and ((number + 1) % self.probe_every == 0 or number + 1 == self.recipe.steps):
            line |= self.probe(self.model, number)
        self.log.append(line)
        return losses["determined"]

    def update(self, batch: Batch, step: int) -> dict[str, float]:
        """Update the weights at the learning rate of ``step``; returns the mean losses of its tokens, in nats."""
        first, course = self.recipe.course(step)
        share = lr_factor(step - first, course.steps, course.warm_up, course.falls) * self.recipe.phase(step).rate
        peaks = {"all": course.lr} if course.lr else {"muon": self.recipe.lr_matrices, "adamw": self.recipe.lr_rest}
        for name, peak in peaks.items():
            self.optimizers[name].param_groups[0]["lr"] = share * peak
        ids, weights, documents = (torch.from_numpy(part).to(self.device) for part in batch)
        weights = weights[:, 1:]
        with ordered_sums(self.device):
            each = self._loss(ids, self._mask(documents))
            ((each * weights).sum() / weights.sum()).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for name in peaks:
            self.optimizers[name].step()
            self.optimizers[name].zero_grad()
        sure, open_ = weights == 1, (weights > 0) & (weights < 1)
        return {"determined": each[sure].mean().item(), "undetermined": each[open_].mean().item()}

    def _plain_loss(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of every next token, [rows, tokens - 1]; ``mask`` is added to the attention scores."""
        with torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext():
            hidden = self.model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            logits = self.model.lm_head(hidden[:, :-1]).float()
        return cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(logits.shape[:2])

    def _mask(self, documents: torch.Tensor) -> torch.Tensor:
        """Keeps a token from seeing other documents of its row, and later tokens: [rows, 1, tokens, tokens]."""
        seen = (documents[:, :, None] == documents[:, None, :]).tril()[:, None]
        return torch.where(seen, 0.0, -1e9).to(torch.bfloat16 if self.bf16 else torch.float32)

    def tensors(self) -> dict[str, torch.Tensor]:
        return {f"model.{name}": parameter for name, parameter in self.model.named_parameters()}

    def origin(self) -> str:
        """Digest of the recipe, each phase's first batch (and so of corpus and tokenizer), and the number format."""
        firsts = [_digest(batch(self.recipe, self.tokenizer, start)) for start, _ in self.recipe.starts]
        return hashlib.sha256(f"{self.recipe} {firsts} {self.bf16}".encode()).hexdigest()


def pretrain(
    recipe: ModelRecipe,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    device: torch.device,
    *,
    save_every: int = 100,
    **options: Any,
) -> Trainer:
    """Train until ``until`` or to the recipe's end, from what ``folder`` holds; ``options`` are those of `Trainer`.

    Raises `checkpoints.CannotResume` where the folder holds another run or one that is at work.
    """
    keep_freed_memory()
    trainer = Trainer(recipe, tokenizer, device, **options)
    run_steps(trainer, folder, save_every, desc=recipe.name)
    return trainer


def _digest(batch: Batch) -> str:
    return hashlib.sha256(b"".join(part.tobytes() for part in batch)).hexdigest()[:16]
