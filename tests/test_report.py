"""The report: whole, offline, escaped, and the same after any interruption."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_markdown_cell
from playwright.sync_api import sync_playwright

from adaptlab import paths
from adaptlab.runner import notebooks, report
from adaptlab.runner.execute import NotebookFailed, OutputRefused
from browser import installed, launch
from tiny import claim, cost, counting, marks, show, use, write

HOSTILE = "<script>alert('x')</script>"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
BUILD_HERE = "import sys, tiny; from pathlib import Path; from adaptlab.runner import report; \
tiny.use(Path(sys.argv[1])); report.build()"


@pytest.fixture
def kit(tmp_path, monkeypatch):
    return use(tmp_path, monkeypatch.setattr)


def read(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def text_of(page: BeautifulSoup) -> str:
    return " ".join(page.get_text(" ").split())


def assets(page: BeautifulSoup) -> list[str]:
    """What a browser would fetch or run for this page."""
    fetched = [element["src"] for element in page.select("[src]") if not element["src"].startswith("data:")]
    active = [element.name for element in page.select("script, iframe, object, embed, link, base")]
    handlers = [name for element in page.find_all(True) for name in element.attrs if name.startswith("on")]
    styles = [word for word in ("@import", "url(") if any(word in style.text for style in page.select("style"))]
    return fetched + active + handlers + styles


def study(kit: Path) -> None:
    """Three notebooks: claims with all verdicts, costs, and outputs that a page must not trust."""
    verdicts = [
        claim("more-shots", sentence=f"Shots help {HOSTILE}"),
        claim("order", verdict="opposite here", effect=-0.1, low=-0.15, high=-0.05),
        claim("style", verdict="not resolved", effect=0.5, low=None, high=None, points=False, metric="gold_logprob"),
    ]
    said = {"model": "study", "model_digest": "abc123", "device": "cpu", "peak_rss_bytes": 3 * 2**28}
    write("01_shots", counting(kit), show("claims", model="study", rows=verdicts), show("provenance", **said))
    rows = [cost(), cost(method="zero", per_option=2000, scored=400, prefilled=500)]
    write("02_cost", show("cost", rows=rows), show("provenance", **said))
    page = f"<b>bold</b>{HOSTILE}<img src='https://example.org/a.png' onerror='go()'><iframe src='//x'></iframe>"
    shown = (
        "from IPython.display import display, HTML, Javascript, Image",
        f"print({HOSTILE!r})",
        f"HTML({page!r})",
        "Javascript('alert(1)')",
        "import ipywidgets\nipywidgets.IntSlider(description='a-slider')",
        f"import base64\npng = base64.b64decode({PNG!r})",
        "display(Image(png), metadata={'image/png': {'alt': 'Accuracy rises with shots.'}})",
        show("claims", model="other <i>model</i>", rows=[claim("more-shots")]),
    )
    write("03_outputs", *shown)


def test_the_report_says_what_the_notebooks_found_and_needs_nothing_else(kit):
    study(kit)
    (paths.NOTEBOOKS / "profiles").mkdir()
    (paths.NOTEBOOKS / "profiles" / "study.yaml").write_text("01_shots:\n  seed: 5\n")
    index = report.build("study", kit / "site")

    page = read(index)
    text = text_of(page)
    tables = text.split("Claims tested on")
    assert len(tables) == 3 and "+12.5 [+5.0, +20.0]" in tables[1]
    for word in ("✓ holds here", "✗ opposite here", "○ not resolved", "−10.0 [−15.0, −5.0]", "+0.500 [unbounded"):
        assert word in tables[1], word
    assert "What does 01_shots ask?" in text and "200 × 3" in tables[1]
    for word in ("3\u202f000", "10\u202f000", "3.3×", "768 MiB", "abc123", "torch", "seed 5"):
        assert word in page.get_text(" "), word
    assert all(th.get("scope") in ("col", "row") for th in page.select("th"))
    assert len(page.select("caption")) == len(page.select("table")) == 3 and page.html["lang"] == "en"

    facts = json.loads((index.parent / "report.json").read_text())
    assert facts["claims"]["study"][1]["effect"] == -0.1 and facts["cost"][0]["ratio"] == 10000 / 3000
    assert facts["notebooks"][0]["seeds"] == {"seed": 5}
    links = [a["href"] for a in page.select("a")]
    assert len(links) > 6 and all((index.parent / link).is_file() for link in links)
    assert str(kit) not in index.read_text() + (index.parent / "report.json").read_text()


def test_no_page_fetches_or_runs_anything_and_hostile_text_stays_text(kit):
    study(kit)
    index = report.build()
    pages = {path.name: read(path) for path in index.parent.rglob("*.html")}
    assert set(pages) == {"index.html", "01_shots.html", "02_cost.html", "03_outputs.html"}
    assert {name: assets(page) for name, page in pages.items()} == {name: [] for name in pages}
    for page in pages.values():
        assert page.select_one("meta[http-equiv]")["content"].startswith("default-src 'none'")
    texts = {name: text_of(page) for name, page in pages.items()}
    assert HOSTILE in texts["index.html"] and "other <i>model</i>" in texts["index.html"]
    outputs = texts["03_outputs.html"]
    assert outputs.count(HOSTILE) >= 2 and "bold" in outputs  # source, printed
    assert "IntSlider(value" not in outputs and "a-slider" in outputs  # source shown, widget not
    assert "Accuracy rises with shots." in [img.get("alt") for img in pages["03_outputs.html"].select("img")]


def test_a_page_leads_on_to_its_neighbours_and_sections_and_folds_its_code(kit):
    write("01_a", "import json\nfrom pathlib import Path", "x = 1\nx")
    write("02_b", "1")
    write("03_c", "1")
    node = nbformat.read(paths.NOTEBOOKS / "02_b.ipynb", as_version=4)
    text = "## What *came* out\n\nSee [below](#A-detail), [the first](01_a.ipynb), [theirs](https://x.org/y.ipynb)."
    text += "\n\n### A detail"
    node.cells.append(new_markdown_cell(text))
    nbformat.write(node, paths.NOTEBOOKS / "02_b.ipynb")
    folder = report.build().parent / "notebooks"

    middle, first = read(folder / "02_b.html"), read(folder / "01_a.html")
    links = [a["href"] for a in middle.select("a")]
    ways = ["../index.html", "../notebooks/01_a.html", "../notebooks/03_c.html"]
    assert links[:3] == ways == links[-3:]
    assert {"#What-came-out", "#A-detail", "01_a.html", "https://x.org/y.ipynb"} <= {*links}
    assert all((folder / link).is_file() for link in links if not link.startswith(("#", "https")))
    assert {element["id"] for element in middle.select("[id]")} >= {"What-came-out", "A-detail"}
    assert [a["rel"] for a in first.select("a[rel]")] == [["next"], ["next"]]
    folds = {fold.summary.text: "open" in fold.attrs for fold in first.select("details.code")}
    assert folds == {"Parameters": False, "Imports": False, "Code": True}


def test_claims_are_told_in_words(kit):
    rows = [
        claim("A", reach=1.0, detectable=1.76),
        claim("B", predicted="same", margin=0.1, reach=2.0, detectable=1.76),
        claim("C", predicted="same", margin=0.05, points=False, reach=None, metric="order_variance"),
        claim("D", predicted="less", verdict="opposite here", detectable=None),
    ]
    write("01_a", show("claims", model="m", rows=rows))
    text = text_of(read(report.build()))
    for words in (
        "higher right answers", "lower right answers", "the same within 10 points",
        "the same within 0.05 order variance", "176.0", "3 ✓ holds here", "✓ 3 holds here ✗ 1 opposite here",
    ):  # fmt: skip
        assert words in text, words
    assert text.count("more than the scale allows") == 1


def answers(kit: Path) -> None:
    """A notebook with figures, one of them of the claim that answers its question, and one without; both with a
    control."""
    control = claim("ICL-MAPPING", control=True)
    rows = [claim("first"), control, claim("ICL-SHOTS", figure=2, verdict="no headroom", headroom="all at the ceiling")]
    pictures = [{"image/png": PNG, "text/plain": f"Figure {number}. Drawn."} for number in (1, 2)]
    shown = f"from IPython.display import display\nfor one in {pictures!r}:\n    display(one, raw=True)"
    write("02_a", shown, show("claims", model="study", rows=rows))
    rows = [control, claim("nats", points=False, metric="log_p", verdict="opposite here", low=-3, effect=-2, high=-1)]
    write("03_b", show("claims", model="other", rows=rows))


def test_the_first_page_answers_each_question_by_a_claim_and_its_figure(kit, monkeypatch):
    said = "study (profile study) holds here: +1.0 points [+0.5, +1.5] (9 items × 2 seeds)"
    monkeypatch.setattr(report.published, "sentences", lambda claim: [said] if claim.id == "ICL-SHOTS" else [])
    answers(kit)
    index = report.build()
    first, second = read(index).select(".answers li")
    assert "More examples help (ICL-SHOTS). ⊘ no headroom: +12.5 points [+5.0, +20.0] (200 items" in text_of(first)
    assert f"Published: {said}." in text_of(first) and "published: study" in text_of(read(index))
    assert first.img["alt"] == "Figure 2. Drawn." and first.img["src"].endswith(PNG) and second.img is None
    assert "(nats). ✗ opposite here: −2.000 nats [−3.000, −1.000]" in text_of(second)
    assert json.loads((index.parent / "report.json").read_text())["published"] == {"ICL-SHOTS": [said]}


def test_controls_stand_and_are_counted_apart_and_intervals_share_an_axis(kit):
    answers(kit)
    page = read(report.build())
    text = text_of(page)
    assert "1 ✓ holds here 1 ✗ opposite here 0 ○ not resolved 1 ⊘ no headroom" in text
    assert "Apart from these, 2 of 2 controls hold." in text
    tables = [[row.code.text for row in table.select("tbody tr") if row.code] for table in page.select("table")]
    assert tables == [["first", "ICL-SHOTS"], ["nats"], ["ICL-MAPPING"], ["ICL-MAPPING"]]
    assert [head.text for head in page.select("thead .axis")] == ["−200+20"] * 4
    assert [row.text for row in page.select("td span:not(.alone) > .axis")] == ["−50+5"]
    (drawn,) = page.select_one('[data-verdict="opposite-here"]').select("svg rect")
    assert float(drawn["x"]) == pytest.approx(49 * -2 / 5 - 1)


def test_claims_are_filtered_without_any_script(kit):
    answers(kit)
    index = report.build()
    cases = [
        ({}, ["first", "ICL-SHOTS", "nats", "ICL-MAPPING", "ICL-MAPPING"]),
        ({"notebook": "03_b"}, ["nats", "ICL-MAPPING"]),
        ({"model": "study"}, ["first", "ICL-SHOTS", "ICL-MAPPING"]),
        ({"verdict": "no headroom"}, ["ICL-SHOTS"]),
        ({"notebook": "02_a", "model": "study", "verdict": "holds here"}, ["first", "ICL-MAPPING"]),
    ]
    with sync_playwright() as playwright:
        executable = installed(playwright)
        if executable is None:
            pytest.skip("no Chromium on this machine: run `make browser`")
        context = launch(playwright, executable, kit / "profile")
        page = context.pages[0]
        page.goto(index.as_uri())
        for chosen, shown in cases:
            for name in ("notebook", "model", "verdict"):
                page.select_option(f"#by-{name}", label=chosen.get(name, "all"))
            tables = [table for table in page.locator("[data-model]").all() if table.is_visible()]
            rows = [[row for row in table.locator("tbody tr").all() if row.is_visible()] for table in tables]
            assert all(rows), f"a table without rows: {chosen}"
            assert [row.locator("code").inner_text() for table in rows for row in table] == shown
        context.close()


def test_all_pages_as_one_file_lead_to_each_other_and_nowhere_else(kit):
    study(kit)
    single = kit / "all.html"
    index = report.build(single=single)
    page = read(single)
    assert assets(page) == [] and page.select_one("meta[http-equiv]")["content"].startswith("default-src 'none'")
    links = [link["href"] for link in page.select("a[href]")]
    ids = [element["id"] for element in page.select("[id]")]
    assert {"#01_shots", "#02_cost", "#03_outputs"} <= {*links} and len(ids) == len({*ids})
    assert all(link[1:] in ids for link in links if ":" not in link)
    parts = [read(index).main, *(read(path).article for path in index.parent.glob("notebooks/*.html"))]
    assert all("".join(part.text.split()) in "".join(page.text.split()) for part in parts)
    report.build(single=single)  # it may be replaced
    (kit / "mine.html").write_text("mine")
    refused = {"mine.html": "is not a report", "all.txt": "ends in .html", "build/report/all.html": "is replaced"}
    for name, problem in refused.items():
        with pytest.raises(OutputRefused, match=problem):
            report.build(single=kit / name)


def test_a_second_build_runs_nothing_again(kit):
    study(kit)
    news = []
    report.build(say=lambda name, said: news.append((name, getattr(said, "cached", said))))
    report.build(say=lambda name, said: news.append((name, getattr(said, "cached", said))))
    names = ["01_shots", "02_cost", "03_outputs"]
    first = [(name, said) for name in names for said in ("running", False)]
    assert news == first + [(name, True) for name in names] and marks(kit) == 1


def test_a_failed_notebook_fails_the_report_and_keeps_the_old_one(kit):
    write("01_good", counting(kit))
    index = report.build()
    before = index.read_bytes()
    write("02_bad", "1 / 0")
    write("03_good", counting(kit))
    for _ in range(2):
        with pytest.raises(NotebookFailed, match=r"02_bad\.ipynb, cell 3 of 3: ZeroDivisionError"):
            report.build()
    assert index.read_bytes() == before and marks(kit) == 2


def test_a_folder_that_is_not_a_report_is_not_replaced(kit):
    write("01_good", "1")
    (kit / "mine").mkdir()
    (kit / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputRefused, match="is not a report"):
        report.build(out=kit / "mine")
    (kit / "mine" / "report.json").write_text('{"format": "mine"}')
    with pytest.raises(OutputRefused, match="is not a report"):
        report.build(out=kit / "mine")
    report.build(out=kit / "site")
    (kit / "site" / "thesis.txt").write_text("years of work")
    (kit / "file").write_text("years of work")
    for place, reason in (("site", "holds thesis.txt, which the kit did not write"), ("file", "is not a report")):
        with pytest.raises(OutputRefused, match=f"{reason}.*name another place, or move it away"):
            report.build(out=kit / place)
    assert {(kit / place).read_text() for place in ("mine/thesis.txt", "site/thesis.txt", "file")} == {"years of work"}
    with pytest.raises(OSError, match="/proc: nothing can be written there"):
        report.build(out=Path("/proc/site"))
    with pytest.raises(notebooks.NotebookNotFound, match="no notebook in"):
        use(kit / "empty")
        report.build()


def test_a_swap_that_was_cut_in_the_middle_is_undone(kit):
    write("01_bad", "1 / 0")
    old = paths.BUILD / ".report.old"
    old.mkdir()
    (old / "report.json").write_text("{}")
    (paths.BUILD / ".report-0123abcd").mkdir()
    with pytest.raises(NotebookFailed):
        report.build()
    assert (paths.BUILD / "report" / "report.json").read_text() == "{}"
    assert not list(paths.BUILD.glob(".report-*")) and not old.exists()


def whole(folder: Path) -> dict:
    """Check that whatever has its final name is complete; the claims of the report if there is one."""
    for path in (folder / "build" / "executed").rglob("[!.]*.ipynb"):
        json.loads(path.read_text())
    site = folder / "build" / "report"
    if not site.exists():
        return {}
    assert (site / "index.html").read_text().rstrip().endswith("</html>")
    return json.loads((site / "report.json").read_text())["claims"]


def test_killed_at_any_moment_the_next_build_ends_with_the_same_claims(kit):
    rows = [claim(f"c{i}", effect=i / 10) for i in range(3)]
    cells = {f"0{i}_n": [f"{counting(kit / str(i))}", show("claims", model="m", rows=[rows[i]])] for i in range(3)}
    for i, (name, code) in enumerate(cells.items()):
        (kit / str(i)).mkdir()
        write(name, *code)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "TMPDIR": str(kit)}
    command = [sys.executable, "-c", BUILD_HERE, str(kit)]
    moments = random.Random(20240531)
    finished: dict[str, int] = {}
    for _ in range(5):
        child = subprocess.Popen(command, env=environment)
        time.sleep(moments.uniform(1, 5))
        child.send_signal(signal.SIGKILL)
        child.wait()
        claims = whole(kit)
        assert claims in ({}, {"m": [row | {"notebook": f"0{i}_n"} for i, row in enumerate(rows)]})
        for output in (paths.BUILD / "executed" / "quick").glob("[!.]*_n.ipynb"):
            number = str(int(output.name[:2]))
            assert finished.setdefault(number, marks(kit / number)) == marks(kit / number)
    subprocess.run(command, env=environment, check=True)
    assert whole(kit) == {"m": [row | {"notebook": f"0{i}_n"} for i, row in enumerate(rows)]}
    assert all(marks(kit / number) == count for number, count in finished.items())
    left = [path.name for path in paths.BUILD.rglob(".*") if not path.name.endswith(".lock")]
    assert left == []


def test_a_playground_stands_beside_the_report_and_stays_there(kit):
    write("01_a", "1")
    (paths.BUILD / "report").mkdir()
    (paths.BUILD / "report" / report.PLAYGROUND).write_text("old")  # written before there was a report
    seen = []
    index = report.build(playground=lambda path: seen.append(path.read_text()) or path.write_text("new"))
    assert seen == ["old"] and read(index).select_one('a[href="playground.html"]')
    assert read(report.build()).select_one('a[href="playground.html"]')
    assert (index.parent / report.PLAYGROUND).read_text() == "new"


def test_a_secret_in_the_environment_reaches_no_page(kit, monkeypatch):
    monkeypatch.setenv("ADAPTLAB_JUDGE_TOKEN", "hunter2-value-nobody-may-see")
    leak = "import os\nos.environ['ADAPTLAB_JUDGE_TOKEN']"
    rows = [claim("c", sentence="SECRET")]
    shown = show("claims", model="m", rows=rows).replace("'SECRET'", leak.splitlines()[1])
    write("01_leak", leak, shown)
    index = report.build()
    written = [path.read_text() for path in paths.BUILD.rglob("*") if path.is_file()]
    assert len(written) > 5 and not any("hunter2" in text for text in written)
    assert "[ADAPTLAB_JUDGE_TOKEN]" in index.read_text()
