"""Tiny kits for the runner's tests: their own folders, and notebooks that take a second."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from adaptlab import paths

FOLDERS = ("NOTEBOOKS", "DATA", "PACKAGE", "BUILD", "CHECKPOINTS")


def use(folder: Path, setattr=setattr) -> Path:
    """Make ``folder`` the kit that the runner sees: notebooks, data, library and build."""
    for name in FOLDERS:
        (folder / name.lower()).mkdir(parents=True, exist_ok=True)
        setattr(paths, name, folder / name.lower())
    setattr(paths, "IN_CHECKOUT", False)
    return folder


def write(name: str, *cells: str, parameters: str = "seed: int = 0  # the seed") -> Path:
    """A notebook: a title, a parameters cell, and code cells."""
    tagged = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    nb = new_notebook(cells=[new_markdown_cell(f"# What does {name} ask?"), tagged, *map(new_code_cell, cells)])
    path = paths.NOTEBOOKS / f"{name}.ipynb"
    nbformat.write(nb, path)
    return path


def counting(folder: Path) -> str:
    """A cell that leaves one mark for each time it is executed."""
    return f"with open({str(folder / 'marks')!r}, 'a') as file:\n    _ = file.write('x')\nprint('seed', seed)"


def marks(folder: Path) -> int:
    """How often such a cell was executed."""
    return len((folder / "marks").read_text())


def show(kind: str, **payload) -> str:
    """A cell that hands a record to the report."""
    bundle = {"text/plain": kind, "application/vnd.adaptlab+json": {"kind": kind, **payload}}
    return f"from IPython.display import display\ndisplay({bundle!r}, raw=True)"


def claim(id: str, **changes) -> dict:
    """A row of a claims record."""
    row = {"id": id, "sentence": f"More examples help ({id}).", "paper": "Somebody 2024", "place": "Table 2"}
    row |= {"predicted": "greater", "metric": "correct", "margin": None, "verdict": "holds here", "points": True}
    row |= {"effect": 0.125, "low": 0.05, "high": 0.2, "detectable": 0.1, "reach": 1.0, "n_items": 200, "n_seeds": 3}
    row |= {"control": False, "figure": None, "headroom": ""}
    return row | changes


def cost(**changes) -> dict:
    """A row of a cost record."""
    row = {"method": "icl", "items": 200, "prefilled": 1000, "scored": 900, "decoded": 100, "cached": 6000}
    return row | {"trained": 0, "per_item": 4000, "per_option": 8000, "seconds": 2.5} | changes
