"""The one call of papermill, and what the kernel that it starts is given."""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from traitlets.config import Config

from adaptlab.runner import notebooks

START_TIMEOUT = 120  # seconds for a kernel to answer; many start at once in a sweep
LONGEST_SOCKET_FOLDER = 85  # of the 103 to 107 characters that a socket's path may have
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def execute(source: Path, output: Path, changed: Mapping[str, Any], timeout: int, model: str) -> None:
    """Execute ``source`` with the ``changed`` parameters, writing to ``output`` cell by cell.

    ``timeout`` is in seconds a cell. Raises what papermill and nbclient raise; ``output`` then holds what was done.
    """
    import papermill  # takes half a second, which `adaptlab list` need not wait

    # papermill formats the path, so braces are doubled. python3 is this very Python, whatever kernel the notebook
    # was last saved with.
    with environment(model), _transport() as config:
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
        )


@contextmanager
def _transport() -> Iterator[Config]:
    """Unix sockets in a private folder: no TCP port to race for, and nothing that other users could connect to.

    Without a folder of their own the sockets lie in the working directory under counted names, where two kernels
    started at once take each other's. Where there are none, or the path is too long for one, TCP it is.
    """
    with tempfile.TemporaryDirectory(prefix="adaptlab-", ignore_cleanup_errors=True) as folder:
        ipc = os.name == "posix" and len(folder) < LONGEST_SOCKET_FOLDER
        yield Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}} if ipc else {})


@contextmanager
def environment(model: str) -> Iterator[None]:
    """What the kernel inherits: no progress bars in outputs, and no network unless the user named a Hub model."""
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
