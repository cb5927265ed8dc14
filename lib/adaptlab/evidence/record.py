"""How a notebook hands a result to the report: one displayed object, three renderings."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

RECORD_MIME = "application/vnd.adaptlab+json"


@dataclass(frozen=True)
class Record:
    """A result to display: for nbval as text, for the reader as HTML, for the report as JSON.

    ``payload`` is a JSON object with a ``"kind"``. ``text`` holds only what is the same on every
    machine (ids, counts, verdicts), because it is compared strictly. ``html`` must be escaped
    already: build it with `html_table`.

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
