"""Self-Instruct: a model writes instruction data from a few examples of it, and filters throw most of it away.

After Wang et al. 2022 (arXiv 2212.10560, section 2) and Alpaca, its cheaper variant (Taori et al. 2023). The prompts
here are our own; `generation_recipes` has them.
"""

import hashlib
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adaptlab.engine.lm import LM
from adaptlab.files import write_text
from adaptlab.methods.generation_recipes import Draft, GenerationRecipe, instances
from adaptlab.tasks.curate import Curated, Rejected, survival
from adaptlab.tasks.datacard import content_hash
from adaptlab.tasks.records import Instruction, quote
from adaptlab.tasks.rows import FormatError, json_lines
from adaptlab.tasks.similarity import most_similar

NOVEL = 0.7  # ROUGE-L
UNFIT = re.compile(
    r"\b(?:images?|pictures?|photos?|graphs?|chart|files?|maps?|draw|plot|video|audio|music|flowchart|diagram|go to|"
    r"write a program|your (?:last )?(?:answer|reply)|you (?:just )?said|say that again)\b"
)
Test = Callable[[Draft], str]  # what is wrong with a draft; "" where nothing is
Row = dict[str, Any]  # draft, filter, reason


def _length(draft: Draft) -> str:
    n = len(draft.instruction.split())
    return "" if 4 <= n <= 150 else f"{n} words, not 4 to 150"


def _words(draft: Draft) -> str:
    """What a model that only reads and writes text cannot do, what code writers are asked, and what leans on an answer
    that does not stand before it."""
    found = UNFIT.search(draft.instruction.lower())
    return f"it says {found[0]!r}" if found else ""


def _start(draft: Draft) -> str:
    first = draft.instruction[0]
    return "" if first.isascii() and first.isalnum() else f"it begins with {first!r}"


def _output(draft: Draft) -> str:
    if not draft.output.strip():
        return "the output is blank"
    return "the output repeats the input" if draft.output == draft.input else ""


# Of the instruction alone, before an instance is written for it, and of the whole.
ASKED: Mapping[str, Test] = {"length": _length, "unfit word": _words, "odd start": _start}
ANSWERED: Mapping[str, Test] = {"output": _output}


STEPS = ("reading", *ASKED, "novelty", *ANSWERED)


class Made(NamedTuple):
    """What a model wrote: the records that passed every filter, all the rest with the filter that caught it, and how
    many rounds it took."""

    kept: tuple[Instruction, ...]
    rejects: tuple[Rejected, ...]
    rounds: int

    @property
    def survival(self) -> list[dict[str, Any]]:
        """A row a filter: {filter, in, out, share}, as `curate.survival`."""
        return survival(Curated(self.kept, self.rejects, STEPS))


def self_instruct(
    lm: LM,
    seeds: Sequence[Instruction],
    recipe: GenerationRecipe,
    path: str | Path,
    *,
    wanted: int,
    rounds: int,
    seed: int = 0,
    prompts: int = 8,
) -> Made:
    """Let ``lm`` write until ``wanted`` records are kept or ``rounds`` rounds of ``prompts`` prompts each are over.

    Every prompt shows some of ``seeds`` and, as the recipe has it, some of what was kept in rounds before. A round is
    one line of the file at ``path``: a run that was killed goes on with the next, and ends as if it had not been.
    Raises FormatError where the file belongs to other weights, another bound on novelty, recipe, seed, number of
    prompts or set of seeds, or is not as it was written.
    """
    head = {
        "model": lm.name,
        "weights": lm.digest,
        "novel": NOVEL,
        "recipe": recipe.name,
        "seed": seed,
        "prompts": prompts,
        "seeds": content_hash(seeds),
    }
    lines, kept = _begun(Path(path), head), []
    for line in lines:
        kept += _records(line, recipe, len(kept))
    while len(kept) < wanted and len(lines) < rounds:
        rng = random.Random(f"self-instruct {seed} {len(lines)}")
        lines.append(_round(lm, [*seeds], kept, recipe, prompts, rng))
        kept += _records(lines[-1], recipe, len(kept))
        body = [json.dumps(line, ensure_ascii=False) for line in lines]
        write_text(Path(path), "\n".join([json.dumps(head | _seal(body), ensure_ascii=False), *body, ""]))
    rejects = [Rejected(_draft(row), row["filter"], row["reason"]) for line in lines for row in line if row["filter"]]
    return Made(tuple(kept), tuple(rejects), len(lines))


def _begun(path: Path, head: dict[str, Any]) -> list[list[Row]]:
    """The rounds in the file, if there is one and it is this run's."""
    if not path.exists():
        return []
    first, *rows = json_lines(path)
    found = first.value
    for field, value in (head | _seal([row.raw for row in rows])).items():
        if not isinstance(found, dict) or found.get(field) != value:
            raise FormatError(path, 1, field, f"{quote(value)}, as in this run", quote(found))
    return [row.value for row in rows]


def _seal(body: Sequence[str]) -> dict[str, str]:
    """What tells that the lines of rounds are as they were written."""
    return {"sha256": hashlib.sha256("\n".join(body).encode()).hexdigest()}


def _draft(row: Row) -> Draft | str:
    return row["draft"] if isinstance(row["draft"], str) else Draft(*row["draft"])


def _records(line: list[Row], recipe: GenerationRecipe, n: int) -> list[Instruction]:
    drafts = [_draft(row) for row in line if not row["filter"]]
    return [Instruction(f"{recipe.name}-{n + i}", *draft, category=recipe.name) for i, draft in enumerate(drafts)]


def _round(
    lm: LM,
    seeds: list[Instruction],
    kept: list[Instruction],
    recipe: GenerationRecipe,
    prompts: int,
    rng: random.Random,
) -> list[Row]:
    """What came of one round: a row a draft, with the filter that caught it and why, or with neither."""
    shown = [recipe.shown(rng, seeds, kept) for _ in range(prompts)]
    rows, fit, known = [], [], [one.instruction for one in seeds + kept]
    for draft in recipe.write(lm, shown, rng.randrange(2**31)):
        fault = ("reading", "not in the form asked for") if isinstance(draft, str) else _fault(draft, ASKED)
        if not fault and (near := most_similar(draft.instruction, known, str)).value > NOVEL:
            fault = ("novelty", f"ROUGE-L {near.value:.2f} with {near.other!r}")
        if fault:
            rows.append(_row(draft, *fault))
        else:
            fit.append(draft)
            known.append(draft.instruction)
    whole = instances(lm, fit, seeds, rng) if recipe.instances else fit
    return rows + [_row(draft, *(_fault(draft, ANSWERED) or ("", ""))) for draft in whole]


def _fault(draft: Draft, tests: Mapping[str, Test]) -> tuple[str, str] | None:
    """The first test that a draft fails, and why."""
    return next(((name, reason) for name, test in tests.items() if (reason := test(draft))), None)


def _row(draft: Draft | str, filter: str, reason: str) -> Row:
    return {"draft": draft, "filter": filter, "reason": reason}
