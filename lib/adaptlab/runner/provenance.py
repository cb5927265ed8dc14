"""What a run was: its content key, and the record that stands beside its output.

No value of an environment variable goes into a record, and `redact` takes secrets out of whatever a notebook printed.
"""

import hashlib
import html
import json
import os
import platform
import re
import resource
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nbformat import NotebookNode

from adaptlab import files, paths
from adaptlab.files import write_text
from adaptlab.runner.kernel import duration

# A change of one of these can change a number, so it is part of the content key.
NUMERIC_PACKAGES = ("torch", "transformers", "tokenizers", "peft", "numpy", "scipy", "statsmodels", "pandas")
PACKAGES = (*NUMERIC_PACKAGES, "safetensors", "matplotlib", "seaborn")
RUN_PACKAGES = ("papermill", "nbclient", "nbconvert", "ipykernel", "ipywidgets", "adaptlab")
RECORD_MIME = "application/vnd.adaptlab+json"  # evidence.record's, which imports torch
FAILED_MARK = '"adaptlab": "a run that failed"'  # as it stands in the text of a failed notebook
_SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|API_?KEY|DATABASE_URL|PRIVATE"
    r"|(^|_)(KEY|PAT|AUTH|COOKIE|JWT|DSN|PASS)$|.PWD$(?<!^OLDPWD)",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(r"\w://[^/\s@]*:[^/\s@]+@")  # an address with a password in it
_SHORTEST = 8  # characters of a secret; of a line of a longer one, twice as many


class OutputRefused(ValueError):
    """The place named for an output holds something that must not be overwritten, or cannot be written to."""


@dataclass(frozen=True)
class RunRecord:
    """One finished run of one notebook; ``reported`` is what the notebook said about device, model and memory."""

    notebook: str
    profile: str
    parameters: dict[str, Any]
    key: str
    output: str
    output_sha256: str  # of the text that is written after this record
    started: str
    seconds: float
    exit: str = "finished"
    git: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    model_digest: str = ""
    reported: dict[str, Any] = field(default_factory=dict)
    replaced_sha256: str = ""  # of the older output, which a kill between the two leaves in place
    folder: Path = Path()
    cached: bool = False

    def __str__(self) -> str:
        return "unchanged, not run again" if self.cached else f"finished in {duration(self.seconds)}"

    @property
    def path(self) -> Path:
        """The executed notebook."""
        return self.folder / self.output

    @property
    def seeds(self) -> dict[str, Any]:
        """The parameters that seed the run."""
        return {name: value for name, value in self.parameters.items() if name in ("seed", "seeds")}

    def save(self) -> "RunRecord":
        """Write the record beside its notebook; where it lies and whether it was met again are no facts of the run."""
        facts = {name: value for name, value in asdict(self).items() if name not in ("folder", "cached")}
        facts |= {"parameters": redact(self.parameters), "seeds": redact(self.seeds), "reported": redact(self.reported)}
        text = json.dumps(facts | {"sha256": _checksum(facts)}, indent=1, ensure_ascii=False) + "\n"
        write_text(_record_path(self.path), text)
        return self


