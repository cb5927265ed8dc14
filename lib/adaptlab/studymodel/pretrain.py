"""Train a study model from nothing: ``adaptlab pretrain NAME``.

A run can be killed anywhere. What it had saved last is whole, batches are a function of the step, and the next run goes
on from there with the very numbers that an undisturbed one would have had (on the processor of one machine, with as
many threads).
"""

import hashlib
import json
import os
import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from adaptlab.engine import checkpoints
from adaptlab.engine.machine import can_compile, has_bf16, keep_freed_memory, name_of, ordered_sums
from adaptlab.studymodel.corpus import Document, document
from adaptlab.studymodel.recipes import ModelRecipe, Phase

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


def batch(recipe: ModelRecipe, tokenizer: PreTrainedTokenizerBase, step: int) -> Batch:
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


WARM_UP = 100  # steps
DECAY = 0.5  # share of the steps after which the learning rate falls, in a line, to 2 %
STATE, LOG = "state.safetensors", "log.jsonl"


class Trainer:
    """A model in training: weights, optimizers and the number of steps done."""

    def __init__(self, recipe: ModelRecipe, device: torch.device, fast: bool = True):
        torch.manual_seed(recipe.seed)
        self.recipe, self.device, self.done = recipe, device, 0
        self.bf16 = has_bf16(device)
        # Written-out attention: the fused kernels' backward pass is the slower one for small heads on a CPU.
        config = recipe.config()
        config._attn_implementation = "eager"
        self.model = LlamaForCausalLM(config).to(device)
        # Muon (Jordan et al. 2024) for matrices, AdamW for embeddings and norms, as its author advises.
        inner = [p for n, p in self.model.named_parameters() if p.ndim == 2 and "embed" not in n]
        rest = [p for n, p in self.model.named_parameters() if p.ndim != 2 or "embed" in n]
        self.optimizers = {
            "muon": torch.optim.Muon(inner, lr=recipe.lr_matrices, weight_decay=0.02),
            "adamw": torch.optim.AdamW(rest, lr=recipe.lr_rest, betas=(0.9, 0.98), weight_decay=0.01),
        }
        self.peaks = {"muon": recipe.lr_matrices, "adamw": recipe.lr_rest}
        self._loss = (
            torch.compile(self._plain_loss, dynamic=False) if fast and can_compile(device) else self._plain_loss
        )

    def _plain_loss(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of every next token, [rows, tokens - 1]; ``mask`` is added to the attention scores."""
        with torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext():
            hidden = self.model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            logits = self.model.lm_head(hidden[:, :-1]).float()
        return cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(logits.shape[:2])

    def step(self, batch: Batch) -> dict[str, float]:
        """One update; returns the mean loss of determined and of other tokens, in nats."""
        rate = schedule(self.done, self.recipe.steps) * self.recipe.phase(self.done).rate
        for name, optimizer in self.optimizers.items():
            optimizer.param_groups[0]["lr"] = rate * self.peaks[name]
        ids, weights, documents = (torch.from_numpy(part).to(self.device) for part in batch)
        weights = weights[:, 1:]
        with ordered_sums(self.device):
            each = self._loss(ids, self._mask(documents))
            ((each * weights).sum() / weights.sum()).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
        self.done += 1
        sure, open_ = weights == 1, (weights > 0) & (weights < 1)
        return {"determined": each[sure].mean().item(), "undetermined": each[open_].mean().item()}

    def _mask(self, documents: torch.Tensor) -> torch.Tensor:
        """What keeps a token from seeing other documents of its row, and its own future: [rows, 1, tokens, tokens]."""
        seen = (documents[:, :, None] == documents[:, None, :]).tril()[:, None]
        return torch.where(seen, 0.0, -1e9).to(torch.bfloat16 if self.bf16 else torch.float32)

    def save(self, path: Path, origin: str) -> None:
        """Write everything that the next step depends on, in one file that appears whole.

        ``origin`` identifies the run: `load` refuses a file of another.
        """
        checkpoints.save(path, origin, self.done, self._weights(), self.optimizers)

    def load(self, path: Path, origin: str) -> None:
        """Go back to what `save` wrote. Raises `CannotResume` for the file of another run."""
        self.done, _ = checkpoints.load(path, origin, self._weights(), self.optimizers)

    def _weights(self) -> dict[str, torch.Tensor]:
        return {f"model.{name}": parameter for name, parameter in self.model.named_parameters()}


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate: up in a line, level, down in a line to 2 %."""
    left = (steps - step) / (steps * (1 - DECAY))
    return min(1.0, (step + 1) / WARM_UP, 0.02 + 0.98 * left)


def pretrain(
    recipe: ModelRecipe,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    device: torch.device,
    *,
    probe: Callable[[LlamaForCausalLM], dict[str, float]] | None = None,
    probe_every: int = 100,
    save_every: int = 100,
    until: int | None = None,
    fast: bool = True,
) -> Trainer:
    """Train to the recipe's end, or for ``until`` steps; goes on from what ``folder`` holds.

    ``probe`` measures abilities; its numbers join the log, one JSON line a step. ``fast``: compile the loss where there
    is a compiler (half a minute once, a third of the time saved afterwards).
    """
    keep_freed_memory()
    folder.mkdir(parents=True, exist_ok=True)
    until = min(until or recipe.steps, recipe.steps)
    with checkpoints.alone_in(folder):
        trainer, origin = Trainer(recipe, device, fast), _origin(recipe, tokenizer, device)
        if (folder / STATE).is_file():
            trainer.load(folder / STATE, origin)
        checkpoints.kept_lines(folder / LOG, trainer.done)
        with (folder / LOG).open("a") as log, tqdm(total=until, initial=trainer.done, desc=recipe.name) as bar:
            while trainer.done < until:
                line = _next_step(trainer, tokenizer)
                if probe and (trainer.done % probe_every == 0 or trainer.done == recipe.steps):
                    line |= probe(trainer.model)
                log.write(json.dumps(line) + "\n")
                bar.set_postfix(loss=f"{line['determined']:.3f}")
                bar.update()
                if trainer.done % save_every == 0 or trainer.done == until:
                    log.flush()
                    os.fsync(log.fileno())
                    trainer.save(folder / STATE, origin)
    return trainer


def _next_step(trainer: Trainer, tokenizer: PreTrainedTokenizerBase) -> dict:
    """Take one step; its line of the log."""
    started, number = time.perf_counter(), trainer.done
    taken = batch(trainer.recipe, tokenizer, number)
    losses = trainer.step(taken)
    seconds = round(time.perf_counter() - started, 3)
    facts = {"step": number, "batch": _digest(taken), "tokens": int((taken.weights > 0).sum())}
    return {**facts, **losses, "seconds": seconds, "device": name_of(trainer.device)}


def _digest(batch: Batch) -> str:
    return hashlib.sha256(b"".join(part.tobytes() for part in batch)).hexdigest()[:16]


def _origin(recipe: ModelRecipe, tokenizer: PreTrainedTokenizerBase, device: torch.device) -> str:
    """What a run is made of: its recipe, each phase's first batch (and so corpus and tokenizer), the number format."""
    firsts = [_digest(batch(recipe, tokenizer, start)) for start, _ in recipe.starts]
    return hashlib.sha256(f"{recipe} {firsts} {has_bf16(device)}".encode()).hexdigest()
