"""The report: every notebook executed under one profile, and one page that says what came out."""

import json
import os
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import nbformat

from adaptlab import paths
from adaptlab.files import write_text
from adaptlab.runner import execute, notebooks, pages, profiles, provenance
from adaptlab.runner.provenance import RunRecord

FORMAT = "adaptlab report 1"
RAN = ("prefilled", "scored", "decoded")
TOKENS = (*RAN, "cached", "trained", "naive")


def build(
    profile: str = "quick",
    out: Path | None = None,
    *,
    force: bool = False,
    timeout: int = execute.CELL_TIMEOUT,
    say: Callable[[str, str | RunRecord], None] = lambda name, news: None,
) -> Path:
    """Execute what is not yet executed, and write the report to ``out`` (``build/report``); returns its index page.

    All notebooks are tried; if any fails, `NotebookFailed` tells which, and the report is not touched. ``out`` holds
    the old report or the whole new one, also if this process is killed. ``say`` receives a notebook's name with
    a line, and then with its record.
    """
    out = Path(out or paths.BUILD / "report").resolve()
    _refuse_foreign(out)
    profiles.load(profile)
    sources = notebooks.available()
    if not sources:
        raise notebooks.NotebookNotFound(f"there is no notebook in {paths.NOTEBOOKS.name}/")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{uuid4().hex[:8]}.partial")
    with execute.only_one(out, lambda line: say(out.name, line)):
        _recover(out)
        records = _run_all(sources, profile, force, timeout, say)
        try:
            _write(partial, records, profile)
            _swap(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return out / "index.html"


def _run_all(sources: list[Path], profile: str, force: bool, timeout: int, say: Callable) -> list[RunRecord]:
    records, failures = [], []
    for source in sources:
        execute.resolve(source, profile, {})  # a mistake in the last notebook's section shows before the first runs
    for source in sources:
        try:
            tell = lambda line, name=source.stem: say(name, line)  # noqa: E731
            record = execute.run(source, profile=profile, force=force, timeout=timeout, say=tell)
        except execute.NotebookFailed as error:
            failures.append(str(error))
            say(source.stem, "failed")
        else:
            records.append(record)
            say(source.stem, record)
    if failures:
        raise execute.NotebookFailed("\n\n".join(failures))
    return records


def _refuse_foreign(out: Path) -> None:
    """The report replaces its folder as a whole, so it must not be one that holds anything else."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() and not (out / "report.json").is_file():
        raise execute.OutputRefused(f"{out.name}: is there already and is not a report; name another place")


def _swap(partial: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old")
    if out.exists():
        os.replace(out, old)
    os.replace(partial, out)
    shutil.rmtree(old, ignore_errors=True)


def _recover(out: Path) -> None:
    """Undo a swap that was cut between its two renames, and remove what a killed build left."""
    old = out.with_name(f".{out.name}.old")
    if old.exists() and not out.exists():
        os.replace(old, out)
    shutil.rmtree(old, ignore_errors=True)
    stale = re.compile(re.escape(f".{out.name}.") + "[0-9a-f]{8}[.]partial")
    for path in out.parent.iterdir():
        if stale.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _write(folder: Path, records: list[RunRecord], profile: str) -> None:
    pages_folder = folder / "notebooks"
    pages_folder.mkdir(parents=True)
    facts = gather(records, profile)
    for record, entry in zip(records, facts["notebooks"], strict=True):
        node = nbformat.read(record.path, as_version=4)
        body = pages.notebook_body(node, paths.NOTEBOOKS)
        page = pages.render("notebook.html.j2", entry=entry, body=body, css=_code_css())
        write_text(pages_folder / f"{record.notebook}.html", provenance.redact(page))
        shutil.copyfile(record.path, pages_folder / f"{record.notebook}.ipynb")
    write_text(folder / "index.html", provenance.redact(pages.render("index.html.j2", **facts)))
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    write_text(folder / "report.json", provenance.redact(text))


def _code_css() -> str:
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=style, nobackground=True) for style in ("default", "github-dark"))
    screen = dark.get_style_defs(".highlight")
    return light.get_style_defs(".highlight") + f"\n@media screen and (prefers-color-scheme: dark) {{\n{screen}\n}}"


def gather(records: list[RunRecord], profile: str) -> dict[str, Any]:
    """Everything that the report states, as plain JSON; the page and ``report.json`` are two views of it."""
    entries, claims, cost = [], {}, []
    for record in records:
        node = nbformat.read(record.path, as_version=4)
        entries.append(_entry(record, notebooks.question(node, record.notebook)))
        for said in provenance.records(node, "claims"):
            rows = [row | {"notebook": record.notebook} for row in said["rows"]]
            claims.setdefault(said["model"], []).extend(rows)
        rows = [row for said in provenance.records(node, "cost") for row in said["rows"]]
        if rows:
            cost.append(_cost(record, rows))
    return {
        "format": FORMAT,
        "profile": profile,
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(sum(record.seconds for record in records), 2),
        "git": provenance.git(),
        "notebooks": entries,
        "claims": claims,
        "cost": cost,
    }


def _entry(record: RunRecord, question: str) -> dict[str, Any]:
    said = record.reported
    return {
        "name": record.notebook,
        "question": question,
        "page": f"notebooks/{record.notebook}.html",
        "started": record.started,
        "seconds": record.seconds,
        "parameters": record.parameters,
        "seeds": record.seeds,
        "key": record.key,
        "output_sha256": record.output_sha256,
        "git": record.git,
        "versions": record.versions,
        "machine": record.machine,
        "model": said.get("model") or record.parameters.get("model", ""),
        "model_digest": said.get("model_digest") or record.model_digest,
        "reported": said,
    }


def _cost(record: RunRecord, rows: list[dict[str, Any]]) -> dict[str, Any]:
    total = {name: sum(row.get(name, 0) for row in rows) for name in (*TOKENS, "items", "seconds")}
    computed = sum(total[name] for name in RAN)
    ratio = total["naive"] / computed if computed else None
    peak = record.reported.get("peak_rss_bytes")
    return {"notebook": record.notebook, "computed": computed, "ratio": ratio, "peak": peak, **total, "rows": rows}
