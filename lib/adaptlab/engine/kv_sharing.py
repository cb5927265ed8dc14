"""Sharing keys and values: the only file that touches KV caches and 4-D attention masks.

A *prefix* is a run of tokens whose keys and values are kept. A *trie* holds many continuations of it at once: every
node is one token, continuations share the nodes that they have in common, and a node attends to the prefix and to its
own ancestors. One forward pass over the trie equals one pass per continuation (tested in fp32 to 1e-4).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from adaptlab.engine.lm import length_dependent, runs_that_fit


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


@torch.inference_mode()
def trie_logits(model: PreTrainedModel, prefix: PrefixCache, trie: Trie, nodes: Sequence[int]) -> torch.Tensor:
    """Next-token logits [nodes, vocabulary] at the given trie nodes; the LM head runs on no other position."""
    positions = len(prefix) + torch.tensor(trie.depths, device=model.device)
    mask = masks(model, len(prefix), trie.visible().to(model.device), positions, positions)
    return _packed(model, trie.tokens, positions, mask, prefix.fork(), nodes)


class Rows:
    """Texts that grow behind one prefix, each a row of a batch: every pass adds one token to every text.

    The keys and values of the prefix are held once, for all rows; each row has its own behind it. ``logits`` [rows,
    vocabulary] predict the next token of every row. What rows have in common is computed once, so many continuations
    of one prompt cost that prompt once; ``nodes`` counts the tokens that this took.
    """

    @torch.inference_mode()
    def __init__(
        self, model: PreTrainedModel, prefix: PrefixCache, rows: Sequence[Sequence[int]], room: int = PREFILL_CHUNK
    ) -> None:
        """``rows``: what follows the prefix in each row, at least one token. ``room``: for how many tokens there is
        space at first; there will be more when they are needed."""
        self._model, self._past, self.nodes = model, len(prefix), 0
        width = max(map(len, rows))
        lengths = torch.tensor([len(row) for row in rows], device=model.device)
        self._at = self._past + lengths - 1
        # Own tokens end at the same place in every row; a shorter one has nothing in front of them.
        self._visible = torch.arange(width, device=model.device) >= width - lengths[:, None]
        self._full = bool(self._visible.all())
        places: dict[tuple[int, ...], list[int]] = {}
        for number, row in enumerate(rows):
            places.setdefault(tuple(row), []).append(number)
        self.logits, self._cache = torch.empty(0), DynamicCache()
        for texts in runs_that_fit(places, lambda texts: sum(map(len, texts)) <= PREFILL_CHUNK):
            self._read(prefix, texts, [places[text] for text in texts], len(rows), width, room)
        self._shared = [(k[0], v[0]) for k, v in zip(prefix.keys, prefix.values, strict=True)]
        if not self._shared:  # no prefix: no tokens in it, of the shape that the rows' own have
            own = self._cache.layers
            self._shared = [(layer.keys[0, :, :0], layer.values[0, :, :0]) for layer in own]

    def _read(
        self,
        prefix: PrefixCache,
        texts: list[tuple[int, ...]],
        places: list[list[int]],
        rows: int,
        width: int,
        room: int,
    ) -> None:
        """Read texts as one trie, and give every row what its text left behind."""
        trie = Trie()
        paths = [trie.insert(text) for text in texts]
        positions = self._past + torch.tensor(trie.depths, device=self._model.device)
        mask = masks(self._model, self._past, trie.visible().to(self._model.device), positions, positions)
        cache = prefix.fork()
        logits = _packed(self._model, trie.tokens, positions, mask, cache, [path[-1] for path in paths])
        self.nodes += len(trie)
        if not self._cache.layers:
            self.logits = logits.new_empty(rows, logits.shape[-1])
            self._cache.layers += [_RowsLayer(layer, rows, width, room) for layer in cache.layers]
        longest, owners = max(map(len, paths)), [row for owned in places for row in owned]
        index = torch.tensor([[0] * (longest - len(path)) + path for path in paths], device=logits.device)
        chosen = torch.tensor([n for n, owned in enumerate(places) for _ in owned], device=logits.device)
        self.logits[owners] = logits[chosen]
        for own, layer in zip(self._cache.layers, cache.layers, strict=True):
            own.fill(layer, owners, self._past + index[chosen])

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows only, in this order."""
        self._visible, self._at, self.logits = self._visible[rows], self._at[rows], self.logits[rows]
        for layer in self._cache.layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]

    @torch.inference_mode()
    def grow(self, tokens: Sequence[int]) -> None:
        """Append one token to every row."""
        model, self._at = self._model, self._at + 1
        self._visible = torch.cat([self._visible, self._visible.new_ones(len(tokens), 1)], dim=1)
        with _attention(model, "adaptlab_rows"):
            mask = None if self._full and model.config.model_type in NO_WINDOW else self._mask()
            output = model(
                input_ids=torch.tensor(tokens, device=model.device)[:, None],
                position_ids=self._at[:, None],
                attention_mask=mask,
                past_key_values=self._cache,
                use_cache=True,
                shared=self._shared,
            )
        self.logits = output.logits[:, -1]

    def _mask(self) -> torch.Tensor | dict[str, torch.Tensor]:
        own = self._visible.shape[1]
        positions = self._at[:, None] - torch.arange(own - 1, -1, -1, device=self._at.device)
        return masks(self._model, self._past, self._visible[:, None], self._at[:, None], positions)


