"""Run one notebook through papermill: checked, locked, resumable, and with an output that is whole or absent."""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import nbformat
from nbformat import NotebookNode

from adaptlab import files, paths
from adaptlab.files import locked, write_text
from adaptlab.runner import kernel, notebooks, own_files, provenance, results
from adaptlab.runner.kernel import ADDED, Progress, Watch
from adaptlab.runner.notebooks import CELL_TIMEOUT
from adaptlab.runner.parameters import accepted, declared, models, resolve
from adaptlab.runner.provenance import OutputRefused, RunRecord

SAID = {"text", "data", "metadata", "ename", "evalue", "traceback"}  # parts of an output that hold what was said


class NotebookFailed(RuntimeError):
    """A notebook did not finish; the message names notebook, cell, source and error."""


def run(
    notebook: str | Path,
    *,
    profile: str = "quick",
    parameters: Mapping[str, Any] | None = None,
    out: Path | None = None,
    force: bool = False,
    timeout: int = CELL_TIMEOUT,
    say: Callable[[str], None] = lambda line: None,
    watch: Watch = nullcontext,
) -> RunRecord:
    """Execute a notebook (number, stem or path) unless its output is already there for the very same content.

    ``parameters`` go over the profile's, which go over the notebook's own defaults. ``timeout`` is in seconds a
    cell; ``say`` receives a line before a long step, and ``watch`` is open while the notebook runs. Raises
    `ParameterError`, `NotebookNotFound`, `ProfileNotFound`, `OutputRefused` or the engine's ``ModelNotFound`` before
    anything is executed, and `NotebookFailed` if the notebook does not finish.
    Safe to call from several processes at once: the second waits, and then finds the first one's output.
    """
    source = notebooks.find(notebook)
    node = notebooks.read(source)
    known = accepted(source)
    values = own_files.located(known, resolve(source, profile, parameters or {}), source)
    output, named = _output(source, profile, parameters or {}, out), models(values)
    with only_one(output, say), kernel.environment(*named.values(), own_files.hub_id(known, values) or ""):
        if out:
            provenance.refuse_foreign(output, source.stem)  # again: somebody else may have had the lock
        digests = {name: kernel.prepare_model(model, say) for name, model in named.items()}
        model_digest = digests.get("model", "")
        key = provenance.content_key(node, values, " ".join(digests.values()) + own_files.digest(known, values))
        record = None if force else provenance.finished(output, key)
        if record:
            return record
        say("running")
        last = provenance.recorded(output)
        same = last and (last.notebook, last.parameters) == (source.stem, values)
        progress = Progress(source.stem, len(node.cells), last.seconds if same else 0)
        facts = {"profile": profile, "parameters": values, "key": key, "model_digest": model_digest}
        return _execute(source, output, facts, timeout, progress, watch)


def _output(source: Path, profile: str, given: Mapping[str, Any], out: Path | None) -> Path:
    """Where the executed notebook goes; a place that the user named is checked."""
    if out:
        output = notebooks.checked_name(Path(out).resolve())
        if output == source:
            raise OutputRefused(f"{source.name}: the output must not be the notebook itself; name another place")
        provenance.refuse_foreign(output, source.stem)
        results.refuse_foreign(output)
        return output
    # A changed parameter gets a name of its own, so that it never takes the place of the profile's result.
    mark = hashlib.sha256(json.dumps(dict(given), sort_keys=True, default=str).encode()).hexdigest()[:8]
    return paths.BUILD / "executed" / profile / f"{source.stem}{'-' + mark if given else ''}.ipynb"


