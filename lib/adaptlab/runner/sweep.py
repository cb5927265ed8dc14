"""A sweep: all runs of a study file, through Snakemake or one after another, gathered into one frame and one page."""

import base64
import fcntl
import hashlib
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat

from adaptlab import files, paths
from adaptlab.files import write_text
from adaptlab.runner import execute, kernel, notebooks, own_files, pages, provenance, results, study
from adaptlab.runner.kernel import Watch
from adaptlab.runner.parameters import accepted, models
from adaptlab.runner.provenance import OutputRefused, RunRecord
from adaptlab.runner.study import SETTING, Job, Study

FORMAT = "adaptlab sweep 1"
SCALE = Path(__file__).parent / "scale"
EFFECTS = 9  # panels of the figure


class SweepFailed(RuntimeError):
    """Not every run of a sweep finished; the message tells what to do."""


def build(
    file: Path,
    on: str = "local",
    out: Path | None = None,
    *,
    jobs: int | None = None,
    dry_run: bool = False,
    say: Callable[[str, Any], None] = lambda name, news: None,
    watch: Watch = nullcontext,
) -> Path | None:
    """Make every run of the study that is not there yet, and write frame and page; returns the page, or None after
    a ``dry_run``.

    ``on`` is a profile of Snakemake: one of the kit's, or a folder. Without Snakemake, ``local`` makes one run after
    another. ``jobs``: how many runs at once. Raises `StudyError`, ``ModelNotFound`` and the like before anything runs,
    and `SweepFailed` where a run fails: what finished stays, and the same command goes on.
    """
    plan = study.read(file)
    folder = notebooks.checked_name(Path(out or paths.BUILD / "sweeps" / plan.name).resolve())
    snakemake, profile = _snakemake(), _profile(on)
    if not snakemake and on != "local":
        raise SweepFailed(f"--on {on} needs Snakemake, which is not installed: pip install 'adaptlab[scale]'")
    _refuse_foreign(folder)
    for place in ("runs", "done", "logs"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    with _alone(folder, lambda: say(plan.name, "waiting for another sweep in this folder")) as lock:
        write_text(folder / "study.json", json.dumps(_facts(plan, profile, say), indent=1, ensure_ascii=False) + "\n")
        for job in plan.jobs:  # a mark tells Snakemake that a run is done, so none may outlive what it stands for
            if not provenance.recorded(_output(folder, job)) or not _output(folder, job).is_file():
                (folder / "done" / job.id).unlink(missing_ok=True)
        if snakemake:
            _through_snakemake([snakemake, "--profile", str(profile)], folder, lock, jobs, dry_run)
        else:
            say(plan.name, "Snakemake is not installed (pip install 'adaptlab[scale]'), so runs go one after another")
            _one_by_one(plan, folder, dry_run, say, watch)
        return None if dry_run else _gather(plan, folder)


def _snakemake() -> str | None:
    """The command of Snakemake, beside this Python or on the path."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("snakemake", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))


def _profile(on: str) -> Path:
    named = SCALE / "profiles" / on
    folder = named if named.is_dir() else Path(on).resolve()
    if not (folder / "config.yaml").is_file():
        known = sorted(path.name for path in (SCALE / "profiles").iterdir())
        there_are = f"There are: {', '.join(known)}; or give the folder of a Snakemake profile."
        raise notebooks.ProfileNotFound(f"--on {on}: no such profile.{notebooks.did_you_mean(on, known)} {there_are}")
    return folder


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not provenance.holds(folder, "study.json", "adaptlab sweep"):
        raise OutputRefused(f"{folder}: is there already and is no sweep; name another place, or move it away")


@contextmanager
def _alone(folder: Path, wait: Callable[[], None]) -> Iterator[int]:
    """Hold the folder; Snakemake inherits the lock, and so keeps it where this process is killed and it is not."""
    lock = os.open(folder.parent / f".{folder.name}.lock", os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def _facts(plan: Study, profile: Path, say: Callable[[str, Any], None]) -> dict[str, Any]:
    """The runs as plain JSON. A run's key changes with all that its results depend on; models are made ready."""
    remote = "kubernetes" in str(files.read_yaml((profile / "config.yaml").read_bytes()).get("executor"))
    command = ["python" if remote else sys.executable, "-m", "adaptlab", "run"]
    kit = provenance.content_key(nbformat.v4.new_notebook(), {}, "")
    digests: dict[str, str] = {}
    runs = []
    for job in plan.jobs:
        known, named = accepted(job.source), models(job.values)
        with kernel.environment(own_files.hub_id(known, job.values), *named.values()):
            for model in set(named.values()) - digests.keys():
                digests[model] = kernel.prepare_model(model, lambda line, model=model: say(model, line))
        parts = [kit, files.sha256(job.source), own_files.digest(known, job.values), *map(digests.get, named.values())]
        options = ["--profile", plan.profile, "--out", f"runs/{job.id}.ipynb"]
        key = hashlib.sha256("".join(parts).encode()).hexdigest()
        runs.append({"id": job.id, "arguments": [*job.arguments, *options], "key": key})
    quoted = shlex.join(command).replace("{", "{{").replace("}", "}}")  # as Snakemake takes it
    return {"format": FORMAT, "command": quoted, "argv": command, "resources": plan.resources, "runs": runs}


def _through_snakemake(command: list[str], folder: Path, lock: int, jobs: int | None, dry_run: bool) -> None:
    command += ["--snakefile", str(SCALE / "Snakefile"), "--directory", str(folder), "--config", f"sweep={folder}"]
    if (folder / ".snakemake" / "locks").is_dir():  # left by one that was killed: this folder is held
        subprocess.run([*command, "--unlock"], pass_fds=[lock], capture_output=True)
    command += ["--dry-run"] if dry_run else []
    command += ["--jobs", str(jobs)] if jobs else []
    child = subprocess.Popen(command, pass_fds=[lock], process_group=0)
    try:
        code = child.wait()
    except BaseException:
        os.killpg(child.pid, signal.SIGINT)  # with the runs that have begun: at SIGTERM it would wait for their end
        child.wait()
        raise
    if code:
        told = "its lines above say why, and logs/ what each run said"
        raise SweepFailed(f"Snakemake ended with code {code}; {told}. What finished is kept: the same command goes on.")


def _one_by_one(plan: Study, folder: Path, dry_run: bool, say: Callable[[str, Any], None], watch: Watch) -> None:
    failures = []
    for number, job in enumerate(plan.jobs, start=1):
        name = f"{number} of {len(plan.jobs)}, {job}"
        if dry_run:
            say(name, "there" if provenance.recorded(_output(folder, job)) else "to run")
            continue
        options = {"profile": plan.profile, "parameters": job.given, "out": _output(folder, job), "watch": watch}
        try:
            say(name, execute.run(job.source, say=lambda line, name=name: say(name, line), **options))
        except execute.NotebookFailed as error:
            failures.append(str(error))
            say(name, "failed")
    if failures:
        failed = f"{len(failures)} of {len(plan.jobs)} runs failed; the others are kept, and the same command goes on."
        raise SweepFailed("\n\n".join([failed, *failures]))


def _output(folder: Path, job: Job) -> Path:
    return folder / "runs" / f"{job.id}.ipynb"


def _gather(plan: Study, folder: Path) -> Path:
    """One frame of all runs, with a column for each setting; the verdicts; the figure; the page."""
    from adaptlab.evidence import frames  # pandas takes long to import

    records = [provenance.recorded(_output(folder, job)) for job in plan.jobs]
    missing = [str(job) for job, record in zip(plan.jobs, records, strict=True) if record is None]
    if missing:
        raise SweepFailed(f"{folder}: {len(missing)} runs left no record, first {missing[0]}; run the sweep again")
    frame = _frame(plan, records)
    if len(frame):
        frames.write(frame, folder / "frame")
    sizes = _sizes(plan, records)
    own, untested = _own(plan, frame)
    kits = _kits(plan, records)
    drawn = _figure(own or kits, sizes)
    facts = {
        "format": FORMAT,
        "name": plan.name,
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
        "profile": plan.profile,
        "claims": plan.claims.name if plan.claims else "",
        "own": own,
        "untested": untested,
        "kits": kits,
        "parameters_of_models": sizes,
        "frames": [path.name for path in (folder / f"frame{ending}" for ending in frames.ENDINGS) if path.is_file()],
        "runs": [_run(job, record) for job, record in zip(plan.jobs, records, strict=True)],
    }
    facts = provenance.redact(facts)
    write_text(folder / "sweep.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    tables = {name: _by_title(facts[name]) for name in ("own", "kits")}
    write_text(folder / "index.html", pages.render("sweep.html.j2", figure=drawn, tables=tables, **facts))
    return folder / "index.html"


def _run(job: Job, record: RunRecord) -> dict[str, Any]:
    facts = {name: getattr(record, name) for name in ("started", "seconds", "key", "output_sha256", "machine")}
    return {"id": job.id, "notebook": job.source.stem, "given": job.given, "model": _model(record)} | facts


def _model(record: RunRecord) -> str:
    return record.reported.get("model") or record.parameters.get("model", "")


def _frame(plan: Study, records: list[RunRecord]) -> Any:
    import pandas as pd

    from adaptlab.evidence import frames

    parts = []
    for job, record in zip(plan.jobs, records, strict=True):
        table = next((path for path in results.beside(record.path) if path.suffix == ".csv"), None)
        if table:
            columns = {f"{SETTING}{name}": _plain(value) for name, value in job.settings.items()}
            parts.append(frames.read(table).assign(notebook=job.source.stem, run=job.id, **columns))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value


def _own(plan: Study, frame: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Each of the user's own claims on the rows of all seeds, for each model and each combination of those settings
    that the claim does not compare."""
    if not plan.claims or frame.empty:
        return [], []
    from adaptlab.evidence import own_claims
    from adaptlab.evidence.contrast import needed
    from adaptlab.evidence.ledger import load_ledger

    rows, untested = [], []
    for claim in load_ledger(plan.claims).values():
        about = frame[[claim.is_about(stem) for stem in frame["notebook"]]]
        free = [name for name in frame if name.startswith(SETTING) and name not in needed(claim)]
        groups = about.groupby(free, dropna=False, sort=False) if free else [((), about)]
        for values, part in groups:
            if len(part):
                said = ", ".join(f"{n.removeprefix(SETTING)} {v}" for n, v in zip(free, values, strict=True))
                found = own_claims.tested([claim], part)
                rows += [row | {"setting": said} for row in own_claims.rows(found)]
                untested += [
                    ": ".join(filter(None, (said, own_claims.line(one)))) for one in found if one[2] == str(one[2])
                ]
    return rows, untested


def _kits(plan: Study, records: list[RunRecord]) -> list[dict[str, Any]]:
    """The verdicts of the kit's claims, as each run's notebook computed them from its own rows."""
    found = []
    for job, record in zip(plan.jobs, records, strict=True):
        said = ", ".join(f"{name} {_plain(value)}" for name, value in job.given.items() if name != "model")
        for one in provenance.read_outputs(nbformat.read(record.path, as_version=4), "claims"):
            found += [row | {"model": one["model"], "setting": said} for row in one["rows"]]
    return found


def _by_title(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows under a title for each model and setting."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        tables.setdefault(", ".join(filter(None, (row["model"], row["setting"]))), []).append(row)
    return tables


def _sizes(plan: Study, records: list[RunRecord]) -> dict[str, int]:
    """Number of parameters of each model, by the name that its runs report."""
    from adaptlab.runner import inventory

    named = {_model(record): job.values.get("model", "") for job, record in zip(plan.jobs, records, strict=True)}
    return {reported: count for reported, name in named.items() if name and (count := inventory.parameters(name))}


def _figure(rows: list[dict[str, Any]], sizes: dict[str, int]) -> str:
    """Effect against number of parameters, a panel for each claim, as a PNG in base64; empty with fewer than two
    sizes."""
    drawn = [row for row in rows if row["model"] in sizes and None not in (row["low"], row["effect"], row["high"])]
    claims = list(dict.fromkeys(row["id"] for row in drawn))[:EFFECTS]
    if len({sizes[row["model"]] for row in drawn}) < 2:
        return ""
    from matplotlib import pyplot as plt

    from adaptlab.evidence.record import with_alt_text

    wide = min(3, len(claims))
    high = math.ceil(len(claims) / wide)
    size = (3.6 * wide + 1, 3.4 * high)
    figure, axes = plt.subplots(high, wide, figsize=size, squeeze=False, layout="constrained")
    settings = list(dict.fromkeys(row["setting"] for row in drawn))
    for ax, id in zip(axes.flat, claims, strict=False):
        _panel(ax, [row for row in drawn if row["id"] == id], settings, sizes)
    for ax in axes.flat[len(claims) :]:
        ax.remove()
    if len(settings) > 1:
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    alt = f"Effect with its 95 % interval against the number of parameters, one panel each for {', '.join(claims)}"
    return base64.b64encode(with_alt_text(figure, alt).png).decode("ascii")


def _panel(ax: Any, rows: list[dict[str, Any]], settings: list[str], sizes: dict[str, int]) -> None:
    """The effect of one claim, a line for each setting. Settings of one model stand beside each other: their intervals
    would hide each other."""
    points = rows[0]["points"]
    scale = 100 if points else 1
    ax.axhline(0, color="#7a7a7a", linewidth=0.8)
    for place, setting in enumerate(settings):
        line = sorted((row for row in rows if row["setting"] == setting), key=lambda row: sizes[row["model"]])
        if line:
            x = [sizes[row["model"]] * 1.04 ** (place - (len(settings) - 1) / 2) for row in line]
            y = [scale * row["effect"] for row in line]
            below = [scale * (row["effect"] - row["low"]) for row in line]
            above = [scale * (row["high"] - row["effect"]) for row in line]
            look = {"marker": "o", "markersize": 4, "linewidth": 1, "capsize": 2}
            ax.errorbar(x, y, [below, above], label=setting or None, **look)
    met = sorted({sizes[row["model"]]: row["model"] for row in rows}.items())
    ax.set(xscale="log", title=rows[0]["id"], xlabel="parameters of the model")
    ax.set_xticks([size for size, _ in met], [f"{model}\n{pages.model_size(size)}" for size, model in met])
    ax.minorticks_off()
    ax.margins(x=0.15)
    ax.set_ylabel("effect, percentage points" if points else f"effect, {rows[0]['metric'].replace('_', ' ')}")
