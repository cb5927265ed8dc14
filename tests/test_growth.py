"""The frames and figures that tell how the study models grew up."""

import json
import random
from dataclasses import replace
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from transformers import LlamaForCausalLM

from adaptlab import paths
from adaptlab.engine.lm import LM
from adaptlab.engine.scoring import Request, score
from adaptlab.evidence.claims import claims
from adaptlab.evidence.evaluate import grid
from adaptlab.studies import study_model
from adaptlab.studymodel import corpus, tokenizer
from adaptlab.studymodel.recipes import RECIPES


@pytest.fixture(scope="module")
def lm() -> LM:
    torch.manual_seed(0)
    recipe = replace(RECIPES["study"], hidden=32, layers=1, heads=2)
    return LM("untrained", LlamaForCausalLM(recipe.config()).eval(), tokenizer.train(), "a test")


@pytest.fixture
def axes():
    _, axes = plt.subplots()
    yield axes
    plt.close("all")


LOG = pd.DataFrame(
    {
        "step": [10, 20, 30, 40],
        "tokens": [1_000_000, 2_000_000, 3_000_000, 4_000_000],
        "determined": [4.0, 2.0, 1.0, 0.5],
        "undetermined": [5.0, 3.0, 2.5, 2.4],
        "reversal": [0.25, None, 0.5, 0.95],
        "forward": [0.3, None, 0.9, 0.9],
    }
)


def test_what_was_published_comes_back_as_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "MODELS", tmp_path)
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "training.jsonl").write_text('{"step": 10, "tokens": 5}\n{"step": 20, "tokens": 9}\n')
    counted = [{"name": "forward", "right": 45, "n": 50, "chance": 0.25}, {"name": "sums", "right": 0, "n": 50}]
    (tmp_path / "small" / "abilities.json").write_text(json.dumps(counted))
    assert list(study_model.training("small").tokens) == [5, 9]
    first, second = study_model.published("small").to_dict("records")
    assert (first["model"], first["share"], first["chance"]) == ("small", 0.9, 0.25)
    assert (first["low"], first["high"]) == (pytest.approx(0.7864, abs=1e-3), pytest.approx(0.9565, abs=1e-3))
    assert second["low"] == pytest.approx(0, abs=1e-9) and pd.isna(second["chance"])


def test_an_ability_has_emerged_when_half_of_its_way_is_done():
    table = study_model.emergence(LOG, ["reversal", "forward"]).set_index("ability")
    assert list(table["half way at step"]) == [40, 30]
    assert list(table["million tokens"]) == [4.0, 3.0]
    assert list(table["best"]) == [0.95, 0.9] and list(table["at first"]) == [0.25, 0.3]
    flat = LOG.assign(forward=[0.3, None, 0.42, 0.35])
    assert study_model.emergence(flat, ["forward"])["half way at step"].isna().all()


def live(lm, worlds):
    measured = {"items": [], "measure": lambda exam, _: exam(), "world": worlds, "seed": [0]}

    def ask(ability, shots, world, seed):
        return partial(study_model.ask, lm, ability, shots, world, 6)

    choices = grid(ask, ability=["forward", "reversal", "unknown"], shots=[0], **measured)
    return pd.concat([choices, grid(ask, ability=["instruction"], shots=[0, 3], **measured)], ignore_index=True)


def test_measured_rows_are_what_the_ledger_wants(lm):
    frame = live(lm, [0, 1])
    assert frame.groupby(["ability", "shots"]).item.nunique().eq(12).all()
    verdicts = claims(["MODEL-CONTEXT", "MODEL-BOTH-WAYS", "MODEL-ALIGN"], frame)
    assert [(v.interval.n_items, v.interval.n_seeds) for v in verdicts] == [(12, 1)] * 3
    assert list(frame.correct) != list(live(lm, [2, 3]).correct)


def test_a_small_model_can_be_grown_in_the_notebook_and_comes_out_the_same():
    one, again = (study_model.retrained(2) for _ in range(2))
    assert list(one.step) == [0, 1] and np.isfinite(one.determined).all()
    assert list(one.determined) == list(again.determined)


def test_surprise_is_what_scoring_says_it_is(lm):
    page = corpus.facts(random.Random(3), 90)
    costs = study_model.surprise(lm, page)
    start = page.text.index(" So,")
    (option,) = score(lm, [Request(page.text[:start], (page.text[start:],))]).options[0]
    skipped = len(lm.encode(page.text[:start])) - 1  # BOS costs nothing
    assert -costs.nats[skipped:-1].sum() == pytest.approx(option.logprob, abs=1e-3)
    assert "".join(costs.token[:-1]) == page.text
    assert costs.determined.iloc[-1] and not costs.determined.iloc[0]


