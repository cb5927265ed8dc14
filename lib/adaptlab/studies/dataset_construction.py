"""What notebook 01 measures: instruction data of three sources on the same axes, and whether a world can be guessed."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from statsmodels.stats.proportion import proportion_confint

from adaptlab.engine.lm import LM
from adaptlab.evidence.evaluate import evaluate
from adaptlab.methods.manners import MANNERS
from adaptlab.methods.reading import Reader
from adaptlab.methods.self_instruct import Made, self_instruct
from adaptlab.tasks.datacard import sample_records, statistics
from adaptlab.tasks.instructions import LIST_TASKS, list_answer
from adaptlab.tasks.records import Instruction, check_choice
from adaptlab.tasks.templates import dataset, solve_text
from adaptlab.tasks.words import VOCABULARIES, Words, fresh_words
from adaptlab.tasks.worlds import reversals

LIST = 8  # prompts for pages that cost as much as one for a list of tasks
SPLIT = "test"  # of the study model's nouns: it has read none of these


@dataclass(frozen=True)
class DatasetStudy:
    """The settings of notebook 01, checked where they are made.

    ``vocabulary``: study or english; ``manners``: how the model is asked to write (`MANNERS`); ``seeds``: runs of the
    writing model, and worlds; ``rounds`` of ``prompts`` prompts in each run (an eighth as many where a prompt yields a
    list of tasks); ``facts``: how many a world has.
    """

    vocabulary: str = "study"
    manners: Sequence[str] = ("pages",)
    seeds: Sequence[int] = (0, 1, 2)
    rounds: int = 1
    prompts: int = 24
    facts: int = 8

    def __post_init__(self) -> None:
        check_choice("vocabulary", self.vocabulary, tuple(VOCABULARIES))
        for manner in self.manners:
            check_choice("manners", manner, tuple(MANNERS))
        if "pages" not in self.manners:
            raise ValueError("manners must name 'pages', the one whose records a program can check")
        if len(set(self.seeds)) < max(2, len(self.seeds)):
            raise ValueError(f"seeds must name at least two, none of them twice; found {list(self.seeds)}")
        for field, least in (("rounds", 1), ("prompts", 1), ("facts", 4)):
            if getattr(self, field) < least:
                raise ValueError(f"{field} must be at least {least}; found {getattr(self, field)}")

    @property
    def words(self) -> Words:
        """Where worlds take their words from."""
        return VOCABULARIES["study"](SPLIT) if self.vocabulary == "study" else fresh_words

    def templated(self, seed: int, n: int = 48) -> tuple[Instruction, ...]:
        """Records filled into templates: the first three of each cluster, which are those the study model has read."""
        return dataset(seed, n, tuple(LIST_TASKS), VOCABULARIES[self.vocabulary]("train"), templates=3)


def completions(
    lm: LM, study: DatasetStudy, manner: str, human: Sequence[Instruction], folder: Path
) -> dict[int, Made]:
    """What the model writes in each run; ``pages`` begins with templated records, the others with the human ones."""
    return {
        seed: self_instruct(
            lm,
            study.templated(seed) if manner == "pages" else human,
            MANNERS[manner],
            folder / f"{lm.name.replace('/', '_')}-{manner}-{seed}.jsonl",
            wanted=10**6,
            rounds=study.rounds,
            seed=seed,
            prompts=study.prompts if manner == "pages" else max(1, study.prompts // LIST),
        )
        for seed in study.seeds
    }


def survived(runs: Mapping[int, Made]) -> pd.DataFrame:
    """How many drafts came to each filter and how many passed, all runs together."""
    rows = pd.concat([pd.DataFrame(made.survival) for made in runs.values()])
    table = rows.groupby("filter", sort=False)[["in", "out"]].sum()
    return table.assign(share=table["out"] / table["in"])


def known_answer(record: Instruction) -> str | None:
    """The right answer, where a program can tell: requests in the words of a template, and the seed set's lists."""
    return list_answer(record) or (None if record.input.strip() else solve_text(record.instruction))


