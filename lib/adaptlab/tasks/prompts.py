"""The text around a question: prompt formats, shared by those who ask models and by those who raise one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PromptFormat:
    """The text around an instruction, its demonstrations and the query.

    ``head`` holds ``{instruction}``; ``turn`` holds ``{query}`` and ends where the answer begins; ``end`` closes an
    answered turn; ``seam`` is what stands between a turn and its answer (a space, where tokens carry it in front).
    ``stop``: the strings at which a generated answer ends.
    """

    head: str
    turn: str
    seam: str
    end: str
    stop: tuple[str, ...]


FORMATS = {
    "plain": PromptFormat("{instruction}\n\n", "Message: {query}\nDesk:", " ", "\n\n", ("\n",)),
    "question": PromptFormat("", "Question: {query}\nAnswer:", " ", "\n\n", ("\n",)),
    # Lin et al. 2023 (URIAL, arXiv 2312.01552), prompt files of the authors' repository; stop strings likewise.
    "urial": PromptFormat(
        "# Instruction\n\n{instruction}\n",
        "\n# Query:\n```\n{query}\n```\n\n# Answer:\n```\n",
        "",
        "\n```\n",
        ("# Query", "# User", "```"),
    ),
    # Taori et al. 2023 (Stanford Alpaca): the sections of its template, the instruction stated once per turn.
    "alpaca": PromptFormat(
        "", "### Instruction:\n{instruction}\n\n### Input:\n{query}\n\n### Response:\n", "", "\n\n", ("###",)
    ),
}
