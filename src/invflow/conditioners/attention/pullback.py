r"""The reverse sweep of a transformer: cotangents of tokens, the last one first.

One pass over all tokens makes their activations again. Then, for each token, its cotangent is
propagated from the parameters back through the blocks. The cotangents of keys and values are
summed over the later tokens that attended to them, in buffers, so a token's are complete when its
turn comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from invflow.conditioners.activation import ACTIVATIONS
from invflow.conditioners.attention.attend import attend, pulled
from invflow.conditioners.attention.block import Block, standardised
from invflow.conditioners.attention.record import BlockRecord, Record
from invflow.conditioners.attention.weights import Weights

_gelu_slope = ACTIVATIONS["gelu"].derivative


class _Standardised(NamedTuple):
    """Standardised tokens, and the inverses of their deviations; all (batch, tokens, units)."""

    values: Tensor
    inverses: Tensor

    def pull(self, token: int, bar: Tensor) -> Tensor:
        """Return the cotangent of a token from that of its standardised value."""
        value, inverse = self.values[:, token], self.inverses[:, token]
        slope = (bar * value).mean(-1, keepdim=True)
        return inverse * (bar - bar.mean(-1, keepdim=True) - value * slope)


class _BlockPullback:
    """A block in reverse.

    Args:
        block: its weights.
        record: where to put what the gradients need.
        heads: of the block.
        tokens: before the block, (batch, tokens, width).
        later: which tokens are hidden from a token.

    Attributes:
        outputs: the tokens after the block.
    """

    def __init__(
        self, block: Block, record: BlockRecord, heads: int, tokens: Tensor, later: Tensor
    ) -> None:
        self._block = block
        self._record = record
        asked = block.ask(tokens, heads)
        found = attend(*asked, later).flatten(-2)
        answer = block.answer(tokens, found)
        inner = block.widen(answer)
        self.outputs = block.narrow(answer, inner)
        self._read = _Standardised(*standardised(tokens))
        self._inner_read = _Standardised(*standardised(answer))
        record.read.copy_(self._read.values)
        record.found.copy_(found)
        record.inner_read.copy_(self._inner_read.values)
        record.inner.copy_(inner)
        self._queries, self._keys, self._values = (
            part.transpose(1, 2).flatten(0, 1) for part in asked
        )
        self._key_bars = torch.zeros_like(self._keys)
        self._value_bars = torch.zeros_like(self._values)

    def pull(self, token: int, bar: Tensor) -> Tensor:
        """Return the cotangent of a token before the block from that after it, [batch, width]."""
        block, record = self._block, self._record
        record.output_bar[:, token] = bar
        inner_bar = (bar @ block.down) * _gelu_slope(record.inner[:, token])
        record.inner_bar[:, token] = inner_bar
        read_bar = (inner_bar @ block.up) * block.inner_norm_scale
        answer_bar = bar + self._inner_read.pull(token, read_bar)
        record.answer_bar[:, token] = answer_bar
        asked_bar = self._pull_attention(token, answer_bar @ block.write)
        record.asked_bar[:, token] = asked_bar
        read_bar = (asked_bar @ block.read) * block.norm_scale
        return answer_bar + self._read.pull(token, read_bar)

    def _pull_attention(self, token: int, found_bar: Tensor) -> Tensor:
        """Return the cotangents of a token's query, key and value, side by side."""
        rows, _, size = self._queries.shape
        query, seen = self._queries[:, token : token + 1], slice(token + 1)
        keys, values = self._keys[:, seen], self._values[:, seen]
        bar = found_bar.reshape(rows, 1, size)
        shares = torch.softmax(query @ keys.transpose(1, 2), -1)
        score_bars = pulled(shares, bar @ values.transpose(1, 2))
        self._value_bars[:, seen].addcmul_(shares.transpose(1, 2), bar)
        self._key_bars[:, seen].addcmul_(score_bars.transpose(1, 2), query)
        query_bar = (score_bars @ keys).squeeze(1) * size**-0.5
        bars = query_bar, self._key_bars[:, token], self._value_bars[:, token]
        return torch.cat([bar.reshape(found_bar.shape) for bar in bars], -1)


class AttentionPullback:
    """The decoder in reverse: from cotangents of parameters to those of features, last one first.

    Args:
        sizes: of the groups.
        heads: of each block.
        hidden: the decoder's.
        weights: of the transformer.

    Attributes:
        z: cotangents of the features.
        params: cotangents of the parameters.
        hidden: a `Record`, as columns.
    """

    def __init__(self, sizes: Sequence[int], heads: int, hidden: Tensor, weights: Weights) -> None:
        _, self._embedding, blocks, self._head = weights
        tokens, width, batch = len(sizes), self._embedding.shape[1], hidden.shape[1]
        outputs = len(self._head.out) // max(sizes)
        self.z = hidden.new_zeros(sum(sizes), batch)
        self.params = hidden.new_empty(sum(sizes) * outputs, batch)
        self._z = self.z.split(list(sizes))
        self._params = self.params.split([size * outputs for size in sizes])
        self._record = Record.empty(hidden, tokens, width, len(blocks))
        self.hidden = self._record.columns
        later = torch.ones(tokens, tokens, dtype=torch.bool, device=hidden.device).triu(1)
        values = hidden.t().unflatten(1, (tokens, width)).contiguous()
        self._blocks: list[_BlockPullback] = []
        for block, record in zip(blocks, self._record.blocks, strict=True):
            self._blocks.append(_BlockPullback(block, record, heads, values, later))
            values = self._blocks[-1].outputs
        self._read = _Standardised(*standardised(values))
        self._record.read.copy_(self._read.values)

    def cotangent(self, group: int) -> Tensor:
        """Return the cotangents of a group, [size, batch], given those of all later parameters."""
        rows = self._z[group]
        if group + 1 == len(self._z):  # no token holds the last group
            return rows
        bar = self._record.tokens_bar[:, group + 1]
        return rows.copy_(self._embedding[: len(rows)] @ bar.t())

    def append(self, group: int, params: Tensor) -> None:
        """Append the cotangents of a group's parameters, [size * outputs, batch]."""
        self._params[group].copy_(params)
        bar = (params.t() @ self._head.out[: len(params)]) * self._head.norm_scale
        bar = self._read.pull(group, bar)
        for block in reversed(self._blocks):
            bar = block.pull(group, bar)
        self._record.tokens_bar[:, group] = bar
