"""The pass through a masked network and the univariate maps, and its reverse, of one tile.

All features are known here: layer after layer, whole. A tile is laid out as in `sweeps`, and
arguments have the same names.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

from numba import njit

from invflow.kernels.cpu import masked
from invflow.kernels.cpu.activations import activate, pull
from invflow.kernels.cpu.clip import clip_rows, pull_clip
from invflow.kernels.cpu.maps import apply, pull_apply
from invflow.kernels.cpu.tiles import add, copy, start


@njit(nogil=True, error_model="numpy")
def parallel(
    tile, columns, starts, tops, blocks, residual, activation, map, bound, input_bound,
    degrees, biases, offset, hidden, values, begin, end,
):  # fmt: skip
    """Turn z into x, all features at once; `degrees` are those of the units of all layers."""
    last, features = starts.shape[0] - 1, starts.shape[1] - 1
    outputs = starts[last, features] // features
    bottom = tops[last] + starts[last, features]
    copy(tile, 0, values, 0, features * columns)
    clip_rows(input_bound, tile, 0, features * columns)
    for layer in range(1, last + 1):
        top, units = tops[layer], starts[layer, features]
        start(tile, columns, tops, layer, 0, units, biases, offset, begin, end)
        for b in range(blocks.shape[0]):
            target, source, at = blocks[b]
            if target == layer:
                masked.read(tile, columns, starts, tops, degrees, target, source, at)
        if layer == last:
            break
        count, kept = units * columns, (top - features) * columns
        if residual and layer > 1:
            add(hidden, (tops[layer - 1] - features) * columns, tile, top * columns, count)
        if hidden.size > 0:
            copy(tile, top * columns, hidden, kept, count)
        activate(activation, tile, top * columns, count)
    copy(values, 0, tile, 0, features * columns)
    for d in range(features):
        row = (tops[last] + d * outputs) * columns
        apply(map, bound, tile, d * columns, row, columns, bottom * columns)


@njit(nogil=True, error_model="numpy")
def reverse_parallel(
    tile, columns, starts, tops, blocks, residual, activation, map, bound, input_bound,
    degrees, z, params, hidden, values,
):  # fmt: skip
    """Turn cotangents of x into those of z and of all layers; see `reverse_sweep`."""
    last, features = starts.shape[0] - 1, starts.shape[1] - 1
    outputs = starts[last, features] // features
    bottom = tops[last] + starts[last, features]
    size = features * columns
    for d in range(features):
        row = (tops[last] + d * outputs) * columns
        pull_apply(
            map, bound, tile, d * columns, z[d * columns :], row, columns,
            params[d * outputs * columns :], bottom * columns,
        )  # fmt: skip
    copy(tile, 0, values, 0, size)
    tile[:size] = 0
    for layer in range(last - 1, -1, -1):
        top, units = tops[layer], starts[layer, features]
        for b in range(blocks.shape[0]):
            target, source, at = blocks[b]
            if source == layer:
                masked.pull(tile, columns, starts, tops, degrees, target, source, at)
        if layer == 0:
            break
        count = units * columns
        pull(activation, tile, top * columns, hidden, (top - features) * columns, count)
        if residual and layer < last - 1:
            add(tile, tops[layer + 1] * columns, tile, top * columns, count)
    pull_clip(input_bound, tile, 0, z, size)
    add(values, 0, tile, 0, size)
