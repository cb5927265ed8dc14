"""What this machine has, what the kit needs, and what to do about the difference."""

import importlib.metadata as metadata
import shutil
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from adaptlab import paths
from adaptlab.engine import folders
from adaptlab.runner import notebooks, provenance
from adaptlab.runner.inventory import free_memory, total_memory
from adaptlab.runner.pages import size

MEMORY = 4 * 1024**3  # a notebook on a packaged model takes up to 3 GB, and the system wants its part
DISK = 2 * 1024**3  # the packaged models, converted
KERNEL = 3 * 1024**3 // 2  # the most that a notebook takes in the profile quick
RESULTS = 1024**3  # executed notebooks and reports, with room to spare
NAMED = ("study", "study-b", "study-it", "study-n", "study-s")  # the models that notebooks take by default


class Finding(NamedTuple):
    """One line: ``state`` is ``ok``, ``note`` (works without it) or ``missing`` (does not)."""

    state: str
    what: str
    advice: str = ""


def examine(workshop: bool = False) -> Iterator[Finding]:
    """Everything worth knowing before the first run, the required things first; at the end what a class needs."""
    yield Finding("ok", f"python {provenance.versions(())['python']}")
    short = list(_too_old())
    yield from short or [Finding("ok", "every required package is there, at its floor or above")]
    yield from _notebooks()
    yield from _torch()
    yield from _resources()
    for model in folders.available():
        ready = Finding("ok", f"model {model.name}: ready")
        yield ready if model.installed else Finding("note", f"model {model.name}: not installed", model.how)
    if workshop:
        yield from _workshop()


def _workshop() -> Iterator[Finding]:
    """What a teacher checks on each machine the day before."""
    kit = provenance.versions(("adaptlab", "jupyterlab", "transformers", "peft", "numpy"))
    yield Finding("ok", ", ".join(" ".join(one) for one in kit.items()), "the same on every machine?")
    absent, advice = sorted({*NAMED} - {*folders.embedded()}), "install the kit again, or work in its checkout"
    yield from [Finding("missing", f"model {name}: not there", advice) for name in absent] or [
        Finding("ok", f"models {', '.join(NAMED)}: ready")
    ]
    for model in folders.available():
        if model.installed and not model.ready:
            how = f"python -c 'import adaptlab as al; al.load(\"{model.name}\")'"
            yield Finding("note", f"model {model.name}: not in the cache yet; its first use takes longer", how)
    done = (paths.BUILD / "report" / "index.html").is_file()
    yield _enough(done, f"{'a' if done else 'no'} report to fall back on", "adaptlab report")
    free, advice = free_memory(), "close what else runs, and shut a notebook's kernel down before the next"
    yield _enough(free >= 2 * KERNEL, f"two notebooks at once need {size(2 * KERNEL)}, {size(free)} are free", advice)
    try:
        yield Finding("ok", f"a browser: {getattr(webbrowser.get(), 'name', 'the default one')}")
    except webbrowser.Error:
        yield Finding("note", "no browser found", "install one, or open the address that `make lab` prints elsewhere")
    yield _disk(paths.BUILD, RESULTS, "where results go", "free some there")


def _too_old() -> Iterator[Finding]:
    for requirement in map(Requirement, metadata.requires("adaptlab") or []):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name, wanted = requirement.name, requirement.specifier
        version = provenance.versions((name,))[name]
        if version == "absent" or not wanted.contains(version, prereleases=True):
            yield Finding("missing", f"{name} {version}, wanted {wanted}", f'pip install "{name}{wanted}"')


def _notebooks() -> Iterator[Finding]:
    found = notebooks.available()
    advice = "install the kit again, or work in its checkout"
    yield Finding("ok", f"{len(found)} notebooks") if found else Finding("missing", "no notebooks", advice)
    for name in notebooks.profile_names() if found else []:
        try:
            notebooks.load_profile(name)
        except ValueError as error:
            yield Finding("missing", f"profile {name}: {error}", "mend the file")


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except ImportError as error:
        yield Finding("missing", f"torch does not import: {error}", "pip install torch")
        return
    yield Finding("ok", f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    device = f"cpu: {provenance.machine()['processor']}, {torch.backends.cpu.get_cpu_capability()}"
    if torch.cuda.is_available():
        device = f"cuda: {torch.cuda.get_device_name(0)}, {size(torch.cuda.get_device_properties(0).total_memory)}"
    elif torch.backends.mps.is_available():
        device = "mps"
    yield Finding("ok", f"device {device}")


def _resources() -> Iterator[Finding]:
    memory, cache = total_memory(), paths.cache()
    advice = f"give it {size(MEMORY)}, or take a smaller model and close what else runs"
    yield _enough(memory >= MEMORY, f"memory {size(memory)}", advice)
    yield _disk(cache, DISK, "where the cache is", "free some, or set ADAPTLAB_CACHE to a folder on a larger disk")
    used = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    yield Finding("ok", f"cache {cache}: {size(used)}", "safe to delete" if used else "")


def _disk(place: Path, wanted: int, what: str, advice: str) -> Finding:
    free = shutil.disk_usage(next(parent for parent in (place, *place.parents) if parent.exists())).free
    return _enough(free >= wanted, f"disk {size(free)} free {what}", advice)


def _enough(enough: bool, what: str, advice: str) -> Finding:
    return Finding("ok", what) if enough else Finding("note", what, advice)
