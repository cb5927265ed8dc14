"""Sharing keys and values: the only file that touches KV caches and 4-D attention masks.

A *prefix* is a run of tokens whose keys and values are kept. A *trie* holds many continuations of it at once: every
node is one token, continuations share the nodes that they have in common, and a node attends to the prefix and to its
own ancestors. One forward pass over the trie equals one pass per continuation (tested in fp32 to 1e-4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from adaptlab.engine.lm import length_dependent


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


@dataclass(frozen=True)
class PrefixCache:
    """Token ids with the keys and values a model computed for them, per layer: [1, heads, tokens, head size].

    ``owner`` names weights, precision and device: a prefix is of no use to any other model.
    """

    ids: tuple[int, ...]
    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]
    owner: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    def head(self, n: int) -> "PrefixCache":
        """The first ``n`` tokens, as views: nothing is copied."""
        cut = tuple(tuple(t[:, :, :n] for t in side) for side in (self.keys, self.values))
        return PrefixCache(self.ids[:n], *cut, self.owner)

    def fork(self) -> DynamicCache:
        """A cache that starts from this prefix and shares its tensors.

        Growing the fork re-binds its tensors and never writes into the shared ones (probed in
        tests/test_kv_sharing.py). Sliding-window layers keep every token here, and the mask narrows their view:
        a window that forgets could serve neither branches nor later extensions.
        """
        cache = DynamicCache()
        for keys, values in zip(self.keys, self.values, strict=True):
            layer = DynamicLayer()
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
            cache.layers.append(layer)
        return cache


EMPTY = PrefixCache((), (), ())


@torch.inference_mode()
def extend(model: PreTrainedModel, prefix: PrefixCache, ids: Sequence[int], chunk: int = PREFILL_CHUNK) -> PrefixCache:
    """``prefix`` followed by ``ids``, computed in chunks so that memory stays flat in the prefix length."""
    if not ids:
        return prefix
    cache = prefix.fork()
    for start in range(0, len(ids), chunk):
        block = torch.tensor([list(ids[start : start + chunk])], device=model.device)
        model(input_ids=block, past_key_values=cache, use_cache=True, logits_to_keep=1)
    keys, values = zip(*((layer.keys, layer.values) for layer in cache.layers), strict=True)
    return PrefixCache((*prefix.ids, *ids), keys, values, prefix.owner)


def shared_length(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading tokens two sequences have in common."""
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@torch.inference_mode()
def trie_logits(model: PreTrainedModel, prefix: PrefixCache, trie: Trie, nodes: Sequence[int]) -> torch.Tensor:
    """Next-token logits [nodes, vocabulary] at the given trie nodes; the LM head runs on no other position."""
    positions = len(prefix) + torch.tensor(trie.depths, device=model.device)
    mask = masks(model, len(prefix), trie.visible().to(model.device), positions, positions)
    return _packed(model, trie.tokens, positions, mask, prefix.fork(), nodes)


class Branches:
    """Texts that grow behind one prefix, all in one packed row: each pass adds one token to every text.

    ``logits`` [branches, vocabulary] predict the next token of every branch. What branches begin with in common is
    held once, so many continuations of one prompt cost that prompt once; ``nodes`` counts the tokens that this took.
    """

    @torch.inference_mode()
    def __init__(self, model: PreTrainedModel, prefix: PrefixCache, rows: Sequence[Sequence[int]]) -> None:
        """``rows``: what follows the prefix in each branch, at least one token."""
        trie = Trie()
        paths = [trie.insert(row) for row in rows]
        leaves = [path[-1] for path in paths]
        nodes = sorted(set(leaves))
        self._model, self._past, self._cache, self.nodes = model, len(prefix), prefix.fork(), len(trie)
        visible = trie.visible().to(model.device)
        self._keys = self._past + torch.tensor(trie.depths, device=model.device)  # positions behind the prefix
        mask = masks(model, self._past, visible, self._keys, self._keys)
        logits = _packed(model, trie.tokens, self._keys, mask, self._cache, nodes)
        self.logits = logits[[nodes.index(leaf) for leaf in leaves]]
        self._visible, self._at = visible[leaves], self._keys[leaves]

    def keep(self, branches: Sequence[int]) -> None:
        """Keep these branches only, in this order; keys that none of them sees go once they are half of all."""
        self._visible, self._at = self._visible[branches], self._at[branches]
        seen = self._visible.any(0)
        if 2 * int(seen.sum()) > len(seen):
            return
        self._visible, self._keys = self._visible[:, seen], self._keys[seen]
        index = torch.cat([torch.arange(self._past, device=seen.device), self._past + seen.nonzero()[:, 0]])
        for layer in self._cache.layers:
            layer.keys, layer.values = layer.keys[:, :, index], layer.values[:, :, index]

    @torch.inference_mode()
    def grow(self, tokens: Sequence[int]) -> None:
        """Append one token to every branch."""
        self._at = self._at + 1
        self._keys = torch.cat([self._keys, self._at])
        own = torch.eye(len(tokens), dtype=torch.bool, device=self._at.device)
        self._visible = torch.cat([self._visible, own], dim=1)
        mask = masks(self._model, self._past, self._visible, self._at, self._keys)
        self.logits = _packed(self._model, tokens, self._at, mask, self._cache, range(len(tokens)))


def _packed(
    model: PreTrainedModel,
    tokens: Sequence[int],
    positions: torch.Tensor,
    mask: torch.Tensor | dict[str, torch.Tensor],
    cache: DynamicCache,
    nodes: Sequence[int],
) -> torch.Tensor:
    """One pass over a packed row behind ``cache``, which grows by it; logits [nodes, vocabulary]."""
    output = model(
        input_ids=torch.tensor([list(tokens)], device=model.device),
        position_ids=positions[None],
        attention_mask=mask,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=torch.tensor(list(nodes), device=model.device),
    )
    return output.logits[0]


def masks(
    model: PreTrainedModel, past: int, visible: torch.Tensor, queries: torch.Tensor, keys: torch.Tensor
) -> torch.Tensor | dict[str, torch.Tensor]:
    """4-D masks [rows, 1, queries, past + keys], or a dict of them by layer type where the model's layers differ.

    ``visible``: which keys behind the prefix of ``past`` tokens each query sees, for one row or for many; ``queries``
    and ``keys`` are the positions of both.
    """
    kind, window = model.config.model_type, getattr(model.config, "sliding_window", None)
    full = torch.cat([visible.new_ones(*visible.shape[:-1], past), visible], dim=-1)
    if kind in NO_WINDOW:
        return _for_attention(model, full)
    sliding = full
    if window is not None:
        before = torch.arange(past, device=keys.device).expand(*keys.shape[:-1], past)
        positions = torch.cat([before, keys], dim=-1)
        sliding = full & (queries[..., :, None] - positions[..., None, :] < window)
    if kind in ONE_WINDOW:
        return _for_attention(model, sliding)
    return {
        "full_attention": _for_attention(model, full),
        "sliding_attention": _for_attention(model, sliding),
    }


def _for_attention(model: PreTrainedModel, mask: torch.Tensor) -> torch.Tensor:
    """SDPA takes a boolean mask; eager attention adds its mask to the scores."""
    mask = mask.reshape(-1, 1, *mask.shape[-2:])
    if model.config._attn_implementation == "sdpa":
        return mask
    return torch.zeros_like(mask, dtype=model.dtype).masked_fill_(~mask, torch.finfo(model.dtype).min)
