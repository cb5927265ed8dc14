"""Web pages of the report: templates, and an executed notebook as one page without script or outside asset."""

import ast
import base64
import re
from math import floor, inf, log10
from pathlib import Path
from typing import Any

import jinja2
from bs4 import BeautifulSoup, Tag
from bs4.element import PreformattedString
from markupsafe import Markup
from nbformat import NotebookNode

from adaptlab.evidence.words import SYMBOLS, detectable, measure, prediction, quantity, said, unit
from adaptlab.runner.kernel import duration

WIDGET = "application/vnd.jupyter.widget-view+json"
# A page shows the first of these that an output has; scripts and widgets need a kernel and are not among them.
SHOWN = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/latex", "text/plain"]
SVG = "image/svg+xml"
# What a page may hold: these elements with these attributes, and nothing else. None of them runs or fetches, and none
# is read otherwise than it is written, so that what was looked through is what a browser sees.
ELEMENTS = frozenset(
    "a abbr b blockquote br caption cite code col colgroup dd del details dfn div dl dt em figcaption figure h1 h2 h3 "
    "h4 h5 h6 hr i img ins kbd li main mark ol p pre q s samp section small span strong sub summary sup table tbody td "
    "tfoot th thead time tr tt u ul var".split()
)
ATTRIBUTES = frozenset(
    "align alt aria-hidden aria-label border class colspan dir height href id lang open role rowspan scope src start "
    "style title width".split()
)
# Elements that go with all that is in them; others leave their text behind.
ACTIVE = (
    "script style iframe object embed link meta base form template noscript noembed noframes svg math title textarea "
    "select audio video xmp plaintext".split()
)
_SCHEME = re.compile(r"[^/?#]*?:")
_PLAIN_STYLE = re.compile(r"[\w\s:;.,%#()+-]*")  # no quotes, slashes, escapes or at-rules
_FETCHES = re.compile(r"url|image|src|element", re.IGNORECASE)


def render(template: str, **facts: Any) -> str:
    """A page from ``templates/``. Every value is escaped."""
    loader = jinja2.PackageLoader("adaptlab.runner", "templates")
    options = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    environment = jinja2.Environment(loader=loader, autoescape=True, **options)
    environment.filters |= FILTERS
    environment.globals["symbols"] = SYMBOLS
    return environment.get_template(template).render(facts) + "\n"


def notebook_body(notebook: NotebookNode, folder: Path) -> tuple[Markup, list[dict[str, str]]]:
    """The cells as HTML, and their headings; pictures that Markdown cells name are read from ``folder`` and put in."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    config = Config({"NbConvertBase": {"display_data_priority": SHOWN}})
    exporter = HTMLExporter(template_name="basic", embed_images=True, exclude_anchor_links=True, config=config)
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [_still(output) for output in cell.outputs if _shown(output)]
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"path": str(folder)}})
    soup = BeautifulSoup(body, "html.parser")
    _disarm(soup)
    _fold(soup)
    for link in soup.select('.text_cell_render a[href$=".ipynb"]:not([href*="/"])'):
        link["href"] = link["href"].removesuffix("ipynb") + "html"  # a neighbour's page
    headings = _headings(soup)
    return Markup(str(soup)), headings


def figure(notebook: NotebookNode, number: int | None) -> dict[str, str] | None:
    """The picture that a notebook calls by this number, as ``src`` and ``alt``; None where there is none."""
    for data in (output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])):
        alt = data.get("text/plain", "")
        if "image/png" in data and alt.startswith(f"Figure {number}."):
            return {"src": f"data:image/png;base64,{''.join(data['image/png'].split())}", "alt": alt}
    return None


def one_page(folder: Path, stems: list[str]) -> str:
    """A report's index and the pages of its notebooks as one page. Its links lead within; what would be a file beside
    it is left as text."""
    whole = _parsed(folder / "index.html")
    for stem in stems:
        page = _parsed(folder / "notebooks" / f"{stem}.html")
        section = page.main.extract()
        section.name, section["id"] = "section", stem
        for element in section.select("nav, .facts"):
            element.decompose()
        for element in section.select("[id]"):
            element["id"] = f"{stem}-{element['id']}"
        for link in section.select('a[href^="#"]'):
            link["href"] = f"#{stem}-{link['href'][1:]}"
        whole.main.append(section)
    whole.head.append(page.style)
    for link in whole.select('a[href]:not([href*=":"])'):
        stem = Path(link["href"]).stem
        if stem in stems:
            link["href"] = f"#{stem}"
            del link["download"]
        elif not link["href"].startswith("#"):
            link.unwrap()
    return str(whole)


def _parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def _headings(soup: BeautifulSoup) -> list[dict[str, str]]:
    """Id, text and level of each section; the ids are JupyterLab's, so that links within a notebook work here too."""
    found = []
    for heading in soup.select(".text_cell_render :is(h2, h3)"):
        text = heading.get_text(" ", strip=True)
        heading["id"] = text.replace(" ", "-")
        found.append({"id": heading["id"], "text": text, "level": heading.name})
    return found


