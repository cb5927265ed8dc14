"""What a notebook owes its reader at the end: what it cost, and what would be needed to repeat it."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import pandas as pd
import torch
import transformers

from adaptlab import paths
from adaptlab.engine.models import LM
from adaptlab.evidence.record import Record, html_table
from adaptlab.tasks.records import LabelledSet

TOKENS = ("prefilled", "cached", "scored", "decoded", "trained", "naive")


def cost(frame: pd.DataFrame, *, by: str = "labels", sure: Sequence[str] = TOKENS) -> Record:
    """Tokens and seconds of a tidy frame, summed for every value of ``by``.

    The text holds the counts in ``sure``, which must not depend on the machine (what a tuned model writes may); all of
    them, and seconds, stand in the HTML and the record.
    """
    sums = frame.groupby(by, sort=False)[[*TOKENS, "seconds"]].sum()
    sums.insert(0, "items", frame.groupby(by, sort=False).size())
    counts = sums[["items", *TOKENS]].round().astype(int)
    rows = [{by: name, **row, "seconds": float(sums.loc[name, "seconds"])} for name, row in counts.iterrows()]
    for row in rows:
        row.update({key: int(row[key]) for key in ("items", *TOKENS)})
    header = [by, "answers", *TOKENS, "seconds"]
    cells = [[r[by], *(f"{r[key]:,}" for key in ("items", *TOKENS)), f"{r['seconds']:.1f}"] for r in rows]
    html = html_table(header, cells, caption="Cost: tokens through the model, and seconds")
    return Record({"kind": "cost", "rows": rows}, counts[["items", *sure]].to_string(), html)


def provenance(lm: LM, data: Mapping[str, Path | LabelledSet], parameters: Mapping[str, Any]) -> Record:
    """The weights, the data (sha256 of each file or set), the parameters, the machine and the versions of a run.

    Differs from machine to machine: show it in a cell that is not compared.
    """
    facts = {
        "model": lm.name,
        "model_digest": lm.digest,
        "device": str(lm.device),
        "dtype": str(lm.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "seeds": list(parameters.get("seeds", [])),
        "data": {name: _sha256(value) for name, value in data.items()},
        "peak_rss_bytes": peak_rss(),
        "parameters": dict(parameters),
        "versions": {module.__name__: module.__version__ for module in (torch, transformers, numpy, pd)},
    }
    cells = [(name.replace("_", " "), value) for name, value in facts.items()]
    text = "\n".join(f"{name}: {value}" for name, value in facts.items())
    return Record({"kind": "provenance", **facts}, text, html_table(["fact", "value"], cells, caption="Provenance"))


def _sha256(data: Path | LabelledSet) -> str:
    return paths.sha256(data) if isinstance(data, Path) else hashlib.sha256(repr(data).encode()).hexdigest()


def peak_rss() -> int:
    """Largest resident memory of this process so far, in bytes; 0 where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