def test_growth_draws_only_what_was_probed(axes):
    study_model.growth(LOG, ["reversal", "forward"], chance={"chance of 4": 0.25}, ax=axes)
    lines = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert [list(line.get_xdata()) for line in lines] == [[1, 3, 4]] * 2
    assert list(lines[0].get_ydata()) == [0.25, 0.5, 0.95]
    assert [(text.get_text(), text.get_position()[1]) for text in axes.texts] == [("chance of 4", 0.25)]


def test_losses_draws_both_kinds(axes):
    study_model.losses(LOG, ax=axes)
    assert [list(line.get_ydata()) for line in axes.lines] == [list(LOG.undetermined), list(LOG.determined)]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["open", "determined"]


def test_forest_has_a_row_an_ability_and_a_dot_a_model(axes):
    row = {"share": 0.5, "low": 0.4, "high": 0.6}
    frame = pd.DataFrame(
        [
            {"name": "forward", "model": "a", "chance": 0.25, **row},
            {"name": "forward", "model": "b", "chance": 0.25, **row},
            {"name": "sums", "model": "a", "chance": None, **row},
        ]
    )
    study_model.forest(frame, ax=axes)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["forward", "sums"]
    dots = {line.get_label(): len(line.get_xdata()) for line in axes.lines}
    assert dots == {"a": 2, "b": 1, "chance": 2}
    places = [line.get_ydata()[0] for line in axes.lines if line.get_label() in "ab"]
    assert places[0] != places[1] and all(abs(place) < 0.5 for place in places)


def test_the_text_itself_shows_what_surprised(axes):
    tokens = ["Facts", ":", " bak", "da", "\n\n", *[" vogmi"] * 20]
    costs = pd.DataFrame({"token": tokens, "nats": [0.0] * 24 + [9.0], "determined": [False] * 5 + [True] * 20})
    study_model.surprise_text(costs, ax=axes)
    letters = "".join(one.get_text() for one in axes.texts)
    assert letters == "".join(tokens).replace("\n", "¶") and len(axes.patches) == 25 and len(axes.lines) == 20
    assert axes.patches[0].get_facecolor() != axes.patches[-1].get_facecolor()
    rows = {round(-one.get_y()) for one in axes.patches}
    assert rows == {0, 2, 3}, "a blank line, and a line that is full"
    assert max(one.get_x() + one.get_width() for one in axes.patches) <= study_model.COLUMNS


def test_surprise_bars_are_as_high_as_the_surprise(axes):
    costs = pd.DataFrame({"token": list("abc"), "nats": [3.0, 0.5, 1.0], "determined": [False, True, True]})
    study_model.surprise_bars(costs, ax=axes)
    assert sorted((bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in axes.patches) == [
        (pytest.approx(0), 3.0),
        (pytest.approx(1), 0.5),
        (pytest.approx(2), 1.0),
    ]


def test_the_course_names_what_is_new_in_each_stretch():
    recipe = RECIPES["study"]
    log = pd.DataFrame(
        {"step": range(10, recipe.steps + 1, 10), "tokens": range(80_000, 8000 * recipe.steps + 1, 80_000)}
    )
    table = study_model.course("study", log)
    assert list(table["million tokens"]) == [
        pytest.approx(0.008 * recipe.starts[i][0], abs=0.2) for i in range(len(recipe.starts))
    ]
    assert table["new documents"][0] == "relations" and list(table.rate)[:9] == [
        phase.rate for phase in recipe.courses[0].phases
    ]
    new = table[table.course == 1]["new documents"]
    assert sorted(", ".join(filter(None, new)).split(", ")) == sorted(corpus.FIRST_COURSE)
    assert list(table.course) == [n for n, one in enumerate(recipe.courses, start=1) for _ in one.phases]
    assert study_model.first_course("study", log).step.max() == recipe.courses[0].steps


def test_an_ability_stands_beside_the_pages_that_teach_it():
    log = pd.DataFrame({"step": [100, 200, 300], "tokens": [1e6, 2e6, 3e6], "reversal": [0.2, 0.9, 0.8]})
    stretches = pd.DataFrame({"million tokens": [0.0, 1.5], "new documents": ["relations", "facts, chains"]})
    pages = {"reversal": "chains", "unread": "poems", "forward": "facts"}
    (row,) = study_model.taught(log, stretches, pages).itertuples(index=False)
    assert tuple(row) == ("reversal", "chains", 1.5, 2.0, 0.9, 0.8)


def test_a_tuned_model_has_no_course_from_nothing():
    with pytest.raises(ValueError, match="study-it was not trained from nothing here; those that were: study, "):
        study_model.course("study-it", study_model.training("study-it"))
