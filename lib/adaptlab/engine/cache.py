"""The only file that touches KV caches and attention masks.

A *prefix* is a run of tokens whose keys and values are kept. A *trie* holds many continuations of it at once:
every node is one token, continuations share the nodes they have in common, and a node attends to the prefix and
to its own ancestors. One forward pass over the trie equals one pass per continuation (tested in fp32 to 1e-4).
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

# Model types whose attention takes any mask and whose positions come from `position_ids` alone: each is proved
# equal to plain scoring by tests/test_scoring.py. Everything else is scored plainly. The three groups differ in
# how sliding windows reach the layers.
NO_WINDOW = frozenset({"llama", "gpt2"})
ONE_WINDOW = frozenset({"mistral"})
WINDOW_PER_LAYER = frozenset({"qwen2", "qwen3", "gemma3_text"})
PREFILL_CHUNK = 512


def exact_trie(model: PreTrainedModel) -> bool:
    """Whether packed scoring is known to be exact for this architecture as it is configured."""
    config = model.config
    layers = set(getattr(config, "layer_types", None) or [])
    per_layer = config.model_type in WINDOW_PER_LAYER and layers <= {"full_attention", "sliding_attention"}
    return (
        (per_layer or (config.model_type in NO_WINDOW | ONE_WINDOW and not layers))
        and not length_dependent(model)
        and not getattr(config, "use_bidirectional_attention", False)
        and config._attn_implementation in {"sdpa", "eager"}
    )


def length_dependent(model: PreTrainedModel) -> bool:
    """Whether a token's rotary embedding depends on how long the row is: then rows cannot share a forward pass."""
    settings = getattr(model.config, "rope_parameters", None) or {}
    kinds = {s.get("rope_type") for s in (settings, *settings.values()) if isinstance(s, dict)}
    return bool(kinds & {"longrope", "dynamic"})


@dataclass(frozen=True)
class Prefix:
    """Token ids with the keys and values a model computed for them, per layer: [1, heads, tokens, head size].

    ``owner`` names weights, precision and device: a prefix is of no use to any other model.
    """

    ids: tuple[int, ...]
    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]
    owner: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    def head(self, n: int) -> "Prefix":
        """The first ``n`` tokens, as views: nothing is copied."""
        cut = tuple(tuple(t[:, :, :n] for t in side) for side in (self.keys, self.values))
        return Prefix(self.ids[:n], *cut, self.owner)

    def fork(self) -> DynamicCache:
        """A cache that starts from this prefix and shares its tensors.

        Growing the fork re-binds its tensors and never writes into the shared ones (probed in
        tests/test_cache.py). Sliding-window layers keep every token here, and the mask narrows their view:
        a window that forgets could serve neither branches nor later extensions.
        """
        cache = DynamicCache()
        for keys, values in zip(self.keys, self.values, strict=True):
            layer = DynamicLayer()
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
            cache.layers.append(layer)
        return cache


EMPTY = Prefix((), (), ())


@torch.inference_mode()
def extend(model: PreTrainedModel, prefix: Prefix, ids: Sequence[int], chunk: int = PREFILL_CHUNK) -> Prefix:
    """``prefix`` followed by ``ids``, computed in chunks so that memory stays flat in the prefix length."""
    if not ids:
        return prefix
    cache = prefix.fork()
    for start in range(0, len(ids), chunk):
        block = torch.tensor([list(ids[start : start + chunk])], device=model.device)
        model(input_ids=block, past_key_values=cache, use_cache=True, logits_to_keep=1)
    keys, values = zip(*((layer.keys, layer.values) for layer in cache.layers), strict=True)
    return Prefix((*prefix.ids, *ids), keys, values, prefix.owner)


def shared_length(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading tokens two sequences have in common."""
    n = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        n += 1
    return n


class Trie:
    """Token sequences that continue one prefix, packed so that common beginnings are held once.

    ``tokens[n]`` is node n's token, ``parents[n]`` its parent (-1: hangs on the prefix), ``depths[n]`` its distance
    from the prefix; parents come before children.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self.depths: list[int] = []
        self._children: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    def insert(self, ids: Sequence[int]) -> list[int]:
        """Add a sequence; return its path, one node a token."""
        path, parent = [], -1
        for depth, token in enumerate(ids):
            node = self._children.get((parent, token))
            if node is None:
                node = self._children[parent, token] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(parent)
                self.depths.append(depth)
            path.append(node)
            parent = node
        return path

    def visible(self) -> torch.Tensor:
        """[nodes, nodes] bool: node q may attend to node k (an ancestor, or itself)."""
        seen = torch.eye(len(self), dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen


@torch.inference_mode()
def trie_logits(model: PreTrainedModel, prefix: Prefix, trie: Trie, nodes: Sequence[int]) -> torch.Tensor:
    """Next-token logits [nodes, vocabulary] at the given trie nodes; the LM head runs on no other position."""
    device, past = model.device, len(prefix)
    positions = past + torch.tensor([trie.depths], device=device)
    output = model(
        input_ids=torch.tensor([trie.tokens], device=device),
        position_ids=positions,
        attention_mask=_masks(model, past, trie.visible().to(device), positions[0]),
        past_key_values=prefix.fork(),
        use_cache=True,
        logits_to_keep=torch.tensor(nodes, device=device),
    )
    return output.logits[0]


def _masks(
    model: PreTrainedModel, past: int, visible: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor | dict[str, torch.Tensor]:
    """4-D masks [1, 1, nodes, past + nodes]; a dict by layer type where the model's layers differ."""
    kind, window = model.config.model_type, getattr(model.config, "sliding_window", None)
    full = torch.cat([visible.new_ones(len(visible), past), visible], dim=1)
    if kind in NO_WINDOW:
        return _for_attention(model, full)
    sliding = full
    if window is not None:
        keys = torch.cat([torch.arange(past, device=positions.device), positions])
        sliding = full & (positions[:, None] - keys < window)
    if kind in ONE_WINDOW:
        return _for_attention(model, sliding)
    return {
        "full_attention": _for_attention(model, full),
        "sliding_attention": _for_attention(model, sliding),
    }


def _for_attention(model: PreTrainedModel, mask: torch.Tensor) -> torch.Tensor:
    """SDPA takes a boolean mask; eager attention adds its mask to the scores."""
    mask = mask[None, None]
    if model.config._attn_implementation == "sdpa":
        return mask
    return torch.zeros_like(mask, dtype=model.dtype).masked_fill_(~mask, torch.finfo(model.dtype).min)


def save(prefix: Prefix, path: Path) -> None:
    """Write a prefix's keys and values to ``path`` (safetensors), whole or not at all."""
    tensors = {
        f"{side}.{i}": t.contiguous() for side in ("keys", "values") for i, t in enumerate(getattr(prefix, side))
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    save_file(tensors, partial)
    os.replace(partial, path)


def stored(folder: Path, owner: str, ids: Sequence[int]) -> Path:
    """Where a prefix belongs on disk: its name follows from the weights, the precision and the tokens."""
    key = hashlib.sha256(f"{owner} {list(ids)}".encode()).hexdigest()
    return folder / f"{key}.safetensors"


def restore(path: Path, owner: str, ids: Sequence[int], device: torch.device) -> Prefix:
    """Read back what `save` wrote for ``ids``."""
    with safe_open(path, "pt", device=str(device)) as file:
        layers = range(len(file.keys()) // 2)
        keys, values = (tuple(file.get_tensor(f"{side}.{i}") for i in layers) for side in ("keys", "values"))
    return Prefix(tuple(ids), keys, values, owner)
