"""The report: every notebook executed under one profile, and one page that says what came out."""

import json
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat

from adaptlab import paths
from adaptlab.evidence import published
from adaptlab.evidence.ledger import load_ledger
from adaptlab.files import whole_folder, write_text
from adaptlab.runner import execute, notebooks, own_files, pages, parameters, provenance, results
from adaptlab.runner.kernel import Watch
from adaptlab.runner.provenance import RunRecord

FORMAT = "adaptlab report 1"
PLAYGROUND = "playground.html"
MARK = 'content="adaptlab report"'  # in the head of every page
HOLDS = {"index.html", "report.json", "notebooks", PLAYGROUND}  # all that a report's folder holds
RAN = ("prefilled", "scored", "decoded")
TOKENS = (*RAN, "cached", "trained", "per_item", "per_option")


def build(
    profile: str = "quick",
    out: Path | None = None,
    *,
    force: bool = False,
    timeout: int = notebooks.CELL_TIMEOUT,
    say: Callable[[str, str | RunRecord], None] = lambda name, news: None,
    watch: Watch = nullcontext,
    playground: Callable[[Path], object] | None = None,
    claims: Path | None = None,
    single: Path | None = None,
) -> Path:
    """Execute what is not yet executed, and write the report to ``out`` (``build/report``); returns its index page.

    All notebooks are tried; if any fails, `NotebookFailed` tells which, and the report is not touched. ``out`` holds
    the old report or the whole new one, also if this process is killed. ``say`` receives a notebook's name with
    a line, and then with its record; ``watch`` is open while one runs. ``playground`` writes that page to the path that
    it is given; an older one lies there already, and is kept where there is no such function. ``claims``: a file of the
    user's own, tested by the notebooks that it names. ``single``: a file for all pages as one.
    """
    out = notebooks.checked_name(Path(out or paths.BUILD / "report").resolve())
    _refuse_foreign(out)
    if single:
        _refuse_other_page(single, out)
    notebooks.load_profile(profile)
    sources = notebooks.available()
    if not sources:
        raise notebooks.NotebookNotFound(f"there is no notebook in {paths.NOTEBOOKS.name}/")
    about = own_files.own_claims(claims) if claims else set()
    for source in sources:
        parameters.resolve(source, profile, {})  # a mistake in the last notebook's section shows before the first runs
    with execute.only_one(out, lambda line: say(out.name, line)):
        _refuse_foreign(out)
        execute.sweep(out.parent, re.escape(f".{out.name}-") + "[a-z0-9_]{8}")
        with whole_folder(out, replace=True) as folder:
            options = {"profile": profile, "force": force, "timeout": timeout, "watch": watch}
            given = {stem: {"claims": str(claims)} for stem in about}
            records = _run_all(sources, say, options, given)
            if (out / PLAYGROUND).is_file():
                shutil.copyfile(out / PLAYGROUND, folder / PLAYGROUND)
            if playground:
                say("playground", "writing the page")
                playground(folder / PLAYGROUND)
            _write(folder, records, profile)
        if single:
            write_text(single, pages.one_page(out, [source.stem for source in sources]))
    return out / "index.html"


def _run_all(
    sources: list[Path], say: Callable, options: dict[str, Any], given: dict[str, dict[str, Any]]
) -> list[RunRecord]:
    records, failures = [], []
    for source in sources:
        try:
            tell = lambda line, name=source.stem: say(name, line)  # noqa: E731
            record = execute.run(source, parameters=given.get(source.stem), say=tell, **options)
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
    if not out.exists():
        return
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else [out.name]
    ours = provenance.holds(out, "report.json", "adaptlab report") or (out.is_dir() and set(names) <= {PLAYGROUND})
    strange = [name for name in names if name not in HOLDS and not name.startswith(".")]
    if strange or not ours:
        found = f"holds {strange[0]}, which the kit did not write" if ours else "is there already and is not a report"
        raise provenance.OutputRefused(f"{out}: {found}; name another place, or move it away")


def _refuse_other_page(single: Path, out: Path) -> None:
    if out in single.resolve().parents:
        raise provenance.OutputRefused(f"{single}: lies in the report's folder, which is replaced; name another place")
    if single.suffix != ".html":
        raise provenance.OutputRefused(f"{single}: a page is a file that ends in .html; name it so")
    if single.exists() and not (single.is_file() and MARK in single.read_text(encoding="utf-8", errors="replace")):
        raise provenance.OutputRefused(f"{single}: is there already and is not a report; name another place")


