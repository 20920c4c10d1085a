"""Products with masked matrices: of a whole layer, and of its transpose.

A matrix says how one layer, the target, reads another, the source. Units are sorted by degree, so
that what a target's unit sees of the source is a prefix, and what sees a source's unit is a suffix
of the target: see `conditioners.layout`. The arithmetic beyond is left out, and weights that lie
there are never read.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

import numpy as np
from numba import njit

from invflow.kernels.cpu.product import DEPTH, GROUP, accumulate


@njit(nogil=True)
def unit_degrees(starts):
    """Return the degrees of the units of all layers, one below the other."""
    features = starts.shape[1] - 1
    result = np.empty(starts[:, -1].sum(), np.int64)
    at = 0
    for layer in range(starts.shape[0]):
        for degree in range(features):
            count = starts[layer, degree + 1] - starts[layer, degree]
            result[at : at + count] = degree + 1 if layer == 0 else degree
            at += count
    return result


@njit(nogil=True)
def seen(starts, source, degree):
    """Return how many units of a layer a unit of this degree sees."""
    return degree if source == 0 else starts[source, degree + 1]


@njit(nogil=True)
def _together(degrees, unit, rows):
    """Return how many units of a layer, of `rows` from this one on, to take in one product.

    As a group, what they do not all see takes a product of its own for each; so units of the same
    degree are a group, if they are nearly enough for one.
    """
    most, same = min(GROUP, rows), 1
    while same < most and degrees[unit + same] == degrees[unit]:
        same += 1
    return min(same, 4) if 4 <= same < most else most


@njit(nogil=True)
def read(tile, columns, starts, tops, degrees, target, source, weights):
    """Add to the rows of a layer what it reads of another.

    Args:
        tile: a tile's memory, flat.
        columns: of the tile.
        starts: see `sweeps`, like `tops`.
        tops: see there.
        degrees: of the units of all layers, one below the other.
        target: the layer.
        source: the other.
        weights: the address of the matrix, [units of target, units of source].
    """
    features = starts.shape[1] - 1
    rows, length = starts[target, features], starts[source, features]
    own, size = tops[target], tile.itemsize
    for begin in range(0, length, DEPTH):
        first, count = 0, 0
        while first + count < rows:
            first += count
            count = _together(degrees, own + first, rows - first)
            shared = seen(starts, source, degrees[own + first])
            if shared > begin:
                accumulate(
                    tile, own + first, count,
                    weights + (first * length + begin) * size, length, 1,
                    tile, tops[source] + begin, min(DEPTH, shared - begin), columns,
                )  # fmt: skip
            if begin > 0:
                continue
            for unit in range(first + 1, first + count):
                more = seen(starts, source, degrees[own + unit]) - shared
                if more > 0:
                    accumulate(
                        tile, own + unit, 1,
                        weights + (unit * length + shared) * size, length, 1,
                        tile, tops[source] + shared, more, columns,
                    )  # fmt: skip


@njit(nogil=True)
def pull(tile, columns, starts, tops, degrees, target, source, weights):
    """Add to the cotangents of the layer `source` what comes from those of `target`; see `read`."""
    features = starts.shape[1] - 1
    rows, length = starts[source, features], starts[target, features]
    own, size = tops[source], tile.itemsize
    for begin in range(0, length, DEPTH):
        end = min(begin + DEPTH, length)
        first, count = 0, 0
        while first + count < rows:
            first += count
            count = _together(degrees, own + first, rows - first)
            shared = starts[target, degrees[own + first + count - 1]]
            low = max(shared, begin)
            if low < end:
                accumulate(
                    tile, own + first, count,
                    weights + (low * rows + first) * size, 1, rows,
                    tile, tops[target] + low, end - low, columns,
                )  # fmt: skip
            if begin > 0:
                continue
            for unit in range(first, first + count - 1):
                low = starts[target, degrees[own + unit]]
                if low < shared:
                    accumulate(
                        tile, own + unit, 1,
                        weights + (low * rows + unit) * size, 1, rows,
                        tile, tops[target] + low, shared - low, columns,
                    )  # fmt: skip
