"""A user's own claims: the same rule as the kit's, said where nothing could come out, and shown apart."""

import re
from datetime import date

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from adaptlab import paths
from adaptlab.evidence import frames, own_claims
from adaptlab.evidence.claims import claim, verdict
from adaptlab.evidence.ledger import LedgerError, load_ledger
from adaptlab.runner import execute, own_files, provenance, report
from adaptlab.runner.cli import app
from adaptlab.runner.parameters import ParameterError, resolve
from tiny import counting, marks, use, write

MINE = {
    "id": "MINE", "sentence": "More shots help.", "paper": "mine", "place": "notes", "notebook": "01",
    "metric": "correct", "predicted": "greater", "refuted_by": "Fewer do.", "registered": date(2026, 1, 31),
    "contrast": [{"weight": 1, "where": {"shots": "max"}}, {"weight": -1, "where": {"shots": 0}}],
}  # fmt: skip
# A grid of the tiny notebook: every other item is right without demonstrations, nine in ten with them.
GRID = """import pandas as pd
from adaptlab.evidence import frames
rows = [{"model": "toy", "shots": k, "seed": s, "item": f"i{i}", "correct": (i * 7 + s) % 10 < (9 if k else 5)}
        for k in (0, 4) for s in range(2) for i in range(40)]
frames.keep(pd.DataFrame(rows))
frames.keep(pd.DataFrame(rows)[["model", "seed", "item"]].assign(loss=0.5))"""


@pytest.fixture
def kit(tmp_path, monkeypatch):
    use(tmp_path, monkeypatch.setattr)
    monkeypatch.chdir(tmp_path)
    write("01_tiny", counting(tmp_path), GRID)
    return tmp_path


def ledger(place, *entries):
    place.write_text(yaml.safe_dump(list(entries), sort_keys=False), encoding="utf-8")
    return place


def frame(none, most, items=60, seeds=3):
    """Right/wrong marks: how many of the items are right with no shots and with four."""
    rng = np.random.default_rng(0)
    rows = [(k, s, f"i{i}", bool(rng.random() < share)) for k, share in ((0, none), (4, most))
            for s in range(seeds) for i in range(items)]  # fmt: skip
    return pd.DataFrame(rows, columns=["shots", "seed", "item", "correct"]).assign(model="toy", grid=1)


def test_the_verdict_is_that_of_the_kits_claim_with_the_same_contrast(tmp_path):
    kits = load_ledger()["ICL-SHOTS"]
    text = re.search(r"- id: ICL-SHOTS\n.*?(?=\n- id)", (paths.DATA / "claims.yaml").read_text(), re.S)[0]
    (tmp_path / "mine.yaml").write_text(text.replace("ICL-SHOTS", "MINE"))
    rows = frame(0.4, 0.7).assign(labels="letters").replace({"shots": {0: 4, 4: 16}})
    other = rows[["model", "seed", "item"]].assign(grid=2, loss=1.0)
    path = tmp_path / "run.frame"
    frames.write(pd.concat([rows, other], ignore_index=True), path)
    for ending in frames.ENDINGS:
        read = frames.read(path.with_name(path.name + ending))
        ((_, model, mine),) = own_claims.tested(load_ledger(tmp_path / "mine.yaml").values(), read)
        expected = claim("ICL-SHOTS", rows)
        assert (model, mine.verdict, mine.interval) == ("toy", expected.verdict, expected.interval)
        assert mine.claim.contrast == kits.contrast and mine.verdict == "holds here"


@pytest.mark.parametrize(
    ("none", "most", "predicted", "said"),
    [
        (1.0, 1.0, "greater", "all sides are at the ceiling (100 to 100 % right), so the test cannot come out"),
        (0.0, 0.0, "greater", "all sides are at the floor (0 to 0 % right), so the test cannot come out"),
        (0.98, 0.99, "less", "all sides are at the ceiling"),
        (1.0, 1.0, "same", "that they are the same says little"),
        (0.5, 0.5, "greater", ""),
        (0.3, 0.95, "greater", ""),
        (0.5, 0.5, "same", ""),
    ],
)
def test_where_no_side_had_room_it_is_said_in_words(tmp_path, none, most, predicted, said):
    entry = MINE | {"predicted": predicted} | ({"margin": 0.05} if predicted == "same" else {})
    got = verdict(load_ledger(ledger(tmp_path / "mine.yaml", entry))["MINE"], frame(none, most))
    assert said in got.headroom and bool(said) == bool(got.headroom) == (got.outcome == "no headroom")
    assert f"MINE  {got.outcome}  (items=" in repr(got)
    line = own_claims.line((got.claim, "toy", got))
    assert said in line and said in got._repr_mimebundle_()["text/html"]


