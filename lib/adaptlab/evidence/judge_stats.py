"""What the verdicts of a judge are worth: win rates with and without the pull of length, the pull of places, and
agreement with exact checks. All take the frame of `judge.compare`.

Rows without a readable verdict are nobody's win and nobody's tie: every figure here leaves them out. Intervals are at
95 % and take rows for independent. Two turns of one item are not: take one at a time (``frame[frame.turn == 2]``).
"""

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import norm
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.stats.inter_rater import cohens_kappa

from adaptlab.evidence.stats import Interval, paired_bootstrap, proportion_interval

POINTS = {"A": 1.0, "tie": 0.5, "B": 0.0}
Z = float(norm.ppf(0.975))


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with a readable verdict. Raises ValueError for fewer than two."""
    rows = frame[frame.verdict != "unreadable"]
    if len(rows) < 2:
        raise ValueError(f"need at least 2 rows with a readable verdict, found {len(rows)} of {len(frame)}")
    return rows


def win_rate(frame: pd.DataFrame, order: str = "verdict") -> Interval:
    """Share of the readable rows that A wins, a tie counted half. ``order``: the column that tells who won, for one
    order alone ``order_1`` or ``order_2``."""
    points = readable(frame)[order].map(POINTS).to_numpy()
    if np.ptp(points) == 0:
        return paired_bootstrap(points, bounds=(0.0, 1.0))
    return _at_zero(points, np.empty((len(points), 0)))


def length_controlled(frame: pd.DataFrame) -> Interval:
    """Win rate of A had the answers been of one length, after AlpacaEval 2 (Dubois et al. 2024, arXiv 2404.04475).

    Logistic regression of the verdict (A 1, tie 1/2, B 0) on an intercept and tanh(d / sd(d)), where d is the
    difference in length, here in words; the rate is the prediction at d = 0. Theirs has another term, the difficulty of
    each instruction, learnt over many models: it is left out, since two models cannot identify it. Nor are coefficients
    shrunk here.

    With no difference in length anywhere, or ties alone, it is the win rate. Raises ValueError where length and
    preference cannot be told apart: one side is longer in every row, so that equal length would be a guess, or there is
    a difference from which on A wins every time and below which never (almost), or the reverse.
    """
    rows = readable(frame)
    points, longer = rows.verdict.map(POINTS).to_numpy(), (rows.words_a - rows.words_b).to_numpy(float)
    if not longer.any() or (points == 0.5).all():
        return win_rate(frame)
    won, lost = longer[points > 0], longer[points < 1]
    together = not (len(won) and len(lost)) or won.min() >= lost.max() or won.max() <= lost.min()
    one_side = longer.min() > 0 or longer.max() < 0
    rate = None if together or one_side else _at_zero(points, np.tanh(longer / longer.std())[:, None])
    if rate is None or not np.isfinite(rate.se):
        seen = f"A longer by {longer.min():g} to {longer.max():g} words, raw win rate {points.mean():.3f}"
        raise ValueError(f"length and preference cannot be told apart in {len(rows)} rows ({seen})")
    return rate


def _at_zero(points: np.ndarray, x: np.ndarray) -> Interval:
    """What a logistic regression of the points predicts where all columns of ``x`` are 0; robust to ties (sandwich)."""
    with np.errstate(all="ignore"):
        fit = GLM(points, np.column_stack([np.ones(len(points)), x]), family=Binomial()).fit(cov_type="HC1")
    intercept, se = float(fit.params[0]), float(fit.bse[0])
    rate, low, high = map(float, expit([intercept, intercept - Z * se, intercept + Z * se]))
    return Interval(rate, low, high, len(points), 1, "sandwich", se * rate * (1 - rate), np.inf)


def pull_of_place(frame: pd.DataFrame) -> pd.Series:
    """Whether a verdict moved when the answers were swapped, for each readable row: to the ``first`` shown, to the
    ``second``, or ``not``."""
    rows = readable(frame)
    # A is first in order 1, B in order 2.
    lean = rows.order_1.map(POINTS) - rows.order_2.map(POINTS)
    return np.sign(lean).map({1.0: "first", -1.0: "second", 0.0: "not"})


def agreement(frame: pd.DataFrame) -> tuple[Interval, float]:
    """Share of the readable rows on which the judge says what exact checks say, whose marks stand in ``right_a`` and
    ``right_b``: A where A is right and B is not, B the other way round, else tie. Beside it Cohen's kappa (1: fully,
    0: as by chance); not a number where both say the same thing throughout."""
    rows = readable(frame)
    checks = np.sign(rows.right_a.astype(int) - rows.right_b.astype(int)).map({1: "A", 0: "tie", -1: "B"})
    table = pd.crosstab(rows.verdict, checks).reindex(index=list(POINTS), columns=list(POINTS), fill_value=0).to_numpy()
    with np.errstate(invalid="ignore"):
        return proportion_interval(int(np.trace(table)), len(rows)), float(cohens_kappa(table).kappa)
