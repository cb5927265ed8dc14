"""One execution by papermill: what the kernel is given, and how far the notebook is."""

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from traitlets.config import Config

from adaptlab import paths
from adaptlab.engine import folders
from adaptlab.runner import notebooks

START_TIMEOUT = 120  # seconds for a kernel to answer; many start at once in a sweep
LONGEST_SOCKET_FOLDER = 85  # of the 103 to 107 characters that a socket's path may have
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
OWN_FOLDER = "adaptlab-"  # how the temporary folder of a run begins
OWN_CLAIMS = "own-claims"
ADDED = {"injected-parameters", "papermill-error-cell-tag", OWN_CLAIMS}  # tags of the cells that a run puts in


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


def execute(
    source: Path, output: Path, changed: Mapping[str, Any], timeout: int, progress: Progress, claims: str = ""
) -> None:
    """Execute ``source`` with the ``changed`` parameters, writing to ``output`` cell by cell; a file of the user's own
    ``claims`` is tested at the end.

    ``timeout`` is in seconds a cell. Raises what papermill and nbclient raise; ``output`` then holds what was done.
    """
    import papermill  # takes half a second, which a refusal need not wait

    # papermill formats the path, so braces are doubled. python3 is this very Python, whatever kernel the notebook
    # was last saved with.
    node = notebooks.read(source)
    node.cells += _own_claims(claims, source.stem) if claims else []
    with _own_folder() as folder:
        papermill.execute_notebook(
            node,
            str(output).replace("{", "{{").replace("}", "}}"),
            parameters=dict(changed),
            kernel_name="python3",
            language="python",
            cwd=source.parent,
            progress_bar=False,
            start_timeout=START_TIMEOUT,
            execution_timeout=timeout,
            config=_transport(folder),
            extra_arguments=["--log-level=50"],  # a kernel that is stopped by Ctrl-C says so to nobody
            on_cell_start=progress.begin,
        )


def _own_claims(file: str, stem: str) -> list[NotebookNode]:
    """The cells that test the user's own claims on the rows of the run."""
    said = "## Your own claims\n\nThey stand in a file of yours, not in the kit's ledger, and are tested by its rule."
    test = f"from adaptlab.evidence import own_claims\n\nown_claims.of_run({file!r}, {stem!r})"
    return [
        new_markdown_cell(said, id=f"{OWN_CLAIMS}-0", metadata={"tags": [OWN_CLAIMS]}),
        new_code_cell(test, id=f"{OWN_CLAIMS}-1", metadata={"tags": [OWN_CLAIMS]}),
    ]


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


def _transport(folder: str) -> Config:
    """Unix sockets in a private folder: no TCP port to race for, and nothing that other users could connect to.

    Without a folder of their own the sockets lie in the working directory under counted names, where two kernels
    started at once take each other's. Where the path is too long for a socket, TCP it is.
    """
    short = len(folder) < LONGEST_SOCKET_FOLDER
    return Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}} if short else {})


@contextmanager
def _own_folder() -> Iterator[str]:
    """A folder for all that a run leaves in passing, here and in the kernel, which goes with it; those of runs that
    were killed go first.

    A run holds a lock in its folder, which the system takes from it when it dies.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{OWN_FOLDER}*"):
        # another run's, another user's, or gone meanwhile
        with suppress(OSError), (left / "alive").open("rb") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
    made = tempfile.TemporaryDirectory(prefix=OWN_FOLDER, ignore_cleanup_errors=True)
    before = tempfile.tempdir
    with made as folder, Path(folder, "alive").open("wb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        tempfile.tempdir = folder
        try:
            with _environment(TMPDIR=folder, JUPYTER_RUNTIME_DIR=folder):
                yield folder
        finally:
            tempfile.tempdir = before


def memory_kills() -> int:
    """How many processes this system has killed so far because memory ran out (Linux; elsewhere 0)."""
    counters = Path("/proc/vmstat")
    found = re.search(r"^oom_kill (\d+)$", counters.read_text(), re.MULTILINE) if counters.is_file() else None
    return int(found[1]) if found else 0


@contextmanager
def environment(*models: str) -> Iterator[None]:
    """What the kernel inherits: no progress bars in outputs, no network unless the user named a Hub model, and a place
    for compiled kernels that outlives the run."""
    wanted = {"TQDM_DISABLE": "1", "TORCHINDUCTOR_CACHE_DIR": str(paths.cache() / "compiled")}
    if not any(HUB_ID.fullmatch(model) for model in models):
        wanted["HF_HUB_OFFLINE"] = "1"
    with _environment(**{name: value for name, value in wanted.items() if name not in os.environ}):
        yield


@contextmanager
def _environment(**wanted: str) -> Iterator[None]:
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
