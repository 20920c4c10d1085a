"""What the gradients of a transformer's weights need of every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class BlockRecord(NamedTuple):
    """What the linear layers of a block read, and cotangents; all (batch, tokens, units).

    Attributes:
        read: standardised tokens, as attention reads them.
        found: the result of attention.
        inner_read: standardised tokens, as the perceptron reads them.
        inner: its hidden layer before the activation.
        asked_bar: cotangents of queries, keys and values, side by side.
        answer_bar: cotangents of the tokens between attention and perceptron.
        inner_bar: cotangents of `inner`.
        output_bar: cotangents of the tokens after the block.
    """

    read: Tensor
    found: Tensor
    inner_read: Tensor
    inner: Tensor
    asked_bar: Tensor
    answer_bar: Tensor
    inner_bar: Tensor
    output_bar: Tensor


#: The units of each of these, in widths.
_WIDTHS = (1, 1, 1, 4, 3, 1, 4, 1)


class Record(NamedTuple):
    """What the linear layers of a transformer read, and cotangents.

    Attributes:
        columns: all of it, [units, batch], which the other attributes are views of.
        blocks: of each block.
        read: standardised tokens after the last block, (batch, tokens, width).
        tokens_bar: cotangents of the tokens before the first block, (batch, tokens, width).
    """

    columns: Tensor
    blocks: Sequence[BlockRecord]
    read: Tensor
    tokens_bar: Tensor

    @classmethod
    def of(cls, columns: Tensor, tokens: int, width: int, depth: int) -> Record:
        """Return the record in these columns."""
        block = [width * units for units in _WIDTHS]
        rows = columns.t().unflatten(1, (tokens, _units(width, depth)))
        *parts, read, tokens_bar = rows.split([*block * depth, width, width], -1)
        blocks = [BlockRecord(*parts[i : i + len(block)]) for i in range(0, len(parts), len(block))]
        return cls(columns, blocks, read, tokens_bar)

    @classmethod
    def empty(cls, like: Tensor, tokens: int, width: int, depth: int) -> Record:
        """Return an empty record for the batch of a tensor, [units, batch]."""
        # Token by token in memory, so that all views are matrices.
        rows = like.new_empty(like.shape[1], tokens * _units(width, depth))
        return cls.of(rows.t(), tokens, width, depth)


def _units(width: int, depth: int) -> int:
    """Return the number of units of a token."""
    return (depth * sum(_WIDTHS) + 2) * width
