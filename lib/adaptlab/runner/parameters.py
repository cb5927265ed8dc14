"""What a notebook may be given: read from its ``parameters`` cell, and checked before anything runs.

papermill only warns about an unknown parameter, overwrites what was given if the tag is missing, and passes on
whatever type it gets. Here each of these is one clear error.
"""

import ast
import io
import math
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from adaptlab.files import MOST_BITS, YamlError, read_yaml
from adaptlab.runner import notebooks
from adaptlab.runner.notebooks import did_you_mean

if TYPE_CHECKING:
    from nbformat import NotebookNode

SCALARS = {"str": str, "int": int, "float": float, "bool": bool}
TYPES = [*SCALARS, "list", *(f"list[{name}]" for name in SCALARS)]
FORM = "write each parameter as `name: type = value  # help`, one a line"
# Old names of parameters, and what they are called now (in one notebook or another).
RENAMED = {
    "style": ("prompt_format",),
    "clusters": ("list_tasks",),
    "manners": ("recipes", "style_examples"),
    "kinds": ("task_clusters",),
}
# Names with spaces that the kit knows, and no help can list. The studies have them, and would load torch.
NAMES = {
    "beside": ("own inferences", "wrong relation", "wrong partner", "oracle"),
    "ways": (
        *("random", "balanced", "nearest, words", "nearest, states", "sort once", "best of random", "race of sets"),
        *("sets, then swaps", "greedy", "greedy, all items", "greedy, new first", "greedy, elimination"),
    ),
}
MODELS = ("model", "other", "tuned", "student")  # parameters that name a model
_SEPARATOR = re.compile(r", or |, | or ")
# A list of at least two in running text, which ends where neither a comma nor "or" leads on.
_CHOICES = re.compile(r"\b(?:one|any) of ((?:[\w/+.-]+(?:, or |, | or ))+[\w/+-]+(?:\.[\w/+-]+)*)")
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_LIMITS = {
    "at least": re.compile(rf"{_NUMBER} or more\b|\bat least {_NUMBER}"),
    "above": re.compile(rf"\babove {_NUMBER}"),
    "at most": re.compile(rf"\bat most {_NUMBER}"),
}
_KEEPS = {"at least": float.__ge__, "above": float.__gt__, "at most": float.__le__}


class ParameterError(ValueError):
    """A parameters cell, a profile or a given value that cannot be used; the message says where and why."""


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell; ``type`` is one of `TYPES`.

    The help can say what is allowed, and is held to it, for each element of a list: ``one of notes, messages``
    (or ``any of``; texts and whole numbers), ``0 or more``, ``at least 1``, ``above 0``, ``at most 24`` (numbers).
    ``at least one`` refuses an empty list. Where it says nothing, a number must not be negative unless a default is (a
    seed may be), and a list must not be empty unless the default is.
    """

    name: str
    type: str
    default: Any
    help: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.type} = {self.default!r}" + (f"  ({self.help})" if self.help else "")

    @property
    def element(self) -> str:
        """The type of the value or of a list's elements; empty for a list of any."""
        return self.type.removeprefix("list").strip("[]")

    @property
    def choices(self) -> list[str]:
        """The values that the help names, or the kit knows, as the only ones; empty where all are allowed."""
        if self.name == "list_tasks" and self.element == "str":
            from adaptlab.tasks.instructions import LIST_TASKS

            return list(LIST_TASKS)
        if self.type == "list[str]" and self.name in NAMES and {*self.default} <= {*NAMES[self.name]}:
            return list(NAMES[self.name])
        found = _CHOICES.search(self.help) if self.element in ("str", "int") else None
        return _SEPARATOR.split(found[1]) if found else []

    @property
    def limits(self) -> dict[str, float]:
        """The limits that the help sets: ``at least``, ``above`` and ``at most``."""
        if self.element not in ("int", "float"):
            return {}
        found = {word: limit.search(self.help) for word, limit in _LIMITS.items()}
        limits = {word: float(next(filter(None, hit.groups()))) for word, hit in found.items() if hit}
        given = self.default if isinstance(self.default, list) else [self.default]
        counts = "seed" not in self.name and all(isinstance(one, int | float) and one >= 0 for one in given)
        return limits if {"at least", "above"} & limits.keys() or not counts else limits | {"at least": 0.0}