@contextmanager
def only_one(output: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the right to make ``output`` (`files.locked`); ``say`` hears of a wait."""
    with locked(output.with_name(f".{output.stem}.lock"), lambda: say("waiting for another process that runs it")):
        yield


def _execute(
    source: Path, output: Path, facts: dict[str, Any], timeout: int, progress: Progress, watch: Watch
) -> RunRecord:
    stem = re.escape(f".{output.stem}.")
    begun = r"[0-9a-f]{8}\.partial"
    written = rf"{stem}(ipynb|run\.json|failed\.ipynb|frame\.csv|frame\.parquet)\.{begun}"
    rows = rf"\.{stem}{begun}\.(csv|parquet)\.{begun}"
    sweep(output.parent, rf"{stem}{begun}\.(ipynb|csv|parquet)", rows, written)
    values = facts["parameters"]
    partial = output.with_name(f".{output.stem}.{uuid4().hex[:8]}.partial.ipynb")
    failed = provenance.failed_path(output)
    started, clock, killed = datetime.now(UTC), time.monotonic(), kernel.memory_kills()
    try:
        partial.touch(mode=0o600)  # what it holds has not been looked through for secrets
        with watch(progress), results.collected(output, partial):
            # Only what differs from the cell's own defaults is injected: an unchanged notebook stays as it is.
            known = declared(source)
            changed = {name: values[name] for name in known if values[name] != known[name].default}
            kernel.execute(source, partial, changed, timeout, progress, values.get("claims", ""))
        node = nbformat.read(partial, as_version=4)
        text = _text(node)
    except Exception as error:
        short = kernel.memory_kills() > killed
        raise NotebookFailed(_keep_failed(partial, failed, source.name, _summary(error, short, output))) from error
    finally:
        partial.unlink(missing_ok=True)
    record = RunRecord(
        **facts,
        notebook=source.stem,
        output=output.name,
        output_sha256=hashlib.sha256(text.encode()).hexdigest(),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 2),
        git=provenance.git(),
        versions=provenance.versions(),
        machine=provenance.machine(),
        reported=provenance.reported(node),
        replaced_sha256=files.sha256(output) if output.is_file() else "",
        folder=output.parent,
    ).save()
    write_text(output, text)
    failed.unlink(missing_ok=True)
    return record


def sweep(folder: Path, *leftovers: str) -> None:
    """Remove what attempts that were killed left under these names (patterns); call it with the lock in hand."""
    for path in folder.iterdir():
        if any(re.fullmatch(pattern, path.name) for pattern in leftovers):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _text(node: NotebookNode) -> str:
    """An executed notebook as text, without secrets and without what differs from run to run.

    Secrets are taken out of what cells say and show; the names of fields, and the form of a notebook, stay.
    """
    for key in ("papermill", "widgets"):
        node.metadata.pop(key, None)
    for cell in node.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected-parameters"  # papermill's own is random
        cell.source = provenance.redact(cell.source)
        for output in cell.get("outputs", []):
            for part in SAID & output.keys():
                output[part] = nbformat.from_dict(provenance.redact(output[part]))
    return nbformat.writes(node) + "\n"


def _keep_failed(partial: Path, failed: Path, name: str, problem: str) -> str:
    """Keep what was executed as NAME.failed.ipynb and say in one message where it broke."""
    try:
        node = notebooks.read(partial)
    except (OSError, notebooks.NotebookUnreadable):  # nothing was written yet, or half of it
        return provenance.redact(f"{name}: {problem}")
    own = [cell for cell in node.cells if not ADDED & set(cell.metadata.get("tags", []))]
    begun = [i for i, cell in enumerate(own) if cell.metadata.get("papermill", {}).get("start_time")]
    node.metadata["adaptlab"] = "a run that failed"  # provenance.FAILED_MARK
    try:
        write_text(failed, _text(node))
        kept = f"The notebook up to there: {failed}"
    except OSError as error:
        kept = str(error)
    if not begun:
        return provenance.redact(f"{name}: failed before its first cell: {problem}")
    head = "\n".join(f"    {line}" for line in own[begun[-1]].source.splitlines()[:6])
    place = f"{name}, cell {begun[-1] + 1} of {len(own)}"
    return provenance.redact(f"{place}: {problem}\n{head}\n{kept}")


def _summary(error: Exception, short: bool, output: Path) -> str:
    """What stopped a run, in words; ``short``: whether the system has killed a process meanwhile for want of memory."""
    kind = type(error).__name__
    if kind == "PapermillExecutionError":
        return f"{error.ename}: {error.evalue}"
    if kind == "DeadKernelError" or "Kernel died" in str(error):
        if short:
            return "the memory ran out, and the system killed the kernel; take a smaller model, or stop what else runs"
        return "the kernel died (killed, crashed, or out of memory)"
    if kind == "CellTimeoutError":
        return "the cell took longer than the time limit for one cell"
    if isinstance(error, OSError):
        return f"{error.filename or output.parent}: {error.strerror or error}; make room there, or name another place"
    return f"{kind}: {error}"
