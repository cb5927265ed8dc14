"""Token sequences that share their beginnings, as one tree."""

from collections.abc import Sequence

import torch


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
