"""The digest of a model folder: what identifies it in results, and tells whether it was damaged. Imports no torch."""

import hashlib
from functools import lru_cache
from pathlib import Path

from adaptlab.files import sha256, write_text

# What a model is made of. No pickles: weights come as safetensors or not at all.
FILES = ("*.safetensors", "*.json", "*.model", "*.jinja", "merges.txt", "vocab.txt")
RECORD = "run.json"  # what a training run was
ABILITIES = "abilities.json"  # what was measured of a finished model
SEAL = "adaptlab.sha256"  # the digest that a folder had when it was written


def folder_digest(folder: Path) -> str:
    """sha256 over a folder's weights, configuration and tokenizer. What was measured of a model is no part of it: that
    may be done anew."""
    files = sorted(f for pattern in FILES for f in folder.glob(pattern) if f.name not in (RECORD, ABILITIES))
    return _sha256(tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files))


@lru_cache(maxsize=32)
def _sha256(files: tuple[tuple[str, int, int], ...]) -> str:
    """sha256 over the contents of ``files``; size and time stamps in the key make an edited file count anew."""
    parts = [f"{Path(path).name} {sha256(path)}" for path, _, _ in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def seal(folder: Path) -> None:
    """Write down the digest of a finished folder, for `damaged` to check."""
    write_text(folder / SEAL, folder_digest(folder) + "\n")


def damaged(folder: Path) -> bool:
    """Whether a folder's files are not those that it was sealed with; a folder without a seal is taken as it is."""
    return (folder / SEAL).is_file() and (folder / SEAL).read_text(errors="replace").strip() != folder_digest(folder)
