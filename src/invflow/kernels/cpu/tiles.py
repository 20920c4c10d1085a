"""What goes into a tile of a batch, and what comes out of it."""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

from typing import Any

from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic


@njit(nogil=True)
def load(tile, top, columns, values, order, begin, end):
    """Fill rows of a tile, one for each feature in `order`, from rows of a batch, the rest with 0.

    Args:
        tile: the tile's memory, flat.
        top: the first row of the tile.
        columns: of the tile.
        values: the batch, [batch, features].
        order: which feature each row holds.
        begin: the first row of the batch.
        end: the row after the last.
    """
    part = values[begin:end]
    for d in range(order.size):
        row, feature = tile[(top + d) * columns :], order[d]
        for c in range(end - begin):
            row[c] = part[c, feature]
        for c in range(end - begin, columns):
            row[c] = 0


@njit(nogil=True)
def unload(tile, top, columns, values, order, begin, end):
    """Write rows of a tile to rows of a batch; see `load`."""
    part = values[begin:end]
    for d in range(order.size):
        row, feature = tile[(top + d) * columns :], order[d]
        for c in range(end - begin):
            part[c, feature] = row[c]


@njit(nogil=True)
def clear(tile, columns, count):
    """Set to zero the columns of a tile from `count` on, which stand for nothing."""
    if count < columns:
        for row in range(tile.size // columns):
            tile[row * columns + count : (row + 1) * columns] = 0


def _emit_copy(context, source, first, target, to, count):
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        places = [
            builder.gep(
                cgutils.create_struct_proxy(signature.args[i])(context, builder, arguments[i]).data,
                [arguments[i + 1]],
            )
            for i in (0, 2)
        ]
        size = context.get_abi_sizeof(context.get_value_type(source.dtype))
        cgutils.raw_memcpy(builder, places[1], places[0], arguments[4], size)
        return context.get_dummy_value()

    return types.void(source, first, target, to, count), emit


_copy: Any = intrinsic(_emit_copy)


@njit(nogil=True)
def copy(source, first, target, to, count):
    """Copy numbers from one flat array to another.

    Args:
        source: from where.
        first: the first of them.
        target: to where.
        to: where the first goes.
        count: how many.
    """
    _copy(source, first, target, to, count)  # slices cost more than what they copy


@njit(nogil=True)
def add(source, first, target, to, count):
    """Add numbers of one flat array to those of another; see `copy`."""
    given, result = source[first : first + count], target[to : to + count]
    for i in range(count):
        result[i] += given[i]


@njit(nogil=True)
def start(tile, columns, tops, layer, low, high, biases, offset, begin, end):
    """Let units of a layer start from their biases, and from what they have of a context.

    Args:
        tile: the tile's memory, flat.
        columns: of the tile.
        tops: the first rows of the layers.
        layer: which.
        low: its first unit.
        high: the unit after the last.
        biases: of all layers.
        offset: what a context adds to the first layer, [batch, units]; without rows for none.
        begin: the first row of the batch.
        end: the row after the last.
    """
    part = offset[begin:end]
    for unit in range(low, high):
        at = (tops[layer] + unit) * columns
        tile[at : at + columns] = biases[tops[layer] - tops[1] + unit]
        if layer == 1 and part.shape[0] > 0:
            for c in range(end - begin):
                tile[at + c] += part[c, unit]
