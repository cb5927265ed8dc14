"""The kit's notebooks and profiles: which there are, how to find one, what it holds.

A profile is a file ``notebooks/profiles/NAME.yaml`` with the parameters of each notebook, in a section named like it::

    02_icl_scaling:
      shots: [0, 1, 4, 16]

``quick`` is the notebooks' own defaults, and needs no file.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptlab import files, paths

if TYPE_CHECKING:
    from nbformat import NotebookNode

CELL_TIMEOUT = 3600  # seconds that one cell may take, where the user says nothing


class NotebookNotFound(LookupError):
    """No notebook goes by that name; the message lists those that do."""


class NotebookUnreadable(ValueError):
    """The file is not a notebook (broken JSON, or another format)."""


class ProfileNotFound(LookupError):
    """No profile goes by that name; the message lists those that do."""


class ProfileUnreadable(ValueError):
    """A profile that is not one; the message names file, line and what is wrong."""


def available() -> list[Path]:
    """The kit's notebooks in reading order."""
    return sorted(paths.NOTEBOOKS.glob("*.ipynb"))


def find(notebook: str | Path) -> Path:
    """The notebook with this number (``3``, ``03``, ``A1``), stem (``03_demo_search``) or path."""
    path = checked_name(Path(notebook))
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    name, known = path.stem, available()
    number = f"{int(name):02d}" if name.isdecimal() and len(name) < 4 else name
    hits = [file for file in known if file.stem == name or file.stem.split("_")[0] == number]
    if len(hits) == 1:
        return hits[0]
    stems = [file.stem for file in hits or known]
    problem = "more than one notebook is called" if hits else "no notebook is called"
    there_are = f"There are: {', '.join(stems) or 'none'}."
    raise NotebookNotFound(f"{problem} {str(notebook)!r}.{did_you_mean(name, stems)} {there_are}")


def checked_name(path: Path) -> Path:
    """The path itself, if records can hold its name. Raises NotebookNotFound for one with bytes that are not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise NotebookNotFound(f"{str(path)!a}: the name is not in UTF-8; use another one") from error
    return path


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """`` Did you mean X?``, where a known name is near; else nothing."""
    near = difflib.get_close_matches(str(name), known, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def read(path: Path) -> "NotebookNode":
    """The notebook as it stands on the disk, in the current notebook format."""
    import nbformat  # takes a second, for which `adaptlab --help` need not wait

    try:
        return nbformat.read(path, as_version=4)
    except (nbformat.ValidationError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise NotebookUnreadable(f"{path.name}: not a readable notebook: {first}") from error


def question(notebook: "NotebookNode", otherwise: str = "") -> str:
    """The notebook's first heading, which is the question it answers."""
    cells = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    lines = (line.strip() for source in cells for line in source.splitlines())
    return next((line.lstrip("#").strip() for line in lines if line.startswith("#")), otherwise)


def profile_names() -> list[str]:
    """Names of the profiles that can be asked for."""
    return sorted({"quick", *(path.stem for path in (paths.NOTEBOOKS / "profiles").glob("*.yaml"))})


def load_profile(name: str) -> dict[str, dict[str, Any]]:
    """The sections of a profile: notebook stem to parameters (not yet checked against the notebook)."""
    known = profile_names()
    if name not in known:
        guess = did_you_mean(name, known)
        raise ProfileNotFound(f"no profile is called {name!r}.{guess} There are: {', '.join(known)}.")
    path = paths.NOTEBOOKS / "profiles" / f"{name}.yaml"
    return _sections(path) if path.is_file() else {}


def _sections(path: Path) -> dict[str, dict[str, Any]]:
    place = f"profiles/{path.name}"
    try:
        content = files.read_yaml(path.read_bytes()) or {}
    except files.YamlError as error:
        line = f", line {error.line}" if error.line else ""
        raise ProfileUnreadable(f"{place}{line}: {error}") from error
    if not isinstance(content, dict):
        raise ProfileUnreadable(f"{place}: must have one section a notebook, not {type(content).__name__}")
    known = [notebook.stem for notebook in available()]
    for section, values in content.items():
        if section not in known:
            guess = did_you_mean(section, known)
            raise ProfileUnreadable(
                f"{place}: no notebook for section {section!r}.{guess} Known are: {', '.join(known)}"
            )
        if not isinstance(values, dict | None):
            raise ProfileUnreadable(f"{place}, section {section}: must map parameters to values, not {values!r}")
    return {section: values or {} for section, values in content.items()}
