"""Exercises: the notebooks' solutions pass, nothing is no answer, plausible wrong answers get their hints; and bets."""

import math

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

import adaptlab as al
from adaptlab import paths
from adaptlab.evidence.claims import Verdicts, claims
from adaptlab.evidence.judge_stats import POINTS
from adaptlab.runner import notebooks
from adaptlab.studies import which_way
from adaptlab.studies.exercises import BLANK, EXERCISES, RIGHT, WRONG
from adaptlab.tasks import similarity

HOLDS, OPPOSITE, OPEN = "holds here", "opposite here", "not resolved"
A, B, C = (0.02, 0.31), (-0.05, 0.20), (-0.40, -0.10)
SHARE = pd.Series(
    {("without", "forward"): 0.1, ("with", "forward"): 0.9, ("without", "backward"): 0.2, ("with", "backward"): 0.5}
)
# Three words of five in common are a ROUGE-L of 0.6, four are 0.8.
DRAFTS = ["a b c d e", "c d e f g", "e f g h i", "p q r s t", "p q r s u", "v w x y z"]
SCORES = pd.DataFrame({"A": [-1.0, -1.0, -1.0, -0.5], "B": [-1.2, -3.0, -1.1, -2.0]})
BIAS = pd.Series({"A": -0.5, "B": -1.0})
P, Q = torch.tensor([[0.5, 0.5]] * 2).log(), torch.tensor([[0.9, 0.1], [0.5, 0.5]]).log()
FORMATS = pd.DataFrame(
    {
        "taught": ["nothing"] * 4 + ["instruction"] * 4,
        "exact": [True, False, False, False, True, True, True, False],
        "correct": [True, True, False, False, True, True, True, True],
    }
)
LINES = pd.DataFrame({"copy": [0.2, 0.3], "reverse": [0.4, 0.9]}, index=[1, 8])
WAYS = pd.DataFrame(
    {"sentence": [0.1, 0.9, 0.6], "forward": [0.2, 0.8, 0.7]}, index=["untrained", "in context", "teacher's texts"]
)
TOKENS, LOGPROB = np.array([[4, 10], [20, 6]]), np.array([[-1.0, -2.0], [-9.0, -np.inf]])
LEANED = pd.DataFrame({"order_1": ["A", "A", "B", "A", "A"], "order_2": ["B", "A", "B", "B", "tie"]})
PRICES = pd.DataFrame(
    {"share": [0.5, 0.9, 0.9, 0.95, 0.95, 0.4], "once": [0, 0, 500, 0, 900, 0], "per_use": [10, 100, 10, 120, 110, 20]},
    index=["as it is", "random shown", "trained", "nearest shown", "trained + nearest shown", "best of n"],
)

# For each exercise: what it is about, the right answer worked out by hand, and wrong ones with words of their hints.
CASES = {
    "00, verdicts": (
        {},
        {A: HOLDS, B: OPEN, C: OPPOSITE},
        [
            ({A: HOLDS, B: HOLDS, C: OPPOSITE}, "holds 0"),
            ({A: HOLDS, B: OPEN, C: OPEN}, "a result as well"),
            ({A: HOLDS, B: OPPOSITE, C: OPPOSITE}, "must lie below 0"),
        ],
    ),
    "00, lift": ({"share": SHARE}, 0.3, [(-0.3, "counted from"), (0.8, "forward"), (0.5, "subtract")]),
    "01": ({"drafts": DRAFTS, "bound": 0.5}, 4, [(2, "were dropped"), (3, "not with dropped"), (5, "0.7")]),
    "02": (
        {"scores": SCORES, "bias": BIAS, "desks": ["B", "A", "B", "A"]},
        1.0,
        [(0.5, "before anything"), (4, "not their number"), ("all", "one number")],
    ),
    "02b": (
        {"p": P, "q": Q},
        (0.9 * math.log(1.8) + 0.1 * math.log(0.2)) / 2,
        [
            ((0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(5)) / 2, "exchange"),
            (-(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(5)) / 2, "weights"),
            (0.9 * math.log(1.8) + 0.1 * math.log(0.2), "their mean"),
        ],
    ),
    "03": ({"candidates": 16, "shots": 4}, 58, [(64, "not tried again"), (1820, "does not look"), (65536, "one page")]),
    "04": (
        {"high": 10, "wide": 20, "rank": 3},
        90,
        [(200, "frozen matrix"), (600, "product"), (30, "rank 1")],
    ),
    "04b": ({"formats": FORMATS}, 0.5, [(0.75, "untuned"), (-0.5, "count from"), (FORMATS, "one number")]),
    "05": ({"spent": 1000.0, "saved": 50.0}, 40.0, [(20, "twice as much"), (10, "more uses"), (0.05, "divide")]),
    "05b": ({"lines": LINES}, 0.6, [(0.5, "more text alone"), (-0.6, "from the copies"), (0.9, "share itself")]),
    "05c": ({"share": WAYS}, 0.3, [(-0.3, "positive"), (0.1, "as told"), (0.5, "was gained")]),
    "06": (
        {"total": 16, "good": 4, "n": 4},
        1 - 495 / 1820,
        [(495 / 1820, "none of them"), (1 - 0.75**4, "taken twice"), (0.25, "alone")],
    ),
    "06b": (
        {"tokens": TOKENS, "logprob": LOGPROB},
        2.0,
        [(-2.0, "count from the samples"), (12.0, "winners alone"), ("longer", "one number")],
    ),
    "06c": (
        {"rewards": [3.0, 1.0, 0.0, 0.0]},
        [8 / 3, -0.0, -4 / 3, -4 / 3],
        [
            ([2.0, 0.0, -1.0, -1.0], "leave it out"),
            ([-8 / 3, 0.0, 4 / 3, 4 / 3], "positive advantage"),
            ([2.75, 0.25, -1.0, -1.0], "3 others"),
        ],
    ),
    "07": ({"table": PRICES}, 4, [(1, "a present"), (2, "are left"), (5, "costs less")]),
    "A1": (
        {"vocabulary": 1024},
        6.93147,
        [(10.0, "bits"), (1 / 1024, "not yet its logarithm"), (-6.93147, "minus")],
    ),
    "A2": (
        {"leaned": LEANED},
        0.55,
        [(0.8, "A stands first"), (0.3, "A stands second"), (0.2, "asks once")],
    ),
    "A3": (
        {"parameters": 1000, "ends": 128},
        2000 / 7,
        [(2000 / 4.852, "nats"), (1000 / 7, "two bits"), (2000, "room in bits")],
    ),
}
EACH = pytest.mark.parametrize("id", CASES)


