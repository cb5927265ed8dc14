"""Take from an executed notebook what it says to the report (see ``evidence/record.py``)."""

from typing import Any

from nbformat import NotebookNode


def records(notebook: NotebookNode, kind: str) -> list[dict[str, Any]]:
    """The records of one kind (``claims``, ``cost``, ``provenance``) among the outputs, in order."""
    from adaptlab.evidence.record import RECORD_MIME

    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    found = (output.get("data", {}).get(RECORD_MIME) for output in outputs)
    return [record for record in found if isinstance(record, dict) and record.get("kind") == kind]


def reported(notebook: NotebookNode) -> dict[str, Any]:
    """What the notebook says about its own run: model, device, threads, peak memory. Empty if it says nothing."""
    merged: dict[str, Any] = {}
    for record in records(notebook, "provenance"):
        merged |= {name: value for name, value in record.items() if name != "kind"}
    return merged
