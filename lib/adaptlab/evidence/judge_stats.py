"""Two models before a judge: the frame of its verdicts, and what they are worth.

Every pair of answers is judged twice, the second time with the answers swapped, and a win counts only where both
orders agree (Zheng et al. 2023, arXiv 2306.05685, section 3.4, the conservative rule). Rows without a readable verdict
are nobody's win and nobody's tie: every figure here leaves them out, and `outcomes` says how many they are.

Intervals take rows for independent. Two turns of one item are not: take one at a time (``frame[frame.turn == 2]``).
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.stats.inter_rater import cohens_kappa

from adaptlab.evidence.judge import Judge, combined, parse, write_prompt
from adaptlab.evidence.stats import Interval, paired_bootstrap, proportion_interval
from adaptlab.tasks.records import Conversation, FieldError, check_choice, check_text, check_unique, quote
from adaptlab.tasks.shapes import within

READABLE = ("A", "B", "tie")
VERDICTS = (*READABLE, "unreadable")
COLUMNS = "item turn order_1 order_2 verdict consistent words_a words_b reply_1 reply_2".split()
Answers = Mapping[str, Sequence[str]]  # item id -> one answer a turn


def compare(
    judge: Judge,
    items: Sequence[Conversation],
    a: Answers,
    b: Answers,
    *,
    store: str | Path | None = None,
    workers: int = 1,
) -> pd.DataFrame:
    """Let the judge compare the answers ``a`` and ``b``, blank ones allowed: a row an item and turn.

    Turn n shows the conversation up to it and judges answer n, as MT-Bench does. ``order_1``: the verdict with A shown
    first; ``order_2``: with B first; ``verdict``: what they come to; each one of `VERDICTS`. ``consistent``: whether
    the orders agree, missing where one is unreadable; ``words_a``, ``words_b``: length of the judged answers;
    ``reply_1``, ``reply_2``: what the judge wrote.

    Equal questions are asked once, ``workers`` of them at a time. With a ``store`` (a folder, see `Judge.ask`) a run
    that was killed asks nothing twice. Errors: `FieldError`, before anything is asked; ``JudgeError``.
    """
    check_unique("items", (item.id for item in items))
    for side, answers in (("a", a), ("b", b)):
        if odd := answers.keys() ^ {item.id for item in items}:
            found = f"{'one' if min(odd) in answers else 'none'} to {quote(min(odd))}"
            raise FieldError(side, "an answer to every item, and to no other", found)
    rows = [row for item in items for row in _asked(item, a[item.id], b[item.id])]
    if not rows:
        raise FieldError("items", "at least one item", "none")
    questions = dict.fromkeys(row[reply] for row in rows for reply in ("reply_1", "reply_2"))
    with ThreadPoolExecutor(workers) as pool:
        replies = dict(zip(questions, pool.map(lambda question: judge.ask(question, store), questions), strict=True))
    return pd.DataFrame([_judged(row, replies) for row in rows], columns=COLUMNS).astype({"consistent": "boolean"})


def _asked(item: Conversation, a: Sequence[str], b: Sequence[str]) -> list[dict[str, Any]]:
    """A row a turn, with the two questions to the judge where its replies will stand."""
    with within(f"item {item.id}"):
        for n, message in enumerate(item.messages):
            check_choice(f"messages[{n}].role", message.role, ("user",))
        turns = [message.content for message in item.messages]
        for side, answers in (("a", a), ("b", b)):
            if not isinstance(answers, list | tuple) or len(answers) != len(turns):
                raise FieldError(side, f"a list of answers, one a turn, that is {len(turns)}", quote(answers))
            for n, answer in enumerate(answers):
                check_text(f"{side}[{n}]", answer, blank=True)
    return [
        {
            "item": item.id,
            "turn": n,
            "words_a": len(a[n - 1].split()),
            "words_b": len(b[n - 1].split()),
            "reply_1": write_prompt(turns[:n], a[:n], b[:n], item.references[:n]),
            "reply_2": write_prompt(turns[:n], b[:n], a[:n], item.references[:n]),
        }
        for n in range(1, len(turns) + 1)
    ]


def _judged(row: dict[str, Any], replies: Mapping[str, str]) -> dict[str, Any]:
    """The row with the judge's replies in the places of the questions, and what they say of A and B."""
    row = row | {side: replies[row[side]] for side in ("reply_1", "reply_2")}
    order_1, order_2 = parse(row["reply_1"]), parse(row["reply_2"])
    order_1, order_2 = {"1": "A", "2": "B"}.get(order_1, order_1), {"1": "B", "2": "A"}.get(order_2, order_2)
    verdict = combined(order_1, order_2)
    consistent = pd.NA if verdict == "unreadable" else order_1 == order_2
    return row | {"order_1": order_1, "order_2": order_2, "verdict": verdict, "consistent": consistent}