def test_every_exercise_is_tried():
    assert set(CASES) == set(EXERCISES)


@EACH
def test_the_right_answer_passes_also_rounded_and_as_a_number_of_numpy_or_torch(id):
    given, right, _ = CASES[id]
    assert al.check_exercise(id, right, **given).payload["state"] == RIGHT
    if isinstance(right, float):
        for form in (np.float32(right), torch.tensor(right), float(f"{right:.3g}")):
            assert repr(al.check_exercise(id, form, **given)) == f"exercise {id}: right"


@EACH
def test_nothing_is_no_answer_and_tells_how_to_begin(id):
    given, right, _ = CASES[id]
    blanks = [None, "", dict.fromkeys(right, "")] if isinstance(right, dict) else [None, "", []]
    for blank in blanks:
        found = al.check_exercise(id, blank, **given)
        assert found.payload["state"] == BLANK and "To begin: " in found.html


@EACH
def test_three_plausible_wrong_answers_get_their_hints(id):
    given, _, wrong = CASES[id]
    assert len(wrong) == 3
    said = [al.check_exercise(id, answer, **given).payload for answer, _ in wrong]
    assert [one["state"] for one in said] == [WRONG] * 3
    assert all(hint in one["said"] for one, (_, hint) in zip(said, wrong, strict=True))
    assert len({one["said"] for one in said}) == 3


def test_a_wrong_answer_that_nobody_thought_of_tells_how_to_begin():
    assert "`share` has the four shares" in al.check_exercise("00, lift", 123.0, share=SHARE).html


def test_what_a_reader_wrote_is_not_run_as_html_and_an_unknown_exercise_is_refused():
    assert "<script>" not in al.check_exercise("06", type("<script>", (), {})(), **CASES["06"][0]).html
    with pytest.raises(ValueError, match="no exercise '99' is checked; there are 00, verdicts"):
        al.check_exercise("99", 1)


def test_a_right_answer_that_is_no_number_can_still_be_given():
    nothing = pd.Series(dict.fromkeys(SHARE.index, math.nan))
    assert al.check_exercise("00, lift", math.nan, share=nothing).payload["state"] == RIGHT


def tagged(path, tag):
    return [c.source for c in nbformat.read(path, as_version=4).cells if tag in c.metadata.get("tags", [])]


# What the cells of a notebook find there, cut down to what they use.
CELLS = {
    "00": {"share": SHARE},
    "01": {"drafts": DRAFTS, "similarity": similarity},
    "02b": {"p": P, "q": Q},
    "03": {"candidates": 16, "shots": 4},
    "04": {"part": type("Part", (), {"base_layer": torch.nn.Linear(20, 10)})},
    "04b": {"formats": FORMATS},
    "05": {"paid": pd.DataFrame([("trained", 1000.0, 50.0)], columns=["condition", "once", "saved a use"])},
    "05b": {"lines": LINES},
    "05c": {"share": WAYS},
    "06": {},
    "06b": {
        "attempts": lambda family, seed: type(
            "Attempt", (), {"pool": type("Pool", (), {"tokens": TOKENS, "logprob": LOGPROB})}
        ),
        "families": ["ontology"],
        "seeds": [0],
    },
    "06c": {},
    "07": {"tables": {"requests": PRICES}, "families": ["requests"], "study": which_way},
    "A1": {"lm": type("Lm", (), {"vocabulary": 1024})},
    "A2": {"leaned": LEANED, "POINTS": POINTS},
    "A3": {"sizes": {"LoRA 1": 1000}, "ends": 128},
}


