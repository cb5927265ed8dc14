"""A causal language model with its tokenizer: its tokens, its digest, and what its architecture allows."""

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from adaptlab.engine.folders import ModelNotFound


def check_fields(config: object, **rules: tuple[str, bool]) -> None:
    """Raise ValueError for the first field that breaks its rule: name=(what is allowed, whether it is so)."""
    for name, (allowed, fits) in rules.items():
        if not fits:
            raise ValueError(f"{name} must be {allowed}; found {getattr(config, name)!r}")


Item = TypeVar("Item")


def runs_that_fit(items: Iterable[Item], fits: Callable[[list[Item]], bool]) -> Iterator[list[Item]]:
    """Items in order, in runs that fit and are as long as they can be, or of one item that does not fit alone."""
    run: list[Item] = []
    for item in items:
        if run and not fits([*run, item]):
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def shared_length(a: Sequence, b: Sequence) -> int:
    """How many leading tokens, or signs, two sequences have in common."""
    if b[: len(a)] == a:  # the usual case, without a loop
        return len(a)
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


Named = Mapping[str, torch.Tensor]
MODIFIED = "changed"  # how the digest of weights begins that no name leads to


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
        """Token ids of ``text``, with nothing appended, behind one BOS if the tokenizer adds one.

        A text that spells the BOS out, as chat templates do, gets no second one.
        """
        (ids,) = self._encoded([text])
        return ids

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of every text. What all of them begin with is encoded once, where that gives the same tokens: it is
        cut at a place where the tokenizer splits words, and the seam is checked on the shortest and the longest text.
        """
        cut = self._cut(min(texts), max(texts)) if len(texts) > 2 else 0
        if cut:
            head = self.encode(texts[0][:cut])
            ids = [head + part for part in self._ids([text[cut:] for text in texts])]
            by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
            seam = by_length[0], by_length[-1]
            if self._encoded([texts[i] for i in seam]) == [ids[i] for i in seam]:
                return ids
        return self._encoded(texts)

    def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
        return [row if row[:1] == self._front else self._front + row for row in self._ids(list(texts))]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text alone. Nothing else is asked of the tokenizer, which takes its time for masks."""
        no_more = {"return_attention_mask": False, "return_token_type_ids": False, "verbose": False}
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if not backend or len(texts) < 3:
            ids = self.tokenizer(texts, add_special_tokens=False, **no_more).input_ids if texts else []
        else:
            self.tokenizer("", **no_more)  # takes back what truncation or padding an earlier call has set
            ids = [one.ids for one in backend.encode_batch_fast(texts, add_special_tokens=False)]
        self.check_tokens(ids)
        return ids

    def check_tokens(self, rows: Sequence[Sequence[int]]) -> None:
        """Raise ValueError for a token that the model has no weights for, as some tokenizers have (for images)."""
        for row in rows if self._has_more_tokens else ():
            if row and max(row) >= self.vocabulary:
                token = self.tokenizer.convert_ids_to_tokens(max(row))
                raise ValueError(f"the text holds {token!r}, a token that {self.name} has no weights for: leave it out")

    @cached_property
    def _has_more_tokens(self) -> bool:
        return max(self.tokenizer.get_vocab().values(), default=0) >= self.vocabulary

    @cached_property
    def batching(self) -> str:
        """How `generate` of transformers continues prompts with the probabilities that a whole pass gives: several
        padded ones ``together``, or each ``alone``; ``not at all`` where every token needs a pass of its own.

        Tried on a short prompt, for architectures differ in what they keep from token to token and in how they count
        positions; and some do so wrongly.
        """
        if pads_left(self.model) and generates_exactly(self.model, padding=3):
            return "together"
        return "alone" if generates_exactly(self.model, padding=0) else "not at all"

    @cached_property
    def _front(self) -> list[int]:
        bos = self.tokenizer.bos_token_id
        return [bos] if bos is not None and self.tokenizer("").input_ids[:1] == [bos] else []

    def _cut(self, first: str, last: str) -> int:
        """A place in what two texts begin with at which a split of words does not depend on what follows; 0 where none
        is known. What the first and the last text in order share, all between them share.

        Tokenizers split a text into words from left to right, and look no further than the next one; tokens are made
        within words.
        """
        beginning, backend = first[: shared_length(first, last)], getattr(self.tokenizer, "backend_tokenizer", None)
        if not backend or not backend.pre_tokenizer:
            return 0
        if backend.normalizer and backend.normalizer.normalize_str(beginning) != beginning:
            return 0
        words = backend.pre_tokenizer.pre_tokenize_str(beginning)
        return words[-3][1][0] if len(words) > 3 else 0