def _checksum(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()


def _record_path(output: Path) -> Path:
    return output.with_name(f"{output.stem}.run.json")


def recorded(output: Path) -> RunRecord | None:
    """The run record beside ``output``; None where there is none, or one that is not as it was written."""
    try:
        facts = files.read_json(_record_path(output).read_bytes())
        if facts.pop("sha256") != _checksum(facts):
            return None
        known = {one.name: facts[one.name] for one in fields(RunRecord) if one.name in facts}
        return RunRecord(**known | {"folder": output.parent})
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return None


def finished(output: Path, key: str) -> RunRecord | None:
    """The record of ``output`` if it was made under this very key and both files are as they were written."""
    record = recorded(output)
    whole = record and record.key == key and output.is_file() and record.output_sha256 == files.sha256(output)
    return replace(record, cached=True) if whole else None


def refuse_foreign(output: Path, notebook: str) -> None:
    """Let a run of ``notebook`` replace only what one of its runs wrote: its output, as its record tells.

    Raises `OutputRefused` for any other file, folder or device, and for one in the place of a file beside it.
    """
    if output.suffix != ".ipynb":
        name = output / f"{notebook}.ipynb" if output.is_dir() else output.with_suffix(".ipynb")
        raise OutputRefused(f"{output}: an executed notebook is a file that ends in .ipynb; name it {name}")
    remedy = "name another place, or move it away"
    record, beside, failed = recorded(output), _record_path(output), failed_path(output)
    # Byte for byte what the kit wrote: in the run on record, or before it if that one was cut off.
    mine = (record.output_sha256, record.replaced_sha256) if record and record.output == output.name else ()
    if os.path.lexists(output) and not (output.is_file() and files.sha256(output) in mine):
        reason = "was changed since the kit wrote it" if record else f"no {beside.name} says that the kit wrote it"
        raise OutputRefused(f"{output}: is there, and {reason}; {remedy}")
    if record is None and os.path.lexists(beside):
        raise OutputRefused(f"{beside}: is there, and is no run record of the kit; {remedy}")
    if record and record.notebook != notebook and output.exists():
        raise OutputRefused(f"{output}: holds a run of {record.notebook}, not of {notebook}; {remedy}")
    if os.path.lexists(failed) and FAILED_MARK not in failed.read_text(encoding="utf-8", errors="replace"):
        raise OutputRefused(f"{failed}: is there, and is not what the kit wrote; {remedy}")


def holds(folder: Path, name: str, what: str) -> bool:
    """Whether a folder has the file of this name that the kit writes there: JSON whose ``format`` begins so."""
    try:
        return files.read_json((folder / name).read_bytes())["format"].startswith(what)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def failed_path(output: Path) -> Path:
    """Where a run that fails keeps what it did."""
    return output.with_name(f"{output.stem}.failed.ipynb")


def content_key(notebook: NotebookNode, parameters: Mapping[str, Any], model_digest: str) -> str:
    """sha256 over all that the results depend on: sources, parameters, library, data, model, versions."""
    facts = {
        "cells": [[cell.cell_type, cell.source, cell.metadata.get("tags", [])] for cell in notebook.cells],
        "parameters": dict(parameters),
        "library": digests(paths.PACKAGE, paths.PACKAGE.rglob("*.py")),
        "data": digests(paths.DATA, filter(_is_data, paths.DATA.rglob("*"))),
        "model": model_digest,
        "versions": versions(NUMERIC_PACKAGES),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _is_data(path: Path) -> bool:
    """Not a file that explains (README), nor a hidden one, nor Python's; nor results, which no number depends on: else
    a run would have to be repeated once it is published."""
    explains = path.name.startswith(("README", ".", "__")) or "__pycache__" in path.parts
    return not explains and path.parent != paths.DATA / "results"


def digests(root: Path, found: Iterable[Path]) -> dict[str, str]:
    """sha256 of each file, by its path below ``root``, in order of that path."""
    named = sorted((path.relative_to(root).as_posix(), path) for path in found if path.is_file())
    return {name: files.sha256(path) for name, path in named}


def versions(packages: tuple[str, ...] = (*PACKAGES, *RUN_PACKAGES)) -> dict[str, str]:
    """Installed version of each package (``absent`` if there is none), and of Python."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def machine() -> dict[str, Any]:
    """What the run ran on, without a host or user name; and the most memory that the runner took beside the kernel."""
    affinity = getattr(os, "sched_getaffinity", None)
    threads = len(affinity(0)) if affinity else os.cpu_count()
    linux = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.+)$", linux.read_text(), re.MULTILINE) if linux.exists() else None
    processor = named[1].strip() if named else platform.processor() or platform.machine()
    about = {"system": platform.platform(), "processor": processor, "threads": threads}
    return about | {"runner_peak_bytes": peak_memory()}


def peak_memory() -> int:
    """The most memory that this process has taken so far, in bytes. Linux is asked in words: its count of resources
    begins with those of the process that started this one."""
    status = Path("/proc/self/status")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    return int(found[1]) * 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def git() -> dict[str, Any] | None:
    """Commit and whether the checkout differs from it; None outside a checkout, before a commit, or without git."""
    if not paths.IN_CHECKOUT:
        return None

    def ask(*arguments: str) -> str:
        command = ["git", "-C", str(paths.NOTEBOOKS.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def redact(said: Any) -> Any:
    """The same text, list or mapping, with every secret of the environment replaced by the name of its variable.

    Only texts are searched: names of fields stay, for a password may be a word that a format is made of.
    """
    return _without(said, _secrets())


def _without(said: Any, secrets: list[tuple[str, str]]) -> Any:
    if isinstance(said, str):
        for form, name in secrets:
            said = said.replace(form, name)
    elif isinstance(said, dict):
        return {name: _without(value, secrets) for name, value in said.items()}
    elif isinstance(said, list | tuple):
        return [_without(value, secrets) for value in said]
    return said


def _secrets() -> list[tuple[str, str]]:
    """Every form in which a secret may be printed, and what to print instead; the longest first, for one may hold
    another."""
    found = {}
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value):
            lines = [line.strip() for line in value.splitlines() if not line.startswith("-----")]  # a key's frame
            long = [line for line in lines if len(line) >= 2 * _SHORTEST]  # such as a loop may print one by one
            for part in [value.strip(), *long] if len(value) >= _SHORTEST else []:
                printed = part, html.escape(part), quote(part, safe=""), repr(part)[1:-1]
                written = json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1]
                found |= dict.fromkeys((*printed, *written), f"[{name}]")
    return sorted(found.items(), key=lambda one: -len(one[0]))


def read_outputs(notebook: NotebookNode, kind: str) -> list[dict[str, Any]]:
    """The records of one kind (``claims``, ``cost``, ``provenance``) among the notebook's outputs, in order."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    found = (output.get("data", {}).get(RECORD_MIME) for output in outputs)
    return [record for record in found if isinstance(record, dict) and record.get("kind") == kind]


def reported(notebook: NotebookNode) -> dict[str, Any]:
    """What the notebook says about its own run: model, device, threads, peak memory. Empty if it says nothing."""
    records = read_outputs(notebook, "provenance")
    return {name: value for record in records for name, value in record.items() if name != "kind"}
