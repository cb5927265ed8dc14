"""Files that are either whole or absent, and their digests."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4


def write_atomic(path: Path, text: str) -> None:
    """Write ``text`` so that ``path`` holds the old content or all of the new, however the process ends."""
    partial = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def publish(partial: Path, path: Path) -> None:
    """Force a finished file to the disk, then give it its name in one step."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # The rename itself is durable only once its folder is; Windows cannot open one.
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def digest(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_tree(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """sha256 of each file, by its path below ``root``, in order of that path."""
    named = sorted((path.relative_to(root).as_posix(), path) for path in files if path.is_file())
    return {name: digest(path) for name, path in named}