def _shown(output: NotebookNode) -> bool:
    # A widget's own text is the repr of its parts. What it can show stands in the static twin beside it.
    data = output.get("data", {})
    return WIDGET not in data or any(kind in data for kind in SHOWN[:-1])


def _still(output: NotebookNode) -> NotebookNode:
    """The output, a drawing (SVG) as a picture, in which nothing runs."""
    data = output.get("data", {})
    if SVG in data and next(kind for kind in SHOWN if kind in data) == SVG:
        drawn = base64.b64encode(data[SVG].encode()).decode("ascii")
        data["text/html"] = f'<img alt="drawing" src="data:{SVG};base64,{drawn}">'
    return output


def _disarm(soup: BeautifulSoup) -> None:
    """Leave only what neither runs nor fetches (the page's policy forbids it as well)."""
    for hidden in soup.find_all(string=lambda text: isinstance(text, PreformattedString)):
        hidden.extract()  # comments, CDATA and the like, which end elsewhere for a browser
    for element in soup.find_all(ACTIVE):
        element.decompose()
    for element in soup.find_all(True):
        if element.name not in ELEMENTS:
            element.unwrap()
        element.attrs = {name: value for name, value in element.attrs.items() if _harmless(name, value)}


def _harmless(name: str, value: str | list[str]) -> bool:
    if name == "href":
        # Browsers leave out white space and control characters before they look for a scheme.
        scheme = _SCHEME.match("".join(sign for sign in value if sign > " " and sign.isprintable()).lower())
        return not scheme or scheme[0] in ("http:", "https:", "mailto:")
    if name == "src":
        return value.startswith("data:image/")
    if name == "style":
        return bool(_PLAIN_STYLE.fullmatch(value)) and not _FETCHES.search(value)
    return name in ATTRIBUTES


def _fold(soup: BeautifulSoup) -> None:
    """Make each code cell foldable; parameters and imports, which say nothing about the question, start folded."""
    for code in soup.select(".code_cell > .input"):
        parameters = "celltag_parameters" in code.parent["class"]
        label = "Parameters" if parameters else "Imports" if _imports(code.select_one(".input_area")) else "Code"
        details = soup.new_tag("details", attrs={"class": "code"} | ({"open": ""} if label == "Code" else {}))
        code.wrap(details)
        summary = soup.new_tag("summary")
        summary.string = label
        details.insert(0, summary)


def _imports(code: Tag) -> bool:
    """Whether a cell does nothing but import."""
    try:
        return all(isinstance(part, ast.Import | ast.ImportFrom) for part in ast.parse(code.get_text()).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def axes(tables: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Half-width of the axis on which the intervals of each unit are drawn, for all tables of a page."""
    ends: dict[str, list[float]] = {}
    for row in (row for rows in tables.values() for row in rows):
        found = [abs(row[name]) for name in ("low", "effect", "high") if row[name] is not None]
        if len(found) == 3:
            ends.setdefault(unit(row), []).extend(found)
    return {name: min(_round_above(max(found)), 1.0 if name == "points" else inf) for name, found in ends.items()}


def _round_above(number: float) -> float:
    """The next of … 0.1, 0.2, 0.5, 1, 2 …"""
    power = 10.0 ** floor(log10(number)) if number else 1.0
    return next(power * step for step in (1, 2, 5, 10) if number <= power * step * (1 + 1e-9))


def within(value: float, reach: float) -> float:
    """Where a value lies on an axis from -reach to reach, as -1 to 1; what lies beyond is drawn at the end."""
    return max(-1.0, min(1.0, value / reach))


def size(octets: float | None) -> str:
    """Bytes for a reader, in powers of 1024."""
    if octets is None:
        return "–"
    for name in ("B", "KiB", "MiB"):
        if octets < 1024:
            return f"{octets:.0f} {name}"
        octets /= 1024
    return f"{octets:.1f} GiB"


def model_size(parameters: int) -> str:
    """A number of parameters for a reader."""
    return f"{parameters / 1e9:.2f} B" if parameters >= 1e9 else f"{parameters / 1e6:.1f} M"


def count(number: float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{number:,.0f}".replace(",", "\u202f")


def value(setting: Any) -> str:
    """A parameter's value as the notebook has it, without Python's quotes around plain text."""
    return setting if isinstance(setting, str) and setting else repr(setting)


FILTERS = {
    f.__name__: f
    for f in (quantity, unit, said, prediction, measure, detectable, axes, within, duration, size, count, value)
}
