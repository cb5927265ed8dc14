"""Student copies: the notebooks without solutions and outputs, the exercises left to fill."""

import os
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from adaptlab.files import whole_folder, write_text
from adaptlab.runner import notebooks
from adaptlab.runner.provenance import OutputRefused

SOLUTION = "solution"  # the tag of a cell that a student is to write


def write(folder: Path) -> list[Path]:
    """Write a copy of each notebook for students into a new folder; their paths, in reading order.

    Raises `OutputRefused` where something is there already: it may be a student's work.
    """
    if os.path.lexists(folder):
        raise OutputRefused(f"{folder}: is there already, and may hold somebody's answers; name a new folder")
    with whole_folder(folder) as new:
        for source in notebooks.available():
            copy = nbformat.writes(without_solutions(notebooks.read(source)))
            write_text(new / source.name, f"{copy}\n")
    return [folder / source.name for source in notebooks.available()]


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """The notebook, not yet run, without the cells that hold solutions."""
    notebook.cells = [cell for cell in notebook.cells if SOLUTION not in cell.metadata.get("tags", [])]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook
