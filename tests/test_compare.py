"""`adaptlab diff`: what two reports say differently, and how rarely noise alone is called a difference."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from adaptlab.evidence.claims import judge
from adaptlab.runner.cli import app
from adaptlab.runner.compare import LEVEL, NotComparable, compare

ERROR = 0.05


def row(id, effect, error=ERROR, predicted="greater"):
    low, high = effect - 1.96 * error, effect + 1.96 * error
    return {"id": id, "effect": effect, "low": low, "high": high, "verdict": judge(predicted, low, high)}


def report(folder, effects, model="study", **more):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row(f"C-{i}", effect) for i, effect in enumerate(effects)]
    (folder / "report.json").write_text(json.dumps({"claims": {model: rows}} | more))
    return folder


def test_a_report_does_not_differ_from_itself(tmp_path):
    one = report(tmp_path / "a", [0.3, 0.0, -0.2])
    found = compare(one, one / "report.json")
    assert not found.differs and found.lines() == ["3 claims in both: 0 differ beyond noise, 0 have another verdict"]


def test_what_differs_is_named_with_its_numbers_the_surest_first(tmp_path):
    before, after = report(tmp_path / "a", [0.3, 0.11, -0.2, 0.5]), report(tmp_path / "b", [0.3, 0.09, 0.2])
    found = compare(before, after)
    assert found.differs and found.only_before == ("C-3",)
    first, surest, edge, alone = found.lines()
    assert first == "3 claims in both: 1 differ beyond noise, 2 have another verdict"
    assert surest == "C-2 (study): opposite here → holds here; effect -0.200 → +0.200, beyond noise (p < 0.001)"
    assert edge == "C-1 (study): holds here → not resolved; effect +0.110 → +0.090, within noise"
    assert alone == "only in the first: C-3"


@pytest.mark.parametrize("claims", [1, 10, 100])
def test_noise_alone_is_rarely_called_a_difference(tmp_path, monkeypatch, claims):
    """Two reports of the same truths, each with noise of its own: any claim is named in at most 5 % of comparisons."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels calls it each time, a quarter of a second
    rng, runs = np.random.default_rng(claims), 400
    truths = rng.normal(0, 0.3, claims)
    alarms = 0
    for _ in range(runs):
        pair = [report(tmp_path / name, truths + rng.normal(0, ERROR, claims)) for name in "ab"]
        alarms += compare(*pair).differs
    assert 0 < alarms / runs <= LEVEL + 2.5 * (LEVEL * (1 - LEVEL) / runs) ** 0.5


@settings(max_examples=20, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1))
def test_the_order_of_two_reports_changes_no_chance(tmp_path_factory, one, other):
    a, b = (report(tmp_path_factory.mktemp("r"), [effect]) for effect in (one, other))
    assert compare(a, b).pairs[0].p == compare(b, a).pairs[0].p


def test_effects_without_any_noise_differ_if_they_differ_at_all(tmp_path):
    rows = {name: row("C", effect, error=0) for name, effect in (("a", 0.5), ("b", 0.6))}
    for name, one in rows.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps({"claims": {"study": [one]}}))
    assert compare(tmp_path / "a", tmp_path / "b").differs and not compare(tmp_path / "a", tmp_path / "a").differs


def test_where_nothing_could_be_said_nothing_differs(tmp_path):
    one = report(tmp_path / "a", [0.5])
    other = row("C-0", 0.1) | {"effect": None, "low": None, "high": None, "verdict": "not resolved"}
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "report.json").write_text(json.dumps({"claims": {"study": [other]}}))
    found = compare(one, tmp_path / "b")
    assert not found.differs and "effect +0.500 → unknown, within noise" in found.lines()[1]


def test_two_models_can_be_compared_and_several_only_with_the_same(tmp_path):
    a, b = report(tmp_path / "a", [0.1]), report(tmp_path / "b", [0.9], model="gemma-3-270m")
    assert compare(a, b).pairs[0].model == "study → gemma-3-270m"
    (tmp_path / "c").mkdir()
    both = {"study": [row("C-0", 0.1)], "other": [row("C-0", 0.1)]}
    (tmp_path / "c" / "report.json").write_text(json.dumps({"claims": both}))
    with pytest.raises(NotComparable, match="compare reports on the same models, or on one model each"):
        compare(a, tmp_path / "c")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "is no report: it has no report.json; `adaptlab report` writes one"),
        ("{", "or is damaged"),
        ('{"claims": {"study": [{"id": "C-0"}]}}', "or is damaged"),
        ('{"claims": [1]}', "or is damaged"),
        ('{"claims": {"study": [{"id": "C", "verdict": "", "effect": "x", "low": 0, "high": 1}]}}', "or is damaged"),
        ('{"claims": {}}', "tests no claim"),
        ('{"claims": {"study": []}}', "have no claim in common"),
    ],
)
def test_what_is_no_report_is_named(tmp_path, text, problem):
    one, other = report(tmp_path / "a", [0.1]), tmp_path / "b"
    other.mkdir()
    if text is not None:
        (other / "report.json").write_text(text)
    result = CliRunner().invoke(app, ["diff", str(one), str(other)])
    assert result.exit_code == 2 and problem in result.output


def test_the_exit_status_tells_whether_anything_differs(tmp_path):
    one, other = report(tmp_path / "a", [0.1]), report(tmp_path / "b", [0.9])
    assert CliRunner().invoke(app, ["diff", str(one), str(one)]).exit_code == 0
    result = CliRunner().invoke(app, ["diff", str(one), str(other)])
    assert result.exit_code == 1 and "C-0 (study)" in result.output