def _write(folder: Path, records: list[RunRecord], profile: str) -> None:
    (folder / "notebooks").mkdir()
    facts, figures = gather(records, profile), {}
    entries = facts["notebooks"]
    for i, (record, entry) in enumerate(zip(records, entries, strict=True)):
        node = nbformat.read(record.path, as_version=4)
        figures[record.notebook] = pages.figure(node, entry["answer"]["figure"]) if entry["answer"] else None
        body, headings = pages.notebook_body(node, paths.NOTEBOOKS)
        near = {"previous": entries[i - 1] if i else None, "next": entries[i + 1] if i + 1 < len(entries) else None}
        page = pages.render("notebook.html.j2", entry=entry, body=body, headings=headings, css=_code_css(), **near)
        write_text(folder / entry["page"], page)
        shutil.copyfile(record.path, folder / entry["page"].replace(".html", ".ipynb"))
        for frame, name in zip(results.beside(record.path), entry["frames"], strict=True):
            shutil.copyfile(frame, folder / "notebooks" / name)
    here = {"playground": (folder / PLAYGROUND).is_file(), "figures": figures}
    index = pages.render("index.html.j2", **here, **facts)
    write_text(folder / "index.html", index)
    write_text(folder / "report.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def _code_css() -> str:
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=style, nobackground=True) for style in ("default", "github-dark"))
    screen = dark.get_style_defs(".highlight")
    return light.get_style_defs(".highlight") + f"\n@media screen and (prefers-color-scheme: dark) {{\n{screen}\n}}"


def gather(records: list[RunRecord], profile: str) -> dict[str, Any]:
    """Everything that the report states, as plain JSON; the page and ``report.json`` are two views of it."""
    entries, claims, cost = [], {}, []
    own: dict[str, Any] = {"files": [], "claims": {}, "untested": []}
    for record in records:
        node = nbformat.read(record.path, as_version=4)
        entries.append(_entry(record, notebooks.question(node, record.notebook)))
        for said in provenance.read_outputs(node, "claims"):
            rows = [row | {"notebook": record.notebook} for row in said["rows"]]
            claims.setdefault(said["model"], []).extend(rows)
        for said in provenance.read_outputs(node, "own_claims"):
            own["files"] += [said["file"]] if said["file"] not in own["files"] else []
            own["untested"] += said["untested"]
            for row in said["rows"]:
                own["claims"].setdefault(row["model"], []).append(row | {"notebook": record.notebook})
        rows = [row for said in provenance.read_outputs(node, "cost") for row in said["rows"]]
        if rows:
            cost.append(_cost(record, rows))
    claims = provenance.redact(claims)
    for entry in entries:
        entry["answer"] = _answer([row | {"model": model} for model, rows in claims.items() for row in rows
                                   if row["notebook"] == entry["name"]])  # fmt: skip
    tested = {row["id"] for rows in claims.values() for row in rows}
    known = {id: published.sentences(claim) for id, claim in load_ledger().items() if id in tested} if tested else {}
    return {
        "format": FORMAT,
        "profile": profile,
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(sum(record.seconds for record in records), 2),
        "git": provenance.git(),
        "notebooks": entries,
        "claims": claims,
        "published": {id: said for id, said in known.items() if said},
        "own": provenance.redact(own),
        "cost": provenance.redact(cost),
    }


def _entry(record: RunRecord, question: str) -> dict[str, Any]:
    facts = "started seconds parameters seeds key output_sha256 git versions machine reported".split()
    return {
        "name": record.notebook,
        "question": question,
        "page": f"notebooks/{record.notebook}.html",
        "frames": [f"{record.notebook}.frame{path.suffix}" for path in results.beside(record.path)],
        "model": record.reported.get("model") or record.parameters.get("model", ""),
        "model_digest": record.reported.get("model_digest") or record.model_digest,
    } | {name: getattr(record, name) for name in facts}


def _answer(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The tested claim that answers a notebook's question: the first that the ledger names so, else the first that is
    no control."""
    claims = [row for row in rows if not row.get("control")]  # which runs of an older kit do not tell
    return next((row for row in claims if row.get("figure")), claims[0] if claims else None)


def _cost(record: RunRecord, rows: list[dict[str, Any]]) -> dict[str, Any]:
    total = {name: sum(row[name] for row in rows) for name in (*TOKENS, "items", "seconds")}
    computed = sum(total[name] for name in RAN)
    ratio = total["per_option"] / computed if computed else None
    peak = record.reported.get("peak_rss_bytes")
    return {"notebook": record.notebook, "computed": computed, "ratio": ratio, "peak": peak, **total, "rows": rows}
