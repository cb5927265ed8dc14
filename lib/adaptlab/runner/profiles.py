"""Profiles: named sets of parameters for every notebook (``notebooks/profiles/NAME.yaml``).

One section a notebook, named like it::

    02_icl_scaling:
      shots: [0, 1, 4, 16]
      seeds: [0, 1, 2]

``quick`` is the notebooks' own defaults, and needs no file.
"""

import difflib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from adaptlab import paths
from adaptlab.runner import notebooks
from adaptlab.runner.parameters import ParameterError


class ProfileNotFound(LookupError):
    """No profile goes by that name; the message lists those that do."""


class _Strict(yaml.SafeLoader):
    """YAML that refuses a key given twice, where plain YAML would keep the last one and say nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                mark = node.value[i][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", mark)
        return super().construct_mapping(node, deep)


def available() -> list[str]:
    """Names of the profiles that can be asked for."""
    return sorted({"quick", *(path.stem for path in (paths.NOTEBOOKS / "profiles").glob("*.yaml"))})


def load(name: str) -> dict[str, dict[str, Any]]:
    """The sections of a profile: notebook stem to parameters (not yet checked against the notebook)."""
    path = paths.NOTEBOOKS / "profiles" / f"{name}.yaml"
    if name not in available():
        near = difflib.get_close_matches(name, available(), n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise ProfileNotFound(f"no profile is called {name!r}.{guess} There are: {', '.join(available())}.")
    if not path.is_file():
        return {}
    return _sections(path)


def _sections(path: Path) -> dict[str, dict[str, Any]]:
    place = f"{path.parent.name}/{path.name}"
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Strict) or {}
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ParameterError(f"{place}{line}: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{place}: not readable as YAML in UTF-8: {error}") from error
    if not isinstance(content, dict):
        raise ParameterError(f"{place}: must have one section a notebook, not {type(content).__name__}")
    known = [notebook.stem for notebook in notebooks.available()]
    for section, values in content.items():
        if section not in known:
            near = difflib.get_close_matches(str(section), known, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise ParameterError(f"{place}: no notebook for section {section!r}.{guess} Known are: {', '.join(known)}")
        if not isinstance(values, dict | None):
            raise ParameterError(f"{place}, section {section}: must map parameters to values, not {values!r}")
    return {section: values or {} for section, values in content.items()}
