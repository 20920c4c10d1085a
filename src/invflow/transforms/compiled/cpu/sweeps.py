"""The sweep through a MADE and its reverse, tile by tile: see `conditioners.sweep` for the idea.

Both walk through panels of features. `starts[layer, d]` is how many units of a layer are known
when all features before d are, those of degree d not counted; layer 0 holds the features
themselves, the last one the outputs. `blocks` holds, for each weight matrix, the layer it adds to,
the layer it reads, and where it begins in `weights`. Within a tile the layers lie below each other,
layer l from row `tops[l]` on, and below them a row of log-derivatives.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from invflow.transforms.compiled.cpu.activations import activate, pull
from invflow.transforms.compiled.cpu.maps import pull_solve, solve
from invflow.transforms.compiled.cpu.product import accumulate


@njit(nogil=True)
def _load(tile, top, columns, values, order, begin, end):
    """Fill rows of a tile, one for each feature in `order`, from rows of a batch."""
    for d in range(order.size):
        row, feature = (top + d) * columns, order[d]
        for c in range(end - begin):
            tile[row + c] = values[begin + c, feature]


@njit(nogil=True)
def _unload(tile, columns, values, order, begin, end):
    """Write the features of a tile to rows of a batch."""
    for d in range(order.size):
        row, feature = d * columns, order[d]
        for c in range(end - begin):
            values[begin + c, feature] = tile[row + c]


@njit(nogil=True)
def _store(tile, top, columns, values, begin, end):
    """Copy rows of a tile to columns of a batch."""
    for i in range(values.shape[0]):
        row = (top + i) * columns
        for c in range(end - begin):
            values[i, begin + c] = tile[row + c]


class Kernels(NamedTuple):
    """The two sweeps, compiled at their first call."""

    sweep: Callable[..., None]
    reverse_sweep: Callable[..., None]


def kernels(key: str, keep: bool) -> Kernels:
    """Return the sweeps.

    Args:
        key: what the machine code on disk is kept under, beside the code of this file; Numba does
            not see by itself that a file which this one imports has changed.
        keep: whether to keep it on disk.
    """

    @njit(nogil=True, cache=keep, error_model="numpy")
    def sweep(
        tiles, columns, starts, tops, blocks, panel, residual, activation, map, bound,
        weights, biases, offset, order, x, z, ladj, params, hidden,
    ):  # fmt: skip
        """Invert the features one after another, from cached activations.

        Args:
            tiles: the first tile, and the one after the last.
            columns: of a tile.
            starts: see above, [layers, features + 1].
            tops: see above, [layers].
            blocks: see above, [matrices, 3].
            panel: features in a panel.
            residual: whether a hidden layer adds the one before.
            activation: its number in `ACTIVATIONS`.
            map: the univariate map's number in `MAPS`.
            bound: of an affine map's log-scale.
            weights: all matrices, flat.
            biases: of all layers, flat.
            offset: pre-activations of layer 1 without its features, [units, batch], in place of its
                biases; without units where those say all.
            order: the features in the order in which they are taken.
            x: data, [batch, features].
            z: filled with the solution, [batch, features].
            ladj: filled with log|det dz/dx|, [batch].
            params: filled with the parameters, [features * outputs, batch].
            hidden: filled with the pre-activations, [units, batch].
        """
        _ = key
        last, features = starts.shape[0] - 1, order.size
        outputs = params.shape[0] // features
        bottom = tops[last] + params.shape[0]
        tile = np.zeros((bottom + 1) * columns, x.dtype)
        for t in range(tiles[0], tiles[1]):
            begin = t * columns
            end = min(begin + columns, x.shape[0])
            _load(tile, 0, columns, x, order, begin, end)
            tile[bottom * columns :] = 0
            for first in range(0, features, panel):
                beyond = min(first + panel, features)
                for layer in range(1, last + 1):
                    low, high = starts[layer, first], starts[layer, beyond]
                    for unit in range(low, high):
                        row = (tops[layer] + unit) * columns
                        bias = biases[tops[layer] - features + unit]
                        for c in range(columns):
                            tile[row + c] = bias
                        if layer == 1 and offset.shape[0] > 0:
                            for c in range(end - begin):
                                tile[row + c] = offset[unit, begin + c]
                    for b in range(blocks.shape[0]):
                        target, source, at = blocks[b]
                        if target == layer:
                            length = starts[source, features]
                            accumulate(
                                tile, tops[layer] + low, high - low,
                                weights, at + low * length, length,
                                tile, tops[source], starts[source, first], columns,
                            )  # fmt: skip
                for d in range(first, beyond):
                    for layer in range(1, last + 1):
                        low, high = starts[layer, d], starts[layer, d + 1]
                        if low == high:
                            continue
                        for b in range(blocks.shape[0]):
                            target, source, at = blocks[b]
                            if target == layer:
                                length = starts[source, features]
                                inside = starts[source, first]
                                known = d if source == 0 else starts[source, d + 1]
                                accumulate(
                                    tile, tops[layer] + low, high - low,
                                    weights, at + low * length + inside, length,
                                    tile, tops[source] + inside, known - inside, columns,
                                )  # fmt: skip
                        if layer == last:
                            continue
                        for unit in range(low, high):
                            row = (tops[layer] + unit) * columns
                            kept = tops[layer] - features + unit
                            if residual and layer > 1:
                                previous = tops[layer - 1] - features + unit
                                for c in range(end - begin):
                                    tile[row + c] += hidden[previous, begin + c]
                            for c in range(end - begin):
                                hidden[kept, begin + c] = tile[row + c]
                        activate(
                            activation, tile, (tops[layer] + low) * columns, (high - low) * columns
                        )
                    row = (tops[last] + d * outputs) * columns
                    solve(map, bound, tile, d * columns, row, columns, bottom * columns)
            _unload(tile, columns, z, order, begin, end)
            for c in range(end - begin):
                ladj[begin + c] = tile[bottom * columns + c]
            _store(tile, tops[last], columns, params, begin, end)

    @njit(nogil=True, cache=keep, error_model="numpy")
    def reverse_sweep(
        tiles, columns, starts, tops, blocks, panel, residual, activation, map, bound,
        weights, order, z, params, hidden, bar_z, bar_ladj, bar_x, bar_params, bar_hidden,
    ):  # fmt: skip
        """Take cotangents back through a sweep, the last feature first.

        Args:
            tiles: the first tile, and the one after the last.
            columns: of a tile.
            starts: as in `sweep`.
            tops: as in `sweep`.
            blocks: as in `sweep`.
            panel: features in a panel.
            residual: as in `sweep`.
            activation: as in `sweep`.
            map: as in `sweep`.
            bound: as in `sweep`.
            weights: all matrices, transposed, flat.
            order: the features in the order in which they are taken.
            z: the solution that `sweep` left, [batch, features].
            params: the parameters that it left.
            hidden: the pre-activations that it left.
            bar_z: cotangents of z, [batch, features].
            bar_ladj: those of the log-determinants, [batch].
            bar_x: filled with the cotangents of x.
            bar_params: with those of the parameters.
            bar_hidden: with those of the pre-activations.
        """
        _ = key
        last, features = starts.shape[0] - 1, order.size
        outputs = params.shape[0] // features
        bottom = tops[last] + params.shape[0]
        tile = np.zeros((bottom + 1 + features) * columns, z.dtype)
        for t in range(tiles[0], tiles[1]):
            begin = t * columns
            end = min(begin + columns, z.shape[0])
            tile[:] = 0
            _load(tile, 0, columns, bar_z, order, begin, end)
            _load(tile, bottom + 1, columns, z, order, begin, end)
            for c in range(end - begin):
                tile[bottom * columns + c] = bar_ladj[begin + c]
            for first in range((features - 1) // panel * panel, -1, -panel):
                beyond = min(first + panel, features)
                for layer in range(last):
                    low, high = starts[layer, first], starts[layer, beyond]
                    for b in range(blocks.shape[0]):
                        target, source, at = blocks[b]
                        if source == layer:
                            length, outside = starts[target, features], starts[target, beyond]
                            accumulate(
                                tile, tops[layer] + low, high - low,
                                weights, at + low * length + outside, length,
                                tile, tops[target] + outside, length - outside, columns,
                            )  # fmt: skip
                for d in range(beyond - 1, first - 1, -1):
                    for b in range(blocks.shape[0]):
                        target, source, at = blocks[b]
                        if source == 0:
                            length, later = starts[target, features], starts[target, d + 1]
                            accumulate(
                                tile, d, 1,
                                weights, at + d * length + later, length,
                                tile, tops[target] + later, starts[target, beyond] - later, columns,
                            )  # fmt: skip
                    row = (tops[last] + d * outputs) * columns
                    pull_solve(
                        map, bound, tile, d * columns, (bottom + 1 + d) * columns, row, columns,
                        params, d, begin, end, bottom * columns,
                    )  # fmt: skip
                    for layer in range(last - 1, 0, -1):
                        low, high = starts[layer, d], starts[layer, d + 1]
                        if low == high:
                            continue
                        for b in range(blocks.shape[0]):
                            target, source, at = blocks[b]
                            if source == layer:
                                length, reached = starts[target, features], starts[target, d]
                                accumulate(
                                    tile, tops[layer] + low, high - low,
                                    weights, at + low * length + reached, length,
                                    tile, tops[target] + reached,
                                    starts[target, beyond] - reached, columns,
                                )  # fmt: skip
                        for unit in range(low, high):
                            row = (tops[layer] + unit) * columns
                            pull(
                                activation, tile, row, hidden, tops[layer] - features + unit,
                                begin, end,
                            )  # fmt: skip
                            if residual and layer < last - 1:
                                following = (tops[layer + 1] + unit) * columns
                                for c in range(end - begin):
                                    tile[row + c] += tile[following + c]
            _unload(tile, columns, bar_x, order, begin, end)
            _store(tile, features, columns, bar_hidden, begin, end)
            _store(tile, tops[last], columns, bar_params, begin, end)

    return Kernels(sweep, reverse_sweep)
