"""The command line, ``adaptlab``: its commands, and how they speak to the user."""

import importlib.metadata
import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

# Whatever takes long to import is imported by the command that needs it: --help answers at once.
from adaptlab.runner.notebooks import CELL_TIMEOUT

if TYPE_CHECKING:
    from adaptlab.runner.kernel import Progress
    from adaptlab.runner.provenance import RunRecord

HELP = """A laptop-sized laboratory: measure what it buys to show a language model examples, or to train it on them.

Each notebook asks one question, runs an experiment, and tests what the papers claim about it.

\b
Examples:
  adaptlab report              run all notebooks, write a page of results
  adaptlab run 02 -p items=8   run one notebook with another parameter
  adaptlab check mine.csv      what the kit understands of your data
"""
LOG_INTERVAL = 10  # seconds between two lines of progress where no terminal rewrites them

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=HELP)
claim = typer.Typer(no_args_is_help=True, help="Claims of your own, tested by the same rule as the kit's.")
app.add_typer(claim, name="claim")

Profile = Annotated[str, typer.Option(help="A named set of parameters; `adaptlab list` shows them.")]
Force = Annotated[bool, typer.Option("--force", help="Run even if nothing has changed.")]
Timeout = Annotated[int, typer.Option(min=1, help="Seconds that one cell may take.")]
Given = Annotated[list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="Change a parameter: -p items=8.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adaptlab {importlib.metadata.version('adaptlab')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    notebook: Annotated[str, typer.Argument(help="Number, name or path.")],
    profile: Profile = "quick",
    p: Given = None,
    out: Annotated[Path | None, typer.Option(help="Where the executed notebook goes.")] = None,
    force: Force = False,
    timeout: Timeout = CELL_TIMEOUT,
) -> None:
    """Execute one notebook, unless its result is already there."""
    with _clear_errors("nothing was written"):
        from adaptlab.runner import execute, notebooks
        from adaptlab.runner.parameters import accepted, parse

        source = notebooks.find(notebook)
        given = parse(accepted(source), p or [])
        options = {"profile": profile, "out": out, "force": force, "timeout": timeout, "watch": _showing}
        record = execute.run(source, parameters=given, say=lambda line: _tell(source.stem, line), **options)
        _tell(source.stem, record)
        typer.echo(_near(record.path))


@app.command()
def report(
    profile: Profile = "quick",
    out: Annotated[Path | None, typer.Option(help="Folder of the report.")] = None,
    claims: Annotated[Path | None, typer.Option(help="A file of your own claims, shown beside the kit's.")] = None,
    single: Annotated[Path | None, typer.Option(help="Also all pages as one file, which ends in .html.")] = None,
    force: Force = False,
    timeout: Timeout = CELL_TIMEOUT,
) -> None:
    """Execute every notebook that changed, and write the report."""
    with _clear_errors("no report was written; the notebooks that finished are kept"):
        from adaptlab.runner import report as reports

        shown = {"say": _tell, "watch": _showing, "playground": _write_playground}
        index = reports.build(profile, out, force=force, timeout=timeout, claims=claims, single=single, **shown)
        typer.echo(_how_to_open(index))


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="A report's folder.")],
    after: Annotated[Path, typer.Argument(help="Another one: of other code, another machine, another model.")],
) -> None:
    """Compare two reports: verdicts that changed, effects that differ beyond noise (then the exit status is 1)."""
    with _clear_errors():
        from adaptlab.runner.compare import compare

        found = compare(before, after)
        for line in found.lines():
            typer.echo(line)
    raise typer.Exit(found.differs)


@app.command()
def publish(place: Annotated[Path, typer.Argument(help="A report's folder, or build/executed/PROFILE.")]) -> None:
    """Write the verdicts and numbers of a finished report to data/results, and README's tables anew."""
    with _clear_errors():
        from adaptlab.runner import publish as publishing

        for line in publishing.publish(place):
            typer.echo(line)


@app.command()
def student(folder: Annotated[Path, typer.Argument(help="A new folder; beside `notebooks`, all links work.")]) -> None:
    """Write the notebooks for students: without solutions and outputs, the exercises left to fill."""
    with _clear_errors():
        from adaptlab.runner import student as copies

        typer.echo(f"{_near(folder)}: {len(copies.write(folder))} notebooks")


