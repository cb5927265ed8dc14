"""A real JupyterLab and a real Chromium for tests. ``python tests/browser.py`` prints which Chromium they would use."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Error, Page, Playwright, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = "disable-gpu disable-quic disable-sync disable-background-networking disable-component-update no-first-run"
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # the test's own machine is all there is
INSIDE = ("data", "blob", "about")  # addresses of what the page already holds
# Lab asks its makers for news, and covers the page to ask whether it may.
PAGE_CONFIG = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}


def installed(playwright: Playwright) -> str | None:
    """Path of the machine's Chromium, else of the one that ``playwright install`` fetched, else None."""
    own = playwright.chromium.executable_path
    found = filter(None, map(shutil.which, NAMES))
    return next(found, own if Path(own).exists() else None)


def launch(playwright: Playwright, executable: str, profile: Path) -> BrowserContext:
    """A headless browser with an empty profile and one blank page, which finds no other machine."""
    return playwright.chromium.launch_persistent_context(
        profile,
        executable_path=executable,
        headless=True,
        viewport={"width": 1280, "height": 900},
        args=[ALONE, *(f"--{flag}" for flag in QUIET.split())],
    )


def asked(context: BrowserContext) -> list[str]:
    """Every address that a page asks for from now on, web sockets included; the list grows as they ask."""
    addresses: list[str] = []

    def listen(page: Page) -> None:
        page.on("websocket", lambda socket: addresses.append(socket.url))

    for page in context.pages:
        listen(page)
    context.on("page", listen)
    context.on("request", lambda request: addresses.append(request.url))
    return addresses


def outside(addresses: list[str]) -> list[str]:
    """Those of the addresses that lead off this machine."""
    parts = [(address, urlsplit(address)) for address in addresses]
    return [address for address, part in parts if part.scheme not in INSIDE and part.hostname != "127.0.0.1"]


@contextmanager
def photographed(page: Page, picture: Path) -> Iterator[None]:
    """Whatever goes wrong inside, the error names a picture of the page at that moment."""
    try:
        yield
    except Exception as error:
        with suppress(Error):  # of a page that crashed there is none
            page.screenshot(path=picture)
            error.add_note(f"the page: {picture}")
        raise


@contextmanager
def jupyterlab(notebooks: Path, log: Path) -> Iterator[tuple[str, str]]:
    """JupyterLab with this Python and nobody's settings on a folder; gives its address (``…/``) and its token.

    The server finds a free port and makes a token by itself, and leaves both in its runtime folder. Kernels talk
    through Unix sockets: a TCP port that is free when the server looks may be the browser's when the kernel takes it.
    Whatever goes wrong inside, the error names the server's log.
    """
    with tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True) as home, log.open("w") as output:
        labconfig = Path(home) / "config" / "labconfig"
        labconfig.mkdir(parents=True)
        (labconfig / "page_config.json").write_text(json.dumps(PAGE_CONFIG))
        options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--ServerApp.root_dir={notebooks}"]
        options += ["--LabApp.extension_manager=readonly"]  # the other one asks PyPI
        options += ["--KernelManager.transport=ipc", f"--KernelManager.ip={home}/kernel"]
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, env=_environment(home), stdout=output, stderr=subprocess.STDOUT)
        try:
            info = until(lambda: _info(server, Path(home) / "runtime"), 120, "JupyterLab has started")
            yield info["url"], info["token"]
        except Exception as error:
            error.add_note(f"the server's log: {log}")
            raise
        finally:
            _stop(server)


def _environment(home: str) -> dict[str, str]:
    """The present one, with all of Jupyter's folders below ``home`` and no other word to Jupyter."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON"))}
    own = ("JUPYTER_CONFIG", "JUPYTER_DATA", "JUPYTER_RUNTIME", "JUPYTERLAB_SETTINGS", "JUPYTERLAB_WORKSPACES")
    folders = {f"{name}_DIR": f"{home}/{name.split('_')[1].lower()}" for name in own}
    return kept | folders | {"IPYTHONDIR": f"{home}/ipython"}


def _info(server: subprocess.Popen, runtime: Path) -> dict[str, Any] | None:
    if server.poll() is not None:
        raise RuntimeError(f"JupyterLab ended with {server.returncode}")
    text = "".join(path.read_text() for path in runtime.glob("jpserver-*.json"))
    return json.loads(text) if text else None


def _stop(server: subprocess.Popen) -> None:
    server.terminate()  # it ends its kernels before itself
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def until(ready: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true value of ``ready()``, asked again and again; ``TimeoutError`` says that ``what`` never came."""
    deadline = time.monotonic() + seconds
    while not (value := ready()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} seconds until {what}")
        time.sleep(0.1)
    return value


if __name__ == "__main__":
    try:
        with sync_playwright() as driver:
            path = installed(driver)
    except Exception as error:
        sys.exit(f"playwright does not start: {error}")
    if path is None:
        sys.exit("no Chromium on this machine")
    print(path)