class _RowsLayer(DynamicLayer):
    """Keys and values that the rows of a batch have of their own: [rows, heads, room, head size], filled from the
    left. Appending writes in place; there is more room when there has to be."""

    def __init__(self, like: DynamicLayer, rows: int, width: int, room: int) -> None:
        super().__init__()
        self.lazy_initialization(like.keys, like.values)
        self.filled = width
        self.keys, self.values = (
            t.new_zeros(rows, t.shape[1], width + room, t.shape[3]) for t in (like.keys, like.values)
        )

    def fill(self, layer: DynamicLayer, rows: list[int], index: torch.Tensor) -> None:
        """Copy, for each of ``rows``, the keys and values of a packed row at ``index`` [rows, tokens]."""
        first = self.filled - index.shape[1]
        for own, packed in ((self.keys, layer.keys), (self.values, layer.values)):
            own[rows, :, first : self.filled] = packed[0][:, index].transpose(0, 1)

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_, **__) -> tuple[torch.Tensor, torch.Tensor]:
        if self.filled == self.keys.shape[2]:
            self.keys, self.values = (torch.cat([t, torch.zeros_like(t)], dim=2) for t in (self.keys, self.values))
        self.keys[:, :, self.filled], self.values[:, :, self.filled] = keys[:, :, 0], values[:, :, 0]
        self.filled += 1
        return self.keys[:, :, : self.filled], self.values[:, :, : self.filled]

    def get_seq_length(self) -> int:
        return self.filled


def _split_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    *,
    shared: Sequence[tuple[torch.Tensor, torch.Tensor]],
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attention of one new token in each row to the shared prefix and to the row's own tokens, in one softmax.

    ``query`` [rows, heads, 1, size]; ``key`` and ``value`` [rows, key heads, own tokens, size]; ``shared``: those of
    the prefix, for each layer [key heads, tokens, size]. The prefix is read once for all rows, not copied for each.
    """
    rows, heads, _, size = query.shape
    (keys, values), groups = shared[module.layer_idx], heads // key.shape[1]
    query = (query * (size**-0.5 if scaling is None else scaling)).view(rows, -1, groups, size)

    def beside(rows_first: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Products of what all rows have with what is shared: [rows, key heads, groups, …]."""
        flat = rows_first.transpose(0, 1).flatten(1, 2)
        return (flat @ other).unflatten(1, (rows, groups)).transpose(0, 1)

    scores = torch.cat([beside(query, keys.mT), query @ key.mT], dim=-1)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    of_prefix, own = weights.split([keys.shape[1], key.shape[2]], dim=-1)
    return (beside(of_prefix, values) + own @ value).reshape(rows, 1, heads, size), None


AttentionInterface.register("adaptlab_rows", _split_attention)


@contextmanager
def _attention(model: PreTrainedModel, name: str) -> Iterator[None]:
    """The model with another attention for a while."""
    before = model.config._attn_implementation
    model.config._attn_implementation = name
    try:
        yield
    finally:
        model.config._attn_implementation = before


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
    """Eager attention adds its mask to the scores; others take a boolean one."""
    mask = mask.reshape(-1, 1, *mask.shape[-2:])
    if model.config._attn_implementation != "eager":
        return mask
    return torch.zeros_like(mask, dtype=model.dtype).masked_fill_(~mask, torch.finfo(model.dtype).min)
