"""What every other file of the engine works on: a causal language model with its tokenizer."""

import sys
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class LM:
    """A causal language model, its tokenizer, and the digest that identifies its weights in results."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    digest: str

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def context_length(self) -> int:
        """Longest sequence, in tokens, that the model was built for; no limit where its config names none."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", sys.maxsize)

    @property
    def vocabulary(self) -> int:
        """How many tokens the model predicts over."""
        return self.model.config.get_text_config().vocab_size

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, behind a BOS where the tokenizer itself puts one in front, and nothing appended."""
        bos = self.tokenizer.bos_token_id
        front = [bos] if bos is not None and self.tokenizer("").input_ids[:1] == [bos] else []
        return front + self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
