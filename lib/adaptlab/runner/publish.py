"""Publishing: the verdicts and headline numbers of a finished report, as ``data/results/`` and in README's tables."""

import re
from pathlib import Path
from typing import Any

import yaml

from adaptlab import files, paths
from adaptlab.evidence import published, words
from adaptlab.evidence.ledger import load_ledger
from adaptlab.evidence.published import Results
from adaptlab.runner import notebooks, provenance, report
from adaptlab.runner.kernel import HUB_ID

HEAD = """\
# Written by `adaptlab publish` from a finished report. Of each claim, by its id in data/claims.yaml: the verdict, the
# effect and its 95 % interval in a unit (points: percentage points of right answers), the numbers of items and seeds.
"""
_NAME = re.compile(r"\w[\w.-]*")


class NotPublishable(ValueError):
    """No finished report, or one that nobody could repeat; the message says what to do."""


def publish(place: Path) -> list[str]:
    """Publish a report's folder, or one of executed notebooks (``build/executed/PROFILE``); what to tell the user.

    Results of notebooks that the report does not hold stay, if they are of the same weights. Raises `NotPublishable`,
    `ResultsError` for older results that are damaged, and OSError.
    """
    if not paths.IN_CHECKOUT:
        raise NotPublishable("results are published in a checkout of the kit; this is an installed package")
    results = _results(_facts(place), place)
    front = paths.NOTEBOOKS.parent / "README.md"
    with_tables(front.read_text(encoding="utf-8"))  # what is wrong with it shows before anything is written
    published.folder().mkdir(exist_ok=True)
    told = []
    for new in results:
        path = published.folder() / f"{new.profile}-{new.model.replace('/', '--')}.yaml"
        whole = _joined(published.read(path), new) if path.is_file() else new
        files.write_text(path, as_text(whole))
        told.append(f"{path.name}: {len(new.rows)} claims published, {len(whole.rows)} in all")
    files.write_text(front, with_tables(front.read_text(encoding="utf-8")))
    plans = paths.NOTEBOOKS / "README.md"
    files.write_text(plans, with_minutes(plans.read_text(encoding="utf-8")))
    return told


def as_text(results: Results) -> str:
    """The content of a file of results, a claim in each line."""
    return HEAD + yaml.safe_dump(results.as_yaml(), sort_keys=False, default_flow_style=None, width=200)


def _facts(place: Path) -> dict[str, Any]:
    """What a report states; of a folder without one, what its report would state."""
    if (place / "report.json").is_file():
        try:
            facts = files.read_json((place / "report.json").read_bytes())
            if facts["format"] == report.FORMAT:
                return facts
        except (ValueError, LookupError, TypeError):
            pass
        raise NotPublishable(f"{place / 'report.json'} is not that of a report, or is damaged; write the report again")
    records = []
    for path in sorted(place.glob("*.ipynb")):
        record = provenance.recorded(path)
        if record and path.stem == record.notebook:  # not one with parameters of its own, nor one that failed
            if not provenance.finished(path, record.key):
                raise NotPublishable(f"{path} was changed since it ran; run {record.notebook} again")
            records.append(record)
    profiles = {record.profile for record in records}
    if len(profiles) != 1:
        raise NotPublishable(f"{place} holds no finished runs of one profile; `adaptlab report` makes them")
    return report.gather(records, profiles.pop())


def _results(facts: dict[str, Any], place: Path) -> list[Results]:
    """The results for each model. Only what can be run again from a commit is published."""
    ledger, found = load_ledger(), []
    for entry in facts["notebooks"]:
        if not entry["git"] or entry["git"]["dirty"]:
            problem = "with uncommitted changes" if entry["git"] else "outside a checkout"
            raise NotPublishable(f"{place}: {entry['name']} ran {problem}; commit, and run it again")
    for model, tested in facts["claims"].items():
        if not (_NAME.fullmatch(model) or HUB_ID.fullmatch(model)):
            raise NotPublishable(f"{place}: {model!r} is a folder; only models that others can load are published")
        digests = {entry["model_digest"] for entry in facts["notebooks"] if entry["model"] == model}
        if len(digests) > 1:
            raise NotPublishable(f"{place}: the weights of {model} changed between notebooks; run them all again")
        by_id = {row["id"]: row for row in tested}
        rows = {id: by_id[id] for id in ledger if id in by_id}
        stems = {row["notebook"] for row in rows.values()}
        runs = {entry["name"]: _run(entry) for entry in facts["notebooks"] if entry["name"] in stems}
        found.append(Results(facts["profile"], model, "".join(digests), runs, rows))
    if not found:
        raise NotPublishable(f"{place} tests no claim")
    return found


def _run(entry: dict[str, Any]) -> dict[str, Any]:
    minutes = max(1, round(entry["seconds"] / 60))
    return {"commit": entry["git"]["commit"][:12], "kit": entry["versions"]["adaptlab"], "minutes": minutes}


