"""Curation loses nothing, splits stay apart and stay put, and every run gives the same."""

import os
import subprocess
import sys
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.tasks.curate import FILTERS, blank_output, contaminated, curate, split, survival
from adaptlab.tasks.records import Demonstration, FieldError, Instruction, content_key

SHARES = {"demo": 0.5, "race": 0.2, "confirm": 0.1, "test": 0.2}
LONG = "take the first word of every line and write it down again in capital letters"
RECORDS = [
    Instruction("s1", LONG, "", "A B"),
    Instruction("s2", "Name three rivers of Europe.", "", "Rhine, Danube, Po"),
    Instruction("s3", "NAME three rivers of Europe", "", "Elbe, Oder, Tiber"),
    Instruction("s4", LONG.replace("capital", "small"), "", "a b"),
    Instruction("s5", "Translate the word into French.", "dog", "\u200b"),
    Instruction("s6", "Sort the numbers from small to large, please, and then sum them.", "3 1", "1 3"),
]
TEST = [Instruction("m1", "You sort the numbers from small to large please.", "", "1")]
SOME = st.lists(st.sampled_from(["a", "b", "the", "cat", "sat", "2"]), min_size=1, max_size=8).map(" ".join)
INSTRUCTIONS = st.builds(Instruction, SOME, SOME, SOME | st.just(""), SOME | st.just("\u200b"))
MANY = [Instruction(f"p{n}", f"question number {n}", "", " yes") for n in range(2000)]


# ---------------------------------------------------------------- filters


def test_every_filter_says_why():
    filters = FILTERS | {"contaminated": partial(contaminated, test=TEST, n=8)}
    result = curate(RECORDS, filters)
    assert [record.id for record in result.kept] == ["s1", "s2"]
    assert [(one.row.id, one.filter, one.reason) for one in result.rejected] == [
        ("s5", "blank output", "output is blank"),
        ("s3", "exact duplicate", "same content as s2"),
        ("s4", "near-duplicate", f"Jaccard {11 / 15:.2f} with s1"),
        ("s6", "contaminated", "shares 'sort the numbers from small to large please' with test item m1"),
    ]
    assert survival(result) == [
        {"filter": "blank output", "in": 6, "out": 5, "share": 5 / 6},
        {"filter": "exact duplicate", "in": 5, "out": 4, "share": 4 / 5},
        {"filter": "near-duplicate", "in": 4, "out": 3, "share": 3 / 4},
        {"filter": "contaminated", "in": 3, "out": 2, "share": 2 / 3},
    ]


def test_what_no_eye_sees_is_blank():
    answers = ["x", "", " \n", "\u200b\u00ad", "?"]
    assert list(blank_output([Demonstration("q", answer) for answer in answers])) == [1, 2, 3]


@given(st.lists(INSTRUCTIONS, max_size=12), st.lists(INSTRUCTIONS, max_size=3))
def test_nothing_is_lost(records, test):
    filters = FILTERS | {"contaminated": partial(contaminated, test=test, n=3)}
    result = curate(records, filters)
    rows = [*result.kept, *(one.row for one in result.rejected)]
    assert sorted(map(repr, rows)) == sorted(map(repr, records))
    rest = iter(records)
    assert all(any(record is kept for record in rest) for kept in result.kept)  # in their order
    table = survival(result)
    assert [row["filter"] for row in table] == list(filters)
    assert (table[0]["in"], table[-1]["out"]) == (len(records), len(result.kept))
    assert all(a["out"] == b["in"] for a, b in pairwise(table))


def test_survival_of_nothing_has_no_share():
    assert survival(curate([]))[0] == {"filter": "blank output", "in": 0, "out": 0, "share": None}


# ---------------------------------------------------------------- splits


@given(st.lists(INSTRUCTIONS, max_size=30), st.integers(), st.sampled_from([SHARES, {"one": 1.0}]))
def test_splits_are_whole_and_disjoint_by_content(records, seed, shares):
    splits = split(records, shares, seed)
    assert list(splits) == list(shares)
    assert sorted(map(repr, records)) == sorted(repr(r) for members in splits.values() for r in members)
    homes = [(content_key(r.query), name) for name, members in splits.items() for r in members]
    assert len(set(homes)) == len({key for key, _ in homes})


@given(st.lists(INSTRUCTIONS, max_size=12), st.lists(INSTRUCTIONS, max_size=6), st.randoms(use_true_random=False))
def test_a_record_added_moves_no_other(records, more, rng):
    home = {r: name for name, members in split(records, SHARES, 0).items() for r in members}
    together = records + more
    rng.shuffle(together)
    for name, members in split(together, SHARES, 0).items():
        assert all(home.get(r, name) == name for r in members)


def test_members_keep_their_order_and_the_seed_matters():
    splits = split(MANY, SHARES, 3)
    assert all(list(members) == sorted(members, key=MANY.index) for members in splits.values())
    assert splits == split(MANY, SHARES, 3) != split(MANY, SHARES, 4)


def test_shares_are_met_on_average():
    for name, members in split(MANY, SHARES, 0).items():
        share = SHARES[name]
        assert len(members) / len(MANY) == pytest.approx(share, abs=4 * (share * (1 - share) / len(MANY)) ** 0.5)


@pytest.mark.parametrize(
    ("shares", "field"),
    [
        ({"a": 0.5, "b": 0.4}, "shares"),
        ({}, "shares"),
        ({"a": 1.5, "b": -0.5}, "shares.a"),
        ({"a": 0, "b": 1}, "shares.a"),
        ({"a": float("nan")}, "shares.a"),
        ({"a": "half"}, "shares.a"),
        ({" ": 1}, "shares"),
    ],
)
def test_bad_shares_are_named(shares, field):
    with pytest.raises(FieldError) as caught:
        split(MANY, shares, 0)
    assert caught.value.field == field


# ---------------------------------------------------------------- every run the same

PROGRAM = """
import random
from adaptlab.tasks.curate import *
from adaptlab.tasks.datacard import data_card
from adaptlab.tasks.records import Instruction
rng = random.Random(0)
texts = [" ".join(rng.choices("the cat sat on a mat by two".split(), k=rng.randint(2, 9))) for _ in range(150)]
records = [Instruction(f"s{n}", text, "", str(n), rng.choice("xy")) for n, text in enumerate(texts)]
done = curate(records)
splits = split(done.kept, {"demo": 0.5, "test": 0.5}, 1)
card = data_card("n", done.kept, splits, description="d", licence="l", source="s", rejected=done.rejected, n=3)
print(done, splits, card)
"""


def test_other_processes_give_the_same():
    seen = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "777")
    }
    assert len(seen) == 1 and b"near-duplicate" in seen.pop()
