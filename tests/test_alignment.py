"""The experiments of notebook 02b give frames that their claims can be tested on."""

import random

import matplotlib.pyplot as plt
import pytest

from adaptlab.engine.models import load
from adaptlab.evidence.claims import claim
from adaptlab.evidence.figures import points, shares
from adaptlab.evidence.token_shift import PARTS, SHIFTS, by_part
from adaptlab.methods.ablations import ABLATIONS
from adaptlab.studies import alignment_by_context
from adaptlab.tasks.notes import load_notes
from adaptlab.tasks.sets import conversation, load_open
from adaptlab.tasks.words import study

DATA = load_open("requests", pool=24, test=6, list_tasks=["first", "copy"])
SEEDS = [0, 1]


@pytest.fixture(scope="module")
def lm():
    return load("study")


def test_shots_and_manners(lm):
    frame = alignment_by_context.by_shots(lm, DATA, 4, [0, 1, 3], ["plain", "restyled"], SEEDS)
    assert frame.groupby(["manner", "seed", "shots"]).size().eq(4).all() and len(frame) == 2 * 2 * 3 * 4
    bare = frame[frame.shots == 0]
    assert bare.groupby("item").output.nunique().eq(1).all(), "no demonstration, no manner and no draw"
    assert bare.groupby(["manner", "seed"]).scored.sum().gt(0).sum() == 1, "paid for once"
    assert claim("ICL-RESTYLED", frame).interval.n_items == 4


def test_decoding(lm):
    frame = alignment_by_context.by_decoding(lm, DATA, 4, [0, 3], [(0.0, 1.0), (1.0, 1.15)], SEEDS)
    assert frame.groupby(["shots", "temperature", "seed"]).size().eq(4).all()
    assert claim("ICL-DECODING", frame).interval.n_seeds == 2


def test_quality(lm):
    frame = alignment_by_context.by_quality(lm, DATA, 4, [3, 6], SEEDS)
    for id in ("ICL-MORE-V1", "ICL-MORE-V3"):
        assert claim(id, frame).interval.n_items == 4
    assert (frame[frame.quality == "high"].token_logprob != frame[frame.quality == "mixed"].token_logprob.values).any()


def test_answers(lm):
    frame = alignment_by_context.by_answers(lm, DATA, load_notes(pool=40, test=20), 4, 3, list(ABLATIONS), SEEDS)
    assert claim("ICL-ANSWERS", frame).interval.n_items == 4
    assert set(frame[frame.task == "sorting"].answers) == {"correct", "shifted"}
    assert set(frame[frame.task == "requests"].answers) == set(ABLATIONS)


def test_shifts_and_turns(lm):
    tokens = alignment_by_context.shifts(lm, DATA, 4, 3, "restyled", SEEDS)
    parts = by_part(tokens)
    for id in ("ICL-UNSHIFTED", "ICL-SHIFT-EARLY", "ICL-SHIFT-END"):
        assert claim(id, parts).interval.n_seeds == 2
    talks = [conversation(random.Random(n), study("test"), templates=3) for n in range(3)]
    with pytest.raises(ValueError, match="no column 'manner'"):
        points(tokens, x="manner", y="kl")
    lonely = tokens[(tokens.place < 2) | (tokens["item"] == tokens["item"].iloc[0])]
    assert len(points(lonely, x="place", y="kl", ax=plt.figure().add_subplot()).get_xticks()) == 2
    turns = alignment_by_context.by_turn(lm, DATA, talks, 1, "plain", SEEDS)
    assert turns.groupby(["turn", "seed"]).size().eq(3).all()
    assert claim("ICL-TURNS", turns).interval.n_items == 3
    _, axes = plt.subplots(1, 2)
    points(tokens, x="place", y="kl", ax=axes[0])
    shares(tokens, x="part", of="kind", kinds=SHIFTS, ax=axes[1])
    heights = sum(bar.get_height() for bar in axes[1].patches)
    assert heights == pytest.approx(tokens.part.nunique()), "shares add up to one in every bar"
    shares(tokens[::-1], x="part", of="kind", kinds=SHIFTS, values=(*PARTS, "none"), ax=axes[0].figure.add_subplot())
    assert [tick.get_text() for tick in plt.gca().get_xticklabels()] == [p for p in PARTS if p in set(tokens.part)]
    plt.close("all")
