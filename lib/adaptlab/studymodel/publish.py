"""A finished study model as an ordinary model folder: weights, tokenizer, training log, abilities, and a card."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from adaptlab.engine.models import LM, load
from adaptlab.studymodel.abilities import Ability
from adaptlab.studymodel.card import card
from adaptlab.studymodel.measure import measure
from adaptlab.studymodel.recipes import Recipe

TRAINING, ABILITIES, CARD = "training.jsonl", "abilities.json", "README.md"
EVERY = 10  # steps that one line of the published log sums up
BOOKKEEPING = ("step", "batch", "tokens", "seconds", "device", "epoch", "lr", "norm")
LOSSES = ("determined", "undetermined")


class NotAStudyModel(ValueError):
    """The folder to write holds something else, which would be lost."""


def check_place(folder: Path) -> None:
    """Raise `NotAStudyModel` where ``folder`` is anything but new, empty, or an older study model."""
    if folder.exists() and not (folder / TRAINING).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise NotAStudyModel(f"{folder} holds something other than a study model; name a new folder")


def publish(
    recipe: Recipe, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, log: Path, folder: Path, n: int = 500
) -> None:
    """Write the folder of a model raised from nothing, and measure what it can do, on nouns kept for this, ``n`` items
    each. Raises `NotAStudyModel` as `check_place` does."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    write(
        folder,
        model,
        tokenizer,
        thinned(lines),
        measured=lambda lm: measure(lm, n),
        told=lambda able: card(recipe, model.num_parameters(), lines, able),
    )


def write(
    folder: Path,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    log: Sequence[dict],
    *,
    measured: Callable[[LM], list[Ability]],
    told: Callable[[list[Ability]], str],
) -> None:
    """Write a model folder: what ``measured`` says that the model can do, and the card that ``told`` makes of it.

    Weights are rounded to bfloat16 before they are measured: what the card tells is true of what the folder holds. The
    folder appears whole, in place of an older one. Raises `NotAStudyModel` as `check_place` does.
    """
    check_place(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        work.chmod(0o755)
        rounded = LlamaForCausalLM(model.config).to(torch.bfloat16)
        rounded.load_state_dict(model.state_dict())
        rounded.save_pretrained(work)
        tokenizer.save_pretrained(work)
        (work / TRAINING).write_text("".join(json.dumps(line) + "\n" for line in log))
        able = measured(load(str(work), device="cpu", dtype="float32"))
        (work / ABILITIES).write_text(json.dumps(list(map(_counted, able)), indent=1) + "\n")
        (work / CARD).write_text(told(able))
        _swap(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _swap(new: Path, folder: Path) -> None:
    """Put a folder in place of another; a kill leaves one of them whole."""
    if not folder.exists():
        os.replace(new, folder)
        return
    old = new.with_name(f"{new.name}-old")
    os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old)


def thinned(lines: Sequence[dict], kinds: Sequence[str] = LOSSES) -> list[dict]:
    """One line for every `EVERY` steps: tokens so far, seconds, mean losses of some ``kinds``, and what was probed."""
    kept, tokens = [], 0
    for start in range(0, len(lines), EVERY):
        some = lines[start : start + EVERY]
        tokens += sum(line["tokens"] for line in some)
        losses = {kind: round(fmean(line[kind] for line in some), 4) for kind in kinds}
        probed = {k: round(v, 4) for line in some for k, v in line.items() if k not in {*BOOKKEEPING, *losses}}
        seconds = round(sum(line["seconds"] for line in some), 2)
        kept.append({"step": some[-1]["step"] + 1, "tokens": tokens, "seconds": seconds, **losses, **probed})
    return kept


def _counted(one: Ability) -> dict:
    return {"name": one.name, "right": one.right, "n": one.n, "chance": one.chance}
