"""The tidy frame of a run, which leaves beside its executed notebook as CSV and Parquet."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adaptlab.evidence.frames import ENDINGS, PLACE
from adaptlab.files import whole_file, write_text
from adaptlab.runner import provenance

FIRST = "grid,"  # with which every such CSV begins


def beside(output: Path) -> list[Path]:
    """The frame's files of an executed notebook, those that are there."""
    return [path for path in _places(output) if path.is_file()]


def _places(output: Path) -> list[Path]:
    return [output.with_name(f"{output.stem}.frame{ending}") for ending in ENDINGS]


def refuse_foreign(output: Path) -> None:
    """Raise `OutputRefused` where something else stands in the place of a frame."""
    table, packed = _places(output)
    ours = table.is_file() and table.open(encoding="utf-8", errors="replace").read(len(FIRST)) == FIRST
    for path in (table, packed):
        if os.path.lexists(path) and not ours:
            raise provenance.OutputRefused(
                f"{path}: is there, and no run wrote it; name another place, or move it away"
            )


@contextmanager
def collected(output: Path, partial: Path) -> Iterator[None]:
    """What the kernel's grids measure in the block goes beside ``output`` at its end, without secrets; if the block
    raises, it goes nowhere."""
    place = partial.with_suffix("")
    made = [place.with_name(f"{place.name}{ending}") for ending in ENDINGS]
    os.environ[PLACE] = str(place)
    try:
        yield
        for path in beside(output):
            path.unlink()
        if made[0].is_file():
            text = made[0].read_text(encoding="utf-8")
            if (safe := provenance.redact(text)) != text:
                write_text(made[0], safe)
                made[1].unlink(missing_ok=True)  # it holds the same, and cannot be searched so
            for path, target in zip(made, _places(output), strict=True):
                if path.is_file():
                    with whole_file(target) as new:
                        os.replace(path, new)
    finally:
        os.environ.pop(PLACE, None)
        for path in made:
            path.unlink(missing_ok=True)
