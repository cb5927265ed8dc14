"""Files and folders that appear whole or not at all, locks, digests of bytes, and YAML and JSON read strictly.

No other file of the kit writes to a disk, but `methods.trials`, through SQLite, which promises the same. What is
written goes to a hidden neighbour first, onto the disk, and takes its place in one step: a reader, or a run that was
killed, finds the old content or the new one.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any, NoReturn

import filelock
import yaml

_MASK = os.umask(0o077)  # can only be asked for by setting another
os.umask(_MASK)
# The disk, or one's share of it, is full, or a file may not be longer; libraries in Rust say it in words.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_IN_WORDS = re.compile(rf"os error ({'|'.join(map(str, _FULL))})\)")
MOST_BITS = 1000  # of a whole number; Python refuses to print much longer ones, and a float holds no larger one
MOST_NODES = 1_000_000  # of a YAML document


def sha256(path: str | Path) -> str:
    """Hex sha256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, line ends as they are, whole or not at all."""
    with whole_file(path) as new:
        new.write_bytes(text.encode())


@contextmanager
def whole_file(path: str | Path, *, private: bool = False) -> Iterator[Path]:
    """The path of a new file, to be written in the block; at its end the file takes the place of ``path``.

    Until then nobody else can read it, nor later if it is ``private``. If the block raises, ``path`` stays as it was.
    Raises OSError, with what to do, where the disk is full.
    """
    path = Path(path)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with _room_for(path):
            new.touch(mode=0o600)
            yield new
            with new.open("rb") as file:
                os.fsync(file.fileno())
            new.chmod(0o600 if private else 0o666 & ~_MASK)
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
    with _room_for(path):
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


@contextmanager
def _room_for(path: Path) -> Iterator[None]:
    """Say of a full disk which file has no room; the system's own error names none."""
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) not in _FULL and not _IN_WORDS.search(str(error)):
            raise
        said = os.strerror(getattr(error, "errno", None) or errno.ENOSPC)
        raise OSError(f"{path} could not be written ({said}): make room there, or name another place") from error


@contextmanager
def locked(lock: Path, wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock, a file; a process that dies gives it up. ``wait`` is called before a wait for another process;
    without it, nobody waits: filelock.Timeout is raised.

    Raises OSError where nothing can be written or locked: a lock there would be waited for without end.
    """
    what = "written"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=lock.parent) as probe:
            what = "locked"
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = filelock.FileLock(lock)
        try:
            held.acquire(timeout=0)
        except filelock.Timeout:
            if not wait:
                raise
            wait()
            held.acquire()
    except OSError as error:
        if isinstance(error, filelock.Timeout):
            raise
        problem = f"nothing can be {what} there ({error.strerror}); name another place"
        raise OSError(f"{lock.parent}: {problem}") from error
    try:
        yield
    finally:
        held.release()


def read_json(data: str | bytes) -> Any:
    """The value of a JSON document. Raises ValueError, also for brackets that are nested beyond all use."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("brackets are nested too deeply") from error


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
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise YamlError(f"not readable as YAML in UTF-8: {error}", line) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise YamlError(f"not readable as YAML in UTF-8: {error}") from error


class _Strict(yaml.SafeLoader):
    def construct_document(self, node: yaml.Node) -> Any:
        self._written_out(node, {})
        return super().construct_document(node)

    def _written_out(self, node: yaml.Node, sizes: dict[int, float]) -> float:
        """How many nodes there are with every alias written out: a few lines of them can stand for more than memory
        holds, and one for itself."""
        if id(node) not in sizes:
            sizes[id(node)] = inf
            parts = node.value if isinstance(node, yaml.CollectionNode) else []
            inner = (one for part in parts for one in (part if isinstance(part, tuple) else (part,)))
            sizes[id(node)] = 1 + sum(self._written_out(one, sizes) for one in inner)
        if sizes[id(node)] > MOST_NODES:
            self._refuse("too much, once its aliases are written out", node.start_mark)
        return sizes[id(node)]

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
            self._refuse(f"{node.value!r:.60} is no {node.tag.rpartition(':')[2]}: {error}", node.start_mark)
        if isinstance(value, int) and value.bit_length() > MOST_BITS:
            self._refuse("the number has too many digits", node.start_mark)
        return value

    def mapping(self, node: yaml.MappingNode) -> Mapping:
        met = set()
        for written, _ in node.value:
            key = self.construct_object(written, deep=True)
            if not isinstance(key, Hashable):
                self._refuse("a list or a mapping cannot be a key", written.start_mark)
            if key in met:
                self._refuse(f"{key!r} stands twice", written.start_mark)
            met.add(key)
        made = Mapping(self.construct_mapping(node, deep=True))
        made.line = node.start_mark.line + 1
        return made

    @staticmethod
    def _refuse(problem: str, mark: yaml.Mark) -> NoReturn:
        raise yaml.constructor.ConstructorError(None, None, problem, mark)


_Strict.add_constructor("tag:yaml.org,2002:map", _Strict.mapping)
