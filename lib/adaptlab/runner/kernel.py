"""One execution by papermill: what the kernel is given, and how far the notebook is."""

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from traitlets.config import Config

from adaptlab.engine import folders
from adaptlab.runner import notebooks

START_TIMEOUT = 120  # seconds for a kernel to answer; many start at once in a sweep
LONGEST_SOCKET_FOLDER = 85  # of the 103 to 107 characters that a socket's path may have
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
ADDED = {"injected-parameters", "papermill-error-cell-tag"}  # tags of the cells that papermill puts in


class Progress:
    """How far a notebook is, and how long it still takes.

    ``known``: the seconds that the last run with the same parameters took; 0 where there is none.
    """

    def __init__(self, name: str, cells: int, known: float = 0):
        self.name, self.cells, self.known = name, cells, known
        self.cell, self._began = 0, time.monotonic()

    def begin(self, cell: NotebookNode, cell_index: int) -> None:
        """The hook of nbclient before each cell."""
        self.cell += not ADDED & set(cell.metadata.get("tags", []))

    def __str__(self) -> str:
        place = f"cell {self.cell} of {self.cells}" if self.cell else "starting"
        taken = time.monotonic() - self._began
        left = f", about {duration(max(1, round(self.known - taken)), 0)} left" if self.known else ""
        return f"{place}, {duration(taken, 0)}{left}"


def duration(seconds: float | None, digits: int = 1) -> str:
    """Seconds for a reader: ``0.4 s`` (with one digit), ``41 s``, ``3 min 20 s``."""
    if seconds is None:
        return "–"
    if seconds < 99.5:
        return f"{seconds:.{digits if seconds < 9.95 else 0}f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


Watch = Callable[[Progress], AbstractContextManager]  # shows, while it is open, how far a notebook is


def execute(source: Path, output: Path, changed: Mapping[str, Any], timeout: int, progress: Progress) -> None:
    """Execute ``source`` with the ``changed`` parameters, writing to ``output`` cell by cell.

    ``timeout`` is in seconds a cell. Raises what papermill and nbclient raise; ``output`` then holds what was done.
    """
    import papermill  # takes half a second, which a refusal need not wait

    # papermill formats the path, so braces are doubled. python3 is this very Python, whatever kernel the notebook
    # was last saved with.
    with _transport() as config:
        papermill.execute_notebook(
            notebooks.read(source),
            str(output).replace("{", "{{").replace("}", "}}"),
            parameters=dict(changed),
            kernel_name="python3",
            language="python",
            cwd=source.parent,
            progress_bar=False,
            start_timeout=START_TIMEOUT,
            execution_timeout=timeout,
            config=config,
            extra_arguments=["--log-level=50"],  # a kernel that is stopped by Ctrl-C says so to nobody
            on_cell_start=progress.begin,
        )


def prepare_model(name: str, say: Callable[[str], None]) -> str:
    """Refuse a model that cannot be had, download one from the Hub, and return its digest.

    A packaged model that is not converted yet is left to the kernel: the conversion needs torch.
    """
    packaged = folders.PACKAGED.get(name)
    if packaged and packaged.installed and not packaged.ready:
        say(f"converting {name}, once: about a minute")
    else:
        folders.prepare(name)
    return folders.digest(name)


@contextmanager
def _transport() -> Iterator[Config]:
    """Unix sockets in a private folder: no TCP port to race for, and nothing that other users could connect to.

    Without a folder of their own the sockets lie in the working directory under counted names, where two kernels
    started at once take each other's. Where the path is too long for a socket, TCP it is.
    """
    with tempfile.TemporaryDirectory(prefix="adaptlab-", ignore_cleanup_errors=True) as folder:
        short = len(folder) < LONGEST_SOCKET_FOLDER
        yield Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}} if short else {})


@contextmanager
def environment(model: str) -> Iterator[None]:
    """No progress bars in outputs, and no network unless the user named a Hub model: what the kernel inherits too."""
    wanted = {"TQDM_DISABLE": "1"}
    if not HUB_ID.fullmatch(model):
        wanted["HF_HUB_OFFLINE"] = "1"
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
