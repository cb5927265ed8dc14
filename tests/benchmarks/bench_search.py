"""Demonstration search beside DSPy's random few-shot search: the same model, pool, race items, prompts and new items.

DSPy (BootstrapFewShotWithRandomSearch) draws whole sets of demonstrations, one of them such that the model finds its
label itself, and judges each set by the answers that the model writes to the race items, one request each, through a
thin LM class. It gets as many pairs of prompt and item as our greedy search with a race takes, or ``--times`` as many.
Beside both stands a greedy search without a race, in which every prompt meets every item, in a request of its own.
What is found is tested on the same new items: share right, tokens through the model, and seconds of the search.

    make bench        (installs the extra `bench`; or: .venv/bin/python tests/benchmarks/bench_search.py --rounds 2)
"""

import contextlib
import io
import logging
from functools import partial

import adaptlab  # noqa: F401  (first: it sets how threads wait, which OpenMP reads when torch is imported)

# isort: split
import dspy
import numpy as np
from beside import Table, Taken, arguments, growth, mean, ratio, timed, times

from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.models import load
from adaptlab.evidence.evaluate import evaluate
from adaptlab.methods import demo_search
from adaptlab.methods.demo_search import Parts
from adaptlab.methods.prompting import class_prompt
from adaptlab.methods.racing import all_items
from adaptlab.methods.trials import Shown, Trials
from adaptlab.studies.demo_search import settings, task
from adaptlab.tasks.records import Labelled

SHOTS, CANDIDATES, RACE = 4, 36, 32


class Local(dspy.BaseLM):
    """Our model for DSPy: it continues a prompt greedily, one request at a time, and counts tokens."""

    def __init__(self, lm: LM) -> None:
        super().__init__(model=lm.name, cache=False)
        self.lm, self.tokens = lm, 0

    def write(self, prompt: str) -> str:
        made = generate(self.lm, [prompt], Decoding(max_new_tokens=3, stop=("\n",)))
        self.tokens += made.cost.computed
        return made.completions[0].text.strip()


class Plain(dspy.Adapter):
    """The prompt that our own search shows, in place of DSPy's chat with field markers."""

    def __init__(self, parts: Parts, seed: int, **how) -> None:
        super().__init__()
        self.parts, self.make = parts, partial(class_prompt, parts.data, seed=seed, **how)

    def __call__(self, lm, lm_kwargs, signature, demos, inputs):
        items = [Labelled("shown", demo["text"], demo["label"]) for demo in demos]
        prompt = self.make(items)
        context, options = prompt(Labelled("asked", inputs["text"], self.parts.data.labels[0]))
        names = {option.strip(): label for label, option in options.items()}
        return [{"label": names.get(lm.write(context), "none")}]


def with_dspy(lm: LM, parts: Parts, seed: int, sets: int, how: dict) -> tuple[Shown, int]:
    """The set that DSPy finds, and the tokens that this took."""
    student, local = dspy.Predict("text -> label"), Local(lm)
    examples = {
        name: [dspy.Example(text=one.text, label=one.label).with_inputs("text") for one in items]
        for name, items in (("pool", parts.data.pool), ("race", parts.race))
    }
    search = dspy.BootstrapFewShotWithRandomSearch(
        metric=lambda asked, found, trace=None: asked.label == found.label,
        max_bootstrapped_demos=1,  # the least it takes: one demonstration whose label the model finds itself
        max_labeled_demos=SHOTS,
        num_candidate_programs=sets,
        num_threads=1,
    )
    quiet, silent = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with dspy.context(lm=local, adapter=Plain(parts, seed, **how)), quiet, silent:
        best = search.compile(student, trainset=examples["pool"], valset=examples["race"])
    place = {one.text: i for i, one in enumerate(parts.data.pool)}
    return tuple(place[demo["text"]] for demo in best.demos), local.tokens


def one_seed(lm: LM, pool: str, seed: int, more: float) -> dict[str, tuple[Taken, float, float]]:
    """By way of searching: what it took, the tokens, and the share right of what it found."""
    parts, how = task(pool, seed, CANDIDATES, RACE, 0, 200), settings(pool, seed)
    how.pop("seed")
    show = demo_search.showing(lm, parts.data, seed=seed, **how)
    search = partial(demo_search.greedy, pool=range(CANDIDATES), k=SHOTS)
    taken, found = timed(lambda: search(Trials(show, parts.race)))
    whole, full = timed(lambda: search(Trials(show, parts.race), race=all_items))
    sets = max(1, round(more * found.spent.pairs / RACE))
    theirs, (shown, tokens) = timed(lambda: with_dspy(lm, parts, seed, sets, how))
    random = demo_search.random_sets(range(CANDIDATES), SHOTS, 1, seed)[0]
    ways = {
        "adaptlab": (taken, found.spent.tokens, found.shown),
        f"DSPy, {more:g} x the pairs": (theirs, tokens, shown),
        "every item, a request each": (whole, full.spent.per_item, full.shown),
        "random": ((0, 0), 0, random),
    }
    return {name: (*spent, evaluate(show(s), parts.data.test)[0].correct.mean()) for name, (*spent, s) in ways.items()}


def growing(lm: LM, table: Table, pool: str, rounds: int) -> None:
    """With candidates: of the whole search."""
    runs = {}
    for n in (16, 32, 64):
        parts, how = task(pool, 50, n, RACE, 0, 2), settings(pool, 50)
        show = demo_search.showing(lm, parts.data, **how)
        runs[n] = lambda n=n, show=show, race=parts.race: demo_search.greedy(Trials(show, race), range(n), SHOTS)
    table.add("growth with candidates", growth(runs, rounds))


def main() -> None:
    parser = arguments(__doc__, model="study")
    parser.add_argument("--pool", default="noisy", help="noisy, clean or messages")
    parser.add_argument("--times", type=float, default=1, help="how many times as many pairs DSPy gets")
    args = parser.parse_args()
    logging.getLogger("dspy").setLevel(logging.ERROR)
    lm = load(args.model, device="cpu", dtype="float32")
    setting = f"{lm.name}, {args.pool}, {SHOTS} of {CANDIDATES} demonstrations, {RACE} race items; a round is a seed"
    table = Table("search", args, setting, ["dspy"])
    seeds = [one_seed(lm, args.pool, seed, args.times) for seed in range(50, 50 + args.rounds)]
    taken, tokens, right = ({name: [seed[name][i] for seed in seeds] for name in seeds[0]} for i in range(3))
    ours, dspys, whole, random = taken
    for name in taken:
        table.add(f"right on new items: {name}", {"share": mean(right[name]), "rounds": args.rounds})
    less = {"right, minus adaptlab": mean(np.subtract(right[dspys], right[ours]))}
    table.add(dspys, ratio(taken[dspys], taken[ours]) | {"tokens": times(tokens[dspys], tokens[ours])} | less)
    mine, most = (np.mean(right[name]) - np.mean(right[random]) for name in (ours, whole))
    spent = {"share of its tokens": mean(np.divide(tokens[ours], tokens[whole]))}
    table.add(f"adaptlab beside {whole}", {"share of its gain over random": float(f"{mine / most:.3g}")} | spent)
    growing(lm, table, args.pool, args.rounds)
    table.write()


if __name__ == "__main__":
    main()
