"""Curves over shots x draws x orders x formats: complete, nested, exact, and ended by a stated rule."""

import math
from dataclasses import replace

import pytest

from adaptlab.engine.cache import Trie
from adaptlab.engine.scoring import Request, score
from adaptlab.evidence.claims import claim
from adaptlab.studies.icl_scaling import (
    Cell,
    IclStudy,
    baseline_curve,
    cells,
    fitting,
    icl_curve,
    in_context,
    method_of,
    reordered,
    task_curves,
)
from adaptlab.studies.selecting import WAYS, selection_curve
from adaptlab.tasks.records import Instruction, Labelled
from adaptlab.tasks.sets import load_open
from adaptlab.tasks.splits import LabelledSet, OpenSet
from conftest import tiny_lm

LABELS = ("hot", "cold")
WEATHER = [("sunny", "hot"), ("icy", "cold")]
POOL = tuple(Labelled(f"p{i}", f"{word} day {i}", label) for i, (word, label) in enumerate(WEATHER * 6))
TEST = tuple(Labelled(f"t{i}", f"{word} night {i}", label) for i, (word, label) in enumerate(WEATHER * 4))
SORTING = LabelledSet("weather", LABELS, POOL, TEST, "One of {names}:")
WRITING = load_open("digest", pool=12, test=6)
STUDY = IclStudy([0, 1, 2], [0, 1], 4, ["letters"], orders=[0, 1], styles=["pairs", "question"])


@pytest.mark.parametrize("data", [SORTING, WRITING], ids=["sorting", "writing"])
def test_one_call_gives_every_combination_once(llama, data):
    frame = icl_curve(llama, data, STUDY)
    sizes = frame.groupby(["shots", "seed", "order", "format", "item"]).size()
    assert len(sizes) == 3 * 2 * 2 * 2 * 4 and set(sizes) == {1}
    assert len(cells(data, STUDY)) == 8


@pytest.mark.parametrize("data", [SORTING, WRITING], ids=["sorting", "writing"])
def test_reused_prefixes_change_nothing(llama, data):
    """Nested curves equal a pass of its own for every prompt (fp32, 1e-4)."""
    study = IclStudy([0, 1, 3], [1], 4, ["words"], orders=[0, 2])
    frame = icl_curve(llama, data, study)
    for cell in cells(data, study):
        for k in study.shots:
            method = method_of(llama, data, study, cell, k)
            rows = frame[(frame.shots == k) & (frame.order == cell.order)]
            if data is SORTING:
                asked = [method.question(i.text) for i in data.test[: len(rows)]]
                place = [LABELS.index(g) for g in rows.gold]
                items = {i.id: i for i in data.test}
                asked = [method.question(items[i].text) for i in rows["item"]]
            else:
                asked = [Request(method.prompt(i.query), (f" {i.output}",)) for i in data.test[:4]]
                place = [0] * len(rows)
            plain = score(llama, asked, plan="plain").options
            gold = [row[p].logprob for row, p in zip(plain, place, strict=True)]
            assert list(rows.gold_logprob) == pytest.approx(gold, abs=1e-4)


def test_orders_permute_the_draw_and_nothing_else(llama):
    drawn = list(range(8))
    assert reordered(drawn, 0) == drawn
    for order in (1, 2):
        assert sorted(reordered(drawn, order)) == drawn != reordered(drawn, order)
    assert reordered(drawn, 1) != reordered(drawn, 2)
    one, other = (in_context(llama, SORTING, Cell("letters", "plain", 3, order), 4) for order in (0, 1))
    assert sorted(one.demonstrations) == sorted(other.demonstrations) and one.label_names == other.label_names


def spent_and_needed(lm, data: LabelledSet, study: IclStudy) -> tuple[float, int]:
    """Tokens that a curve computed, and the size of the smallest tree that holds all its prompts and options."""
    frame, needed = icl_curve(lm, data, study), 0
    items = {i.id: i for i in data.test}
    texts = [items[i].text for i in frame["item"].unique()]
    for cell in cells(data, study):
        trie = Trie()
        for k in study.shots:
            method = method_of(lm, data, study, cell, k)
            for asked in map(method.question, texts):
                for option in asked.options:
                    trie.insert(lm.encode(asked.context + option)[:-1])
        needed += len(trie)
    return frame[["prefilled", "scored"]].sum().sum(), needed


def test_a_curve_costs_little_more_than_its_tree(llama):
    spent, needed = spent_and_needed(llama, SORTING, IclStudy([0, 1, 2, 4, 8], [0, 1], 8, ["letters"]))
    assert needed <= spent <= 1.2 * needed


def test_a_curve_ends_where_a_prompt_would_not_fit(llama):
    study = IclStudy([0, 4, 8, 10, 12], [0, 1], label_mappings=["words"], orders=[0, 1])
    kept, left_out = fitting(llama, SORTING, study)
    assert kept.shots == [k for k in study.shots if k not in left_out] and 0 < len(left_out) < 5
    assert sorted(left_out) == study.shots[-len(left_out) :]
    icl_curve(llama, SORTING, kept)
    with pytest.raises(ValueError, match="has room for 256"):
        icl_curve(llama, SORTING, IclStudy(left_out, [0], label_mappings=["words"]))


