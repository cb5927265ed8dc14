"""A document of the study model's corpus: a text, and which of its characters can be known."""

from dataclasses import dataclass, field


@dataclass
class Document:
    """A text; ``determined`` lists the [start, end) spans of characters that have full weight in training."""

    kind: str
    text: str = ""
    determined: list[tuple[int, int]] = field(default_factory=list)

    def add_open(self, text: str) -> None:
        """Add text that the text before does not determine."""
        self.text += text

    def add_determined(self, text: str) -> None:
        """Add text that follows from the text before, or answers it."""
        self.determined.append((len(self.text), len(self.text) + len(text)))
        self.text += text

    @property
    def tokens(self) -> int:
        """A quick estimate of its length in tokens."""
        return len(self.text) // 4

    @property
    def bracketed(self) -> str:
        """The text with brackets around determined characters, for a reader."""
        text, at = "", 0
        for start, end in self.determined:
            text += f"{self.text[at:start]}[{self.text[start:end]}]"
            at = end
        return text + self.text[at:]
