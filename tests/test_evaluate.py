"""One row per item, costs that add up, curves that do not depend on how they were computed."""

import math

import numpy as np
import pandas as pd
import pytest

from adaptlab.engine.scoring import Cost, OptionScore, score
from adaptlab.evidence import record
from adaptlab.evidence.evaluate import evaluate
from adaptlab.methods.baselines import NaiveBayes
from adaptlab.methods.prompting import LABEL_MAPPINGS, OptionScores, draw
from adaptlab.studies.icl_scaling import Cell, IclStudy, balanced, baseline_curve, icl_curve, in_context
from adaptlab.tasks.records import Labelled
from adaptlab.tasks.splits import LabelledSet

LABELS = ("hot", "cold")
WEATHER = [("sunny", "hot"), ("icy", "cold")]
POOL = tuple(Labelled(f"p{i}", f"{word} day {i}", label) for i, (word, label) in enumerate(WEATHER * 6))
TEST = tuple(Labelled(f"t{i}", f"{word} night {i}", label) for i, (word, label) in enumerate(WEATHER * 4))
DATA = LabelledSet("weather", LABELS, POOL, TEST, "One of {names}:")
STUDY = IclStudy(shots=[0, 2, 4], seeds=[0, 1], items=6)


class Fixed:
    """A method whose answers are known."""

    name, model, shots = "fixed", "none", 3

    def answer(self, items, prefix_cache=None):
        options = [{"hot": OptionScore(-1.0, 1, 3), "cold": OptionScore(-2.0, 4, 4)} for _ in items]
        return OptionScores(options, Cost(prefilled=10, cached=4, scored=20, naive=100, seconds=2.0))


def test_rows_follow_from_the_answers():
    frame, _ = evaluate(Fixed(), TEST, study="s", seed=7, labels="words")
    assert list(frame.item) == [i.id for i in TEST]
    assert list(frame.correct) == [i.label == "hot" for i in TEST]
    assert set(frame.choice) == {"hot"}
    assert frame.gold_prob[0] == pytest.approx(math.e**-1 / (math.e**-1 + math.e**-2))
    assert (
        frame[["study", "model", "method", "shots", "seed", "labels"]] == ["s", "none", "fixed", 3, 7, "words"]
    ).all(axis=None)
    totals = frame[["prefilled", "cached", "scored", "decoded", "trained", "naive", "seconds"]].sum()
    assert list(totals) == pytest.approx([10, 4, 20, 0, 0, 100, 2])


def test_options_can_compete_by_length():
    choices = {by: set(evaluate(Fixed(), TEST, study="s", seed=0, by=by)[0].choice) for by in ("sum", "token", "byte")}
    assert choices == {"sum": {"hot"}, "token": {"cold"}, "byte": {"hot"}}
    with pytest.raises(ValueError, match=r"sum.*token.*byte"):
        evaluate(Fixed(), TEST, study="s", seed=0, by="word")


def test_the_curve_is_complete_and_balanced(llama):
    frame = icl_curve(llama, DATA, STUDY)
    sizes = frame.groupby(["labels", "seed", "shots"]).size()
    assert len(sizes) == 4 * 2 * 3 and set(sizes) == {6}
    assert frame.groupby("item").gold.nunique().eq(1).all() and frame.gold.value_counts().nunique() == 1
    assert frame.groupby(["labels", "seed", "shots"]).item.apply(tuple).nunique() == 1, "the same items throughout"


def test_the_curve_equals_scoring_every_prompt_from_scratch(llama):
    frame = icl_curve(llama, DATA, STUDY)
    for label_mapping in LABEL_MAPPINGS:
        for k in STUDY.shots:
            method = in_context(llama, DATA, Cell(label_mapping, "plain", 1), k)
            items = balanced(DATA.test, 6)
            plain = score(llama, [method.question(i.text) for i in items], plan="plain")
            gold = [row[LABELS.index(i.label)].logprob for row, i in zip(plain.options, items, strict=True)]
            rows = frame[(frame.labels == label_mapping) & (frame.shots == k) & (frame.seed == 1)]
            assert list(rows.gold_logprob) == pytest.approx(gold, abs=1e-4)


def test_nested_demonstrations_are_paid_for_once(llama):
    frame = icl_curve(llama, DATA, STUDY)
    spent = frame.groupby(["labels", "seed", "shots"])[["prefilled", "cached"]].sum()
    for _, run in spent.groupby(["labels", "seed"]):
        assert (run.cached.to_numpy()[1:] >= 0.5 * run[["prefilled", "cached"]].sum(axis=1).to_numpy()[:-1]).all()
    assert frame.naive.sum() > 3 * frame[["prefilled", "scored"]].sum().sum()


def test_same_settings_same_frame(llama):
    first, second = (icl_curve(llama, DATA, STUDY).drop(columns="seconds") for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_naive_bayes_learns_what_words_tell():
    untrained = NaiveBayes((), LABELS).answer(TEST).options
    assert all(o["hot"].logprob == o["cold"].logprob for o in untrained)
    frame, _ = evaluate(NaiveBayes(tuple(draw(POOL, 4, 0)), LABELS), TEST, study="s", seed=0)
    assert frame.correct.all() and frame.naive.sum() == 0
    known = NaiveBayes((Labelled("a", "sun sun ice", "hot"),), LABELS).answer([Labelled("x", "sun", "hot")]).options[0]
    # hot: prior 2/3, (2 + 1) / (3 + 3); cold: prior 1/3, (0 + 1) / (0 + 3)
    assert known["hot"].logprob == pytest.approx(math.log(2 / 3) + math.log(3 / 6))
    assert known["cold"].logprob == pytest.approx(math.log(1 / 3) + math.log(1 / 3))


def test_the_baseline_curve_answers_the_same_items(llama):
    assert set(baseline_curve(DATA, STUDY).item) == set(icl_curve(llama, DATA, STUDY).item)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shots": []}, "shots must name at least one"),
        ({"seeds": [1, 1]}, "seeds must name .* none of them twice"),
        ({"shots": [-1]}, "cannot be negative"),
        ({"items": -5}, "cannot be negative"),
        ({"styles": ["xml"]}, "'xml' is not one of"),
        ({"label_mappings": ["numbers"]}, "'numbers' is not one of"),
    ],
)
def test_bad_settings_are_refused_at_once(change, message):
    with pytest.raises(ValueError, match=message):
        IclStudy(**{"shots": [0], "seeds": [0], **change})


def test_the_accounts_add_up(llama):
    frame = icl_curve(llama, DATA, STUDY)
    bill = record.cost(frame)
    rows = bill.payload["rows"]
    assert [r["labels"] for r in rows] == list(LABEL_MAPPINGS)
    for token in record.TOKENS:
        assert sum(r[token] for r in rows) == pytest.approx(frame[token].sum(), abs=0.01)
    assert "seconds" not in bill.text


def test_provenance_names_what_a_rerun_needs(llama, tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"abc")
    origin = record.provenance(llama, {"data": path}, {"seeds": [1, 2]})
    payload = origin.payload
    assert payload["model_digest"] == llama.digest and payload["seeds"] == [1, 2]
    assert payload["data"]["data"].startswith("ba7816bf")
    assert payload["peak_rss_bytes"] > 50 * 2**20
    assert np.isfinite(payload["threads"])
