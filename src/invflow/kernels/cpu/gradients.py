"""The gradients of biases and of masked matrices, over the whole batch.

Those of biases are sums of cotangents. Those of matrices are products of cotangents and
activations, taken in panels, which threads share: as many units of the source as a tile has
columns, with all units of the target that see any of them; or as many units of the target, with all
that they see, where that leaves less of a panel empty.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

import numpy as np
from numba import njit

from invflow.kernels.cpu.activations import activate
from invflow.kernels.cpu.clip import clip_rows
from invflow.kernels.cpu.masked import seen
from invflow.kernels.cpu.product import GROUP, accumulate, accumulate_group, transpose
from invflow.kernels.cpu.tiles import copy, load


@njit(nogil=True)
def bias_gradients(sums, result):
    """Write the sums over all tiles.

    Args:
        sums: over each tile, [tiles, units].
        result: begins with the sums of all, [units and more].
    """
    units = sums.shape[1]
    whole = np.zeros(units)  # in double precision: there may be many tiles
    for t in range(len(sums)):
        for unit in range(units):
            whole[unit] += sums[t, unit]
    result[:units] = whole


@njit(nogil=True)
def _values(
    tile, columns, tops, source, low, high, activation, input_bound, order, z, hidden, begin, end
):  # fmt: skip
    """Fill the first rows of a tile with what units of a source gave.

    Args:
        tile: the tile's memory, flat.
        columns: of the tile.
        tops: see `sweeps`.
        source: the layer.
        low: the first unit.
        high: the unit after the last.
        activation: its number.
        input_bound: the bound of what is read of features.
        order: the features in the order in which they are taken.
        z: noise, [batch, features].
        hidden: pre-activations of all layers, [units * columns].
        begin: the first element of the batch.
        end: the one after the last.
    """
    if source == 0:
        load(tile, 0, columns, z, order[low:high], begin, end)
        clip_rows(input_bound, tile, 0, (high - low) * columns)
    else:
        place = (tops[source] - tops[1] + low) * columns
        copy(hidden, place, tile, 0, (high - low) * columns)
        activate(activation, tile, 0, (high - low) * columns)


@njit(nogil=True)
def source_panel(
    first, columns, starts, tops, degrees, target, source, activation, input_bound, order,
    z, hidden, deltas, own, result,
):  # fmt: skip
    """Write the gradients of how a target reads some units of a source.

    Args:
        first: the first of these units.
        columns: of a tile.
        starts: see `sweeps`.
        tops: see there.
        degrees: of the units of all layers.
        target: the layer that reads.
        source: the layer that it reads.
        activation: its number.
        input_bound: the bound of what is read of features.
        order: the features in the order in which they are taken.
        z: noise, [batch, features].
        hidden: pre-activations of all layers, [tiles, units * columns].
        deltas: cotangents, of the target among others, [tiles, units * columns].
        own: the target's first unit among those.
        result: filled with the gradients, zero where the mask is, [target units, source units].
    """
    rows, batch = result.shape[0], z.shape[0]
    beyond = min(first + columns, result.shape[1])
    low = starts[target, degrees[tops[source] + first]]
    total = np.zeros((rows - low) * columns, z.dtype)
    values, scratch = np.empty((2, columns * columns), z.dtype)
    for t in range(len(deltas)):
        begin, end = t * columns, min((t + 1) * columns, batch)
        _values(
            values, columns, tops, source, first, beyond, activation, input_bound,
            order, z, hidden[t], begin, end,
        )  # fmt: skip
        transpose(values, 0, beyond - first, columns, scratch)
        cotangents, size = deltas[t].ctypes.data, columns * z.itemsize
        for i in range(low, rows - GROUP + 1, GROUP):
            right = seen(starts, source, degrees[tops[target] + i + GROUP - 1]) - first
            accumulate_group(
                total, i - low, cotangents + (own + i) * size, columns, 1,
                scratch, 0, end - begin, 0, min(right, columns),
            )  # fmt: skip
        i = rows - (rows - low) % GROUP
        accumulate(
            total, i - low, rows - i, cotangents + (own + i) * size, columns, 1,
            scratch, 0, end - begin, columns,
        )  # fmt: skip
    result[:low, first:beyond] = 0
    for i in range(low, rows):
        visible = min(seen(starts, source, degrees[tops[target] + i]), beyond)
        for j in range(first, visible):
            result[i, j] = total[(i - low) * columns + j - first]
        for j in range(visible, beyond):
            result[i, j] = 0


@njit(nogil=True)
def target_panel(
    first, columns, starts, tops, degrees, target, source, activation, input_bound, order,
    z, hidden, deltas, own, result,
):  # fmt: skip
    """Write the gradients of how units of a target, `first` and on, read a source.

    See `source_panel`.
    """
    batch = z.shape[0]
    beyond = min(first + columns, result.shape[0])
    high = seen(starts, source, degrees[tops[target] + beyond - 1])
    total = np.zeros(high * columns, z.dtype)
    values = np.empty(high * columns, z.dtype)
    scratch = np.empty(columns * columns, z.dtype)
    for t in range(len(deltas)):
        begin, end = t * columns, min((t + 1) * columns, batch)
        _values(
            values, columns, tops, source, 0, high, activation, input_bound,
            order, z, hidden[t], begin, end,
        )  # fmt: skip
        transpose(deltas[t], own + first, beyond - first, columns, scratch)
        given, size = values.ctypes.data, columns * z.itemsize
        for i in range(0, high - GROUP + 1, GROUP):
            left = max(starts[target, degrees[tops[source] + i]] - first, 0)
            accumulate_group(
                total, i, given + i * size, columns, 1, scratch, 0, end - begin, left, columns
            )  # fmt: skip
        i = high - high % GROUP
        accumulate(
            total, i, high - i, given + i * size, columns, 1, scratch, 0, end - begin, columns
        )  # fmt: skip
    for i in range(first, beyond):
        visible = seen(starts, source, degrees[tops[target] + i])
        for j in range(visible):
            result[i, j] = total[j * columns + i - first]
        for j in range(visible, result.shape[1]):
            result[i, j] = 0
