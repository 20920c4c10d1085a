"""All weights of a transformer, as the sweeps take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from invflow.conditioners.attention.block import Block, Head


class Weights(NamedTuple):
    """The weights of a transformer.

    Attributes:
        positions: what each token starts from, (tokens, width).
        embedding: what each feature of the group before adds, (largest group, width).
        blocks: in their order.
        head: the layers after them.
    """

    positions: Tensor
    embedding: Tensor
    blocks: Sequence[Block]
    head: Head

    @property
    def flat(self) -> list[Tensor]:
        """All tensors, one after the other."""
        blocks = [tensor for block in self.blocks for tensor in block]
        return [self.positions, self.embedding, *blocks, *self.head]

    @classmethod
    def of(cls, flat: Sequence[Tensor]) -> Weights:
        """Return the weights that `flat` has listed."""
        positions, embedding, *inner = flat
        size, end = len(Block._fields), len(inner) - len(Head._fields)
        blocks = [Block(*inner[i : i + size]) for i in range(0, end, size)]
        return cls(positions, embedding, blocks, Head(*inner[end:]))
