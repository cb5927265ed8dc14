"""The exercises that a program can check: for each, what is right, and what the plausible wrong answers have missed.

An answer is computed from what the notebook holds, and so is the right one: it is right whatever the model did.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch

from adaptlab.evidence.claims import judge
from adaptlab.evidence.judge_stats import POINTS
from adaptlab.evidence.record import Record
from adaptlab.evidence.stats import dominated
from adaptlab.evidence.words import HOLDS, OPPOSITE, UNRESOLVED
from adaptlab.tasks import similarity

RIGHT, WRONG, BLANK = "right", "not yet", "no answer yet"
DIGITS = 0.01  # an answer may be rounded: by one part in a hundred


class Key:
    """The right answer, how to begin, and plausible wrong answers, each with its hint."""

    def __init__(self, right: Any, begin: str, *traps: tuple[Any, str]) -> None:
        self.right, self.begin, self.traps = right, begin, traps

    def hint(self, answer: Any) -> str:
        """What a wrong answer has missed; how to begin, where that is not known."""
        if isinstance(self.right, Real) and not isinstance(_plain(answer), Real):
            return f"the answer is one number, not a {type(answer).__name__}"
        return next((hint for wrong, hint in self.traps if _same(answer, wrong)), self.begin)


def check_exercise(id: str, answer: Any, **given: Any) -> Record:
    """Say whether an answer is right, and if not, what to look at.

    ``id``: the notebook, as ``"02"``. ``given``: what the exercise is about, from the notebook's own variables.

    Raises ``ValueError`` where no exercise goes by that id.
    """
    if id not in EXERCISES:
        raise ValueError(f"no exercise {id!r} is checked; there are {', '.join(EXERCISES)}")
    key = EXERCISES[id](**given)
    state = BLANK if _blank(answer) else RIGHT if _same(answer, key.right) else WRONG
    said = {BLANK: f"To begin: {key.begin}.", RIGHT: "That is it."}.get(state) or f"Hint: {key.hint(answer)}."
    html = f"<p><b>Exercise {escape(id)}: {state}.</b> {escape(said)}</p>"
    return Record({"kind": "exercise", "id": id, "state": state, "said": said}, f"exercise {id}: {state}", html)


def _plain(value: Any) -> Any:
    """A number of numpy or torch as a plain one; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _parts(answer: Any) -> dict[Any, Any] | None:
    """The parts of an answer that has several, by name or place; None where it has one."""
    if isinstance(answer, list | tuple | np.ndarray):
        return dict(enumerate(answer))
    return dict(answer) if isinstance(answer, Mapping) else None


def _blank(answer: Any) -> bool:
    parts = _parts(_plain(answer))
    values = [answer] if parts is None else parts.values()
    return all(value is None or (isinstance(value, str) and not value.strip()) for value in values)


def _same(answer: Any, other: Any) -> bool:
    answer, other = _plain(answer), _plain(other)
    if (wanted := _parts(other)) is not None:
        parts = _parts(answer)
        return parts is not None and parts.keys() == wanted.keys() and all(_same(parts[n], wanted[n]) for n in wanted)
    if isinstance(other, Real) and isinstance(answer, Real):
        return math.isclose(answer, other, rel_tol=DIGITS, abs_tol=1e-6) or (math.isnan(answer) and math.isnan(other))
    return isinstance(answer, str) and isinstance(other, str) and answer.strip().lower() == other.lower()


def _verdicts() -> Key:
    above, across, below = intervals = (0.02, 0.31), (-0.05, 0.20), (-0.40, -0.10)
    return Key(
        {one: judge("greater", *one) for one in intervals},
        "ask of each interval whether all of it lies on the predicted side, above 0",
        ({above: HOLDS, across: HOLDS, below: OPPOSITE}, "an interval that holds 0 has not told the two apart"),
        ({above: HOLDS, across: UNRESOLVED, below: UNRESOLVED}, "all of an interval below 0 is a result as well"),
        ({above: HOLDS, across: OPPOSITE, below: OPPOSITE}, "to come out opposite, all of it must lie below 0"),
    )


def _lift(share: pd.Series) -> Key:
    with_, without = share["with", "backward"], share["without", "backward"]
    return Key(
        with_ - without,
        "`share` has the four shares of figure 1, such as `share['with', 'backward']`",
        (without - with_, "what the documents add is counted from the share without them"),
        (share["with", "forward"] - share["without", "forward"], "that is the difference asked forward"),
        (with_, "that is the share itself; subtract what was right without the documents"),
    )


