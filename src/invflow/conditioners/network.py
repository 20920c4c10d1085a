"""The parallel pass of a MADE on plain tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from invflow.conditioners.activation import ACTIVATIONS
from invflow.conditioners.layout import Layout
from invflow.conditioners.norm import normalised

_Panels = Sequence[tuple[int, int, int]]


def outputs(
    layout: Layout,
    z: Tensor,
    offset: Tensor,
    biases: Sequence[Tensor],
    gains: Sequence[Tensor],
    matrices: Sequence[Tensor],
    masks: Sequence[Tensor],
    ends: Sequence[Tensor] = (),
) -> Tensor:
    """Return the parameters of all features, (*batch, features * outputs).

    Args:
        layout: the structure.
        z: features, (*batch, features).
        offset: pre-activations of the first layer without the features, ([*batch,] units).
        biases: of the later layers.
        gains: of the normalised hidden layers; empty without `layout.norm`.
        matrices: in the order of `layout.blocks`.
        masks: of the matrices.
        ends: for each normalised hidden layer, the last unit of each unit's degree.
    """
    activation = ACTIVATIONS[layout.activation].function
    blocks = list(zip(matrices, masks, layout.row_panels, strict=True))
    offsets = [offset, *biases]
    values, rows = [z], z
    for layer, (own, block) in enumerate(zip(offsets, blocks[: len(offsets)], strict=True), 1):
        shared = own if own.ndim == 1 else None
        before, rows = rows, _product(*block, values[layer - 1], shared)
        if shared is None:
            rows = rows + own
        if layout.adds_previous(layer):
            rows = rows + before
        if layer < len(offsets):
            inner = normalised(rows, gains[layer - 1], ends[layer - 1]) if layout.norm else rows
            values.append(activation(inner))
    if layout.direct:
        rows = rows + _product(*blocks[-1], z, None)
    return rows


def _product(
    matrix: Tensor, mask: Tensor, panels: _Panels, values: Tensor, bias: Tensor | None
) -> Tensor:
    """Multiply with a masked matrix, each panel of rows only with the columns that it sees."""
    if len(panels) == 1:
        return F.linear(values, matrix * mask, bias)
    rows = [end - first for first, end, _ in panels]
    biases = bias.split(rows) if bias is not None else [None] * len(rows)
    parts = [
        F.linear(values[..., :seen], weight[:, :seen] * own[:, :seen], part)
        for (_, _, seen), weight, own, part in zip(
            panels, matrix.split(rows), mask.split(rows), biases, strict=True
        )
    ]
    return torch.cat(parts, -1)
