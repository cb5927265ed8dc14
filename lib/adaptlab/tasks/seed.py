"""The kit's seed instructions: what a self-instruction pipeline starts from."""

import re

from adaptlab import paths
from adaptlab.tasks.formats import load_alpaca
from adaptlab.tasks.instructions import CLUSTERS
from adaptlab.tasks.records import Instruction


def load_seed() -> tuple[Instruction, ...]:
    """168 instructions with right answers, in 13 categories; the card is ``data/instructions/README.md``.

    They play the part of the 175 seed tasks of Self-Instruct (Wang et al. 2022, arXiv 2212.10560, section 2.2).
    """
    return load_alpaca(paths.DATA / "instructions" / "seed.json")


def list_answer(record: Instruction) -> str | None:
    """The right answer to a record of the category "lists: CLUSTER"; None for any other record.

    The word that a request is about, where there is one, stands in quotation marks.
    """
    kind, _, cluster = record.category.partition(": ")
    if kind != "lists":
        return None
    quoted = re.findall(r'"(\w+)"', record.instruction)
    return CLUSTERS[cluster].solve(record.input.split(), quoted[0] if quoted else "")
