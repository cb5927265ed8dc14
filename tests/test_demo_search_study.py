"""Notebook 03: pools that are what they say, baselines and searches by name, and tables that count right."""

import numpy as np
import pytest

from adaptlab.engine.models import load
from adaptlab.evidence.evaluate import evaluate
from adaptlab.methods import demo_search
from adaptlab.methods.trials import Trials
from adaptlab.methods.urial import RESPONSE_STYLES, has_style
from adaptlab.studies import demo_search as study
from adaptlab.tasks.records import FieldError, content_key
from conftest import tiny_lm

SIZES = {"candidates": 12, "race": 6, "confirm": 4, "items": 8}


@pytest.fixture(scope="module")
def lm():
    return tiny_lm("llama")


def setting(lm, pool, seed=1):
    parts = study.task(pool, seed, **SIZES)
    return parts, demo_search.showing(lm, parts.data, **study.settings(pool, seed))


@pytest.mark.parametrize("pool", study.POOLS)
def test_pools_have_their_sizes_and_no_text_in_two_parts(pool):
    one, other = study.task(pool, 1, **SIZES), study.task(pool, 2, **SIZES)
    parts = one.data.pool, one.race, one.confirm, one.data.test
    assert [len(part) for part in parts] == list(SIZES.values())
    keys = [{content_key(item.query) for item in part} for part in parts]
    assert sum(map(len, keys)) == len(set().union(*keys)) == sum(SIZES.values())
    assert keys[0] != {content_key(item.query) for item in other.data.pool}
    assert study.task(pool, 1, **SIZES) == one


def test_noise_is_in_the_labels_of_candidates_alone():
    sizes = SIZES | {"candidates": 150}
    noisy, clean = (study.task(pool, 3, **sizes) for pool in ("noisy", "clean"))
    assert (noisy.race, noisy.confirm, noisy.data.test) == (clean.race, clean.confirm, clean.data.test)
    assert [one.text for one in noisy.data.pool] == [one.text for one in clean.data.pool]
    wrong = np.mean([a.label != b.label for a, b in zip(noisy.data.pool, clean.data.pool, strict=True)])
    assert 0.2 < wrong < 0.4  # three quarters of NOISE, in expectation


def test_styles_are_in_the_answers_of_candidates_alone():
    parts = study.task("styles", 3, **(SIZES | {"candidates": 60}))
    styled = [s for one in parts.data.pool for s in RESPONSE_STYLES[1:] if has_style(one.output, s)]
    assert set(styled) == set(RESPONSE_STYLES[1:]) and 25 < len(styled) < 58
    for one in (*parts.race, *parts.confirm, *parts.data.test):
        assert not any(has_style(one.output, style) for style in RESPONSE_STYLES[1:])


@pytest.mark.parametrize("way", [*study.SEARCHES, *study.BASELINES])
def test_every_way_shows_as_many_as_it_was_asked_for(lm, way):
    parts, show = setting(lm, "noisy")
    made = study.outcome(way, Trials(show, parts.race), show, parts, 4, seed=1)
    assert all(len(set(shown)) == 4 for shown in made.sets)
    if way in study.BASELINES:
        assert len(made.sets) == study.DRAWS and made.spent.tokens == 0
    else:
        assert made.claimed == pytest.approx(Trials(show, parts.race).mean(made.sets[0]), abs=1e-4)
        assert made.spent.tokens > 0
    if way == "balanced":
        shown = [[parts.data.pool[place].label for place in one] for one in made.sets]
        assert all(len(set(labels)) == min(4, len({one.label for one in parts.data.pool})) for labels in shown)
    with pytest.raises(FieldError, match="search"):
        study.outcome("prayer", Trials(show, parts.race), show, parts, 4, seed=1)


def test_worth_is_the_mean_over_sets(lm):
    parts, show = setting(lm, "clean")
    made = study.Outcome(show, parts, [(0, 1), (2, 3)])
    rows = [evaluate(show(shown), parts.data.test)[0] for shown in made.sets]
    found = study.worth(made)
    assert found.correct.tolist() == ((rows[0].correct + rows[1].correct * 1.0) / 2).tolist()
    assert np.allclose(found.log_p, (np.log(rows[0].gold_prob) + np.log(rows[1].gold_prob)) / 2)
    assert found.confirmed.isna().all()


def test_the_nearest_are_shown_to_their_own_items(lm):
    parts, show = setting(lm, "clean")
    made = study.outcome("nearest, words", Trials(show, parts.race), show, parts, 2, seed=1)
    found = study.worth(made)
    alone = [evaluate(show(shown), [item])[0] for shown, item in zip(made.sets, parts.data.test, strict=True)]
    assert len(made.sets) == len(found) == 8
    assert found.log_p.tolist() == pytest.approx([float(np.log(row.gold_prob[0])) for row in alone])


def test_optimism_and_right_labels_have_pairs(lm):
    (parts, show), clean = setting(lm, "noisy"), study.task("clean", 1, **SIZES)
    made = study.outcome("greedy", Trials(show, parts.race), show, parts, 3, seed=1)
    pairs = study.optimism(made)
    assert pairs.groupby("on").size().to_dict() == {"race": 6, "new": 6}
    assert pairs[pairs.on == "race"].log_p.mean() == pytest.approx(made.claimed, abs=1e-4)
    right = study.right_labels(made, clean).groupby("of").right.mean()
    same = [a.label == b.label for a, b in zip(parts.data.pool, clean.data.pool, strict=True)]
    assert right["pool"] == pytest.approx(np.mean(same))
    assert right["found"] == pytest.approx(np.mean([same[place] for place in made.sets[0]]))


def test_the_curse_grows_with_the_number_of_sets(lm):
    parts, show = setting(lm, "clean")
    found = study.curse(show, parts, 3, [1, 4, 16], seed=0)
    assert (found["expected to claim"].diff().dropna() > 0).all()
    assert (found["expected to have"] <= found["expected to claim"] + 1e-9).all()
    assert found.claims.diff().dropna().min() >= 0


@pytest.mark.parametrize("pool", ["styles", "clean"])
def test_what_is_trained_is_what_is_asked(pool):
    lm = load("study", device="cpu")
    parts, show = setting(lm, pool)
    for one, example in zip(parts.data.pool, study.training_examples(lm, parts, show), strict=True):
        asked = [token for token, trained in zip(example.ids, example.loss_mask, strict=True) if not trained]
        assert lm.tokenizer.decode(asked, skip_special_tokens=True) == show(()).request(one).context
        answer = lm.tokenizer.decode([t for t, trained in zip(example.ids, example.loss_mask, strict=True) if trained])
        assert answer.startswith(" ")
