"""Training that can be killed anywhere and goes on from there: its state on disk, with a checksum."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from filelock import Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from adaptlab.engine.lm import Named
from adaptlab.files import locked, read_json, whole_file, write_text


class CannotResume(ValueError):
    """The folder holds another run, one that is still at work, or a broken one."""


class FileDamaged(ValueError):
    """A safetensors file that is cut, or that holds other bytes than were written."""


@contextmanager
def opened(path: Path) -> Iterator[safe_open]:
    """A safetensors file to read from. Raises `FileDamaged` for one that is cut or damaged in its header."""
    try:
        with safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        raise FileDamaged(f"{path} is damaged: {error}") from error


STATE, LOG = "state.safetensors", "log.jsonl"


class Run(Protocol):
    """A model in training. Its next step depends on its log, its tensors and its optimizers alone."""

    log: list[dict]  # one line for each step taken, with ``tokens`` and ``seconds``
    steps: int  # how many may be taken at most
    optimizers: Mapping[str, torch.optim.Optimizer]

    @property
    def done(self) -> bool: ...

    def step(self) -> float:
        """Take a step, add its line to the log, and return its loss."""

    def tensors(self) -> Named: ...

    def origin(self) -> str:
        """A digest of what the run is made of."""


def run_steps(run: Run, folder: Path | None, save_every: int, **bar: Any) -> None:
    """Take steps until the run is done, and show progress; ``bar`` are options of tqdm.

    With a folder, go on from what it holds, and save every ``save_every`` steps and after the last one. Raises
    `CannotResume` where the folder holds another run, one that is at work, or one that is damaged.
    """
    with _alone_in(folder) if folder else nullcontext():
        origin = _resume(run, folder) if folder else ""
        with tqdm(total=run.steps, initial=len(run.log), **bar) as progress:
            while not run.done:
                loss, line = run.step(), run.log[-1]
                progress.set_postfix_str(f"loss {loss:.3f}, {line['tokens'] / line['seconds']:,.0f} tokens/s")
                progress.update()
                if folder and (len(run.log) % save_every == 0 or run.done):
                    _save(run, folder, origin)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    try:
        with locked(folder / ".lock"):
            yield
    except Timeout:
        raise CannotResume(f"another run is at work in {folder}") from None


def _save(run: Run, folder: Path, origin: str) -> None:
    # The log first: lines of steps that the state does not know are dropped when the run goes on.
    log = "".join(json.dumps(line) + "\n" for line in run.log)
    write_text(folder / LOG, log)
    tensors = dict(run.tensors())
    for name, optimizer in run.optimizers.items():
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}.{number}.{key}": value for key, value in state.items()}
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    facts = {"done": str(len(run.log)), "origin": origin, "log": hashlib.sha256(log.encode()).hexdigest()}
    with whole_file(folder / STATE) as new:
        save_file(kept, new, facts | {"sha256": _checksum(kept, facts)})


def _resume(run: Run, folder: Path) -> str:
    """Take the run to where its folder has it; returns its origin."""
    origin, facts, log = run.origin(), {}, folder / LOG
    if (folder / STATE).is_file():
        facts = _load(run, folder / STATE, origin)
    done = int(facts.get("done", 0))
    lines = log.read_text(errors="replace").splitlines(keepends=True) if log.is_file() else []
    if len(lines) < done:
        raise CannotResume(f"{log} has {len(lines)} lines for {done} steps. Delete {folder} to begin anew")
    kept = "".join(lines[:done])
    written = hashlib.sha256(kept.encode()).hexdigest()
    try:
        if facts.get("log", written) != written:
            raise ValueError("its checksum does not fit its contents")
        run.log = [read_json(line) for line in lines[:done]]
    except ValueError as error:
        raise CannotResume(f"{log} is damaged: {error}. Delete {folder} to begin anew") from error
    if len(lines) > done:  # those steps will be taken again
        write_text(log, kept)
    return origin


def _load(run: Run, path: Path, origin: str) -> dict[str, str]:
    """Fill the run's tensors and optimizers with what `_save` wrote; returns the facts beside them."""
    try:
        with opened(path) as file:
            facts = dict(file.metadata() or {})
            kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if facts.pop("sha256", None) != _checksum(kept, facts):
            raise FileDamaged(f"{path} is damaged: its checksum does not fit its contents")
    except FileDamaged as error:
        raise CannotResume(f"{error}. Delete {path.parent} to begin anew") from error
    if facts["origin"] != origin:
        raise CannotResume(
            f"{path} belongs to another run: settings, data, model, tokenizer or number format have changed "
            f"since. Delete {path.parent} to begin anew"
        )
    with torch.no_grad():
        for name, tensor in run.tensors().items():
            tensor.copy_(kept[name])
    for name, optimizer in run.optimizers.items():
        saved = optimizer.state_dict()
        saved["state"] = {}
        for key, value in kept.items():
            if key.startswith(f"{name}."):
                _, number, slot = key.split(".", 2)
                saved["state"].setdefault(int(number), {})[slot] = value
        optimizer.load_state_dict(saved)
    return facts


def _checksum(tensors: Named, facts: Mapping[str, str]) -> str:
    found = hashlib.sha256(repr(sorted(facts.items())).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()
