"""Published results: written from finished reports alone, the same in README, ledger, report and notebooks."""

import json
import re
import subprocess

import pytest
from typer.testing import CliRunner

from adaptlab import paths
from adaptlab.evidence import claims, published
from adaptlab.evidence.ledger import load_ledger
from adaptlab.evidence.published import ResultsError
from adaptlab.runner import execute, notebooks, publish, report
from adaptlab.runner.cli import app
from adaptlab.runner.publish import NotPublishable
from test_claims import frame, rising
from tiny import claim, show, use, write

README = """# A kit
<!-- notebooks: written by `adaptlab publish` -->
now-and-then
<!-- end of notebooks -->
between
<!-- results: written by `adaptlab publish` -->
<!-- end of results -->
the end
"""
PLANS = """| minutes | what | computes |
| ---: | --- | ---: |
| 15 | Talk | 0 |
| 45 | [02](02_icl_scaling.ipynb): bets first | 9 |
| 45 | [03](03_demo_search.ipynb) | 9 |
| 45 | [02](02_icl_scaling.ipynb) and [03](03_demo_search.ipynb) | 9 |
"""
CLEAN = {"commit": "0123456789e0" + 28 * "f", "dirty": False}


@pytest.fixture
def kit(tmp_path, monkeypatch):
    use(tmp_path, monkeypatch.setattr)
    monkeypatch.setattr(paths, "IN_CHECKOUT", True)
    (tmp_path / "README.md").write_text(README)
    (paths.NOTEBOOKS / "README.md").write_text(PLANS)
    return tmp_path


def entry(name, **changes):
    facts = {"name": name, "model": "study", "model_digest": "aa", "seconds": 100.0, "versions": {"adaptlab": "0.1.0"}}
    return facts | {"git": CLEAN} | changes


def finished(folder, rows, *entries, profile="study", model="study"):
    """The folder of a report with these rows, each of the first notebook named."""
    rows = [row | {"notebook": entries[0]["name"]} for row in rows]
    facts = {"format": report.FORMAT, "profile": profile, "notebooks": entries, "claims": {model: rows}}
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(json.dumps(facts))
    return folder


# ---- the kit's own