def test_many_items_leave_room_even_near_the_end(tmp_path):
    entry = load_ledger(ledger(tmp_path / "mine.yaml", MINE))["MINE"]
    got = verdict(entry, frame(0.92, 0.92, items=3000))
    assert got.verdict == "not resolved" and got.detectable < 0.08 and not got.headroom


def test_a_claim_that_the_rows_cannot_answer_gets_the_reason_and_baselines_are_left_out(tmp_path):
    where = {"labels": "letters", "shots": 0}
    contrast = [{"weight": 1, "where": where | {"shots": "max"}}, {"weight": -1, "where": where}]
    odd = MINE | {"id": "ODD", "contrast": [{"weight": 1, "where": {"depth": 3}}]}
    claims = load_ledger(ledger(tmp_path / "mine.yaml", MINE | {"contrast": contrast}, odd)).values()
    baseline = frame(0.4, 0.7).assign(model="bag of words")
    rows = pd.concat([frame(0.4, 0.7).assign(labels="letters"), baseline], ignore_index=True)
    (one, model, got), (two, _, problem) = own_claims.tested(claims, rows)
    assert (one.id, model, got.verdict) == ("MINE", "toy", "holds here")
    assert two.id == "ODD" and "the frame has no column 'depth'" in problem


def test_a_run_tests_them_at_the_end_of_its_page_and_the_report_shows_them_apart(kit):
    mine = ledger(kit / "mine.yaml", MINE, MINE | {"id": "OTHER", "notebook": "other"})
    with pytest.raises(
        ParameterError, match=r"mine.yaml: claim OTHER, field 'notebook': no notebook is called 'other'"
    ):
        execute.run("1", parameters={"claims": "mine.yaml"})
    ledger(mine, MINE)
    record = execute.run("1", parameters={"claims": "mine.yaml"})
    node = nbformat.read(record.path, as_version=4)
    (said,) = provenance.read_outputs(node, "own_claims")
    assert [(row["id"], row["model"], row["verdict"]) for row in said["rows"]] == [("MINE", "toy", "holds here")]
    assert said["file"] == "mine.yaml" and node.cells[-2].source.startswith("## Your own claims")
    assert execute.run("1", parameters={"claims": "mine.yaml"}).cached
    ledger(mine, MINE | {"predicted": "less"})  # another content: it is run again

    index = report.build(claims=mine)
    assert marks(kit) == 2 and "claims" not in resolve(paths.NOTEBOOKS / "01_tiny.ipynb", "quick", {})
    page = index.read_text()
    assert "Your own claims" in page and "opposite here" in page and "No notebook of this run tested a claim" in page
    assert "opposite here" in (index.parent / "notebooks" / "01_tiny.html").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("predicted: greater", "predicted: more"), "mine.yaml:8: claim MINE-1, field 'predicted': 'more' is not one"),
        (("  metric: correct", "  metrics: correct"), "mine.yaml:8: claim MINE-1, field 'metrics': unknown"),
        (("weight: -1", "weight: -2"), "field 'contrast': the weights of a contrast add up to 0"),
        (("- id: MINE-1 ", "- id: MINE-1\n  id: B "), "mine.yaml:9: 'id' stands twice"),
        (("[", "[") , ""),
    ],
)  # fmt: skip
def test_the_skeleton_is_valid_never_replaces_a_file_and_a_mistake_is_named(kit, change, message):
    run = CliRunner().invoke
    mine = kit / "mine.yaml"
    assert run(app, ["claim", "new", "mine.yaml"]).exit_code == 0
    text = mine.read_text()
    assert (again := run(app, ["claim", "new", "mine.yaml"])).exit_code == 2 and "is there already" in again.output
    assert mine.read_text() == text
    if not message:
        load_ledger(mine)
        with pytest.raises(ParameterError, match="field 'notebook'"):
            own_files.own_claims(mine)  # this kit has no notebook 02
        return
    mine.write_text(text.replace(*change, 1))
    with pytest.raises(LedgerError) as error:
        own_files.own_claims(mine)
    assert message in str(error.value)
    got = run(app, ["run", "01", "-p", "claims=mine.yaml"])
    assert got.exit_code == 2 and message in got.output and not (kit / "marks").exists()


def test_the_command_prints_a_verdict_for_rows_that_are_there(kit):
    ledger(kit / "mine.yaml", MINE)
    frames.write(frame(0.4, 0.7), kit / "run.frame")
    got = CliRunner().invoke(app, ["claim", "test", "mine.yaml", "run.frame.csv"])
    assert got.exit_code == 0 and got.output.startswith("MINE, toy: holds here: +")
    (kit / "bad.csv").write_bytes(b"\xff\xfe\x00")
    bad = CliRunner().invoke(app, ["claim", "test", "mine.yaml", "bad.csv"])
    assert bad.exit_code == 2 and "bad.csv: cannot be read as a table" in bad.output
