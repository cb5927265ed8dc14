"""Demonstration search beside DSPy's random few-shot search: the same model, pool, race items, prompts and new items.

DSPy (BootstrapFewShotWithRandomSearch) draws whole sets of demonstrations, one of them such that the model finds its
label itself, and judges each set by the answers that the model writes to the race items, one request each, through a
thin LM class. It gets as many pairs of prompt and item as our greedy search with a race takes, or ``--times`` as many.
What is found is tested on the same new items: share right; tokens through the model and seconds of the search, as
ratios in one run.

    make bench        (installs the extra `bench`; or: .venv/bin/python tests/benchmarks/bench_search.py --seeds 2)
"""

import argparse
import contextlib
import io
import logging
import time
from functools import partial

import adaptlab  # noqa: F401  (first: it sets how threads wait, which OpenMP reads when torch is imported)

# isort: split
import dspy
import numpy as np
import torch

from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.models import load
from adaptlab.evidence.evaluate import evaluate
from adaptlab.methods import demo_search
from adaptlab.methods.demo_search import Parts
from adaptlab.methods.prompting import class_prompt
from adaptlab.methods.trials import Trials
from adaptlab.studies.demo_search import settings, task
from adaptlab.tasks.records import Labelled

SHOTS, THREADS = 4, 2


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


def with_dspy(lm: LM, parts: Parts, seed: int, sets: int, how: dict) -> tuple[tuple[int, ...], int, float]:
    """The set that DSPy finds, the tokens and the seconds that this took."""
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
    started = time.perf_counter()
    quiet, silent = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with dspy.context(lm=local, adapter=Plain(parts, seed, **how)), quiet, silent:
        best = search.compile(student, trainset=examples["pool"], valset=examples["race"])
    place = {one.text: i for i, one in enumerate(parts.data.pool)}
    return tuple(place[demo["text"]] for demo in best.demos), local.tokens, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="study")
    parser.add_argument("--pool", default="noisy", help="noisy, clean or messages")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--times", type=float, default=1, help="how many times as many pairs DSPy gets")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    logging.getLogger("dspy").setLevel(logging.ERROR)
    lm = load(args.model, device="cpu", dtype="float32")
    print(
        f"{lm.name}, {args.pool}, {SHOTS} of 36 demonstrations, 32 race items; DSPy {dspy.__version__}; paired by seed"
    )
    rows = []
    for seed in range(50, 50 + args.seeds):
        parts, how = task(args.pool, seed, 36, 32, 0, 200), settings(args.pool, seed)
        how.pop("seed")
        show = demo_search.showing(lm, parts.data, seed=seed, **how)
        started, meter = time.perf_counter(), Trials(show, parts.race)
        found = demo_search.greedy(meter, range(36), SHOTS)
        ours = time.perf_counter() - started
        sets = round(found.spent.pairs / len(parts.race))
        names = {"adaptlab": (found.shown, found.spent.tokens, ours)}
        names[f"DSPy, {args.times:g} x the pairs"] = with_dspy(lm, parts, seed, max(1, round(args.times * sets)), how)
        names["random"] = (demo_search.random_sets(range(36), SHOTS, 1, seed)[0], 0, 0.0)
        rows.append([(evaluate(show(s), parts.data.test)[0].correct.mean(), t, sec) for s, t, sec in names.values()])
    table = np.array(rows, float)  # [seeds, ways, (right, tokens, seconds)]
    print(f"  {'':24}{'right (s.e.)':>16}{'minus adaptlab':>18}{'tokens':>10}  times as many, as long as adaptlab")
    for i, name in enumerate(names):
        right, apart = table[:, i, 0], table[:, i, 0] - table[:, 0, 0]
        error, of = right.std(ddof=1) / len(rows) ** 0.5, apart.std(ddof=1) / len(rows) ** 0.5
        ratios = np.median(table[:, i, 1:] / table[:, 0, 1:], axis=0)
        line = f"{right.mean():.3f} ({error:.3f})", f"{apart.mean():+.3f} ({of:.3f})", f"{table[:, i, 1].mean():,.0f}"
        print(f"  {name:24}{line[0]:>16}{line[1]:>18}{line[2]:>10}  {ratios[0]:.1f}x, {ratios[1]:.1f}x")


if __name__ == "__main__":
    main()
