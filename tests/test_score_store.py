"""Scores that are kept between runs are those that would be computed; what is damaged is computed anew."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.engine import score_store
from adaptlab.engine.lm import MODIFIED
from adaptlab.engine.scoring import Request, score
from test_scoring import EASY, assert_same, phrases, prompts


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The folder of kept scores, named in the environment."""
    monkeypatch.setenv(score_store.FOLDER, str(tmp_path / "scores"))
    return tmp_path / "scores"


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


QUESTIONS = [Request("the red house\nriver:", (" yes", " no")), Request("the red house\ndesk one:", (" a", " two b"))]


@EASY
@given(prefix=phrases, items=prompts, more=prompts, plan=st.sampled_from(["trie", "plain"]))
def test_kept_scores_are_those_that_are_computed_without(any_lm, tmp_path_factory, prefix, items, more, plan):
    """Some of the questions are known from an earlier call, some are not."""
    first, all_ = ([Request(f"{prefix}\n{t}:", opts) for t, opts in part] for part in (items, [*items, *more]))
    expected = [[o.logprob for o in row] for row in score(any_lm, all_, plan=plan).options]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(score_store.FOLDER, str(tmp_path_factory.mktemp("scores")))
        before = score(any_lm, first, plan=plan)
        found, again = score(any_lm, all_, plan=plan), score(any_lm, all_, plan=plan)
    assert_same(found.options, expected)
    assert found.options[: len(first)] == before.options and again.options == found.options
    assert again.cost.computed == 0 and again.cost.per_option == found.cost.per_option


def test_nothing_is_kept_unless_a_folder_is_named(llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(score_store.FOLDER, raising=False)
    assert score(llama, QUESTIONS).cost.computed == score(llama, QUESTIONS).cost.computed > 0
    assert not kept(tmp_path)


def test_a_longer_prompt_goes_on_from_the_prefix_that_it_was_given(llama, folder):
    fresh = score(llama, QUESTIONS)
    known = score(llama, QUESTIONS, prefix_cache=fresh.prefix_cache)
    longer = [Request(one.context + " late\nb:", one.options) for one in QUESTIONS]
    found = score(llama, longer, prefix_cache=known.prefix_cache)
    assert known.prefix_cache is fresh.prefix_cache and found.cost.cached == len(fresh.prefix_cache)


@pytest.mark.parametrize("change", [{"digest": "other weights"}, {"digest": f"{MODIFIED} here"}])
def test_other_weights_have_scores_of_their_own_and_changed_ones_none(llama, folder, change):
    score(llama, QUESTIONS)
    before = kept(folder)
    assert score(replace(llama, **change), QUESTIONS).cost.computed > 0
    assert len(kept(folder)) == len(before) + (0 if change["digest"].startswith(MODIFIED) else len(QUESTIONS))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace(b"-", b"-1", 1),
        lambda text: b'{"scores": 3}',
        lambda text: b"[" * 100_000,
        lambda text: b"\xff" + text,
    ],
)
def test_damaged_scores_are_computed_anew_with_a_warning_and_mended(llama, folder, damage):
    before = score(llama, QUESTIONS)
    for path in kept(folder):
        path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=r"json is damaged, so its scores are computed anew") as told:
        found = score(llama, QUESTIONS)
    assert len(told) == len(QUESTIONS)
    assert_same(found.options, [[o.logprob for o in row] for row in before.options])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score(llama, QUESTIONS).cost.computed == 0


def test_many_may_write_at_once(llama, folder):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: score(llama, QUESTIONS).options, range(12)))
    for one in found:
        assert_same(one, [[o.logprob for o in row] for row in found[0]])
    assert len(kept(folder)) == len(QUESTIONS) and score(llama, QUESTIONS).cost.computed == 0