@pytest.mark.parametrize("writes", [True, False])
def test_room_is_kept_for_the_item_that_needs_most(writes):
    """One item has the longer answer to score, another the longer question to write behind."""
    lm, words = tiny_lm("llama"), "option two three four yes no a b c d".split()
    spread = Instruction("a", "red", "", " ".join(words * 3))
    asked = Instruction("b", " ".join(words * 2), "", "d")
    data = OpenSet("odd", tuple(Instruction(f"p{i}", f"{w} {w}", "", w) for i, w in enumerate(words)), (spread, asked))
    study = IclStudy([0, 1, 2, 3, 4, 5, 6, 7, 8], [0], writes=writes)
    seen = 0
    for room in range(60, 240, 12):
        lm.model.config.max_position_embeddings = room
        try:
            kept, left_out = fitting(lm, data, study)
        except ValueError:
            continue
        icl_curve(lm, data, kept)
        if left_out:
            seen += 1
            with pytest.raises(ValueError, match=rf"{room} tokens|room for {room}"):
                icl_curve(lm, data, replace(study, shots=left_out[:1]))
    assert seen > 3


def test_few_demonstrations_have_all_their_orders_before_one_comes_again():
    for k in (2, 3, 4):
        orders = [tuple(reordered(range(k), order)) for order in range(math.factorial(k))]
        assert len(set(orders)) == math.factorial(k)


def test_written_answers_have_no_chat_format(llama):
    with pytest.raises(ValueError, match="'chat' is for labelled data"):
        icl_curve(llama, WRITING, IclStudy([0], [0], styles=["chat"]))


def test_what_never_fits_is_refused(llama):
    long = LabelledSet("long", LABELS, POOL, (Labelled("x", "sunny " * 300, "hot"),))
    with pytest.raises(ValueError, match="too few for 0 shots"):
        fitting(llama, long, IclStudy([0, 2], [0]))


def test_a_dictionary_says_what_the_examples_give_away():
    data = load_open("lexicon", pool=40, test=10)
    frame = baseline_curve(data, IclStudy([0, 4, 40], [0, 1]))
    mean = frame.groupby("shots").correct.mean()
    assert mean[0] == 0 <= mean[4] < mean[40] == 1
    assert frame.token_logprob.isna().all() and frame.naive.sum() == 0


def test_tasks_can_be_compared_by_the_place_of_their_items():
    lm = tiny_lm("llama")
    lm.model.config.max_position_embeddings = 2048
    frame = task_curves(lm, {"sorting": SORTING, "requests": WRITING}, IclStudy([0, 4, 8], [0, 1], 4, ["letters"]))
    assert frame.groupby("task")["item"].apply(lambda i: tuple(i.unique())).nunique() == 1
    assert claim("ICL-TASKS", frame).interval.n_items == 4
    assert claim("ICL-SATURATES", frame).interval.n_seeds == 2


def test_scores_without_texts_have_no_marks(llama):
    frame = icl_curve(llama, WRITING, IclStudy([1], [0], 3, writes=False))
    assert frame.correct.isna().all() and frame.decoded.sum() == 0 and frame.token_logprob.notna().all()


@pytest.mark.parametrize("change", [{"answers": ["nonsense"]}, {"orders": [0, 0]}, {"styles": ["xml"]}])
def test_bad_settings_are_refused(change):
    with pytest.raises(ValueError, match=r"is not one of|none of them twice"):
        IclStudy(**{"shots": [0], "seeds": [0], **change})


def test_too_many_items_are_refused(llama):
    with pytest.raises(ValueError, match="items must be at most 6"):
        icl_curve(llama, WRITING, IclStudy([0], [0], 7))


def test_every_way_of_selecting_shows_the_item_what_it_chose(llama):
    frame = selection_curve(llama, SORTING, [1, 2], [0, 1], 4)
    assert list(frame.way.drop_duplicates()) == list(WAYS)
    assert frame.groupby("way").seed.nunique().to_dict() == {w: 1 + (w in ("random", "diverse")) for w in WAYS}
    assert frame.groupby(["way", "seed", "shots"]).size().eq(4).all()
    near = frame[frame.way == "nearest, words"]
    assert near.scored.sum() > 2 * frame[(frame.way == "random") & (frame.seed == 0)].scored.sum()
    with pytest.raises(ValueError, match="ways must be among"):
        selection_curve(llama, SORTING, [1], [0], ways=["best"])


@pytest.mark.real
@pytest.mark.slow
def test_a_real_curve_costs_little_more_than_its_tree():
    """Zero to 64 shots x 5 draws x 200 messages on a real model: at most 1.2 times the tokens of the tree."""
    from adaptlab.engine.lm import ModelNotFound
    from adaptlab.engine.models import load
    from adaptlab.tasks.sets import load_task

    try:
        lm = load("gemma-3-270m")
    except ModelNotFound as error:
        pytest.skip(str(error).splitlines()[0])
    study = IclStudy([0, 1, 2, 4, 8, 16, 32, 64], [0, 1, 2, 3, 4], label_mappings=["letters"])
    spent, needed = spent_and_needed(lm, load_task("messages"), study)
    print(f"\ncomputed {spent:,.0f} tokens; the tree has {needed:,}: {spent / needed:.3f} times")
    assert needed <= spent <= 1.2 * needed
