"""How the work on a batch is divided, and how much memory it needs."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from invflow.conditioners.layout import Layout

if TYPE_CHECKING:  # importing it takes as long as all the rest
    from numpy.typing import NDArray

#: Bytes in a row of a tile.
ROW = 256
#: Maximum number of shares of a batch.
SHARES = 32
#: Numbers in a piece of the sums over shares.
SUMMED = 8192


class Sizes(NamedTuple):
    """How the work on a batch is divided.

    Weight gradients are computed in one of two ways. If there are few weights, each *share* of the
    batch (several tiles) has its own gradients, which are summed at the end, so everything about a
    tile stays with one processor. Otherwise they are computed transform by transform, each piece
    over the whole batch. The choice depends only on sizes, never on the number of threads.

    Attributes:
        tiles: number of tiles.
        computed: number of pre-activations and parameters of one transform.
        kept: number of values that the backward pass needs.
        shares: number of shares; 0 if gradients are computed transform by transform.
        sums: number of pieces in which the gradients of the shares are summed.
        room: number of values of memory for computing gradients.
        pieces: number of pieces of work in a backward pass.
        products: number of multiplications in a forward pass without masks.
    """

    tiles: int
    computed: int
    kept: int
    shares: int
    sums: int
    room: int
    pieces: int
    products: int


@lru_cache(maxsize=1024)
def sizes(layout: Layout, transforms: int, batch: int, columns: int) -> Sizes:
    """Return how a batch is divided.

    Args:
        layout: of the transforms' MADEs.
        transforms: number of transforms.
        batch: number of rows.
        columns: number of rows in a tile.
    """
    tiles = -(-batch // columns)
    units = sum(map(len, layout.degrees[1:]))
    weights = sum(map(math.prod, layout.shapes))
    computed, features = tiles * units * columns, tiles * layout.features * columns
    shares = min(tiles, SHARES)
    if shares * (units + weights) > computed:
        shares = 0
    numbers = transforms * (units + weights)
    if shares == 0:
        sums, pieces = 0, transforms * (tiles + len(tasks(layout, columns)))
        # Cotangents of one transform, their sums, and those of the features.
        room = computed + tiles * units + features
    else:
        sums = -(-numbers // SUMMED) if shares > 1 else 0
        pieces, room = shares + sums, shares * numbers if shares > 1 else 0
    return Sizes(
        tiles=tiles,
        computed=computed,
        kept=transforms * computed + (transforms + 1) * features,
        shares=shares,
        sums=sums,
        room=room,
        pieces=pieces,
        products=batch * transforms * weights,
    )


@lru_cache(maxsize=256)
def tasks(layout: Layout, columns: int) -> NDArray[np.int64]:
    """Return the panels of a transform's matrices, and its biases; see `Record`.

    Each matrix is cut by its target or by its source, whichever is less work.
    """
    found = [(len(layout.shapes), 0, 0)]
    for b, (target, source) in enumerate(layout.blocks):
        rows, length = layout.degrees[target], layout.degrees[source]
        by_target, by_source = range(0, len(rows), columns), range(0, len(length), columns)
        # Rows of products, and rows that must be computed or transposed for them.
        seen = [bisect_right(length, rows[min(i + columns, len(rows)) - 1]) for i in by_target]
        seeing = [len(rows) - bisect_left(rows, length[j]) for j in by_source]
        of_target = sum(seen) * 5 / 4 + 16 * len(seen) < sum(seeing) + 32 * len(seeing)
        found += [(b, first, int(of_target)) for first in (by_target if of_target else by_source)]
    return np.array(found, np.int64)
