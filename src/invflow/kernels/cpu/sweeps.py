"""The sweep through a MADE and its reverse, of one tile: see `conditioners.sweep` for the idea.

Both walk through panels of features. `starts[layer, d]` is how many units of a layer are known
when all features before d are, those of degree d not counted; layer 0 holds the features
themselves, the last one the outputs. `blocks` holds, for each weight matrix, the layer it adds to,
the layer it reads, and its address. Within a tile the layers lie below each other, layer l from row
`tops[l]` on, and below them a row of log-derivatives.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

from numba import njit

from invflow.kernels.cpu.activations import activate, pull
from invflow.kernels.cpu.clip import clip_rows, pull_clip
from invflow.kernels.cpu.maps import pull_solve, solve
from invflow.kernels.cpu.product import accumulate
from invflow.kernels.cpu.tiles import add, copy, start

#: Hidden units in a panel.
PANEL = 32


@njit(nogil=True)
def _panel(starts):
    """Return how many features a panel takes."""
    features, hidden = starts.shape[1] - 1, starts[1:-1, -1]
    widest = hidden.max() if hidden.size > 0 else PANEL
    return max(PANEL * features // widest, 1)


@njit(nogil=True, error_model="numpy")
def sweep(
    tile, columns, starts, tops, blocks, residual, activation, map, bound, input_bound,
    biases, offset, hidden, values, begin, end,
):  # fmt: skip
    """Turn x into z, one feature after another, from cached activations.

    Args:
        tile: its memory, flat, with the features of x in the order in which they are taken.
        columns: of the tile.
        starts: see above, [layers, features + 1].
        tops: see above, [layers].
        blocks: see above, [matrices, 3].
        residual: whether a hidden layer adds the one before.
        activation: its number in `ACTIVATIONS`.
        map: the univariate map's number in `MAPS`.
        bound: of an affine map's log-scale.
        input_bound: the bound of what is read of features, infinite for none.
        biases: of all layers, flat.
        offset: what a context adds to layer 1, [batch, units]; without rows for none.
        hidden: filled with the tile's pre-activations, [units * columns]; empty where they are not
            wanted.
        values: room for the features, [features * columns].
        begin: the first element of the batch in the tile.
        end: the one after the last.
    """
    last, features = starts.shape[0] - 1, starts.shape[1] - 1
    outputs = starts[last, features] // features
    bottom = tops[last] + starts[last, features]
    size, panel = tile.itemsize, _panel(starts)
    for first in range(0, features, panel):
        beyond = min(first + panel, features)
        for layer in range(1, last + 1):
            low, high = starts[layer, first], starts[layer, beyond]
            start(tile, columns, tops, layer, low, high, biases, offset, begin, end)
            for b in range(blocks.shape[0]):
                target, source, at = blocks[b]
                if target == layer:
                    length = starts[source, features]
                    accumulate(
                        tile, tops[layer] + low, high - low,
                        at + low * length * size, length, 1,
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
                        length, inside = starts[source, features], starts[source, first]
                        known = d if source == 0 else starts[source, d + 1]
                        accumulate(
                            tile, tops[layer] + low, high - low,
                            at + (low * length + inside) * size, length, 1,
                            tile, tops[source] + inside, known - inside, columns,
                        )  # fmt: skip
                if layer == last:
                    continue
                top, count = (tops[layer] + low) * columns, (high - low) * columns
                if residual and layer > 1:
                    previous = (tops[layer - 1] - features + low) * columns
                    add(hidden, previous, tile, top, count)
                if hidden.size > 0:
                    copy(tile, top, hidden, top - features * columns, count)
                activate(activation, tile, top, count)
            row = (tops[last] + d * outputs) * columns
            solve(map, bound, tile, d * columns, row, columns, bottom * columns)
            copy(tile, d * columns, values, d * columns, columns)
            clip_rows(input_bound, tile, d * columns, columns)
    copy(values, 0, tile, 0, features * columns)


@njit(nogil=True, error_model="numpy")
def reverse_sweep(
    tile, columns, starts, tops, blocks, residual, activation, map, bound, input_bound,
    z, params, hidden, values,
):  # fmt: skip
    """Turn cotangents of z into those of x and of all layers, the last feature first.

    Args:
        tile: its memory, with the cotangents of z and of the log-determinants; zero elsewhere.
        columns: as in `sweep`, like all others not named here.
        starts: how many units are known before a feature.
        tops: first rows of the layers.
        blocks: the matrices.
        residual: whether a hidden layer adds the one before.
        activation: its number.
        map: its number.
        bound: of an affine map's log-scale.
        input_bound: the bound of what is read.
        z: a tile with the solution.
        params: the parameters there, [features * outputs * columns].
        hidden: the pre-activations there, [units * columns].
        values: room for the cotangents of z, [features * columns].
    """
    last, features = starts.shape[0] - 1, starts.shape[1] - 1
    outputs = starts[last, features] // features
    bottom = tops[last] + starts[last, features]
    size, panel = tile.itemsize, _panel(starts)
    copy(tile, 0, values, 0, features * columns)
    tile[: features * columns] = 0  # from here on of what was read of z, until it is complete
    for first in range((features - 1) // panel * panel, -1, -panel):
        beyond = min(first + panel, features)
        for layer in range(last):
            low, high = starts[layer, first], starts[layer, beyond]
            for b in range(blocks.shape[0]):
                target, source, at = blocks[b]
                if source == layer:
                    length, rows = starts[target, features], starts[layer, features]
                    outside = starts[target, beyond]
                    accumulate(
                        tile, tops[layer] + low, high - low,
                        at + (outside * rows + low) * size, 1, rows,
                        tile, tops[target] + outside, length - outside, columns,
                    )  # fmt: skip
        for d in range(beyond - 1, first - 1, -1):
            for b in range(blocks.shape[0]):
                target, source, at = blocks[b]
                if source == 0:
                    later = starts[target, d + 1]
                    accumulate(
                        tile, d, 1,
                        at + (later * features + d) * size, 1, features,
                        tile, tops[target] + later, starts[target, beyond] - later, columns,
                    )  # fmt: skip
            pull_clip(input_bound, tile, d * columns, z[d * columns :], columns)
            add(values, d * columns, tile, d * columns, columns)
            row = (tops[last] + d * outputs) * columns
            pull_solve(
                map, bound, tile, d * columns, z[d * columns :], row, columns,
                params[d * outputs * columns :], bottom * columns,
            )  # fmt: skip
            for layer in range(last - 1, 0, -1):
                low, high = starts[layer, d], starts[layer, d + 1]
                if low == high:
                    continue
                for b in range(blocks.shape[0]):
                    target, source, at = blocks[b]
                    if source == layer:
                        rows, reached = starts[layer, features], starts[target, d]
                        accumulate(
                            tile, tops[layer] + low, high - low,
                            at + (reached * rows + low) * size, 1, rows,
                            tile, tops[target] + reached,
                            starts[target, beyond] - reached, columns,
                        )  # fmt: skip
                top, count = (tops[layer] + low) * columns, (high - low) * columns
                pull(activation, tile, top, hidden, top - features * columns, count)
                if residual and layer < last - 1:
                    add(tile, (tops[layer + 1] + low) * columns, tile, top, count)
