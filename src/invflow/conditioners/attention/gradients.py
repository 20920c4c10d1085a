"""The gradients of a transformer's weights, from what its linear layers read and cotangents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from invflow.conditioners.attention.block import Block, Head
from invflow.conditioners.attention.record import BlockRecord, Record
from invflow.conditioners.attention.weights import Weights
from invflow.conditioners.groups import padded


def gradients(
    sizes: Sequence[int], weights: Weights, z: Tensor, record: Record, params: Tensor
) -> tuple[Tensor, Weights]:
    """Return the gradients of the offset, [width, batch], and of the weights.

    Args:
        sizes: of the groups.
        weights: of the transformer.
        z: what the transformer read, [features, batch].
        record: of the pullback.
        params: cotangents of the parameters, [features * outputs, batch].
    """
    outputs = len(weights.head.out) // max(sizes)
    params_bar = padded(params.t(), [size * outputs for size in sizes])
    head = weights.head
    head_bars = _normalised(params_bar, record.read, head.norm_scale, head.norm_shift, head.out)
    blocks = [
        _block(block, part) for block, part in zip(weights.blocks, record.blocks, strict=True)
    ]
    bar = record.tokens_bar
    embedding = _product(padded(z.t(), sizes)[:, :-1], bar[:, 1:])
    return bar.sum(1).t(), Weights(bar.sum(0), embedding, blocks, Head(*head_bars))


def _block(block: Block, record: BlockRecord) -> Block:
    outer = block.norm_scale, block.norm_shift, block.read
    inner = block.inner_norm_scale, block.inner_norm_shift, block.up
    return Block(
        *_normalised(record.asked_bar, record.read, *outer),
        *_linear(record.answer_bar, record.found),
        *_normalised(record.inner_bar, record.inner_read, *inner),
        *_linear(record.output_bar, F.gelu(record.inner)),
    )


def _linear(bars: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of a layer's matrix and bias."""
    return _product(bars, values), bars.sum((0, 1))


def _normalised(
    bars: Tensor, values: Tensor, scale: Tensor, shift: Tensor, matrix: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of a layer normalisation and of the layer that follows.

    Args:
        bars: cotangents of what the layer returns, (batch, tokens, units).
        values: standardised tokens, (batch, tokens, width).
        scale: of the normalisation.
        shift: of the normalisation.
        matrix: of the layer.

    Returns:
        Gradients of scale, shift, matrix and bias.
    """
    product, bias = _linear(bars, values)
    # The matrix reads scale * values + shift.
    whole = product * scale + torch.outer(bias, shift)
    return (matrix * product).sum(0), bias @ matrix, whole, bias


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return the sum over batch and tokens of the outer products."""
    return left.flatten(0, 1).t() @ right.flatten(0, 1)