def declared(notebook: "Path | NotebookNode") -> dict[str, Parameter]:
    """The parameters of a notebook (its path, or content), in the order they stand."""
    node, name = (notebooks.read(notebook), notebook.name) if isinstance(notebook, Path) else (notebook, "notebook")
    tagged = [i for i, cell in enumerate(node.cells) if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        found = "none has" if not tagged else f"cells {', '.join(str(i + 1) for i in tagged)} have"
        raise ParameterError(f"{name}: exactly one cell must have the tag 'parameters', but {found} it")
    return _parse_cell(node.cells[tagged[0]].source, f"{name}, parameters cell")


def accepted(source: Path) -> dict[str, Parameter]:
    """What a run of the notebook may be given: its own parameters, and a file of claims, which the runner tests."""
    own = Parameter("claims", "str", "", "a file with claims of your own, tested on the rows of the run")
    return declared(source) | {own.name: own}


def _parse_cell(source: str, where: str) -> dict[str, Parameter]:
    try:
        statements, comments = ast.parse(source).body, _comments(source)
    except SyntaxError as error:
        raise ParameterError(f"{where}, line {error.lineno}: {error.msg}; {FORM}") from error
    except (ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:  # as Python says of endless signs
        raise ParameterError(f"{where}: cannot be read ({error or type(error).__name__}); {FORM}") from error
    found: dict[str, Parameter] = {}
    lines: set[int] = set()
    for statement in statements:
        place = f"{where}, line {statement.lineno}"
        if statement.lineno in lines or statement.end_lineno != statement.lineno:
            raise ParameterError(f"{place}: {FORM}")
        lines.add(statement.lineno)
        parameter = _parse_line(statement, comments.get(statement.lineno, ""), place)
        if parameter.name in found:
            raise ParameterError(f"{place}: {parameter.name} stands twice")
        found[parameter.name] = parameter
    return found


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ").rstrip() for token in tokens if token.type == tokenize.COMMENT}


def _parse_line(statement: ast.stmt, help: str, place: str) -> Parameter:
    if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value):
        raise ParameterError(f"{place}: `{ast.unparse(statement)}` is not a parameter; {FORM}")
    name, kind = statement.target.id, ast.unparse(statement.annotation)
    if kind not in TYPES:
        raise ParameterError(f"{place}: {name} has the type {kind}; allowed are {', '.join(TYPES)}")
    if "=" in help:
        raise ParameterError(f"{place}: the help of {name} has an equals sign, which papermill reads as a value")
    try:
        value = ast.literal_eval(statement.value)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        problem = f"{name} is derived; give a plain value here and derive in the next cell"
        raise ParameterError(f"{place}: {problem}") from error
    if value is None:
        raise ParameterError(f"{place}: {name} is None; use a value that means 'not set', such as 0, '' or []")
    return Parameter(name, kind, _checked(Parameter(name, kind, value, help), value, f"{place}: {name}"), help)


def check(parameters: Mapping[str, Parameter], given: Mapping[str, Any], where: str = "parameters") -> dict[str, Any]:
    """Every declared parameter with its value: the given one if there is one, else the default.

    ``where`` names the source of ``given`` in messages. An int is taken where a float is wanted. Raises
    `ParameterError` for an unknown name (lists the known ones), a wrong type, and a value that the help rules out.
    """
    for name in given:
        _refuse_unknown(name, parameters, where)
    values = {name: parameter.default for name, parameter in parameters.items()}
    return values | {name: _checked(parameters[name], value, f"{where}: {name}") for name, value in given.items()}


def models(values: Mapping[str, Any]) -> dict[str, str]:
    """The parameters that name a model to be loaded, with the name."""
    return {name: str(values[name]) for name in MODELS if values.get(name)}


def resolve(source: Path, profile: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of the notebook with the value it will have, checked: ``given`` goes over the profile."""
    known = accepted(source)
    section = notebooks.load_profile(profile).get(source.stem, {})
    values = check(known, section, f"profiles/{profile}.yaml, section {source.stem}")
    checked = check(known, given, source.name)
    values |= {name: checked[name] for name in given}
    return values if values["claims"] else {name: value for name, value in values.items() if name != "claims"}


def _refuse_unknown(name: str, parameters: Mapping[str, Parameter], where: str) -> None:
    if name in parameters:
        return
    renamed = [new for new in RENAMED.get(name, ()) if new in parameters]
    guess = f" It is now called {renamed[0]}." if renamed else did_you_mean(name, parameters)
    lines = [f"{where}: unknown parameter {name!r}.{guess} Known are:", *map(str, parameters.values())]
    raise ParameterError("\n  ".join(lines))


def _checked(parameter: Parameter, value: Any, place: str) -> Any:
    if parameter.type in SCALARS:
        return _element(parameter, value, place)
    if not isinstance(value, list | tuple):
        raise ParameterError(f"{place} must be of type {parameter.type}, such as [0, 1, 4], not {value!r}")
    if not value and (parameter.default or "at least one" in parameter.help):
        raise ParameterError(f"{place} must not be empty ({parameter.help})")
    return [_element(parameter, item, f"{place}[{i}]") for i, item in enumerate(value)]


def _element(parameter: Parameter, value: Any, place: str) -> Any:
    """The value itself, or one of a list: of the right type, and allowed."""
    found, kind = type(value).__name__, parameter.element
    if found == "int" and value.bit_length() > MOST_BITS:
        raise ParameterError(f"{place} must be a number of up to {MOST_BITS} bits, not {value.bit_length()}")
    if found == "str" and not _is_utf8(value):
        raise ParameterError(f"{place} must be text in UTF-8, not {value!a}")
    if not (found == kind or (found == "int" and kind == "float") or (not kind and found in SCALARS)):
        wanted = f"of type {kind or 'str, int, float or bool'}"
        raise ParameterError(f"{place} must be {wanted}, not {value!r} ({found}){_hint(kind, value)}")
    if kind == "float" and not math.isfinite(value):
        raise ParameterError(f"{place} must be of type float, not {value!r}")
    if parameter.choices and str(value) not in parameter.choices:
        guess = did_you_mean(value, parameter.choices)
        listed = ", ".join(repr(one) if " " in one else one for one in parameter.choices)
        raise ParameterError(f"{place} must be one of {listed}, not {value!r}.{guess}")
    for word, limit in parameter.limits.items():
        if not _KEEPS[word](float(value), limit):
            raise ParameterError(f"{place} must be {word} {limit:g}, not {value!r}")
    return float(value) if kind == "float" else value


def _is_utf8(text: str) -> bool:
    try:
        return bool(text.encode()) or not text
    except UnicodeEncodeError:  # bytes of a command line that are none, or half a character from an escape
        return False


def _hint(kind: str, value: Any) -> str:
    """YAML reads ``1e-3`` as text, because its floats need a point: say how to write the number."""
    if kind not in ("float", "int") or not isinstance(value, str):
        return ""
    try:
        return f"; write {Decimal(repr(float(value))).normalize():f}"
    except ValueError:
        return ""


def parse(parameters: Mapping[str, Parameter], texts: list[str]) -> dict[str, Any]:
    """Values from a command line: ``["items=8", "shots=[0, 4]"]``, each read as its declared type (lists as YAML)."""
    given: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            example = parameters.get("seeds") or next(iter(parameters.values()), Parameter("NAME", "str", "VALUE"))
            raise ParameterError(f"-p {text}: write NAME=VALUE, such as -p '{example.name}={example.default}'")
        _refuse_unknown(name, parameters, "-p")
        if name in given:
            raise ParameterError(f"-p {text}: {name} is given twice")
        place = f"-p {name}"
        given[name] = _checked(parameters[name], _from_text(parameters[name].type, value.strip(), place), place)
    return given


def _from_text(kind: str, text: str, place: str) -> Any:
    if kind.startswith("list"):
        return _list_from_text(kind[5:-1], text, place)
    try:
        return {"true": True, "false": False}[text.lower()] if kind == "bool" else SCALARS[kind](text)
    except (ValueError, KeyError) as error:
        allowed = "true or false" if kind == "bool" else f"of type {kind}"
        raise ParameterError(f"{place} must be {allowed}, not {text!r}") from error


def _list_from_text(element: str, text: str, place: str) -> list:
    # With a known element type every item is taken as text first, so that 1e-3 is a number here too.
    try:
        items = yaml.load(text, Loader=yaml.BaseLoader) if element else read_yaml(text.encode())
    except (yaml.YAMLError, YamlError, RecursionError, UnicodeEncodeError):
        items = None
    if not isinstance(items, list):
        raise ParameterError(f"{place} must be a list, such as [0, 1, 4], not {text!r}")
    if not all(isinstance(item, str) for item in items) and element:
        raise ParameterError(f"{place} must be a flat list of {element}, not {text!r}")
    return [_from_text(element, item, place) for item in items] if element else items
