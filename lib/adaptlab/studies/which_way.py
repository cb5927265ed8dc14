"""For notebook 07: ways to adapt a model that meet the same items, what each of them costs, and which one to take."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from adaptlab.engine.generation import Decoding
from adaptlab.engine.lm import LM
from adaptlab.engine.loss_mask import TrainingExample
from adaptlab.evidence.evaluate import evaluate
from adaptlab.evidence.stats import crossed_interval, dominated, summary
from adaptlab.methods import demo_search
from adaptlab.methods.answering import Chooser, in_context, shown
from adaptlab.methods.demo_search import Parts
from adaptlab.methods.selection import nearest_bm25, select
from adaptlab.methods.sharpening import sample
from adaptlab.methods.trials import Item, Trials
from adaptlab.methods.tuning import BACKWARD, Tuned
from adaptlab.studies import demo_search as searches
from adaptlab.studymodel.abilities import others
from adaptlab.tasks.instructions import right
from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.records import Instruction, check_choice
from adaptlab.tasks.sets import PROBLEMS, load_open, load_problems, solved
from adaptlab.tasks.splits import LabelledSet, OpenSet

Frame = pd.DataFrame
Data = LabelledSet | OpenSet
Ask = Chooser | Callable[[Instruction], str]  # a model that chooses; or what makes of an item the prompt to go on from

# --- the examples at hand ---------------------------------------------------------------------------------------------

SORTED = {"study": "clean", "english": "messages"}  # by vocabulary: pools of notebook 03 whose labels are right


def task(
    family: str,
    seed: int,
    candidates: int,
    race: int,
    items: int,
    *,
    words: str = "study",
    problems: str = "sums",
    given: Data | None = None,
) -> Parts:
    """Examples at hand (candidates to show, and others to judge a choice of them on) and new items, other ones for each
    seed: *requests*, *sorting* or *problems*; or a user's data (``given``), divided anew for each seed."""
    if not given and family == "sorting":
        return searches.task(SORTED[check_choice("words", words, tuple(SORTED))], seed, candidates, race, 0, items)
    if not given and check_choice("family", family, ("requests", "problems")) == "requests":
        given = load_open("requests", words, candidates + race, items, seed, apart=True)
    given = given or load_problems(problems, candidates + race, items, seed)
    return searches.task(family, seed, candidates, race, 0, items, given)


def at_hand(parts: Parts) -> Data:
    """The data with all examples at hand in its pool, whatever a search uses them for."""
    return replace(parts.data, pool=parts.data.pool + parts.race)


HOWS = ("nothing", "random", "searched", "nearest")


def asking(
    lm: LM, parts: Parts, how: str, shots: int, seed: int, label_mapping: str | None = None
) -> tuple[Ask, float, int]:
    """How a model is asked with examples in front of each item: (the asking, tokens of work that the choice of examples
    took, how many labelled examples it had to know).

    ``how`` is one of `HOWS`. *random* is balanced over labels; *searched* is greedy, judged on the items for races;
    *nearest* takes, for each item, those of all at hand whose words are most alike.
    """
    data, settings = at_hand(parts), {"label_mapping": label_mapping} if label_mapping else {}
    if check_choice("how", how, HOWS) == "nearest":
        return _nearest(lm, data, shots, seed, settings), 0.0, len(data.pool)
    places, spent, known = (), 0.0, 0
    if how == "random":
        (places,), known = searches.sets(parts, shots, 1, seed), shots
    if how == "searched":
        trials = Trials(demo_search.showing(lm, parts.data, seed=seed, **settings), parts.race)
        found = demo_search.greedy(trials, range(len(parts.data.pool)), shots)
        places, spent, known = found.shown, found.spent.tokens, len(data.pool)
    method = demo_search.showing(lm, data, seed=seed, **settings)(places)
    return (method if isinstance(method, Chooser) else lambda item: method.prompt(item.query)), spent, known


def _nearest(lm: LM, data: Data, shots: int, seed: int, settings: dict[str, str]) -> Ask:
    if isinstance(data, LabelledSet):
        chosen = select(lm, data, data.test, shots, "nearest, words", seed)
        return in_context(lm, data, shots, seed, chosen=chosen, **settings)
    pool = [one.query for one in data.pool]

    def prompt(item: Instruction) -> str:
        (places,) = nearest_bm25(pool, [item.query], shots)
        return shown(lm, [data.pool[place] for place in places], data.prompt_format).prompt(item.query)

    return prompt


def labelled_examples(lm: LM, parts: Parts, seed: int, label_mapping: str | None = None) -> list[TrainingExample]:
    """All examples at hand to train on, each as it is asked with nothing in front of it."""
    settings = {"label_mapping": label_mapping} if label_mapping else {}
    show = demo_search.showing(lm, parts.data, seed=seed, **settings)
    return searches.training_examples(lm, replace(parts, data=at_hand(parts), race=()), show)


