"""Files and folders that appear whole or not at all, digests of their bytes, and YAML read strictly.

No other file of the kit writes to a disk, but `methods.trials`, through SQLite, which promises the same. What is
written goes to a hidden neighbour first, onto the disk, and takes its place in one step: a reader, or a run that was
killed, finds the old content or the new one.
"""

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml


def sha256(path: str | Path) -> str:
    """Hex sha256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, line ends as they are, whole or not at all."""
    with whole_file(path) as new:
        new.write_bytes(text.encode())


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """The path of a new file, to be written in the block; at its end the file takes the place of ``path``.

    If the block raises, ``path`` stays as it was.
    """
    path = Path(path)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield new
        with new.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """A new folder, to be filled in the block; at its end it takes the place of ``path``.

    ``replace``: whether an older folder may be there. A kill between the two renames leaves the older one aside; the
    next call for the same path puts it back. Raises OSError where ``path`` is there and must not be replaced; if the
    block raises, ``path`` stays as it was.
    """
    path = Path(path)
    old = path.with_name(f".{path.name}.old")
    path.parent.mkdir(parents=True, exist_ok=True)
    if old.exists() and not path.exists():
        os.replace(old, path)
    work = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        new = work / path.name
        new.mkdir()
        yield new
        for file in new.rglob("*"):
            if file.is_file():
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
        if replace and path.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(path, old)
        os.replace(new, path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


class YamlError(ValueError):
    """A YAML file that cannot be used; ``line`` counts from 1 and is 0 where none is to blame."""

    def __init__(self, problem: str, line: int = 0):
        super().__init__(problem)
        self.line = line


class Mapping(dict):
    """A YAML mapping that remembers the line on which it starts, from 1."""

    line: int


def read_yaml(data: bytes) -> Any:
    """The value of a YAML document in UTF-8; its mappings are `Mapping`. Raises `YamlError`, also for a key that is
    given twice: plain YAML keeps the last one and says nothing."""
    try:
        return yaml.load(data.decode(), Loader=_Strict)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise YamlError(error.problem or str(error), line) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise YamlError(f"not readable as YAML in UTF-8: {error}") from error


class _Strict(yaml.SafeLoader):
    def mapping(self, node: yaml.MappingNode) -> Mapping:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                mark = node.value[place][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", mark)
        made = Mapping(self.construct_mapping(node, deep=True))
        made.line = node.start_mark.line + 1
        return made


_Strict.add_constructor("tag:yaml.org,2002:map", _Strict.mapping)
