"""A model that answers questions about an invented world, with its documents in the prompt or without."""

from collections.abc import Sequence
from dataclasses import dataclass

from adaptlab.engine.cache import EMPTY, PrefixCache
from adaptlab.engine.lm import LM
from adaptlab.engine.scoring import Request, score
from adaptlab.methods.prompting import OptionScores
from adaptlab.tasks.worlds import Document, Item


@dataclass(frozen=True)
class Reader:
    """Completes each stem with the likeliest of its options: gold, and the distractors of one pool or of both."""

    lm: LM
    documents: tuple[Document, ...] = ()
    pool: str = "both"  # seen, unseen or both
    lead: str = ""  # what stands before each stem

    @property
    def name(self) -> str:
        return "documents in the prompt" if self.documents else "no documents"

    @property
    def model(self) -> str:
        return self.lm.name

    @property
    def shots(self) -> int:
        return len(self.documents)

    def question(self, item: Item) -> Request:
        """The documents, a space, and the stem; options are what may follow."""
        pages = " ".join(document.text for document in self.documents)
        stem = " ".join(part for part in (pages, self.lead, item.stem) if part)
        return Request(stem, tuple(f" {option}" for option in item.options(self.pool)))

    def answer(self, items: Sequence[Item], prefix_cache: PrefixCache = EMPTY) -> OptionScores:
        """Score the options of all items; the documents are read once."""
        scores = score(self.lm, [self.question(item) for item in items], prefix_cache=prefix_cache)
        options = [
            dict(zip(i.options(self.pool), row, strict=True)) for i, row in zip(items, scores.options, strict=True)
        ]
        return OptionScores(options, scores.cost, scores.prefix_cache)
