"""Prefixes that outlive a call: taken over from a shorter prompt or from the disk, computed where neither helps."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from adaptlab.engine import cache
from adaptlab.engine.cache import EMPTY, PrefixCache
from adaptlab.engine.lm import LM


def prefilled(
    lm: LM, ids: Sequence[int], prefix_cache: PrefixCache = EMPTY, store: Path | None = None
) -> tuple[PrefixCache, int]:
    """The prefix of ``ids``, and how many tokens had to be computed for it.

    What ``reuse`` begins with in common is taken over, if the same model made it; ``store`` keeps whole prefixes.
    """
    owner = f"{lm.digest} {lm.dtype} {lm.device}"
    if prefix_cache.owner != owner:
        prefix_cache = replace(EMPTY, owner=owner)
    kept = prefix_cache.head(cache.shared_length(prefix_cache.ids, ids))
    path = stored(store, owner, ids) if store else None
    if path and len(kept) < len(ids) and path.is_file():
        return restore(path, owner, ids, lm.device), 0
    prefix = cache.extend(lm.model, kept, ids[len(kept) :])
    if path and ids and not path.is_file():
        save(prefix, path)
    return prefix, len(ids) - len(kept)


def save(prefix: PrefixCache, path: Path) -> None:
    """Write a prefix's keys and values to ``path`` (safetensors), whole or not at all."""
    tensors = {
        f"{side}.{i}": t.contiguous() for side in ("keys", "values") for i, t in enumerate(getattr(prefix, side))
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    save_file(tensors, partial)
    os.replace(partial, path)


def stored(folder: Path, owner: str, ids: Sequence[int]) -> Path:
    """Where a prefix belongs on disk: its name follows from the weights, the precision and the tokens."""
    key = hashlib.sha256(f"{owner} {list(ids)}".encode()).hexdigest()
    return folder / f"{key}.safetensors"


def restore(path: Path, owner: str, ids: Sequence[int], device: torch.device) -> PrefixCache:
    """Read back what `save` wrote for ``ids``."""
    with safe_open(path, "pt", device=str(device)) as file:
        layers = range(len(file.keys()) // 2)
        keys, values = (tuple(file.get_tensor(f"{side}.{i}") for i in layers) for side in ("keys", "values"))
    return PrefixCache(tuple(ids), keys, values, owner)