@app.command()
def check(
    file: Annotated[str, typer.Argument(help="A file, a folder, or ORGANISATION/NAME on the Hub.")],
    as_: Annotated[str, typer.Option("--as", help="labelled, instructions, chat, documents or preferences.")] = "",
    columns: Annotated[str, typer.Option(help="What columns mean: 'text: review, label: stars'.")] = "",
    model: Annotated[str, typer.Option(help="A model, for lengths in tokens and the shots that fit.")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="A bad row is an error.")] = False,
    shots: Annotated[list[int] | None, typer.Option(help="Numbers of demonstrations; can be given repeatedly.")] = None,
) -> None:
    """Say what the kit understands of your data: rows, classes, lengths, what fits, what leaks."""
    with _clear_errors():
        from adaptlab.tasks.reading import read

        reading = read(file, as_, columns, strict)
        from adaptlab.engine import models
        from adaptlab.studies import own_data

        data = reading.data if reading.kind in ("labelled", "instructions") and reading.test else reading
        lm = models.load(model) if model else None
        for line in own_data.describe(data, lm, shots or own_data.SHOTS).payload["lines"]:
            typer.echo(line.replace("**", ""))


def _write_playground(out: Path | None) -> Path:
    from adaptlab.runner import playground as page

    return page.write(out)


@app.command()
def playground(out: Annotated[Path | None, typer.Option(help="The page, a file that ends in .html.")] = None) -> None:
    """Write a page in which the study model runs in the reader's browser, without a network."""
    with _clear_errors():
        _tell("playground", "tuning the twins that it holds, half a minute")
        typer.echo(_how_to_open(_write_playground(out)))


@app.command()
def sweep(
    study: Annotated[Path, typer.Argument(help="A study file: models x seeds x settings x notebooks.")],
    on: Annotated[str, typer.Option(help="local, slurm, kubernetes, or a folder with a Snakemake profile.")] = "local",
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="How many runs at once.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would run.")] = False,
) -> None:
    """Make every run of a study that is not there yet, and gather all in one frame and one page."""
    with _clear_errors("what finished is kept: the same command goes on"):
        from adaptlab.runner import sweep as sweeps

        page = sweeps.build(study, on, out, jobs=jobs, dry_run=dry_run, say=_tell, watch=_showing)
        if page:
            typer.echo(_how_to_open(page))


@claim.command("new")
def claim_new(file: Annotated[Path, typer.Argument(help="The new file.")] = Path("claims.yaml")) -> None:
    """Write a file with one claim and what each of its fields means, for you to change."""
    with _clear_errors():
        from adaptlab.runner import own_files

        own_files.new_claims(file)
        typer.echo(f"{file}: change it, then: adaptlab run 02 -p claims={shlex.quote(str(file))}")


@claim.command("test")
def claim_test(
    file: Annotated[Path, typer.Argument(help="A file of claims.")],
    frame: Annotated[Path, typer.Argument(help="The rows of a run: NAME.frame.csv or NAME.frame.parquet.")],
) -> None:
    """Test each claim of a file on the rows of a run."""
    with _clear_errors():
        from adaptlab.runner import own_files

        own_files.own_claims(file)
        from adaptlab.evidence import frames, own_claims
        from adaptlab.evidence.ledger import load_ledger

        for one in own_claims.tested(load_ledger(file).values(), frames.read(frame)):
            typer.echo(own_claims.line(one))


@app.command("list")
def list_() -> None:
    """Show the notebooks with their parameters, the profiles, and the models."""
    with _clear_errors():
        from adaptlab.engine import folders
        from adaptlab.runner import notebooks
        from adaptlab.runner.parameters import declared

        for path in notebooks.available():
            typer.secho(f"{path.stem}: {notebooks.question(notebooks.read(path))}", bold=True)
            for parameter in declared(path).values():
                typer.echo(f"    {parameter}")
        typer.echo(f"\nprofiles: {', '.join(notebooks.profile_names())}\n\nmodels:")
        for name in folders.embedded():
            typer.echo(f"    {name} (comes with the kit)")
        for model in folders.available():
            state = "installed" if model.installed else model.how
            typer.echo(f"    {model.name} ({model.kind}, {model.licence}): {state}")
        typer.echo("    or a folder with a config.json, or ORGANISATION/NAME on the Hub")