def _joined(old: Results, new: Results) -> Results:
    """The new results, and those of other notebooks that were made with the same weights."""
    ledger = load_ledger()
    kept = {stem: run for stem, run in old.notebooks.items() if stem not in new.notebooks and old.digest == new.digest}
    rows = {id: row for id, row in old.rows.items() if any(ledger[id].is_about(stem) for stem in kept)} | new.rows
    ordered = {id: rows[id] for id in ledger if id in rows}
    return Results(new.profile, new.model, new.digest, dict(sorted((kept | new.notebooks).items())), ordered)


def with_tables(text: str) -> str:
    """README with the tables that notebooks, ledger and published results give today, each between its marks.

    Raises `NotPublishable` where a mark is missing.
    """
    for name, lines in (("notebooks", _notebook_table()), ("results", _claim_table())):
        start, end = f"<!-- {name}: written by `adaptlab publish` -->\n", f"<!-- end of {name} -->"
        before, found, rest = text.partition(start)
        if not found or end not in rest:
            raise NotPublishable(f"README.md: the comments around the table of {name} are missing; put them back")
        text = "\n".join([before + start + lines[0], *lines[1:], end + rest.partition(end)[2]])
    return text


def with_minutes(text: str) -> str:
    """The plans for teaching, with the minutes that the profile quick takes today at the end of each row that is about
    one notebook."""
    quick, row = _minutes(), re.compile(r"^(\|[^()\n]*\]\((\w+)\.ipynb\)[^()\n]*\|) [\d–]+ \|$", re.MULTILINE)
    return row.sub(lambda found: f"{found[1]} {quick.get(found[2], '–')} |", text)


def _minutes() -> dict[str, int]:
    """How long notebooks take in the profile quick, by stem, for those of which it is published."""
    quick = (one.notebooks for one in published.load() if one.profile == published.QUICK)
    return {stem: run["minutes"] for runs in quick for stem, run in runs.items()}


def _notebook_table() -> list[str]:
    quick = _minutes()
    lines = ["| | question | minutes on 2 cores | claims and controls |", "| --- | --- | ---: | ---: |"]
    for path in notebooks.available():
        number, asked = path.stem.split("_")[0], notebooks.question(notebooks.read(path))
        tested = sum(claim.is_about(path.stem) for claim in load_ledger().values())
        lines.append(f"| [{number}](notebooks/{path.name}) | {asked} | {quick.get(path.stem, '–')} | {tested} |")
    return lines


def _claim_table() -> list[str]:
    """The claims that answer the questions of notebooks, a column for each model; then all in numbers. A cell is of the
    profile quick, and says so, where nothing larger is published of the claim."""
    results, ledger = published.load(), load_ledger()
    answers = sorted((claim for claim in ledger.values() if claim.figure), key=lambda claim: claim.notebook)
    tested = [claim for claim in answers if any(claim.id in one.rows for one in results)]
    models = dict.fromkeys(one.model for one in results if any(claim.id in one.rows for claim in tested))
    lines = []
    if models:
        lines += [_line("claim", *models), _line(*["---"] * (1 + len(models)))]
    for claim in tested:
        cells = (_cell([one for one in results if one.model == model], claim.id) for model in models)
        lines.append(_line(f"{claim.notebook}: {claim.sentence}", *cells))
    legend = ", ".join(f"{symbol} {verdict}" for verdict, symbol in words.SYMBOLS.items())
    controls = sum(claim.control for claim in ledger.values())
    lines += ["", f"{legend}; – not run; what is not of the profile quick is of a larger one, named below."]
    lines += [f"The notebooks test {len(ledger) - controls} claims and {controls} controls."]
    return [*lines, *(tally(one) for one in results)]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(results: list[Results], id: str) -> str:
    """What the first of one model's results, the largest profile, that has the claim says of it."""
    one = next((one for one in results if id in one.rows), None)
    if one is None:
        return "–"
    row, small = one.rows[id], ", quick" if one.profile == published.QUICK else ""
    return f"{words.SYMBOLS[row['verdict']]} {words.interval(row)}{small}"


def tally(results: Results) -> str:
    """How the published claims of one profile and model came out, controls apart, as a sentence."""
    ledger = load_ledger()
    verdicts = [row["verdict"] for id, row in results.rows.items() if not ledger[id].control]
    controls = [row["verdict"] for id, row in results.rows.items() if ledger[id].control]
    counted = ", ".join(f"{word} {verdicts.count(word)}" for word in words.SYMBOLS if word in verdicts)
    said = f"Published for {results.model} (profile {results.profile}), {len(verdicts)} claims: {counted}"
    return f"{said}; {controls.count(words.HOLDS)} of {len(controls)} controls hold." if controls else f"{said}."
