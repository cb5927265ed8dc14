"""Which models are here, whether they fit into this machine's memory, and about how fast they would run.

Sizes come from the heads of weight files; nothing is loaded. Speed is reckoned: a token takes two operations for each
parameter, and to write one, every weight is read once from memory.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from huggingface_hub import scan_cache_dir
from huggingface_hub.errors import CacheNotFound
from safetensors import SafetensorError, safe_open

from adaptlab import files, paths
from adaptlab.engine import folders
from adaptlab.engine.folders import ADAPTER_CONFIG, Packaged
from adaptlab.runner.pages import model_size, size

BYTES = 4  # of a parameter: on a CPU, weights are float32
BESIDE = 2**29  # bytes that Python, torch and one batch take beside the weights
LAYER = 6e-4  # seconds that a layer takes to be called for one token, whatever its size (measured on two models)


@dataclass(frozen=True)
class Machine:
    """Memory in bytes, all and free; operations a second; bytes a second from memory. With one thread."""

    memory: int
    free: int
    operations: float
    bandwidth: float

    def __str__(self) -> str:
        speed = f"{self.operations / 1e9:.0f} billion operations and {self.bandwidth / 1e9:.0f} billion bytes a second"
        return f"memory {size(self.memory)}, free {size(self.free)}; one thread: {speed}"


@dataclass(frozen=True)
class Model:
    """A model that is here: its name for `load`, where it comes from, and how large it is.

    ``problem``: why it cannot be used; empty where it can.
    """

    name: str
    source: str
    parameters: int = 0
    layers: int = 0
    problem: str = ""

    @property
    def memory(self) -> int:
        """Bytes that it takes once it is loaded."""
        return self.parameters * BYTES + BESIDE

    def line(self, machine: Machine) -> str:
        """What a user wants to know, in one line."""
        if self.problem:
            return f"{self.name} ({self.source}): {self.problem}"
        reading = 1 / (2 * self.parameters / machine.operations)
        writing = 1 / (self.parameters * BYTES / machine.bandwidth + self.layers * LAYER)
        fits = (
            "fits" if self.memory <= machine.free else "does not fit" if self.memory > machine.memory else "fits alone"
        )
        speed = f"about {_rounded(reading)} tokens/s read, {_rounded(writing)} written"
        large = f"{model_size(self.parameters)} parameters, {size(self.memory)}"
        return f"{self.name} ({self.source}): {large}, {fits}; {speed}"


def here() -> Iterator[Model]:
    """The kit's own models, packaged ones, folders in the working directory, and the Hub's cache, in this order."""
    for name in folders.embedded():
        yield _model(name, "the kit's", paths.MODELS / name)
    for model in folders.available():
        if model.ready:
            yield _model(model.name, "packaged", model.folder)
        elif model.installed:
            yield Model(model.name, "packaged", problem=f"installed, converted when it is first used: {model.kind}")
    for pattern in ("*/", "*/*/"):
        for name in ("config.json", ADAPTER_CONFIG):
            for config in sorted(Path.cwd().glob(pattern + name)):
                if not config.is_relative_to(paths.MODELS):
                    yield _model(str(config.parent.relative_to(Path.cwd())), "folder", config.parent)
    try:
        cached = scan_cache_dir().repos
    except CacheNotFound:
        return
    for repository in sorted((one for one in cached if one.repo_type == "model"), key=lambda one: one.repo_id):
        newest = max(repository.revisions, key=lambda one: one.last_modified, default=None)
        if newest:
            yield _model(repository.repo_id, "the Hub's cache", newest.snapshot_path)


def parameters(name: str) -> int:
    """How many a model has that is here, adapters included; 0 where its weights are not safetensors."""
    folder = folders.prepare(name)
    base = parameters(folders.base_of(folder)) if (folder / ADAPTER_CONFIG).is_file() else 0
    return base + _parameters(sorted(folder.glob("*.safetensors")))


def absent() -> list[Packaged]:
    """Packaged models that are not installed."""
    return [model for model in folders.available() if not (model.ready or model.installed)]


def _model(name: str, source: str, folder: Path) -> Model:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        return Model(name, source, problem="has no weights in safetensors, so it cannot be loaded")
    try:
        if (folder / ADAPTER_CONFIG).is_file():
            return Model(
                name,
                source,
                problem=f"adapters, {model_size(_parameters(weights))} parameters, for {folders.base_of(folder)}",
            )
        config = files.read_json((folder / "config.json").read_bytes())
        layers = next((config[key] for key in ("num_hidden_layers", "n_layer") if isinstance(config.get(key), int)), 0)
        return Model(name, source, _parameters(weights), layers)
    except (SafetensorError, OSError, ValueError, AttributeError, folders.ModelNotFound) as error:
        return Model(name, source, problem=f"damaged: {folders.first_line(error)}; save or fetch it again")


def _parameters(weights: list[Path]) -> int:
    total = 0
    for path in weights:
        with safe_open(path, "np") as file:
            total += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 (not a dict)
    return total


def measure() -> Machine:
    """What this machine can do, measured in a quarter of a second."""
    square = np.ones((768, 768), np.float32)
    operations = _best(lambda: square @ square, 2 * 768**3)
    row = np.ones(2**24, np.float32)
    bandwidth = _best(row.sum, row.nbytes)
    return Machine(total_memory(), free_memory(), operations, bandwidth)


def _best(work, amount: float) -> float:
    """How much is done in a second at best: other programs only ever slow it down."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return amount / min(times)


def total_memory() -> int:
    """Bytes of memory: what the container may use, if there is a limit, else what the machine has."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_limits()])


def free_memory() -> int:
    """Bytes of memory that nothing uses now, where the system tells; else all."""
    told = Path("/proc/meminfo")
    found = re.search(r"^MemAvailable:\s+(\d+) kB", told.read_text(), re.MULTILINE) if told.exists() else None
    return min(int(found[1]) * 1024, total_memory()) if found else total_memory()


def _limits() -> Iterator[int]:
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = Path("/sys/fs/cgroup", name)
        if limit.exists() and (said := limit.read_text(encoding="ascii").strip()) != "max":
            yield int(said)


def _rounded(number: float) -> str:
    """Two digits are all that such a reckoning is worth."""
    return f"{float(f'{number:.2g}'):,.0f}"
