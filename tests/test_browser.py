"""The explorer in a reader's hands: a live notebook in JupyterLab, a browser, a slider that is moved."""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect, sync_playwright

from adaptlab import paths
from adaptlab.runner.parameters import check, declared
from browser import asked, installed, jupyterlab, launch, outside, photographed, until

NOTEBOOK = "02_icl_scaling.ipynb"
SMALL = {"items": 4, "seeds": [3, 4], "shots": [0, 4, 8], "interactive": True}
SMALL |= {"task_items": 4, "task_seeds": [0, 1], "task_shots": [0, 4, 8], "orders": [0, 1]}
PATIENCE = 120_000  # milliseconds for one step, on a machine that is busy with other things
STATE = re.compile(r"^\w+=[^,:]+(, \w+=[^,:]+)*$")  # seed=3, labels=letters
PIXELS = """async image => {
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL();
}"""


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[BrowserContext]:
    with sync_playwright() as playwright:
        executable = installed(playwright)
        if executable is None:
            pytest.skip("no Chromium on this machine: run `make browser`")
        context = launch(playwright, executable, tmp_path / "profile")
        context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield context
        context.close()


def small_copy(folder: Path) -> None:
    """The notebook as a reader would set it: other values in its parameters cell, nothing executed yet."""
    node = nbformat.read(paths.NOTEBOOKS / NOTEBOOK, as_version=4)
    values = check(declared(node), SMALL, where="tests/test_browser.py")
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    folder.mkdir()
    nbformat.write(node, folder / NOTEBOOK)


def run_all(page: Page, lab: str, token: str) -> Locator:
    """Open the notebook, run all its cells, and give its explorer."""
    page.goto(f"{lab}lab/tree/{NOTEBOOK}?token={token}")
    page.locator(".jp-Notebook").wait_for()

    def connected() -> bool:
        kernels = page.request.get(f"{lab}api/kernels").json()
        return any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in kernels)

    until(connected, PATIENCE / 1000, "the page and its kernel are connected")  # before that, the menu does nothing
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    failed = page.locator(".jp-OutputArea-output", has_text="Traceback (most recent call last)")
    explorers = page.locator(".jp-OutputArea-output .widget-vbox").filter(has=page.get_by_role("slider"))
    explorers = explorers.filter(has=page.locator("img.widget-image"))
    failed.or_(explorers).first.wait_for(state="attached")
    expect(page.locator(".jp-InputPrompt", has_text="[*]")).to_have_count(0)
    assert failed.all_text_contents() == []
    return explorers.last


def press(explorer: Locator, key: str) -> tuple[str, str]:
    """Press a key on the slider; the state and the pixels of the picture once both are new."""
    state, image = explorer.locator("div.widget-label"), explorer.locator("img.widget-image")
    before, source = state.text_content(), image.get_attribute("src")
    explorer.get_by_role("slider").first.press(key)
    expect(state).not_to_have_text(before)
    assert STATE.match(state.text_content()), state.text_content()
    expect(image).not_to_have_attribute("src", source)
    return shown(explorer)


def shown(explorer: Locator) -> tuple[str, str]:
    """The explorer's state, and the pixels of its picture."""
    state = explorer.locator("div.widget-label")
    expect(state).to_have_text(STATE)
    # Not its inner text, which is empty as long as the browser has not laid it out: far below, in a long notebook.
    return state.text_content(), explorer.locator("img.widget-image").evaluate(PIXELS)


def test_a_moved_slider_gives_another_figure_and_nothing_leaves_the_machine(chromium: BrowserContext, tmp_path: Path):
    small_copy(tmp_path / "notebooks")
    addresses, page = asked(chromium), chromium.pages[0]
    with (
        jupyterlab(tmp_path / "notebooks", tmp_path / "server.log") as (lab, token),
        photographed(page, tmp_path / "page.png"),
    ):
        explorer = run_all(page, lab, token)
        first = shown(explorer)
        second = press(explorer, "ArrowRight")
        assert second[0] != first[0] and second[1] != first[1]
        assert press(explorer, "ArrowLeft") == first  # the state decides the picture, not the way to it
    assert any(address.startswith(lab) for address in addresses)
    assert outside(addresses) == []


def test_the_watch_on_addresses_bites(chromium: BrowserContext):
    addresses, page = asked(chromium), chromium.pages[0]
    with page.expect_websocket():
        page.evaluate("fetch('http://one.example/a').catch(() => void new WebSocket('ws://two.example/b'))")
    assert outside(addresses) == ["http://one.example/a", "ws://two.example/b"]
    assert outside(["http://127.0.0.1:8888/lab", "blob:http://127.0.0.1:8888/x", "data:,", "about:blank"]) == []
    near = ["http://127.0.0.1.example/", "http://one.example/127.0.0.1", "file:///127.0.0.1"]
    assert outside(near) == near