@app.command("models")
def models_() -> None:
    """Show the models that are here: how large they are, whether they fit into memory, and about how fast they run."""
    with _clear_errors():
        from adaptlab.runner import inventory

        machine = inventory.measure()
        typer.echo(f"{machine}\n")
        for model in inventory.here():
            typer.echo(model.line(machine))
        for model in inventory.absent():
            typer.echo(f"{model.name}: not here; {model.how}")


@app.command()
def pretrain(
    name: Annotated[str, typer.Argument(help="study, study-s, study-n, study-b or study-it.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Stop once so many steps are done in all.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto for the best there is.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder of the finished model.")] = None,
) -> None:
    """Train one of the kit's own models from nothing (study-it: from study); killed, it goes on where it was."""
    with _clear_errors("the same command goes on from the last checkpoint"):
        from adaptlab.studymodel import make

        place = make.make(name, steps=steps, device=device, out=out)
        typer.echo(_near(place))


@app.command()
def doctor(
    workshop: Annotated[bool, typer.Option("--workshop", help="Also what a class needs, the day before.")] = False,
) -> None:
    """Look at this machine: what is ready, what is missing, what to do."""
    with _clear_errors():
        from adaptlab.runner import doctor as diagnosis

        colours = {"ok": typer.colors.GREEN, "note": typer.colors.YELLOW, "missing": typer.colors.RED}
        states = set()
        for finding in diagnosis.examine(workshop):
            states.add(finding.state)
            advice = f"  -> {finding.advice}" if finding.advice else ""
            typer.echo(f"{typer.style(f'{finding.state:8}', fg=colours[finding.state])}{finding.what}{advice}")
    if "missing" in states:
        raise typer.Exit(1)


def _tell(name: str, news: "str | RunRecord") -> None:
    """One line about a notebook: what it does now, or how it ended."""
    typer.echo(f"{name} … {news}")


@contextmanager
def _showing(progress: "Progress") -> Iterator[None]:
    """Tell how far a notebook is: each second in one line of a terminal, now and then in a log."""
    terminal, done = sys.stdout.isatty(), threading.Event()

    def tell() -> None:
        while not done.wait(1 if terminal else LOG_INTERVAL):
            line = f"{progress.name}: {progress}"
            if terminal:
                line = f"\r{line[: shutil.get_terminal_size().columns - 1]}\x1b[K"
            typer.echo(line, nl=not terminal)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if terminal:
            typer.echo("\r\x1b[K", nl=False)


def _near(path: Path) -> str:
    """The path as one would type it from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _how_to_open(page: Path) -> str:
    """A line that a reader can act on: the command that opens the page here, else its address."""
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    opener = "open" if sys.platform == "darwin" else "xdg-open" if screen else ""
    if opener and shutil.which(opener):
        return f"to read it: {opener} {shlex.quote(_near(page))}"
    return f"to read it, open in a browser: {page.as_uri()}"


@contextmanager
def _clear_errors(stopped: str = "nothing was written") -> Iterator[None]:
    """The kit's own errors, and the system's about files, are messages to the user; anything else is a defect.

    ``stopped`` tells what a command that is stopped leaves behind.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # from now on an interrupted command tidies up
        signal.signal(number, _interrupt)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        _stop(f"stopped; {stopped}", 128 + (interrupt.args or (signal.SIGINT,))[0])
    except Exception as error:
        if not isinstance(error, OSError) and not type(error).__module__.startswith("adaptlab."):
            raise
        _stop(str(error), 1 if isinstance(error, OSError | RuntimeError) else 2)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt(number)


def _stop(message: str, code: int) -> NoReturn:
    typer.secho(f"adaptlab: {message}", fg=typer.colors.RED, err=True)
    raise typer.Exit(code)