def _novel(drafts: Sequence[str], bound: float) -> Key:
    def kept(bound: float) -> list[str]:
        novel: list[str] = []
        for draft in drafts:
            if all(similarity.rouge_l(draft, one) <= bound for one in novel):
                novel.append(draft)
        return novel

    strict = len(kept(bound))
    unlike_all = [one for i, one in enumerate(drafts) if all(similarity.rouge_l(one, b) <= bound for b in drafts[:i])]
    return Key(
        strict,
        "copy the loop that fills `novel`, with the stricter bound and `similarity.rouge_l`",
        (len(drafts) - strict, "that many were dropped; how many were kept?"),
        (len(unlike_all), "a draft is compared with those that were kept, not with dropped ones"),
        (len(kept(0.7)), "that is what the bound of 0.7 keeps"),
    )


def _calibrated(scores: pd.DataFrame, bias: pd.Series, desks: Sequence[str]) -> Key:
    def share(values: pd.DataFrame) -> float:
        return float((values.idxmax(axis=1) == list(desks)).mean())

    return Key(
        share(scores - bias),
        "`scores - bias` subtracts from each row, and `.idxmax(axis=1)` names the best desk of each row",
        (share(scores), "that is the share before anything is subtracted"),
        (share(scores + bias), "subtract: a desk that is preferred without any message has too high a score"),
        (share(scores - bias) * len(scores), "give the share of the messages, not their number"),
    )


def _other_way(p: torch.Tensor, q: torch.Tensor) -> Key:
    return Key(
        (q.exp() * (q - p)).sum(1).mean().item(),
        "weigh the difference of two log-probabilities by the first model's probabilities, and sum over the vocabulary",
        ((p.exp() * (p - q)).sum(1).mean().item(), "that is KL(aligned, base): exchange the two"),
        ((p.exp() * (q - p)).sum(1).mean().item(), "the base's own probabilities are the weights"),
        ((q.exp() * (q - p)).sum().item(), "that is the sum over the tokens; take their mean"),
    )


def _pages(candidates: int, shots: int) -> Key:
    return Key(
        sum(candidates - done for done in range(shots)),
        "in the first round each candidate stands alone on a page; in each later round one fewer is left to be added",
        (candidates * shots, "a demonstration that is on the page already is not tried again"),
        (math.comb(candidates, shots), "so many sets there are; greedy search does not look at all of them"),
        (candidates**shots, "greedy search keeps one page a round, and adds to that one alone"),
    )


def _low_rank(high: int, wide: int, rank: int) -> Key:
    return Key(
        rank * (high + wide),
        "LoRA learns two matrices, one of `rank` rows and one of `rank` columns",
        (high * wide, "that is the frozen matrix, which LoRA does not learn"),
        (rank * high * wide, "the product of the two matrices is as large as the frozen one, its factors are not"),
        (high + wide, "that is rank 1"),
    )


def _above_baseline(formats: pd.DataFrame) -> Key:
    means = formats.astype({"exact": float, "correct": float}).groupby("taught")[["exact", "correct"]].mean()
    exact, right = means.exact, means.correct
    return Key(
        exact["instruction"] - exact["nothing"],
        "`formats.groupby('taught').exact.mean()` has the shares of figure 1",
        (exact["instruction"], "that is the share after tuning; the untuned model was right at times as well"),
        (right["instruction"] - right["nothing"], "that counts every response style; take `exact`"),
        (exact["nothing"] - exact["instruction"], "count from the untuned model"),
    )


def _break_even(spent: float, saved: float) -> Key:
    return Key(
        2 * spent / saved,
        "training pays once the tokens that were saved reach those that were spent",
        (spent / saved, "that is for the exposures of this run; twice as many cost twice as much"),
        (spent / saved / 2, "twice the exposures cost more, so that more uses are needed"),
        (saved / spent, "divide what is spent once by what each use saves"),
    )


def _above_copies(lines: pd.DataFrame) -> Key:
    (copied, said), first = lines.iloc[-1][["copy", "reverse"]], lines["reverse"].iloc[0]
    return Key(
        said - copied,
        "`lines` has a column for each strategy and a row for each amount; the last row is the largest amount",
        (said - first, "that compares with less text; copies in the same amount tell what more text alone does"),
        (copied - said, "count from the copies"),
        (said, "that is the share itself; the documents alone, copied as often, are right at times as well"),
    )


def _left_to_gain(share: pd.DataFrame) -> Key:
    sentence, way = share["sentence"], "teacher's texts"
    return Key(
        sentence["in context"] - sentence[way],
        "`share['sentence']` has a share for each way, such as `share['sentence']['in context']`",
        (sentence[way] - sentence["in context"], "it is positive where reading is better"),
        (share["forward"]["in context"] - share["forward"][way], "that is for facts as told; take `sentence`"),
        (sentence[way] - sentence["untrained"], "that is what was gained; how much is left up to reading?"),
    )


