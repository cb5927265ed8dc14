"""Parameters that name a user's data: found before anything runs; results depend on what is in them.

A parameter is one of these if its help says "a file". A notebook runs in a folder of its own, so a path that is meant
from where the user stands is made absolute here.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adaptlab import files
from adaptlab.runner.kernel import HUB_ID
from adaptlab.runner.parameters import Parameter, ParameterError


def located(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with whole paths. Raises `ParameterError` for data that is not there and cannot be a Hub id."""
    found = dict(values)
    for name in _named(parameters, values):
        path = Path(values[name]).expanduser()
        if path.exists():
            found[name] = str(path.resolve())
        elif not HUB_ID.fullmatch(values[name]):
            raise ParameterError(f"{name}: there is no file or folder {values[name]!r} ({parameters[name].help})")
    return found


def digest(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> str:
    """sha256 over the bytes of the user's data; empty where there is none. Data of the Hub goes by its name."""
    parts = []
    for name in _named(parameters, values):
        path = Path(values[name])
        inside = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        parts += [f"{name} {one.name} {files.sha256(one) if one.is_file() else values[name]}" for one in inside]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest() if parts else ""


def hub_id(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> str:
    """The Hub id among the data, for which a network is needed; empty where there is none."""
    named = (str(values[name]) for name in _named(parameters, values))
    return next((name for name in named if HUB_ID.fullmatch(name) and not Path(name).exists()), "")


def _named(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> list[str]:
    """The parameters that name data which is not the kit's own: the help lists the names of that."""
    of_data = [name for name, one in parameters.items() if one.type == "str" and "a file" in one.help and values[name]]
    return [name for name in of_data if values[name] not in re.findall(r"\w+", parameters[name].help)]
