"""Prefixes that outlive a call: taken over from an earlier prompt or from disk, computed where neither helps."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from adaptlab.engine import cache
from adaptlab.engine.cache import EMPTY, PrefixCache
from adaptlab.engine.checkpoints import FileDamaged, read_tensors, write_tensors
from adaptlab.engine.lm import LM


def prefilled(
    lm: LM, ids: Sequence[int], prefix_cache: PrefixCache = EMPTY, store: Path | None = None
) -> tuple[PrefixCache, int]:
    """The prefix of ``ids``, and how many tokens had to be computed for it.

    The leading tokens that ``prefix_cache`` has in common with ``ids`` are taken over, if the same model made it.
    ``store``: a folder of whole prefixes; one that is damaged is computed and written anew.
    """
    owner = f"{lm.digest} {lm.dtype} {lm.device}"
    if prefix_cache.owner != owner:
        prefix_cache = replace(EMPTY, owner=owner)
    kept = prefix_cache.head(cache.shared_length(prefix_cache.ids, ids))
    path = stored(store, owner, ids) if store else None
    found = restore(path, owner, ids, lm.device) if path and len(kept) < len(ids) else None
    if found:
        return found, 0
    prefix = cache.extend(lm.model, kept, ids[len(kept) :])
    if path and ids and (len(kept) < len(ids) or not path.is_file()):
        save(prefix, path)
    return prefix, len(ids) - len(kept)


def save(prefix: PrefixCache, path: Path) -> None:
    """Write a prefix's keys and values to ``path`` (safetensors), whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(
        path, {f"{side}.{i}": t for side in ("keys", "values") for i, t in enumerate(getattr(prefix, side))}, {}
    )


def stored(folder: Path, owner: str, ids: Sequence[int]) -> Path:
    """Where a prefix belongs on disk: its name follows from the weights, the precision and the tokens."""
    key = hashlib.sha256(f"{owner} {list(ids)}".encode()).hexdigest()
    return folder / f"{key}.safetensors"


def restore(path: Path, owner: str, ids: Sequence[int], device: torch.device) -> PrefixCache | None:
    """Read back what `save` wrote for ``ids``; None where the file is missing or damaged."""
    try:
        tensors, _ = read_tensors(path)
    except (FileNotFoundError, FileDamaged):
        return None
    layers = range(len(tensors) // 2)
    keys, values = (tuple(tensors[f"{side}.{i}"].to(device) for i in layers) for side in ("keys", "values"))
    return PrefixCache(tuple(ids), keys, values, owner)