def compare(sources: Mapping[str, Sequence[Instruction]], seed: int = 0) -> pd.DataFrame:
    """One row a source, all on as many records as the smallest has: lengths, diversity, duplicates, right answers.

    ``right`` is the share among the ``checkable`` ones: those for which a program knows the answer.
    """
    n = min(map(len, sources.values()))
    rows = {}
    for name, records in sources.items():
        told = statistics(records, sample=n, seed=seed)
        answers = [
            (one.output, answer)
            for one in sample_records(records, n, seed)
            if (answer := known_answer(one)) is not None
        ]
        rows[name] = {
            "records": n,
            "words asked": told["words"]["instruction"]["mean"],
            "words answered": told["words"]["output"]["mean"],
            "distinct words": told["distinct_1"],
            "distinct pairs": told["distinct_2"],
            "nearest ROUGE-L": told["nearest_rouge_l"],
            "duplicates": told["exact_duplicates"],
            "checkable": len(answers),
            "right": sum(a == b for a, b in answers) / len(answers) if answers else None,
        }
    return pd.DataFrame(rows).T


def error_frame(lm: LM, study: DatasetStudy, runs: Mapping[int, Made]) -> pd.DataFrame:
    """Rows for `claims`: is the answer right? As many records of each source and run as the smallest run has checkable
    ones, in random order; a record's number is its item."""
    checked = {
        seed: {
            "templates": _checked(study.templated(seed + 10_000, 200), seed),
            "model": _checked(made.kept, seed),
        }
        for seed, made in runs.items()
    }
    n = min(len(marks) for of in checked.values() for marks in of.values())
    if n < 2:
        raise ValueError(
            f"a run of the model has {n} records that a program can check, not two; raise prompts or rounds"
        )
    return pd.DataFrame(
        {"study": "datasets", "model": lm.name, "source": source, "seed": seed, "item": item, "correct": correct}
        for seed, of in checked.items()
        for source, marks in of.items()
        for item, correct in enumerate(marks[:n])
    )


def _checked(records: Sequence[Instruction], seed: int) -> list[bool]:
    marks = [one.output == answer for one in records if (answer := known_answer(one)) is not None]
    return random.Random(f"checked {seed}").sample(marks, len(marks))


def reading_frame(lm: LM, study: DatasetStudy) -> pd.DataFrame:
    """Questions about worlds of comparisons, asked without the documents and with them in the prompt: a row an answer.

    Options are the gold and three distractors that end sentences of the documents; ``lift`` is correct - 1/4.
    """
    frames = []
    for seed in study.seeds:
        world = reversals(seed, study.facts, articles=1, words=study.words)
        for split in ("rephrase", "reversal"):
            items = [item for item in world.items if item.split == split]
            for documents in ((), world.documents):
                reader = Reader(lm, documents, pool="seen", lead="So," if study.vocabulary == "study" else "")
                frames.append(evaluate(reader, items, study="worlds", seed=seed, split=split)[0])
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(lift=frame.correct - 1 / 4)


MEASURES = ("words asked", "words answered", "distinct pairs", "nearest ROUGE-L", "duplicates", "right")


def source_bars(table: pd.DataFrame) -> Figure:
    """A row of panels, one a measure of `compare`, with a bar a source; shares run from 0 to 1.

    ``right`` has a 95 % Wilson interval and the number of checkable records.
    """
    figure, axes = plt.subplots(1, len(MEASURES), figsize=(13, 0.7 + 0.45 * len(table)), sharey=True)
    for ax, measure in zip(axes, MEASURES, strict=True):
        values = table[measure].astype(float)
        ax.barh(table.index, values.fillna(0), color=[f"C{i}" for i in range(len(table))], height=0.6)
        for place, value in enumerate(values):
            ax.text(0, place, " none" if pd.isna(value) else f" {value:.2f}", va="center", fontsize=8)
        ax.set_title(measure, fontsize=10)
        ax.set_xlim(0, 1 if values.max() <= 1 else None)
        ax.spines[["top", "right"]].set_visible(False)
    for place, (n, share) in enumerate(zip(table["checkable"], table["right"], strict=True)):
        if n:
            low, high = proportion_confint(round(share * n), n, method="wilson")
            axes[-1].plot([low, high], [place] * 2, color="0.2", linewidth=1.5)
            axes[-1].text(1.03, place, f"n = {n:.0f}", va="center", fontsize=8)
    axes[0].invert_yaxis()
    figure.tight_layout()
    return figure