def test_readme_ledger_and_results_are_in_step():
    """After a change of notebooks or ledger: `adaptlab publish` writes README's tables."""
    front = (paths.NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    assert publish.with_tables(front) == front
    for path in published.folder().glob("*-*.yaml"):
        assert publish.as_text(published.read(path)) == path.read_text(encoding="utf-8"), path


def test_results_of_the_kits_models_are_of_the_weights_that_lie_here():
    """After a change of the weights: publish anew, or delete what is old."""
    for one in published.load():
        seal = paths.MODELS / one.model / "adaptlab.sha256"
        assert not one.digest or not seal.exists() or one.digest == seal.read_text().strip(), one.model


def test_controls_are_those_whose_source_says_so_and_every_notebook_has_an_answer_with_a_figure():
    ledger = load_ledger()
    assert all(one.control == ("control" in one.paper) for one in ledger.values())
    for path in notebooks.available():
        outputs = [out for cell in notebooks.read(path).cells for out in cell.get("outputs", [])]
        texts = [out.get("data", {}).get("text/plain", "") for out in outputs]
        asked = [one for one in ledger.values() if one.figure and one.is_about(path.stem)]
        assert any(re.search(rf"^{one.id} ", text, re.M) for one in asked for text in texts), path.stem
        assert all(any(text.startswith(f"Figure {one.figure}.") for text in texts) for one in asked), path.stem


# ---- publishing


def test_a_report_becomes_one_short_file_a_profile_and_model(kit):
    rows = [
        claim("ICL-MAPPING", effect=0.12345, low=0.05, high=0.2),
        claim("ICL-SHOTS", verdict="no headroom", effect=0.0, low=None, high=None),
        claim("ICL-SATURATES", effect=1.23456, low=-0.00012345, high=2, points=False, metric="token_logprob"),
    ]
    write("02_icl_scaling", "1")
    place = finished(kit / "site", rows, entry("02_icl_scaling"), entry("03_other", model="none"))
    result = CliRunner().invoke(app, ["publish", str(place)])
    assert result.output == "study-study.yaml: 3 claims published, 3 in all\n" and result.exit_code == 0
    (path,) = published.folder().iterdir()
    assert path.read_text().removeprefix(publish.HEAD).splitlines() == [
        "profile: study",
        "model: study",
        "digest: aa",
        "notebooks:",
        "  02_icl_scaling: {commit: 0123456789e0, kit: 0.1.0, minutes: 2}",
        "claims:",
        "  ICL-SHOTS: {verdict: no headroom, effect: 0.0, low: null, high: null, unit: points, items: 200, seeds: 3}",
        "  ICL-MAPPING: {verdict: holds here, effect: 12.3, low: 5.0, high: 20.0, unit: points, items: 200, seeds: 3}",
        "  ICL-SATURATES: {verdict: holds here, effect: 1.23, low: -0.000123, high: 2.0, unit: token_logprob, "
        "items: 200, seeds: 3}",
    ]
    front = (kit / "README.md").read_text()
    assert "| [02](notebooks/02_icl_scaling.ipynb) | What does 02_icl_scaling ask? | – | 7 |" in front
    assert "more demonstrations raise accuracy. | ⊘ +0.0 points [unbounded, unbounded] |" in front
    assert "(profile study), 2 claims: holds here 1, no headroom 1; 1 of 1 controls hold." in front
    assert "now-and-then" not in front
    assert front.startswith("# A kit\n") and "\nbetween\n" in front and front.endswith("\nthe end\n")
    before = path.read_bytes(), front
    publish.publish(place)
    assert (path.read_bytes(), (kit / "README.md").read_text()) == before
    assert publish.with_tables(front) == front


def test_other_notebooks_stay_while_the_weights_are_the_same(kit):
    publish.publish(finished(kit / "a", [claim("ICL-SHOTS"), claim("ICL-WORDS")], entry("02_icl_scaling")))
    publish.publish(finished(kit / "b", [claim("DS-STYLES")], entry("03_demo_search")))
    publish.publish(finished(kit / "c", [claim("ICL-SHOTS", effect=0.5)], entry("02_icl_scaling")))
    (found,) = published.load()
    assert list(found.rows) == ["ICL-SHOTS", "DS-STYLES"] and found.rows["ICL-SHOTS"]["effect"] == 0.5
    publish.publish(finished(kit / "d", [claim("FT-FEW")], entry("04_fine_tuning", model_digest="bb")))
    (found,) = published.load()
    assert (list(found.rows), list(found.notebooks), found.digest) == (["FT-FEW"], ["04_fine_tuning"], "bb")


def test_a_folder_of_executed_notebooks_is_published_as_well_unless_one_was_changed(kit):
    for command in ("init -q", "add -f README.md", "-c user.name=A -c user.email=a@b commit -qm x"):
        (kit / ".git" / "info").mkdir(parents=True, exist_ok=True)
        (kit / ".git" / "info" / "exclude").write_text("*\n")
        subprocess.run(["git", "-C", kit, *command.split()], check=True)
    write("02_icl_scaling", show("claims", model="study", rows=[claim("ICL-SHOTS")]))
    record = execute.run("02")
    execute.run("02", parameters={"seed": 3})  # a run of the user's, which no profile describes
    assert publish.publish(record.path.parent) == ["quick-study.yaml: 1 claims published, 1 in all"]
    (found,) = published.load()
    assert found.rows["ICL-SHOTS"]["n_items"] == 200 and found.digest == ""
    assert "| What does 02_icl_scaling ask? | 1 | 7 |" in (kit / "README.md").read_text()
    plans = (paths.NOTEBOOKS / "README.md").read_text()
    assert "bets first | 1 |\n| 45 | [03](03_demo_search.ipynb) | – |\n" in plans
    assert "| 15 | Talk | 0 |\n" in plans and plans.endswith("and [03](03_demo_search.ipynb) | 9 |\n")
    assert str(kit) not in next(published.folder().iterdir()).read_text()
    record.path.write_text(record.path.read_text() + "\n")
    with pytest.raises(NotPublishable, match="was changed since it ran; run 02_icl_scaling again"):
        publish.publish(record.path.parent)


@pytest.mark.parametrize(
    ("entries", "more", "problem"),
    [
        ([entry("02_a", git=CLEAN | {"dirty": True})], {}, "02_a ran with uncommitted changes; commit, and run it"),
        ([entry("02_a", git=None)], {}, "02_a ran outside a checkout"),
        ([entry("02_a")], {"model": "/home/me/model"}, "'/home/me/model' is a folder; only models that others can"),
        ([entry("02_a"), entry("03_b", model_digest="bb")], {}, "the weights of study changed between notebooks"),
    ],
)
def test_what_nobody_could_repeat_is_not_published(kit, entries, more, problem):
    with pytest.raises(NotPublishable, match=re.escape(problem)):
        publish.publish(finished(kit / "site", [claim("ICL-SHOTS")], *entries, **more))
    assert not published.folder().exists() and (kit / "README.md").read_text() == README


def test_what_is_no_report_and_what_is_no_result_is_named(kit, monkeypatch):
    with pytest.raises(NotPublishable, match="holds no finished runs of one profile"):
        publish.publish(kit)
    (kit / "report.json").write_text("{}")
    with pytest.raises(NotPublishable, match=r"report.json is not that of a report, or is damaged"):
        publish.publish(kit)
    place = finished(kit / "site", [claim("ICL-SHOTS")], entry("02_a"))
    (kit / "README.md").write_text("# A kit\n")
    with pytest.raises(NotPublishable, match=r"README.md: the comments around the table of notebooks are missing"):
        publish.publish(place)
    published.folder().mkdir()
    for text in ("x: [", "profile: study\n", "[]", "claims: {NO-SUCH: {verdict: holds here}}"):
        (published.folder() / "study-study.yaml").write_text(text)
        with pytest.raises(ResultsError, match=r"^study-study.yaml: not what `adaptlab publish` writes"):
            published.load()
    monkeypatch.setattr(paths, "IN_CHECKOUT", False)
    with pytest.raises(NotPublishable, match="in a checkout of the kit"):
        publish.publish(place)


# ---- telling


def test_a_notebook_tells_the_published_results_where_nothing_is_compared(kit):
    got = claims.claims(["ICL-SHOTS"], frame(rising, labels=("letters",)))
    before = got._repr_mimebundle_()
    publish.publish(finished(kit / "a", [claim("ICL-SHOTS")], entry("02_icl_scaling"), profile="quick"))
    assert got._repr_mimebundle_() == before and "Published" not in before["text/html"]
    publish.publish(finished(kit / "a", [claim("ICL-SHOTS", effect=-0.2)], entry("02_icl_scaling")))
    after = got._repr_mimebundle_()
    said = "study (profile study) holds here: −20.0 points [+5.0, +20.0] (200 items × 3 seeds)"
    assert "Published runs gave" in after["text/html"] and said in after["text/html"]
    assert after | {"text/html": ""} == before | {"text/html": ""}


def test_a_claim_of_the_users_is_not_taken_for_the_kits(kit):
    publish.publish(finished(kit / "a", [claim("ICL-SHOTS")], entry("02_icl_scaling")))
    kits = load_ledger()["ICL-SHOTS"]
    assert len(published.sentences(kits)) == 1
    assert published.sentences(type(kits)(**vars(kits) | {"sentence": "Another one."})) == []
