"""Text that a model writes: greedy or sampled, many prompts at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from transformers import DynamicCache, GenerationConfig, PreTrainedTokenizerBase, StoppingCriteria, StoppingCriteriaList

from adaptlab.engine.models import LM


@dataclass(frozen=True)
class Written:
    """What a model wrote, up to where it stopped; ``stopped``: whether it did so itself, at EOS or a stop string."""

    text: str
    stopped: bool


def generate(
    lm: LM,
    prompts: Sequence[str],
    *,
    temperature: float = 0.0,
    top_p: float = 1.0,
    longest: int = 64,
    stop: Sequence[str] = ("\n",),
    seed: int = 0,
    rows: int = 128,
) -> list[Written]:
    """Continue every prompt by at most ``longest`` tokens.

    ``temperature`` 0 is greedy decoding; ``top_p``: sample from the most probable tokens that have this share (Holtzman
    et al. 2020). ``rows``: prompts in one batch; sampled text depends on it and on ``seed``.
    Raises ValueError for a prompt that leaves no room for ``longest`` tokens.
    """
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    written: dict[int, Written] = {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, len(order), rows):
            chosen = order[start : start + rows]
            texts = _continued(lm, [prompts[i] for i in chosen], temperature, top_p, longest, stop)
            written |= zip(chosen, texts, strict=True)
    return [written[i] for i in range(len(prompts))]


class _Stop(StoppingCriteria):
    """Ends a row once a stop string stands in what was written; a tail as long as any such string is looked at."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, start: int, stop: tuple[str, ...]):
        self.tokenizer, self.start, self.stop = tokenizer, start, stop
        self.tail = max((len(string.encode()) for string in stop), default=0)  # a token is at least one byte

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        written = input_ids[:, max(self.start, input_ids.shape[1] - self.tail) :]
        texts = self.tokenizer.batch_decode(written) if self.stop else [""] * len(input_ids)
        ended = [any(string in text for string in self.stop) for text in texts]
        return torch.tensor(ended, device=input_ids.device)


def _continued(
    lm: LM, prompts: list[str], temperature: float, top_p: float, longest: int, stop: Sequence[str]
) -> list[Written]:
    ids = [lm.encode(prompt) for prompt in prompts]
    width, pad = max(map(len, ids)), lm.tokenizer.pad_token_id
    if width + longest > lm.context_length:
        raise ValueError(f"a prompt of {width} tokens and {longest} more do not fit into {lm.context_length} tokens")
    padded = torch.tensor([[pad] * (width - len(row)) + row for row in ids], device=lm.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids], device=lm.device)
    sampled = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": top_p} if temperature else {}
    how = GenerationConfig(max_new_tokens=longest, pad_token_id=pad, eos_token_id=_ends(lm), **sampled)
    with torch.inference_mode():
        out = lm.model.generate(
            padded,
            attention_mask=mask,
            generation_config=how,
            stopping_criteria=StoppingCriteriaList([_Stop(lm.tokenizer, width, tuple(stop))]),
            past_key_values=DynamicCache(),  # of full length: a stray window in a config must not shorten it
        )
    return [_cut(lm, row, stop) for row in out[:, width:].tolist()]


def _ends(lm: LM) -> list[int]:
    """The tokens that end a text: a chat model may have several."""
    ends = lm.model.generation_config.eos_token_id
    return ends if isinstance(ends, list) else [lm.tokenizer.eos_token_id if ends is None else ends]


def _cut(lm: LM, tokens: list[int], stop: Sequence[str]) -> Written:
    ends = set(_ends(lm))
    kept = list(takewhile(lambda token: token not in ends, tokens))
    text = lm.tokenizer.decode(kept, skip_special_tokens=True)
    places = [place for string in stop if (place := text.find(string)) >= 0]
    return Written(text[: min(places)] if places else text, len(kept) < len(tokens) or bool(places))
