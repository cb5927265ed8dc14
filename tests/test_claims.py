"""The ledger is read strictly, and a verdict follows from the frame alone."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import yaml

from adaptlab.evidence.claims import Verdicts, claim, claims, judge
from adaptlab.evidence.ledger import LedgerError, load_ledger, predictions
from adaptlab.evidence.record import RECORD_MIME, Record, html_table

ENTRY = {
    "id": "T-1",
    "sentence": "More <b>shots</b> help.",
    "paper": "nobody",
    "place": "nowhere",
    "notebook": "99",
    "metric": "correct",
    "contrast": [
        {"weight": 1, "where": {"labels": "letters", "shots": "max"}},
        {"weight": -1, "where": {"labels": "letters", "shots": 0}},
    ],
    "predicted": "greater",
    "refuted_by": "Fewer shots are better.",
    "registered": pd.Timestamp("2026-01-31").date(),
}


@pytest.fixture
def write(tmp_path):
    def write(*entries):
        path = tmp_path / "claims.yaml"
        path.write_text(yaml.safe_dump(list(entries), sort_keys=False), encoding="utf-8")
        return path

    return write


def frame(accuracy, *, seeds=4, items=80, shots=(0, 4, 16), labels=("letters",), model="toy"):
    """Right/wrong marks with a given accuracy for each (labels, shots)."""
    rng = np.random.default_rng(0)
    grid = itertools.product(labels, shots, range(seeds), range(items))
    return pd.DataFrame(
        {
            "model": model, "labels": la, "shots": k, "seed": s, "item": f"i{i}",
            "correct": bool(rng.random() < accuracy(la, k)), "format": "plain",
        }
        for la, k, s, i in grid
    )  # fmt: skip


def rising(labels, shots):
    return {0: 0.25, 4: 0.5, 16: 0.8}[shots]


# ---- the verdict rule


@pytest.mark.parametrize(
    ("predicted", "low", "high", "expected"),
    [
        ("greater", 0.01, 0.2, "holds here"),
        ("greater", -0.2, -0.01, "opposite here"),
        ("greater", 0.0, 0.2, "not resolved"),
        ("greater", -0.1, 0.2, "not resolved"),
        ("less", -0.2, -0.01, "holds here"),
        ("less", 0.01, 0.2, "opposite here"),
        ("less", -0.1, 0.2, "not resolved"),
        ("same", -0.04, 0.04, "holds here"),
        ("same", 0.01, 0.04, "holds here"),
        ("same", 0.06, 0.2, "opposite here"),
        ("same", -0.2, -0.06, "opposite here"),
        ("same", 0.01, 0.06, "not resolved"),
        ("same", -0.05, 0.04, "not resolved"),
        ("same", -0.2, 0.2, "not resolved"),
    ],
)
def test_the_rule(predicted, low, high, expected):
    assert judge(predicted, low, high, 0.05 if predicted == "same" else None) == expected


def test_a_rising_curve_holds_and_a_falling_one_is_opposite(write):
    path = write(ENTRY)
    up = claim("T-1", frame(rising), ledger=path)
    assert up.verdict == "holds here"
    assert 0.45 < up.interval.estimate < 0.65
    assert claim("T-1", frame(lambda la, k: 1 - rising(la, k)), ledger=path).verdict == "opposite here"


def test_a_flat_curve_on_few_items_is_not_resolved_and_says_what_could_be_seen(write):
    got = claim("T-1", frame(lambda *_: 0.5, items=20, seeds=3), ledger=write(ENTRY))
    assert got.verdict == "not resolved"
    assert got.interval.high < got.detectable < 1
    html = got._repr_mimebundle_()["text/html"]
    assert "Smallest effect we could have seen" in html and f"{100 * got.detectable:.1f} points" in html


def test_the_effect_is_the_weighted_sum_of_accuracies(write):
    three = [{"weight": w, "where": {"shots": k}} for w, k in ((2, 4), (-1, 0), (-1, "max"))]
    data = frame(rising)
    got = claim("T-1", data, ledger=write(ENTRY | {"contrast": three}))
    means = data.groupby("shots")["correct"].mean()
    assert got.interval.estimate == pytest.approx(2 * means[4] - means[0] - means[16])
    assert got.claim.reach == (-2, 2)


def test_equal_conditions_hold_as_same_only_with_enough_items(write):
    contrast = [
        {"weight": 1, "where": {"labels": "a", "shots": "max"}},
        {"weight": -1, "where": {"labels": "b", "shots": "max"}},
    ]
    path = write(ENTRY | {"contrast": contrast, "predicted": "same", "margin": 0.05})
    few, many = (frame(lambda *_: 1.0, items=items, seeds=3, labels=("a", "b")) for items in (30, 300))
    assert claim("T-1", few, ledger=path).verdict == "not resolved"  # all equal is not certainty
    assert claim("T-1", many, ledger=path).verdict == "holds here"


# ---- frames that cannot answer


def test_row_order_and_extra_conditions_do_not_matter(write):
    data, path = frame(rising, labels=("letters", "words")), write(ENTRY)
    one = claim("T-1", data, ledger=path).interval
    assert claim("T-1", data.sample(frac=1, random_state=1), ledger=path).interval == one
    assert claim("T-1", data[data["labels"] == "letters"], ledger=path).interval == one


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop(columns="labels"), "no column 'labels'; columns: model, shots"),
        (lambda d: d.assign(labels="words"), "no rows where labels=letters .*labels present: words"),
        (lambda d: d[d["shots"] > 0], "no rows where shots=0 .*shots present: 16, 4"),
        (lambda d: d[d["shots"] == 0], "select the same rows .*shots=0"),
        (lambda d: d[(d["shots"] > 0) | (d["seed"] > 0)], "seeds do not pair up: 4 seeds .* 3 in .*shots=0.*e.g. 0"),
        (lambda d: d[(d["shots"] > 0) | (d["item"] != "i7")], "items do not pair up.*e.g. i7"),
        (lambda d: d[(d["seed"] != 1) | (d["item"] != "i7")], "1 of 320 .*first: seed 1, item i7"),
        (lambda d: pd.concat([d, d.assign(format="qa")]), r"several rows.*they differ in format \(plain, qa\)"),
        (lambda d: pd.concat([d, d]), "several rows.*the same run twice"),
        (lambda d: d.assign(correct=d["correct"].map(str)), "neither numeric nor true/false"),
        (lambda d: pd.concat([d, d.assign(model="big")]), "one model, the frame holds 2: big, toy"),
        (lambda d: d.drop(columns="model"), "no column 'model'"),
    ],
)
def test_a_frame_that_cannot_answer_is_refused(write, change, message):
    with pytest.raises(ValueError, match=message):
        claim("T-1", change(frame(rising)), ledger=write(ENTRY))


def test_terms_whose_maximum_differs_are_not_compared(write):
    contrast = [{"weight": w, "where": {"labels": la, "shots": "max"}} for w, la in ((1, "a"), (-1, "b"))]
    data = frame(lambda *_: 0.5, labels=("a", "b"))
    data = data[(data["labels"] == "a") | (data["shots"] < 16)]
    with pytest.raises(ValueError, match="shots=max means 16 in one term and 4"):
        claim("T-1", data, ledger=write(ENTRY | {"contrast": contrast}))


def test_an_unknown_claim_names_the_known_ones(write):
    with pytest.raises(ValueError, match=r"no claim .T-2.*known ids: T-1"):
        claim("T-2", frame(rising), ledger=write(ENTRY))


# ---- display


def test_verdicts_show_the_same_text_on_every_machine(write):
    path = write(ENTRY, ENTRY | {"id": "T-LONG", "predicted": "less"})
    got = claims(["T-1", "T-LONG"], frame(rising), ledger=path)
    assert repr(got).splitlines() == [
        "T-1     holds here     (items=80, seeds=4)",
        "T-LONG  opposite here  (items=80, seeds=4)",
    ]
    assert repr(got["T-1"]) == "T-1  holds here  (items=80, seeds=4)"


def test_verdicts_carry_their_record(write):
    got = claims(["T-1"], frame(rising, model="<script>"), ledger=write(ENTRY))
    bundle = got._repr_mimebundle_()
    record = json.loads(json.dumps(bundle[RECORD_MIME], allow_nan=False))
    assert record["kind"] == "claims" and record["model"] == "<script>"
    keys = "id sentence paper place predicted metric verdict effect low high detectable n_items n_seeds"
    assert set(keys.split()) <= set(record["rows"][0])
    assert record["rows"][0]["low"] <= record["rows"][0]["effect"] <= record["rows"][0]["high"]
    html = bundle["text/html"]
    assert "<script>" not in html and "&lt;script&gt;" in html and "<b>" not in html
    assert f"{100 * record['rows'][0]['effect']:+.1f} points" in html


def test_an_effect_beyond_the_scale_is_said_in_words(write):
    noise = iter(range(10**6))
    data = frame(lambda *_: 0.5 + 0.49 * (-1) ** next(noise), items=2, seeds=2)
    verdicts = claims(["T-1"], data, ledger=write(ENTRY))
    assert verdicts["T-1"].detectable > verdicts["T-1"].reach == 1
    html = verdicts._repr_mimebundle_()["text/html"]
    assert "more than the scale allows" in html


def test_a_metric_without_a_range_and_without_spread_says_so(write):
    data = frame(rising).assign(gold_logprob=lambda d: -1.0 - 0.3 * d["shots"])
    got = claims(["T-1"], data, ledger=write(ENTRY | {"metric": "gold_logprob"}))
    assert got["T-1"].verdict == "not resolved"
    assert got.rows[0]["low"] is None and "unbounded" in got._repr_mimebundle_()["text/html"]


def test_one_table_is_for_one_model(write):
    path = write(ENTRY)
    two = [claim("T-1", frame(rising, model=m), ledger=path) for m in ("a", "b")]
    with pytest.raises(ValueError, match="one model"):
        Verdicts(two)


def test_a_record_must_be_plain_json_with_a_kind():
    with pytest.raises(ValueError, match="kind"):
        Record({"rows": []}, "", "")
    with pytest.raises(ValueError, match="'cost' must be plain JSON"):
        Record({"kind": "cost", "seconds": float("nan")}, "", "")
    bundle = Record({"kind": "cost", "rows": []}, "text", "<p>")._repr_mimebundle_()
    assert bundle == {"text/plain": "text", "text/html": "<p>", RECORD_MIME: {"kind": "cost", "rows": []}}


def test_table_cells_are_escaped():
    html = html_table(["<a>"], [["<img src=x onerror=alert(1)>"]], caption="&")
    assert "<img" not in html and "<a>" not in html and "&lt;img" in html


# ---- the ledger


def test_the_kits_own_ledger_is_valid():
    ledger = load_ledger()
    assert {"ICL-SHOTS", "ICL-MAPPING", "ICL-WORDS", "ICL-EARLY"} <= set(ledger)
    for entry in ledger.values():
        assert entry.sentence.endswith(".") and entry.refuted_by.endswith(".")


def test_the_kits_claims_can_be_tested_on_a_frame_of_the_agreed_shape():
    labels = ("letters", "words", "shuffled-letters", "shuffled-words")
    data = frame(lambda la, k: rising(la, k) if la == "letters" else 0.5, labels=labels)
    got = claims(["ICL-SHOTS", "ICL-MAPPING", "ICL-WORDS", "ICL-EARLY"], data)
    assert [got[id].verdict for id in ("ICL-SHOTS", "ICL-MAPPING")] == ["holds here"] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predicted": "bigger"}, "'predicted': 'bigger' is not one of greater, less, same"),
        ({"margin": 0.1}, "'margin': belongs to predicted: same only"),
        ({"predicted": "same"}, "'margin': predicted: same needs a number above 0, got None"),
        ({"predicted": "same", "margin": -1}, "'margin'.*got -1"),
        ({"colour": "red"}, "'colour': unknown; allowed: id, sentence"),
        ({"metric": 3}, "'metric': expected a text"),
        ({"paper": " "}, "'paper': expected a text"),
        ({"registered": "soon"}, "'registered': expected a date such as 2026-01-31"),
        ({"contrast": []}, "'contrast': expected a list of terms"),
        ({"contrast": [{"weight": 1}]}, "'contrast, term 1, where': missing"),
        ({"contrast": [{"weight": 1, "where": {}, "x": 1}]}, "'contrast, term 1, x': unknown; allowed: weight, where"),
        ({"contrast": [{"weight": True, "where": {"a": 1}}]}, "'contrast, term 1, weight'.*got True"),
        ({"contrast": [{"weight": 1, "where": {"a": [1, 2]}}]}, r"term 1, where, a'.*max / min, got \[1, 2\]"),
        ({"contrast": [{"weight": w, "where": {"a": w}} for w in (2, -1)]}, "add up to 0, these add up to 1"),
    ],
)
def test_a_malformed_claim_is_refused_by_name_and_place(write, change, message):
    with pytest.raises(LedgerError, match=r"^claims\.yaml:\d+: claim T-9, field .*" + message.lstrip("'")):
        load_ledger(write(ENTRY, ENTRY | {"id": "T-9"} | change))


def test_a_missing_field_is_named(write):
    short = {k: v for k, v in ENTRY.items() if k != "refuted_by"}
    with pytest.raises(LedgerError, match=r"claims\.yaml:1: claim T-1, field 'refuted_by': missing"):
        load_ledger(write(short))


def test_repeated_ids_and_keys_are_refused(write):
    with pytest.raises(LedgerError, match=r"claims\.yaml:\d+: claim T-1, field 'id': used twice"):
        load_ledger(write(ENTRY, ENTRY))
    path = write(ENTRY)
    path.write_text(path.read_text() + "  metric: output\n")
    with pytest.raises(LedgerError, match=r"claims\.yaml:\d+: 'metric' stands twice"):
        load_ledger(path)


@pytest.mark.parametrize("text", ["", "a: 1", "- just words", "- [", "\xff"])
def test_a_file_that_is_no_ledger_is_refused(tmp_path, text):
    path = tmp_path / "claims.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(LedgerError, match=r"^claims\.yaml"):
        load_ledger(path)


def test_predictions_are_told_by_the_ids_of_claims():
    table = predictions(["START-READ", "START-BACKWARD"])
    assert list(table.index) == ["START-READ", "START-BACKWARD"] and list(table) == ["predicted", "sentence"]
    assert table.predicted["START-READ"] == load_ledger()["START-READ"].predicted
