"""Wordings as data: the texts of ``data/templates``, and how their places, such as ``{x}``, are filled and read."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from adaptlab import paths
from adaptlab.files import read_yaml

_PLACE = re.compile(r"\{(\w+)\}")


@cache
def load_templates(name: str) -> dict[str, Any]:
    """What ``data/templates/NAME.yaml`` holds: mostly the templates of every task, in their order."""
    return read_yaml((paths.DATA / "templates" / f"{name}.yaml").read_bytes())


def fill(template: str, **values: str) -> str:
    """A template with its places filled, all at once: a value may hold braces. Places without a value stay."""
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), template)


def expression(template: str, **patterns: str) -> str:
    """A template as a regular expression: each place is a group of its name, which matches its pattern."""
    parts = _PLACE.split(template)  # text and names of places in turn
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = [f"(?P<{name}>{patterns[name]})" for name in parts[1::2]]
    return "".join(parts)


def listed(names: Sequence[str]) -> str:
    """Two names or more as a list in a sentence: "a, b or c"."""
    return f"{', '.join(names[:-1])} or {names[-1]}"
