"""A study file: models x seeds x settings x notebooks, checked as a whole before anything runs.

    notebooks: ["02"]
    models: [study-s, study]       # the parameter `model`
    seeds: [0, 1, 2]               # each in a run of its own: the parameter `seed`, or `seeds`
    settings: {items: [16, 40]}    # every combination of the values of these parameters
    profile: quick
    claims: mine.yaml              # tested on the rows of all seeds together
    resources: {memory_mb: 4000, minutes: 120, gpus: 0}

Only ``notebooks`` is needed. Paths of the user's files are meant from where the file stands.
"""

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adaptlab import files, paths
from adaptlab.runner import notebooks, own_files
from adaptlab.runner.notebooks import did_you_mean
from adaptlab.runner.parameters import ParameterError, accepted, resolve

FIELDS = ("notebooks", "models", "seeds", "settings", "profile", "claims", "resources")
RESOURCES = {"memory_mb": 4000, "minutes": 120, "gpus": 0}  # of one run
SETTING = "setting_"  # how the columns of a sweep's settings begin


class StudyError(ValueError):
    """A study file that cannot be used; the message names the file, the field and what is allowed."""


@dataclass(frozen=True)
class Job:
    """One run of one notebook: what it is given, and every parameter with the value it will have."""

    source: Path
    given: dict[str, Any]
    values: dict[str, Any]
    settings: dict[str, Any]

    @property
    def id(self) -> str:
        """Its name among the runs: the same for the same notebook and values."""
        mark = hashlib.sha256(json.dumps(self.values, sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.source.stem}-{mark}"

    @property
    def arguments(self) -> list[str]:
        """The arguments of ``adaptlab run`` that give the same parameters."""
        pairs = ((name, value if isinstance(value, str) else json.dumps(value)) for name, value in self.given.items())
        kits = self.source.parent == paths.NOTEBOOKS  # by name: elsewhere they lie in another place
        return [
            self.source.stem if kits else str(self.source),
            *(part for name, text in pairs for part in ("-p", f"{name}={text}")),
        ]

    def __str__(self) -> str:
        said = ", ".join(f"{name} {value}" for name, value in self.given.items())
        return f"{self.source.stem}: {said}" if said else self.source.stem


@dataclass(frozen=True)
class Study:
    """A study file that was checked."""

    name: str
    jobs: list[Job]
    profile: str = "quick"
    claims: Path | None = None
    resources: dict[str, int] = field(default_factory=dict)


def read(path: Path) -> Study:
    """Read and check a study file. Raises `StudyError`; of a file of claims, what `own_files.own_claims` raises."""
    try:
        raw = files.read_yaml(path.read_bytes())
    except files.YamlError as error:
        raise StudyError(f"{path.name}, line {error.line}: {error}") from error
    if not isinstance(raw, dict):
        raise StudyError(f"{path.name}: expected fields, among {', '.join(FIELDS)}, not {type(raw).__name__}")
    _known(path, raw, FIELDS, "")
    lists = {name: _list(path, raw, name) for name in ("notebooks", "models", "seeds")}
    if not lists["notebooks"]:
        raise StudyError(f"{path.name}, field 'notebooks': missing; name at least one, such as [\"02\"]")
    settings = _mapping(path, raw, "settings")
    options = {name: _list(path, settings, name, "settings, ") for name in settings}
    resources = _mapping(path, raw, "resources")
    _known(path, resources, RESOURCES, "resources, ")
    for name, value in resources.items():
        if type(value) is not int or value < 0:
            raise StudyError(f"{path.name}, field 'resources, {name}': expected a whole number, got {value!r}")
    profile = raw.get("profile", "quick")
    axes = [lists["notebooks"], lists["models"] or [None], lists["seeds"] or [None], *options.values()]
    try:
        notebooks.load_profile(profile)
        combinations = [
            _job(path, _notebook(path, str(one)), profile, model, seed, dict(zip(options, values, strict=True)))
            for one, model, seed, *values in itertools.product(*axes)
        ]
    except (ParameterError, notebooks.NotebookNotFound, notebooks.ProfileNotFound) as error:
        raise StudyError(f"{path.name}: {error}") from error
    jobs = {job.id: job for job in combinations}
    if len(jobs) < len(combinations):
        raise StudyError(f"{path.name}: {len(combinations) - len(jobs)} runs are repeats of others; name a value once")
    claims = path.parent / str(raw["claims"]) if raw.get("claims") else None
    if claims:
        own_files.own_claims(claims)
    return Study(path.stem, combinations, profile, claims, RESOURCES | resources)


def _notebook(path: Path, name: str) -> Path:
    beside = path.parent / name
    return notebooks.find(beside if beside.suffix == ".ipynb" and beside.is_file() else name)


def _job(path: Path, source: Path, profile: str, model: Any, seed: Any, settings: dict[str, Any]) -> Job:
    known = accepted(source)
    given = {} if model is None else {"model": model}
    if seed is not None:
        one = "seed" in known
        given["seed" if one else "seeds"] = seed if one or isinstance(seed, list) else [seed]
    twice = (given.keys() | {"claims"}) & settings.keys()
    if twice:
        raise StudyError(f"{path.name}, field 'settings, {min(twice)}': has a field of its own; name it there")
    given |= settings
    for name, value in given.items():  # a file of the user's is meant from where the study file stands
        if isinstance(value, str) and name in known and "a file" in known[name].help and (path.parent / value).exists():
            given[name] = str((path.parent / value).resolve())
    values = own_files.located(known, resolve(source, profile, given), source)
    return Job(source, given, values, settings)


def _known(path: Path, found: dict, allowed: Any, prefix: str) -> None:
    for name in found:
        if name not in allowed:
            there_are = f"There are: {', '.join(allowed)}."
            raise StudyError(f"{path.name}, field '{prefix}{name}': unknown.{did_you_mean(name, allowed)} {there_are}")


def _mapping(path: Path, raw: dict, name: str) -> dict:
    found = raw.get(name) or {}
    if not isinstance(found, dict):
        raise StudyError(f"{path.name}, field '{name}': expected names with values, got {found!r}")
    return found


def _list(path: Path, raw: dict, name: str, prefix: str = "") -> list:
    found = raw.get(name, [])
    if not isinstance(found, list) or (name in raw and not found):
        raise StudyError(f"{path.name}, field '{prefix}{name}': expected a list such as [a, b], got {found!r}")
    return found