def outcomes(frame: pd.DataFrame) -> dict[str, int]:
    """How many rows have which of the `VERDICTS`."""
    _checked(frame, "verdict")
    return {verdict: int((frame.verdict == verdict).sum()) for verdict in VERDICTS}


def _checked(frame: pd.DataFrame, *columns: str) -> None:
    for column in columns:
        check_choice("frame", column, tuple(frame))
        for value in frame[column].unique():
            check_choice(column, value, VERDICTS)


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with a readable verdict, after a look at all of them."""
    _checked(frame, "verdict", "order_1", "order_2")
    rows = frame[frame.verdict != "unreadable"]
    if len(rows) < 2:
        raise ValueError(f"need at least 2 rows with a readable verdict, found {len(rows)} of {len(frame)}")
    return rows


@dataclass(frozen=True)
class PositionBias:
    """How often the order of the answers decided: shares of the pairs that have a readable verdict in both orders.

    ``inconsistent`` pairs are those whose verdict moved when the answers were swapped. It moved to the ``first`` one
    shown (say, from a tie to the first, or the first won both times) or to the ``second``; these two shares add up to
    the first share. Wilson intervals at 95 %. ``unreadable`` counts the pairs left out.
    """

    inconsistent: Interval
    first: Interval
    second: Interval
    unreadable: int


def position_bias(frame: pd.DataFrame) -> PositionBias:
    """What the order of the answers did to the verdicts. Errors: ValueError for fewer than two readable pairs."""
    rows = _readable(frame)
    # +1 for a verdict for the first one shown, -1 for the second: A is first in order 1, B in order 2.
    lean = rows.order_1.map({"A": 1, "B": -1, "tie": 0}) + rows.order_2.map({"A": -1, "B": 1, "tie": 0})
    shares = [proportion_interval(int(k), len(rows)) for k in ((lean != 0).sum(), (lean > 0).sum(), (lean < 0).sum())]
    return PositionBias(*shares, len(frame) - len(rows))


@dataclass(frozen=True)
class Agreement:
    """How far the judge agrees with verdicts from right/wrong marks: Cohen's ``kappa`` (1: fully, 0: as by chance), the
    share of rows on which they ``agreed``, and the number of ``unreadable`` rows, which are left out."""

    kappa: Interval
    agreed: Interval
    unreadable: int


def agreement(frame: pd.DataFrame) -> Agreement:
    """Cohen's kappa between the judge and checks that a program made, whose marks stand in ``right_a``, ``right_b``.

    The checks say A where A is right and B is not, B the other way round, and tie where both are or neither is. 95 %
    interval: of Fleiss, Cohen and Everitt (1969). Where its variance is zero, as when all rows agree, the Wilson
    interval of the agreement stands in, chance agreement taken as known. Where judge and checks give but one verdict,
    the same, kappa is 0/0: not a number, and anywhere from -1 to 1.

    Errors: ValueError for fewer than two readable rows, and for marks that are not all True/False or 1/0.
    """
    rows = _readable(frame)
    for side in ("right_a", "right_b"):
        if not rows[side].isin((0, 1)).all():
            raise ValueError(f"column {side} must hold right/wrong marks: every value True/False or 1/0")
    checks = np.sign(rows.right_a.astype(int) - rows.right_b.astype(int)).map({1: "A", 0: "tie", -1: "B"})
    table = np.array([[((rows.verdict == x) & (checks == y)).sum() for y in READABLE] for x in READABLE])
    agreed = proportion_interval(int(np.trace(table)), len(rows))
    return Agreement(_kappa(table, agreed), agreed, len(frame) - len(rows))


def _kappa(table: np.ndarray, agreed: Interval) -> Interval:
    n = int(table.sum())
    chance = float(table.sum(axis=0) @ table.sum(axis=1)) / n**2
    if chance == 1:
        return Interval(np.nan, -1.0, 1.0, n, 1, "undefined", np.nan, np.inf)
    with np.errstate(invalid="ignore"):
        found = cohens_kappa(table)
    if found.std_kappa > 1e-6:
        low, high, kind = found.kappa_low, found.kappa_upp, "asymptotic"
    else:
        low, high, kind = (agreed.low - chance) / (1 - chance), (agreed.high - chance) / (1 - chance), "wilson"
    low, high = max(float(low), -1.0), min(float(high), 1.0)
    return Interval(float(found.kappa), low, high, n, 1, kind, (high - low) / 2 / Z, np.inf)


Z = float(stats.norm.ppf(0.975))
_POINTS = {"A": 1.0, "tie": 0.5, "B": 0.0}


def win_rate(frame: pd.DataFrame) -> Interval:
    """Share of the readable rows that A wins, a tie counted half, with a 95 % bootstrap interval over the rows."""
    return paired_bootstrap(_readable(frame).verdict.map(_POINTS), bounds=(0.0, 1.0))


@dataclass(frozen=True)
class LengthControlled:
    """``rate``: A's win rate had the answers been of one length; ``raw``: as they are; ``slope``: by how much the log
    odds of A rise from no difference in length to A's answer being far longer. Intervals at 95 %."""

    rate: Interval
    raw: Interval
    slope: float


