"""URIAL prompt files: a system text, then blocks that teach a base model by example how an assistant answers.

From "The Unlocking Spell on Base LLMs" (Lin et al., 2312.01552). A block is a ``# Query:`` line, the query between
two fences of three backticks, an ``# Answer:`` line, and the answer between two fences.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from adaptlab.tasks.formats_io import at, read_text
from adaptlab.tasks.records import Demonstration, FieldError, PromptFile, shown

_FENCE = "```"
# A heading is alone on its line: the system text speaks of "# Query:" too.
_HEADING = re.compile(r"^# (Query|Answer):[ \t]*$", re.MULTILINE)


def load_urial(path: str | Path) -> PromptFile:
    """Read a prompt file: system text without the newlines around it, queries and answers as they stand.

    From the first fence of a part to its last, everything belongs to it, so an answer keeps code fences of its own.
    One newline inside each fence is layout; a query may as well stand on the fence's line. A file without blocks is a
    system text alone; one that opens with a block has none. Errors: `FormatError` at the heading of the bad part.
    """
    text = read_text(path).replace("\r\n", "\n")
    first = _HEADING.search(text)
    system = text[: first.start()] if first else text
    parts = list(_parts(path, text))
    blocks = zip(parts[::2], parts[1::2], strict=True)
    with at(path, 1):
        return PromptFile(system.strip("\n"), tuple(Demonstration(query, answer) for query, answer in blocks))


def _parts(path: str | Path, text: str) -> Iterator[str]:
    """Query, answer, query, answer, ...: what stands in the fences below each heading."""
    heads = list(_HEADING.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    for place, (head, end) in enumerate(zip(heads, ends, strict=False)):
        field = ("query", "answer")[place % 2]
        with at(path, text.count("\n", 0, head.start()) + 1):
            if head[1].lower() != field:
                raise FieldError(field, f"a line '# {field.capitalize()}:' first", shown(head[0]))
            body = _inside(field, text[head.end() : end])
            if field == "query" and end == len(text):
                raise FieldError("answer", "a line '# Answer:' after the query", "the end of the file")
        yield body


def _inside(field: str, fenced: str) -> str:
    """What stands between the first fence and the last."""
    fenced = fenced.strip()
    if len(fenced) < 2 * len(_FENCE) or not (fenced.startswith(_FENCE) and fenced.endswith(_FENCE)):
        raise FieldError(field, f"text between a fence {_FENCE} and another", shown(fenced))
    body = fenced.removeprefix(_FENCE).removesuffix(_FENCE).removeprefix("\n").removesuffix("\n")
    if not body.strip():
        raise FieldError(field, "text that is not blank", shown(body))
    return body
