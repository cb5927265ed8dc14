"""What the benchmarks share: programs that take turns, ratios with intervals, and the table that is written of them.

``data/results/bench.yaml`` has a part for each kind of machine and in it one for each benchmark, written by the
benchmark itself where it is called with ``--write`` (`make bench`). A new run replaces the part of its own machine.
"""

import argparse
import importlib.metadata as metadata
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import torch
import yaml
from numpy.typing import ArrayLike
from scipy import stats

from adaptlab import files, paths

TABLE = paths.DATA / "results" / "bench.yaml"
HEAD = """\
# Written by `make bench`: by kind of machine, a part for each benchmark. Three numbers are a mean and its 95 % interval
# over rounds, in which all programs ran in turn. Ratios say how many times as long the other program takes as adaptlab,
# by the clock and of the processor (cpu). A slope is the power with which our time grows: 1 is in proportion.
# `others`: the share of the machine's processor time that other programs took meanwhile; beside them, cpu says more.
"""
Taken = tuple[float, float]  # seconds by the clock, and of the processor
Row = dict[str, Any]
T = TypeVar("T")


def arguments(text: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """A parser with what all benchmarks take; ``defaults`` change theirs."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="how often every program runs")
    parser.add_argument("--write", action="store_true", help=f"write the table into {TABLE.name}")
    parser.set_defaults(**defaults)
    return parser


def timed(run: Callable[[], T]) -> tuple[Taken, T]:
    """What a call takes, and what it returns."""
    started, worked = time.perf_counter(), time.process_time()
    made = run()
    return (time.perf_counter() - started, time.process_time() - worked), made


def turns(names: Iterable[str], rounds: int) -> Iterator[tuple[int, str]]:
    """All names in every round, each round beginning with another one."""
    for turn in range(rounds):
        yield from ((turn, str(name)) for name in np.roll(list(names), -turn))


def mean(values: ArrayLike) -> list[float]:
    """The mean and, of more than one value, its 95 % interval by Student's t. Three digits."""
    return _with_interval(np.asarray(values, float), lambda value: value)


def times(values: ArrayLike, of: ArrayLike) -> list[float]:
    """How many times as large one value is as the other of its pair: geometric mean, and its 95 % interval."""
    return _with_interval(np.log(np.divide(values, of)), np.exp)


def ratio(taken: Sequence[Taken], of: Sequence[Taken]) -> Row:
    """How many times as long one program takes as another, round by round."""
    (clock, cpu), (other_clock, other_cpu) = np.transpose(taken), np.transpose(of)
    return {"clock": times(clock, other_clock), "cpu": times(cpu, other_cpu), "rounds": len(taken)}


def growth(runs: Mapping[int, Callable[[], Any]], rounds: int) -> Row:
    """The slope of log time against log size, of the processor's time of ``runs``, by size."""
    taken = [[timed(run)[0][1] for run in runs.values()] for _ in range(rounds + 1)][1:]  # the first is a warm-up
    slopes = np.polyfit(np.log(list(runs)), np.log(taken).T, 1)[0]
    return {"slope": mean(slopes), "sizes": list(runs), "rounds": rounds}


def _with_interval(values: np.ndarray, back: Callable[[float], float]) -> list[float]:
    found, n = [values.mean()], len(values)
    if n > 1:
        half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5
        found += [found[0] - half, found[0] + half]
    return [float(f"{back(value):.3g}") for value in found]


def machine() -> str:
    """The kind of machine in words: what decides how fast it multiplies."""
    can = torch.cpu.get_capabilities()
    names = {"AVX-512": "avx512_f", "products in bfloat16": "avx512_bf16", "AMX": "amx_tile"}
    has = (f"{name} {'yes' if can.get(key) else 'no'}" for name, key in names.items())
    return f"{platform.machine()}, {os.cpu_count()} cores, {', '.join(has)}"


class Table:
    """The part of one benchmark. From its start on, it watches what other programs take of the processor."""

    def __init__(self, name: str, args: argparse.Namespace, setting: str, packages: Sequence[str] = ()) -> None:
        torch.set_num_threads(args.threads)
        versions = {one: metadata.version(one) for one in ("adaptlab", "torch", "transformers", *packages)}
        self.name, self.wanted, self.rows = name, args.write, {}
        self.facts = {"commit": commit(), "versions": versions, "threads": args.threads, "setting": setting}
        self._before = _work()
        print(f"{name}: {setting}; {args.threads} threads")

    def add(self, what: str, row: Row) -> None:
        """One line, which is printed at once."""
        self.rows[what] = row
        print(f"  {what}:", ", ".join(f"{name} {value}" for name, value in row.items()), flush=True)

    def write(self) -> None:
        """Put the part into the file, if ``--write`` was given."""
        there, worked, ours = (now - then for now, then in zip(_work(), self._before, strict=True))
        part = self.facts | {"others": round(max(0.0, worked - ours) / there, 2), "rows": self.rows}
        print(f"  other programs took {part['others']:.0%} of the machine's processor time")
        if self.wanted:
            files.write_text(TABLE, with_part(TABLE.read_text() if TABLE.is_file() else "", machine(), self.name, part))


def with_part(text: str, machine: str, benchmark: str, part: dict[str, Any]) -> str:
    """The file's text with one part in place of its last one."""
    table = yaml.safe_load(text) or {}
    table[machine] = dict(sorted((table.get(machine, {}) | {benchmark: part}).items()))
    return HEAD + yaml.safe_dump(table, sort_keys=False, width=10**6, default_flow_style=None)


def commit() -> str:
    """The commit that is measured, and whether it was changed."""
    at = ["git", "-C", str(paths.PACKAGE)]
    ask = partial(subprocess.run, capture_output=True, text=True)
    changed = ask([*at, "diff", "--quiet", "HEAD", "--", ".", str(Path(__file__).parent)]).returncode
    return ask([*at, "rev-parse", "--short=12", "HEAD"]).stdout.strip() + ", changed" * bool(changed)


def _work() -> tuple[float, float, float]:
    """Processor seconds so far: all that the machine had, those of any program, and those of this one and its
    children."""
    spent, own = psutil.cpu_times(), os.times()
    there = sum(spent) - getattr(spent, "guest", 0) - getattr(spent, "guest_nice", 0)  # those stand in others too
    return there, there - spent.idle - getattr(spent, "iowait", 0), sum(own[:4])