def decoding(lm: LM, data: OpenSet) -> Decoding:
    """How answers are written: up to the end that the format has, or twice as long as the longest one at hand."""
    longest = 2 * max(len(lm.encode(one.output)) for one in data.pool)
    return Decoding(temperature=1.0, max_new_tokens=longest, stop=FORMATS[data.prompt_format].stop)


# --- a way, and what it gives and takes -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Way:
    """A model that was adapted in one way, ready to be used.

    ``once``: tokens of work before the first use: read, written, and three times those that were trained. ``needs``:
    labelled examples that it was told. ``tries``: samples of each answer, of which the most probable counts; 1 decodes
    greedily. ``written``: how answers are written, where the model does not choose.
    """

    lm: LM
    ask: Ask
    once: float = 0.0
    needs: int = 0
    tries: int = 1
    written: Decoding | None = None
    seed: int = 0


def use(way: Way, items: Sequence[Item], base: LM, n_others: int = 0) -> Frame:
    """One row for each item: whether the answer is right; tokens that one use takes, prompt and all samples; and what
    the way took before. With ``n_others``, how much accuracy ``base`` had in other abilities and the way's model has
    lost, on so many items each (`abilities.others`)."""
    if isinstance(way.ask, Chooser):
        found, _ = evaluate(way.ask, items)
        correct, tokens = found.correct.astype(bool), found.per_item
    else:
        one = replace(way.written, temperature=float(way.tries > 1))
        pool = sample(way.lm, [way.ask(item) for item in items], way.tries, decoding=one, seed=way.seed)
        best = [row[i] for row, i in zip(pool.samples, pool.logprob.argmax(1), strict=True)]
        pairs = zip(items, best, strict=True)
        correct = [one.stopped and (solved if i.category in PROBLEMS else right)(i, one.text) for i, one in pairs]
        tokens = pool.tokens.sum(1) + [len(prompt) for prompt in pool.prompts]
    names = [f"item {i + 1}" for i in range(len(items))]  # other items for each seed: they are named by their places
    rows = {"model": base.name, "item": names, "correct": correct, "per_use": tokens}
    frame = pd.DataFrame(rows).assign(once=float(way.once), needs=way.needs)
    if not n_others:
        return frame
    before, now = others(base, n_others), others(way.lm, n_others)
    return frame.assign(forgotten=fmean(before[name] - now[name] for name in before))


def distilled_work(tuned: Tuned, contexts: Sequence[int], batch: int) -> float:
    """Tokens of work of a distillation: what the student is trained on counts three times; the teacher reads it twice,
    to write it and to judge it, each time behind a context of the mean length (``contexts``: their tokens)."""
    texts = tuned.n * batch
    return (BACKWARD + 2) * tuned.trained.tokens + 2 * texts * fmean(contexts)


# --- which one to take ------------------------------------------------------------------------------------------------


NEAR = 0.1  # in shares right: who came out farther behind the best is not taken for as good


def compared(rows: Frame) -> Frame:
    """The ways of one family, one row each: ``share`` right with its interval; ``behind`` the best one, paired within
    items and seeds, with its interval; ``apart``: whether it can be told apart from the best; ``close``: it cannot, and
    came out at most `NEAR` behind; mean costs. Few items tell little apart, so ways far behind may not be ``apart``.

    The best is the one that came out best on these very items, so it looks a little better than it is.
    """
    table = summary(rows, "way").set_index("way").rename(columns={"mean": "share"})
    costs = ["once", "per_use", "needs", *(["forgotten"] if "forgotten" in rows else [])]
    cells = {way: some.pivot(index="seed", columns="item", values="correct") for way, some in rows.groupby("way")}
    best = cells[table.share.idxmax()].astype(float)
    gaps = {way: crossed_interval(best - cells[way].astype(float), bounds=(-1.0, 1.0)) for way in table.index}
    table["behind"] = [gaps[way].estimate for way in table.index]
    table["behind_low"] = [gaps[way].low for way in table.index]
    table["behind_high"] = [gaps[way].high for way in table.index]
    table["apart"] = table.behind_low > 0
    table["close"] = ~table.apart & (table.behind <= NEAR)
    return table.join(rows.groupby("way", sort=False)[costs].mean())


def advise(rows: Frame, uses: float, examples: float = np.inf, longest: float = np.inf) -> Frame:
    """The ways of one family that need no more labelled examples, and no more tokens a use, as `compared`, with the
    ``total`` of tokens for so many uses; ``advised``: the cheapest of those that are close to the best.

    Raises ValueError where no way is left.
    """
    means = rows.groupby("way")[["needs", "per_use"]].transform("mean")
    left = rows[(means.needs <= examples) & (means.per_use <= longest)]
    if left.empty:
        raise ValueError(f"no way needs at most {examples:g} examples and {longest:g} tokens a use; raise one of them")
    table = compared(left)
    table["total"] = table.once + uses * table.per_use
    return table.assign(advised=table.index == table.total[table.close].idxmin())


