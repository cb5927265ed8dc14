"""Training that can be killed anywhere: what the next step depends on, in one file that appears whole, and a log that
tells of no step twice."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors import safe_open
from safetensors.torch import save_file

Named = Mapping[str, torch.Tensor]


class CannotResume(ValueError):
    """The folder holds another run, one that is still at work, or a broken one."""


def save(path: Path, origin: str, done: int, tensors: Named, optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
    """Write tensors and the state of optimizers after ``done`` steps; `load` refuses the file of another ``origin``."""
    kept = dict(tensors)
    for name, optimizer in optimizers.items():
        for number, state in optimizer.state_dict()["state"].items():
            kept |= {f"{name}.{number}.{key}": value for key, value in state.items()}
    facts = {"done": str(done), "origin": origin}
    replaced(path, lambda new: save_file({k: v.detach().cpu().contiguous() for k, v in kept.items()}, new, facts))


def load(
    path: Path, origin: str, tensors: Named, optimizers: Mapping[str, torch.optim.Optimizer]
) -> tuple[int, dict[str, torch.Tensor]]:
    """Fill ``tensors`` and optimizers with what `save` wrote; the number of steps done, and every tensor of the file.

    Raises `CannotResume` for the file of another run.
    """
    with safe_open(path, "pt") as file:
        facts = file.metadata()
        if facts["origin"] != origin:
            raise CannotResume(
                f"{path} belongs to another run: settings, data, model, tokenizer or number format have changed "
                f"since. Delete {path.parent} to begin anew"
            )
        kept = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(kept[name])
    for name, optimizer in optimizers.items():
        saved = optimizer.state_dict()
        saved["state"] = {}
        for key, value in kept.items():
            if key.startswith(f"{name}."):
                _, number, slot = key.split(".", 2)
                saved["state"].setdefault(int(number), {})[slot] = value
        optimizer.load_state_dict(saved)
    return int(facts["done"]), kept


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Two runs in one folder would tear each other's files."""
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise CannotResume(f"another run is at work in {folder}") from None


def kept_lines(log: Path, done: int) -> list[str]:
    """The log's lines of the first ``done`` steps; others go from the file, as their steps will be taken again."""
    lines = log.read_text().splitlines(keepends=True) if log.is_file() else []
    if len(lines) < done:
        raise CannotResume(f"{log} has {len(lines)} lines for {done} steps. Delete {log.parent} to begin anew")
    if len(lines) > done:
        replaced(log, lambda new: new.write_text("".join(lines[:done])))
    return lines[:done]


def replaced(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a new file, and put it in place of the old one in one step."""
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)
