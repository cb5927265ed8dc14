"""The command line: ``adaptlab run | report | list | pretrain | doctor``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from adaptlab.runner import execute, notebooks, pages, profiles
from adaptlab.runner import report as reports
from adaptlab.runner.parameters import declared, parse
from adaptlab.runner.provenance import RunRecord

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Profile = Annotated[str, typer.Option(help="A named set of parameters; `adaptlab list` shows them.")]
Force = Annotated[bool, typer.Option("--force", help="Run even if nothing has changed.")]
Timeout = Annotated[int, typer.Option(min=1, help="Seconds that one cell may take.")]


@app.command()
def run(
    notebook: Annotated[str, typer.Argument(help="Number, name or path.")],
    profile: Profile = "quick",
    p: Annotated[list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="Change a parameter.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the executed notebook goes.")] = None,
    force: Force = False,
    timeout: Timeout = execute.CELL_TIMEOUT,
) -> None:
    """Execute one notebook, unless its result is already there."""
    with _clear_errors():
        source = notebooks.find(notebook)
        given = parse(declared(source), p or [])
        options = {"profile": profile, "out": out, "force": force, "timeout": timeout}
        record = execute.run(source, parameters=given, say=lambda line: _tell(source.stem, line), **options)
        _tell(source.stem, record)
        typer.echo(_near(record.path))


@app.command()
def report(
    profile: Profile = "quick",
    out: Annotated[Path | None, typer.Option(help="Folder of the report.")] = None,
    force: Force = False,
    timeout: Timeout = execute.CELL_TIMEOUT,
) -> None:
    """Execute every notebook that changed, and write the report."""
    with _clear_errors():
        index = reports.build(profile, out, force=force, timeout=timeout, say=_tell)
        typer.echo(_near(index))


@app.command("list")
def list_() -> None:
    """Show the notebooks with their parameters, the profiles, and the models."""
    with _clear_errors():
        for path in notebooks.available():
            typer.secho(f"{path.stem}: {notebooks.question(notebooks.read(path))}", bold=True)
            for parameter in declared(path).values():
                typer.echo(f"    {parameter}")
        typer.echo(f"\nprofiles: {', '.join(profiles.available())}\n\nmodels:")
        from adaptlab.engine import folders

        for name in folders.embedded():
            typer.echo(f"    {name} (comes with the kit)")
        for model in folders.available():
            state = "installed" if model.installed else model.how
            typer.echo(f"    {model.name} ({model.kind}, {model.licence}): {state}")
        typer.echo("    or a folder with a config.json, or ORGANISATION/NAME on the Hub")


@app.command()
def pretrain(
    name: Annotated[str, typer.Argument(help="study, study-s, study-b or study-it.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Stop once so many steps are done in all.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto for the best there is.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder of the finished model.")] = None,
) -> None:
    """Train one of the kit's own models from nothing (study-it: from study); killed, it goes on where it was."""
    with _clear_errors():
        from adaptlab.studymodel import make

        place = make.make(name, steps=steps, device=device, out=out)
        typer.echo(_near(place))


@app.command()
def doctor() -> None:
    """Look at this machine: what is ready, what is missing, what to do."""
    from adaptlab.runner import doctor as diagnosis

    colours = {"ok": typer.colors.GREEN, "note": typer.colors.YELLOW, "missing": typer.colors.RED}
    states = set()
    for finding in diagnosis.examine():
        states.add(finding.state)
        advice = f"  -> {finding.advice}" if finding.advice else ""
        typer.echo(f"{typer.style(f'{finding.state:8}', fg=colours[finding.state])}{finding.what}{advice}")
    if "missing" in states:
        raise typer.Exit(1)


def _tell(name: str, news: str | RunRecord) -> None:
    if isinstance(news, RunRecord):
        news = "unchanged, not run again" if news.cached else f"finished in {pages.duration(news.seconds)}"
    typer.echo(f"{name} … {news}")


def _near(path: Path) -> str:
    """The path as one would type it from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


@contextmanager
def _clear_errors() -> Iterator[None]:
    """The kit's own errors, and the system's about files, are messages to the user; anything else is a defect."""
    try:
        yield
    except execute.NotebookFailed as error:
        _stop(str(error), 1)
    except OSError as error:
        _stop(str(error), 1)
    except (ValueError, LookupError) as error:
        if not type(error).__module__.startswith("adaptlab."):
            raise
        _stop(str(error), 2)


def _stop(message: str, code: int) -> NoReturn:
    typer.secho(f"adaptlab: {message}", fg=typer.colors.RED, err=True)
    raise typer.Exit(code)