def length_controlled(frame: pd.DataFrame) -> LengthControlled:
    """Win rate of A at equal length, after AlpacaEval 2 (Dubois et al. 2024, arXiv 2404.04475).

    Logistic regression of the verdict (A 1, tie 1/2, B 0) on an intercept and tanh(d / sd(d)), where d is the
    difference in length, here in words; the rate is the prediction at d = 0. Theirs has another term, the difficulty of
    each instruction, learnt over many models: it is left out, since two models cannot identify it. Nor are coefficients
    shrunk here. The interval is robust to ties (sandwich variance).

    With no difference in length anywhere, or ties alone, the raw rate is returned. Errors: ValueError where length and
    preference cannot be told apart: (all but) one difference throughout, or (all but) perfect separation, that is a
    difference from which on A wins every time and below which never, or the reverse; so too if one side wins all.

    Simulated coverage of the stated 95 %: 91 to 95 % with 20 rows, 93 to 97 % from 40 rows on, where the judge follows
    the curve. One to whom a little longer is as good as much longer is not fully corrected (from .69 to .55, say).
    """
    rows, raw = _readable(frame), win_rate(frame)
    points, longer = rows.verdict.map(_POINTS).to_numpy(), (rows.words_a - rows.words_b).to_numpy(float)
    if not longer.any() or (points == 0.5).all():
        return LengthControlled(raw, raw, 0.0)
    fit = _fit(points, np.tanh(longer / (longer.std() or 1)))
    if fit is None:
        seen = f"A longer by {longer.min():g} to {longer.max():g} words, raw win rate {raw.estimate:.3f}"
        raise ValueError(f"length and preference cannot be told apart in {len(rows)} rows ({seen})")
    intercept, slope, se = fit
    estimate, low, high = map(float, expit([intercept, intercept - Z * se, intercept + Z * se]))
    rate = Interval(estimate, low, high, len(rows), 1, "sandwich", se * estimate * (1 - estimate), np.inf)
    return LengthControlled(rate, raw, slope)


def _fit(points: np.ndarray, x: np.ndarray) -> tuple[float, float, float] | None:
    """Intercept, slope and the intercept's standard error; None where ``x`` is next to constant, where wins and losses
    do not overlap in it, or so little that the fit runs off."""
    won, lost = x[points > 0], x[points < 1]
    if np.ptp(x) < 0.01 or not (len(won) and len(lost)) or won.min() >= lost.max() or won.max() <= lost.min():
        return None
    with np.errstate(all="ignore"):
        fit = GLM(points, np.column_stack([np.ones(len(x)), x]), family=Binomial()).fit(cov_type="HC1")
    return (*map(float, fit.params), float(fit.bse[0])) if np.isfinite(fit.bse).all() else None
