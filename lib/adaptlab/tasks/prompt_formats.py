"""Prompt formats: the text around a query, the same in prompts, in training examples and in pretraining text."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from adaptlab.tasks.wording import fill


@dataclass(frozen=True)
class PromptFormat:
    """The text around an instruction, its demonstrations and the query.

    ``head`` holds ``{instruction}``; ``turn`` holds ``{query}`` and ends where the answer begins; ``separator`` stands
    between a turn and its answer (a space, where tokens carry it in front); ``end`` closes an answered turn. ``stop``:
    the strings at which a generated answer ends.
    """

    head: str
    turn: str
    separator: str
    end: str
    stop: tuple[str, ...]

    def prompt(self, instruction: str, answered: Iterable[tuple[str, str]], query: str) -> str:
        """The prompt up to where the answer to ``query`` begins; ``answered`` are turns with their answers."""
        return self.header(instruction) + self.turns(answered, instruction) + self.asked(query, instruction)

    def header(self, instruction: str) -> str:
        """What stands before the first turn."""
        return fill(self.head, instruction=instruction)

    def turns(self, answered: Iterable[tuple[str, str]], instruction: str = "") -> str:
        """Answered turns, one behind the other."""
        pairs = ((self.asked(query, instruction), answer) for query, answer in answered)
        return "".join(f"{asked}{self.separator}{answer}{self.end}" for asked, answer in pairs)

    def training_parts(
        self, answered: Iterable[tuple[str, str]], whole: bool = False, read_only: Collection[int] = ()
    ) -> list[tuple[str, bool]]:
        """Answered turns to train on, in parts: (text, whether it carries loss). The answers do, with what closes each
        of them but the last, which ends the text, and but those of the turns in ``read_only``; ``whole``: all of it
        does."""
        parts = [(self.header(""), whole)]
        for place, (query, answer) in enumerate(answered):
            trained = whole or place not in read_only
            parts += [(self.asked(query), whole), (f"{self.separator}{answer}{self.end}", trained)]
        parts[-1] = (parts[-1][0].removesuffix(self.end), parts[-1][1])
        return [(text, trained) for text, trained in parts if text]

    def asked(self, query: str, instruction: str = "") -> str:
        """A turn up to where its answer begins."""
        return fill(self.turn, query=query, instruction=instruction)


FORMATS = {
    "plain": PromptFormat("{instruction}\n\n", "Message: {query}\nDesk:", " ", "\n\n", ("\n",)),
    "question": PromptFormat("", "Question: {query}\nAnswer:", " ", "\n\n", ("\n",)),
    "pairs": PromptFormat("", "Input: {query}\nOutput:", " ", "\n\n", ("\n",)),
    # Lin et al. 2023 (URIAL, arXiv 2312.01552), prompt files of the authors' repository, and the stop
    # strings of its scripts; that the closing fence ends an answer as well is our own.
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
