"""What this machine has, what the kit needs, and what to do about the difference."""

import importlib.metadata as metadata
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from adaptlab import paths
from adaptlab.runner import notebooks, pages, provenance

MEMORY = 4 * 1024**3  # a notebook on a packaged model takes up to 3 GB, and the system wants its part
DISK = 2 * 1024**3  # the packaged models, converted


@dataclass(frozen=True)
class Finding:
    """One line: ``state`` is ``ok``, ``note`` (works without it) or ``missing`` (does not)."""

    state: str
    what: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Everything worth knowing before the first run, the required things first."""
    yield from _packages()
    yield from _kit()
    yield from _torch()
    yield from _resources()
    yield from _models()


def _packages() -> Iterator[Finding]:
    yield Finding("ok", f"python {provenance.versions(())['python']}")
    required = [Requirement(text) for text in metadata.requires("adaptlab") or []]
    short = 0
    for requirement in required:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        advice = f'pip install "{requirement.name}{requirement.specifier}"'
        version = provenance.versions((requirement.name,))[requirement.name]
        if version == "absent" or not requirement.specifier.contains(version, prereleases=True):
            short += 1
            yield Finding("missing", f"{requirement.name} {version}, wanted {requirement.specifier}", advice)
    if not short:
        yield Finding("ok", "every required package is there, at its floor or above")


def _kit() -> Iterator[Finding]:
    found = notebooks.available()
    if not found:
        yield Finding("missing", "no notebooks", "install the kit again, or work in its checkout")
        return
    yield Finding("ok", f"{len(found)} notebooks")
    for name in notebooks.profile_names():
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
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        yield Finding("ok", f"device cuda: {torch.cuda.get_device_name(0)}, {pages.size(memory)}")
    elif torch.backends.mps.is_available():
        yield Finding("ok", "device mps")
    else:
        yield Finding(
            "ok", f"device cpu: {provenance.machine()['processor']}, {torch.backends.cpu.get_cpu_capability()}"
        )
    flags = _cpu_flags()
    if flags:
        names = {"avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX-BF16"}
        fast = [label for flag, label in names.items() if flag in flags]
        how = "fast, by " + " and ".join(fast) if fast else "emulated, and slower than float32"
        yield Finding(
            "ok" if fast else "note", f"bfloat16 on the cpu: {how}", "" if fast else "keep dtype float32 on the cpu"
        )


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())


def _resources() -> Iterator[Finding]:
    memory = _memory()
    if memory is not None:
        enough = memory >= MEMORY
        advice = "" if enough else f"give it {pages.size(MEMORY)}, or take a smaller model and close what else runs"
        yield Finding("ok" if enough else "note", f"memory {pages.size(memory)}", advice)
    folder = paths.cache()
    free = shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.exists())).free
    advice = "" if free >= DISK else "free some, or set ADAPTLAB_CACHE to a folder on a larger disk"
    yield Finding("ok" if free >= DISK else "note", f"disk {pages.size(free)} free where the cache is", advice)
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
    yield Finding("ok", f"cache {folder}: {pages.size(used)}", "safe to delete" if used else "")


def _memory() -> int | None:
    """Bytes of memory: what the container may use, if there is a limit, else what the machine has."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        limit = ""
    return min(total, int(limit)) if limit.isdecimal() else total


def _models() -> Iterator[Finding]:
    try:
        from adaptlab.engine import folders
    except ImportError:
        return  # the packages above say why
    for model in folders.available():
        state = "ok" if model.installed else "note"
        yield Finding(
            state,
            f"model {model.name}: {'ready' if model.installed else 'not installed'}",
            "" if model.installed else model.how,
        )
