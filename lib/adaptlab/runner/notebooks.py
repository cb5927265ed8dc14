"""The kit's notebooks: which there are, how to find one, what it asks."""

import difflib
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from adaptlab import paths


class NotebookNotFound(LookupError):
    """No notebook goes by that name; the message lists those that do."""


class NotebookUnreadable(ValueError):
    """The file is not a notebook (broken JSON, or another format)."""


def available() -> list[Path]:
    """The kit's notebooks in reading order."""
    return sorted(paths.NOTEBOOKS.glob("*.ipynb"))


def find(notebook: str | Path) -> Path:
    """The notebook with this number (``3``, ``03``, ``A1``), stem (``03_demo_search``) or path."""
    path = Path(notebook)
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    name, known = path.stem, available()
    number = f"{int(name):02d}" if name.isdecimal() else name
    hits = [file for file in known if file.stem == name or file.stem.split("_")[0] == number]
    if len(hits) == 1:
        return hits[0]
    stems = [file.stem for file in hits or known]
    near = difflib.get_close_matches(name, stems, n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    problem = "more than one notebook is called" if hits else "no notebook is called"
    raise NotebookNotFound(f"{problem} {str(notebook)!r}.{guess} There are: {', '.join(stems) or 'none'}.")


def read(path: Path) -> NotebookNode:
    """The notebook as it stands on the disk, in the current notebook format."""
    try:
        return nbformat.read(path, as_version=4)
    except (nbformat.ValidationError, ValueError, TypeError, AttributeError, KeyError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise NotebookUnreadable(f"{path.name}: not a readable notebook: {first}") from error


def question(notebook: NotebookNode, otherwise: str = "") -> str:
    """The notebook's first heading, which is the question it answers."""
    cells = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    lines = (line.strip() for source in cells for line in source.splitlines())
    return next((line.lstrip("#").strip() for line in lines if line.startswith("#")), otherwise)
