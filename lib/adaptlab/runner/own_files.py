"""Parameters that name a user's data: found before anything runs; results depend on what is in them.

A parameter is one of these if its help says "a file", and not what something "of a file" means. A notebook runs in a
folder of its own, so a path that is meant from where the user stands is made absolute here.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from adaptlab import files
from adaptlab.runner import notebooks
from adaptlab.runner.kernel import HUB_ID
from adaptlab.runner.parameters import Parameter, ParameterError
from adaptlab.runner.provenance import OutputRefused


def located(parameters: Mapping[str, Parameter], values: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """The values with whole paths, for a run of ``source``. Raises `ParameterError` for data that is not there and
    cannot be a Hub id."""
    found = dict(values)
    for name in _named(parameters, values):
        path = Path(values[name]).expanduser()
        if path.exists():
            found[name] = str(path.resolve())
        elif not HUB_ID.fullmatch(values[name]):
            raise ParameterError(f"{name}: there is no file or folder {values[name]!r} ({parameters[name].help})")
    if found.get("claims"):
        own_claims(found["claims"], source.stem)
    return found


def own_claims(file: str | Path, running: str = "") -> set[str]:
    """Check a file of the user's own claims, which may name the notebook that is ``running`` or one of the kit's; the
    stems of those that it is about.

    Raises `ParameterError` for what is no file or names a notebook that there is not, and ``LedgerError``.
    """
    from adaptlab.evidence.ledger import load_ledger  # pandas takes long to import

    if not Path(file).is_file():
        raise ParameterError(f"claims: {str(file)!r} is no file; `adaptlab claim new` writes one to begin with")
    stems = set()
    for claim in load_ledger(Path(file)).values():
        try:
            stems.add(claim.notebook if claim.notebook == running else notebooks.find(claim.notebook).stem)
        except notebooks.NotebookNotFound as error:
            raise ParameterError(f"{Path(file).name}: claim {claim.id}, field 'notebook': {error}") from error
    return stems


def new_claims(file: Path) -> None:
    """Write a claim to begin with. Raises `OutputRefused` where something is there already."""
    if os.path.lexists(file):
        raise OutputRefused(f"{file}: is there already; name another file")
    skeleton = (Path(__file__).parent / "templates" / "claims.yaml").read_text(encoding="utf-8")
    files.write_text(file, skeleton.replace("2026-01-31", date.today().isoformat()))


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
    of_data = [one.name for one in parameters.values() if one.type == "str" and re.search("(?<!of )a file", one.help)]
    of_data = [name for name in of_data if values.get(name)]
    return [name for name in of_data if values[name] not in re.findall(r"\w+", parameters[name].help)]