@pytest.mark.parametrize("path", notebooks.available(), ids=lambda path: path.stem)
def test_each_notebook_has_a_checked_exercise_whose_solution_passes(path):
    """Its cells run on a small table: the starting point is no answer, the solution behind it is right."""
    number = path.stem.split("_")[0]
    starts, solutions = tagged(path, "exercise"), tagged(path, "solution")
    assert len(starts) == len(solutions) >= 1
    given = {"al": al, "pd": pd, "np": np, "torch": torch} | (CELLS[number] if number != "02" else classifier())
    for start, solution in zip(starts, solutions, strict=True):
        assert repr(ran(start, given)).endswith(BLANK)
        assert repr(ran(solution, given)).endswith(": right")


def classifier() -> dict:
    """A model that sorts, as notebook 02 has it, on three messages."""
    data = al.load_task("notes")
    rows = [dict(zip(data.labels, map(Score, (-1, -2, -3, -4 + i)), strict=True)) for i in range(4)]
    four = type("Four", (), {"answer": lambda self, items: type("Answers", (), {"options": rows[: len(items)]})})()
    return {"prompted": lambda *_: four, "seeds": [0], "test": data.test[:3], "data": data}


class Score(float):
    @property
    def logprob(self) -> float:
        return float(self)


def ran(source: str, names: dict):
    """What a cell shows: the value of its last line."""
    *first, last = source.rsplit("\n", 1)
    exec(first[0] if first else "", names)
    return eval(last, names)


def verdicts() -> Verdicts:
    rows = [
        ("study", documents, split, seed, f"{item}", int(documents == "with" and item % 5 > 0))
        for documents in ("with", "without")
        for split in ("forward", "reversal")
        for seed in (0, 1)
        for item in range(40)
    ]
    frame = pd.DataFrame(rows, columns=["model", "documents", "split", "seed", "item", "correct"])
    return claims(["START-READ", "START-BACKWARD"], frame)


def test_bets_are_settled_in_one_sentence():
    table = verdicts()
    came = {v.claim.id: v.outcome for v in table}
    assert came == {"START-READ": HOLDS, "START-BACKWARD": HOLDS}
    (none,) = al.settle({}, table).payload["lines"]
    assert none.startswith("you made no bet on the 2 claims")
    (all_right,) = al.settle({"START-READ": "holds", "START-BACKWARD": " Holds here "}, table).payload["lines"]
    assert all_right == "of 2 bets on 2 claims, 2 came out as you bet"
    (missed,) = al.settle({"START-READ": "opposite", "START-BACKWARD": ""}, list(table)).payload["lines"]
    assert missed == (
        "of 1 bet on 2 claims, 0 came out as you bet; START-READ did not (bet: opposite here; it came out: holds here)"
    )


def test_bets_on_nothing_and_bets_that_are_none():
    (untested,) = al.settle({"START-READ": "holds"}, {}, al.told(["x"])).payload["lines"]
    assert untested == "no claim was tested in this run, so no bet is settled"
    with pytest.raises(ValueError, match="no claim 'ICL-SHOTS' was tested here; take one of START-READ, START-BACK"):
        al.settle({"ICL-SHOTS": "holds"}, verdicts())
    with pytest.raises(ValueError, match="'yes' for START-READ is no outcome; take one of holds, opposite"):
        al.settle({"START-READ": "yes"}, verdicts())


@pytest.mark.parametrize("path", notebooks.available(), ids=lambda path: path.stem)
def test_each_notebook_takes_bets_before_and_settles_them_after(path):
    made, settled = tagged(path, "bets")
    assert made.startswith("bets = {}") and settled.startswith("al.settle(bets, ")
    sources = [c.source for c in nbformat.read(path, as_version=4).cells]
    predicted = next(i for i, source in enumerate(sources) if "al.predictions(" in source)
    tests = [i for i, source in enumerate(sources) if "al.claim" in source]
    assert predicted + 1 == sources.index(made) < min(tests) and max(tests) < sources.index(settled)


def test_the_exercises_are_part_of_the_kits_notebooks():
    assert {id.split(",")[0] for id in EXERCISES} == {p.stem.split("_")[0] for p in paths.NOTEBOOKS.glob("*.ipynb")}