def advice(family: str, table: Frame) -> str:
    """What `advise` found, as a sentence: the advised way, and the rows that the advice rests on."""
    one, best = table[table.advised].iloc[0], table.share.idxmax()
    text = f"**{family}**: {one.name} ({one.share:.2f} right [{one.low:.2f}, {one.high:.2f}], {one.total:,.0f} tokens)"
    if one.name != best:
        text += (
            f"; {best} came out at {table.share[best]:.2f} for {table.total[best]:,.0f} tokens, but the two cannot be"
            f" told apart here (difference {one.behind:.2f} [{one.behind_low:.2f}, {one.behind_high:.2f}])"
        )
    groups = {"close to the best as well": table.close, "more items would tell": ~(table.close | table.apart)}
    for said, those in (groups | {"worse": table.apart}).items():
        rest = [f"{way} ({gap:+.2f})" for way, gap in (0 - table.behind[those]).items() if way not in (one.name, best)]
        text += f"; {said}: {', '.join(rest)}" if rest else ""
    return text


def chosen(frame: Frame) -> Frame:
    """What it gains to choose a way for each family: the rows of the way that is best there by the *other* seeds,
    beside those of the one way that is best over all families by the other seeds. Ways that every family has compete.

    Without a second seed there is nothing to choose by: no rows.
    """
    ways = [way for way in frame.way.unique() if frame[frame.way == way].family.nunique() == frame.family.nunique()]
    rows = frame[frame.way.isin(ways)]
    found = [rows.iloc[:0]]
    for seed in frame.seed.unique() if frame.seed.nunique() > 1 else ():
        shares = rows[rows.seed != seed].groupby(["family", "way"]).correct.mean().unstack()[ways]
        here, best = rows[rows.seed == seed], shares.idxmax(axis=1)
        found.append(here[here.way == here.family.map(best)].assign(choice="for each family"))
        found.append(here[here.way == shares.mean().idxmax()].assign(choice="one for all"))
    picked = pd.concat(found, ignore_index=True)
    return picked.assign(item=picked.family + " " + picked["item"])


# --- figures ----------------------------------------------------------------------------------------------------------


def front(rows: Frame, ax: Axes) -> None:
    """Share right over tokens of a use, one mark a way of a family: full where no other way is as good in share, in
    tokens a use and in tokens before the first use. Near marks share a label, on the side where there is room."""
    table = compared(rows)
    beaten, most = dominated(table) != "", table.per_use.max()
    for way, one in table.iterrows():
        ax.plot(one.per_use, one.share, "o", color="tab:blue", markerfacecolor="none" if beaten[way] else "tab:blue")
    left = table.sort_values("share", ascending=False)
    while len(left):
        apart = (left[["per_use", "share"]] - left[["per_use", "share"]].iloc[0]).abs() / [most, 1]
        near = (apart < [0.2, 0.1]).all(axis=1)
        place, left = left[near], left[~near]
        right = place.per_use.iloc[0] > most / 2
        spot = (place.per_use.min() if right else place.per_use.max(), place.share.mean())
        look = {"va": "center", "ha": "right" if right else "left", "fontsize": 9}
        ax.annotate("\n".join(place.index), spot, (-8 if right else 8, 0), textcoords="offset points", **look)
    ax.set(xlim=(0, 1.1 * most), ylim=(-0.05, 1.1))


ROWS = 8  # for the ways of a family


def decide(frame: Frame, ax: Axes, family: str, uses: int, examples: float = np.inf, longest: float = np.inf) -> None:
    """What `advise` finds, one row a way, the cheapest on top: full marks are close to the best; the advised one has
    a ring. Limits that no way keeps are said."""
    ax.set(xlabel="share right; behind each name: tokens for all uses (k: thousand)")
    ax.set(xlim=(0, 1.05), ylim=(ROWS - 0.5, -1), yticks=[])
    try:
        table = advise(frame[frame.family == family], uses, examples, longest).sort_values("total")
    except ValueError as error:
        ax.text(0.5, ROWS / 2, textwrap.fill(str(error), 40), ha="center", fontsize=9)
        return
    for y, (way, one) in enumerate(table.iterrows()):
        face = "tab:blue" if one.close else "none"
        bars = [[one.share - one.low], [one.high - one.share]]
        ax.errorbar(one.share, y, xerr=np.abs(bars), fmt="o", color="tab:blue", markerfacecolor=face)
        ax.text(0.01, y - 0.15, f"{way}: {one.total / 1000:,.0f}k", fontsize=9, va="bottom")
        if one.advised:
            ax.plot(one.share, y, "o", markersize=14, fillstyle="none", color="tab:orange", markeredgewidth=2)
