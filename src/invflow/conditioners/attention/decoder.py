"""The forward sweep of a transformer: one token after another, from cached keys and values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from invflow.conditioners.attention.weights import Weights


class AttentionDecoder:
    """One token per group, which attends to the cached keys and values of earlier tokens.

    Args:
        sizes: of the groups.
        heads: of each block.
        offset: what the context adds to every token, [width, batch].
        weights: of the transformer.

    Attributes:
        params: the parameters so far, [features * outputs, batch].
        hidden: the tokens before the first block, [tokens * width, batch].
    """

    def __init__(self, sizes: Sequence[int], heads: int, offset: Tensor, weights: Weights) -> None:
        (width, batch), tokens = offset.shape, len(sizes)
        outputs = len(weights.head.out) // max(sizes)
        self.params = offset.new_empty(sum(sizes) * outputs, batch)
        self.hidden = offset.new_empty(tokens * width, batch)
        self._params = self.params.split([size * outputs for size in sizes])
        self._tokens = self.hidden.split(width)
        self._heads = heads
        self._positions, self._embedding, self._blocks, self._head = weights
        # Made once, and filled token by token.
        shape = batch * heads, tokens, width // heads
        self._caches = [(offset.new_empty(shape), offset.new_empty(shape)) for _ in self._blocks]
        self._context = offset.t()
        self._token = self._context + self._positions[0]

    def parameters(self, group: int) -> Tensor:
        """Return the parameters of a group, [size * outputs, batch], given all earlier groups."""
        tokens = self._token
        self._tokens[group].copy_(tokens.t())
        for block, (keys, values) in zip(self._blocks, self._caches, strict=True):
            query, key, value = (part.flatten(0, 1) for part in block.ask(tokens, self._heads))
            keys[:, group], values[:, group] = key, value
            seen = slice(group + 1)
            shares = torch.softmax(query.unsqueeze(1) @ keys[:, seen].transpose(1, 2), -1)
            tokens = block.after(tokens, (shares @ values[:, seen]).reshape(tokens.shape))
        rows = self._params[group]
        return rows.copy_(self._head(tokens).t()[: len(rows)])

    def append(self, group: int, z: Tensor) -> None:
        """Append the values of a group, [size, batch]."""
        if group + 1 < len(self._tokens):
            token = self._context + self._positions[group + 1]
            self._token = torch.addmm(token, z.t(), self._embedding[: len(z)])