def _any_of(total: int, good: int, n: int) -> Key:
    none = math.comb(total - good, n) / math.comb(total, n)
    return Key(
        1 - none,
        "count the subsets of four that hold no right solution: `math.comb` counts subsets",
        (none, "that is how often none of them is right"),
        (1 - (1 - good / total) ** n, "no solution is taken twice: the second is drawn from those that are left"),
        (good / total, "that is one solution alone"),
    )


def _longer(tokens: np.ndarray, logprob: np.ndarray) -> Key:
    def mean(of: Iterable[int]) -> float:
        return float(tokens[range(len(tokens)), list(of)].mean())

    best, mean_of_all = mean(logprob.argmax(1)), float(tokens.mean())
    return Key(
        best - mean_of_all,
        "row for row, `pool.logprob.argmax(1)` is the place of the winner in `pool.tokens`",
        (mean_of_all - best, "count from the samples: a winner that is shorter gives a negative number"),
        (mean(logprob.argmin(1)) - mean_of_all, "the winner has the highest log p"),
        (best, "that is the length of the winners alone"),
    )


def _leave_one_out(rewards: Sequence[float]) -> Key:
    n, total = len(rewards), sum(rewards)
    return Key(
        [one - (total - one) / (n - 1) for one in rewards],
        "subtract from each reward the mean of the others, not its own",
        ([one - total / n for one in rewards], "the mean holds the sample's own reward; leave it out"),
        ([(total - one) / (n - 1) - one for one in rewards], "a good sample has a positive advantage"),
        ([one - (total - one) / n for one in rewards], f"there are {n - 1} others, not {n}"),
    )


def _as_a_present(table: pd.DataFrame) -> Key:
    def count(rows: pd.DataFrame) -> int:
        return int((dominated(rows) != "").sum())

    free = count(table.assign(once=0))
    return Key(
        free,
        "`study.dominated` gives a text for each way, which is empty where no other way dominates it",
        (count(table), "that counts what is spent once as well, which is 0 for a present"),
        (len(table) - free, "so many ways are left; how many are dominated?"),
        (len(table) - 1, "a way that is right less often is not dominated if a use of it costs less"),
    )


def _even_loss(vocabulary: int) -> Key:
    return Key(
        math.log(vocabulary),
        "the loss is minus the logarithm of the probability that the right token gets",
        (math.log2(vocabulary), "those are bits; nats have the natural logarithm"),
        (1 / vocabulary, "that is the probability, not yet its logarithm"),
        (-math.log(vocabulary), "a loss is minus the logarithm, so that less is better"),
    )


def _either_order(leaned: pd.DataFrame) -> Key:
    first, second = (leaned[order].map(POINTS).mean() for order in ("order_1", "order_2"))
    return Key(
        (first + second) / 2,
        "a verdict for A counts 1, a tie 0.5; take the mean over the rows, for each order",
        (first, "that is the order in which A stands first in every pair; a coin brings it half of the time"),
        (second, "that is the order in which A stands second in every pair; a coin brings it half of the time"),
        (
            float(((leaned["order_1"] == "A") & (leaned["order_2"] == "A")).mean()),
            "whoever asks once does not know whether the other order would agree; each verdict counts as it is",
        ),
    )


def _room(parameters: int, ends: int) -> Key:
    return Key(
        2 * parameters / math.log2(ends),
        "one of `ends` equally likely nouns is worth `log2(ends)` bits",
        (2 * parameters / math.log(ends), "those are nats; bits have the logarithm to base 2"),
        (parameters / math.log2(ends), "a parameter has room for two bits"),
        (2 * parameters / ends, "a fact has to tell one noun from all others, which takes far fewer bits than nouns"),
        (2 * parameters, "that is the room in bits; how many facts are that?"),
    )


EXERCISES: dict[str, Callable[..., Key]] = {
    "00, verdicts": _verdicts,
    "00, lift": _lift,
    "01": _novel,
    "02": _calibrated,
    "02b": _other_way,
    "03": _pages,
    "04": _low_rank,
    "04b": _above_baseline,
    "05": _break_even,
    "05b": _above_copies,
    "05c": _left_to_gain,
    "06": _any_of,
    "06b": _longer,
    "06c": _leave_one_out,
    "07": _as_a_present,
    "A1": _even_loss,
    "A2": _either_order,
    "A3": _room,
}
