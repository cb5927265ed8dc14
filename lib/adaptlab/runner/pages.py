"""Web pages of the report: templates, and an executed notebook as one page without script or outside asset."""

from pathlib import Path
from typing import Any

import jinja2
from bs4 import BeautifulSoup
from markupsafe import Markup
from nbformat import NotebookNode

WIDGET = "application/vnd.jupyter.widget-view+json"
# A page shows the first of these that an output has; scripts and widgets need a kernel and are not among them.
SHOWN = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/latex", "text/plain"]
ACTIVE = ("script", "iframe", "object", "embed", "link", "meta", "base", "form")


def render(template: str, **facts: Any) -> str:
    """A page from ``templates/``. Every value is escaped."""
    loader = jinja2.PackageLoader("adaptlab.runner", "templates")
    options = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    environment = jinja2.Environment(loader=loader, autoescape=True, **options)
    environment.filters |= FILTERS
    return environment.get_template(template).render(facts) + "\n"


def notebook_body(notebook: NotebookNode, folder: Path) -> Markup:
    """The cells as HTML; pictures that Markdown cells name are read from ``folder`` and put in."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    config = Config({"NbConvertBase": {"display_data_priority": SHOWN}})
    exporter = HTMLExporter(template_name="basic", embed_images=True, exclude_anchor_links=True, config=config)
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if _shown(output)]
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"path": str(folder)}})
    return Markup(_inert(body))


def _shown(output: NotebookNode) -> bool:
    # A widget's own text is the repr of its parts. What it can show stands in the static twin beside it.
    data = output.get("data", {})
    return WIDGET not in data or any(kind in data for kind in SHOWN[:-1])


def _inert(body: str) -> str:
    """HTML that a notebook showed, without anything that runs or fetches (the page's policy forbids it as well)."""
    soup = BeautifulSoup(body, "html.parser")
    for element in soup.find_all(ACTIVE):
        element.decompose()
    for element in soup.find_all(True):
        for name in [name for name in element.attrs if name.startswith("on") or name == "srcset"]:
            del element[name]
        if not element.get("src", "data:").startswith("data:"):
            del element["src"]
        if element.get("href", "").strip().lower().startswith("javascript:"):
            del element["href"]
    return str(soup)


def quantity(row: dict[str, Any], name: str, sign: str = "+") -> str:
    """A number of a claim: right/wrong metrics in percentage points, others in the metric's unit."""
    value = row.get(name)
    if value is None:
        return "unbounded"
    text = f"{100 * value:{sign}.1f}" if row.get("points", True) else f"{value:{sign}.3f}"
    return text.replace("-", "−")


def forest(rows: list[dict[str, Any]]) -> float:
    """Half-width of a common axis for the intervals of several claims, in the metric's unit (0: nothing to draw)."""
    drawn = [row for row in rows if row.get("points", True)]
    ends = [abs(row[name]) for row in drawn for name in ("low", "high") if row.get(name) is not None]
    return max(ends, default=0.0)


def duration(seconds: float | None) -> str:
    """Seconds for a reader: ``0.4 s``, ``41 s``, ``3 min 20 s``."""
    if seconds is None:
        return "–"
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def size(octets: float | None) -> str:
    """Bytes for a reader, in powers of 1024."""
    if octets is None:
        return "–"
    for unit in ("B", "KiB", "MiB"):
        if octets < 1024:
            return f"{octets:.0f} {unit}"
        octets /= 1024
    return f"{octets:.1f} GiB"


def count(number: float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{number:,.0f}".replace(",", "\u202f")


def value(setting: Any) -> str:
    """A parameter's value as the notebook has it, without Python's quotes around plain text."""
    return setting if isinstance(setting, str) and setting else repr(setting)


FILTERS = {f.__name__: f for f in (quantity, forest, duration, size, count, value)}
