"""How a notebook hands a result to the report: one displayed object, three renderings."""

import base64
import hashlib
import io
import json
import re
import resource
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy
import pandas as pd
import torch
import transformers
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from adaptlab import files
from adaptlab.engine.lm import LM
from adaptlab.evidence.evaluate import TOKENS
from adaptlab.tasks.splits import LabelledSet

RECORD_MIME = "application/vnd.adaptlab+json"


@dataclass(frozen=True)
class Record:
    """A result to display: for nbval as text, for the reader as HTML, for the report as JSON.

    ``payload`` is a JSON object with a ``"kind"``. ``text`` holds only what is the same on every machine (ids, counts,
    verdicts), because it is compared strictly. ``html`` must be escaped already: build it with `html_table`.

    Raises ``ValueError`` if the payload has no kind or is not plain JSON (NaN and infinity are not).
    """

    payload: dict[str, Any]
    text: str
    html: str

    def __post_init__(self) -> None:
        if not isinstance(self.payload.get("kind"), str):
            raise ValueError(f'a record needs a "kind", got the keys {sorted(self.payload)}')
        try:
            json.dumps(self.payload, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"a record of kind {self.payload['kind']!r} must be plain JSON: {error}") from error

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/plain": self.text, "text/html": self.html, RECORD_MIME: self.payload}


def html_table(header: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "") -> str:
    """An HTML table. Every cell is escaped, so text from data or from a model stays text."""
    head = "".join(f'<th scope="col" style="text-align:left">{escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    title = f'<caption style="text-align:left">{escape(caption)}</caption>' if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    return f'<td style="text-align:left;vertical-align:top">{escape(str(value))}</td>'


def told(lines: Iterable[str], *, numbered: bool = False) -> Record:
    """What came out, in words that a cell has computed: a list, in which ``**words**`` are bold.

    The plain text tells the number of lines only: what they say may differ in a last digit between machines.
    """
    lines = list(lines)
    said = (re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(line)) for line in lines)
    kind, items = "ol" if numbered else "ul", "".join(f"<li>{line}</li>" for line in said)
    text = f"{len(lines)} line{'s' * (len(lines) != 1)} computed from this run"
    return Record({"kind": "finding", "lines": lines}, text, f"<{kind}>{items}</{kind}>")


DPI = 144
INK = "#7a7a7a"  # text and axes: as legible on a white page as on a dark one
FONT = 11  # points


@dataclass(frozen=True)
class Picture:
    """A finished figure as it goes into a notebook: PNG bytes and the text that stands in for them.

    ``alt`` is the text/plain output too, which nbval compares: keep measured numbers out of it.
    """

    png: bytes
    alt: str

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        encoded = base64.b64encode(self.png).decode("ascii")
        with Image.open(io.BytesIO(self.png)) as image:
            width = round(image.width * 96 / DPI)  # as wide as its inches: what is over makes it sharp
        return {"image/png": encoded, "text/plain": self.alt}, {"image/png": {"alt": self.alt, "width": width}}


def with_alt_text(ax: Axes | Figure, alt: str) -> Picture:
    """Finish a figure: render it once, transparent, with its alternative text, and close it.

    ``alt`` says what is plotted, for readers who do not see the image. Takes an Axes (its whole figure is rendered) or
    a Figure. Raises ``ValueError`` if ``alt`` is empty.
    """
    if not alt.strip():
        raise ValueError("a figure needs a description: alt is empty")
    figure = ax.get_figure(root=True) if isinstance(ax, Axes) else ax
    _for_any_page(figure)
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, bbox_inches="tight", transparent=True)
    plt.close(figure)  # else the inline backend shows it a second time
    # A third of the bytes; FASTOCTREE is the method that keeps transparency.
    Image.open(drawn).quantize(256, method=Image.Quantize.FASTOCTREE).save(small, "png", optimize=True)
    return Picture(small.getvalue(), " ".join(alt.split()))


def _for_any_page(figure: Figure) -> None:
    """Text, ticks and axes in a grey that is legible on white and on dark pages; text of the size of the page's."""
    for text in figure.findobj(Text):
        if to_hex(text.get_color()) in ("#000000", "#262626"):
            text.set_color(INK)
        text.set_fontsize(text.get_fontsize() * FONT / 10)
    for axes in figure.axes:
        for side, spine in axes.spines.items():
            spine.set_edgecolor(INK)
            spine.set_visible(spine.get_visible() and side in ("left", "bottom"))
        axes.tick_params(colors=INK, which="both")


_IN_WORDS = {"per_item": "item by item", "per_option": "option by option"}  # what a request for each would have cost


def cost(frame: pd.DataFrame, *, by: str = "labels", sure: Sequence[str] = TOKENS) -> Record:
    """Tokens and seconds of a tidy frame, summed for every value of ``by``.

    The text holds the counts in ``sure``, which must not depend on the machine (what a tuned model writes may); all of
    them, and seconds, stand in the HTML and the record.
    """
    sums = frame.groupby(by, sort=False)[[*TOKENS, "seconds"]].sum()
    sums.insert(0, "items", frame.groupby(by, sort=False).size())
    counts = sums[["items", *TOKENS]].round().astype(int)
    rows = counts.assign(seconds=sums["seconds"]).reset_index().to_dict("records")
    header = [by, "answers", *(_IN_WORDS.get(name, name) for name in TOKENS), "seconds"]
    cells = [[r[by], *(f"{r[key]:,}" for key in ("items", *TOKENS)), f"{r['seconds']:.1f}"] for r in rows]
    html = html_table(header, cells, caption="Cost: tokens through the model, and seconds")
    text = counts[["items", *sure]].rename(columns=_IN_WORDS).to_string()
    return Record({"kind": "cost", "rows": rows}, text, html)


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
    return files.sha256(data) if isinstance(data, Path) else hashlib.sha256(repr(data).encode()).hexdigest()


def peak_rss() -> int:
    """Largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