def check_weights(
    folder: Path, tensors: Named, missing: Iterable[str], foreign: Iterable[str], misfitting: Iterable[str] = ()
) -> None:
    """Raise `ModelNotFound`, naming the first keys, unless all weights are there, fit, and are finite numbers."""
    broken = [key for key, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    for problem, keys in (
        ("lacks weights", sorted(missing)),
        ("has weights that its model does not know", sorted(foreign)),
        ("has weights of other shapes than its model's", sorted(misfitting)),
        ("has weights that are NaN or infinite", broken),
    ):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise ModelNotFound(f"{folder} {problem}: {', '.join(keys[:3])}{more}; save or fetch it again")


@torch.inference_mode()
def sees_ahead(model: PreTrainedModel) -> bool:
    """Whether tokens that follow eight others change what is predicted before them: then the model is not causal."""
    ids = _some_tokens(model, 13)
    whole, begun = (model(row, use_cache=False).logits for row in (ids, ids[:, :8]))
    return not _same(whole[:, :8], begun)


@torch.inference_mode()
def generates_exactly(model: PreTrainedModel, padding: int) -> bool:
    """Whether `generate`, behind so many padding tokens, gives the logits that a whole pass over the text gives."""
    ids = _some_tokens(model, padding + 8)
    mask = (torch.arange(ids.shape[1], device=ids.device)[None] >= padding).long()
    config = GenerationConfig(max_new_tokens=3, pad_token_id=0, output_logits=True, return_dict_in_generate=True)
    config.use_cache = has_cache(model)
    try:
        made = model.generate(ids, attention_mask=mask, generation_config=config)
    except Exception:  # architectures say in many ways that they cannot
        return False
    whole = model(made.sequences[:, padding:-1], use_cache=False).logits
    return _same(torch.stack(made.logits, dim=1), whole[:, 7:])


def has_cache(model: PreTrainedModel) -> bool:
    """Whether what was read may be kept beside the model. RecurrentGemma keeps its state inside, where a prompt of one
    token would meet the last one's."""
    return not hasattr(model.base_model, "_setup_cache")


def _some_tokens(model: PreTrainedModel, n: int) -> torch.Tensor:
    ordinary = 7 + torch.arange(n, device=model.device)  # the first ones are often special
    return ordinary[None] % model.config.get_text_config().vocab_size


def _same(some: torch.Tensor, others: torch.Tensor) -> bool:
    tolerance = 1e-4 if some.dtype == torch.float32 else 5e-2  # mixtures of experts group tokens, and so round anew
    some, others = some.float(), others.float()
    return some.shape == others.shape and bool((some - others).abs().max() <= tolerance * others.abs().max())


def length_dependent(model: PreTrainedModel) -> bool:
    """Whether a token's rotary embedding depends on how long the row is: then rows cannot share a forward pass."""
    settings = getattr(model.config, "rope_parameters", None) or {}
    kinds = {s.get("rope_type") for s in (settings, *settings.values()) if isinstance(s, dict)}
    return bool(kinds & {"longrope", "dynamic"})


def pads_left(model: PreTrainedModel) -> bool:
    """Whether padding in front of a prompt changes nothing: what was read is carried by ordinary attention alone, not
    by a recurrent state, and positions are told from the mask."""
    layers = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    return (
        layers <= {"full_attention", "sliding_attention"}
        and {"position_ids", "past_key_values"} <= inspect.signature(model.forward).parameters.keys()
        and not model._is_stateful
        and not any(isinstance(part, torch.nn.Conv1d) for part in model.modules())
        and not length_dependent(model)
    )
