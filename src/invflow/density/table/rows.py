"""Rows of a table as tensors, by number; only the blocks in use are in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invflow.density.table import arrays
from invflow.density.table.columns import Columns
from invflow.density.table.source import Source, parts
from invflow.training.batches import TOGETHER

#: Number of blocks in memory: a batch may begin in one group of mixed blocks and end in the next.
KEPT_BLOCKS = 2 * TOGETHER


class Rows:
    """Features and contexts of the rows of a source.

    Args:
        source: the table.
        columns: of the table.
    """

    def __init__(self, source: Source, columns: Columns) -> None:
        self.columns = columns
        self.blocks = tuple(source.blocks)
        self._source = source
        self._ends = np.array(list(accumulate(self.blocks)))
        self._kept: OrderedDict[int, tuple[Tensor, Tensor]] = OrderedDict()

    def __len__(self) -> int:
        return sum(self.blocks)

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (rows, D), NaN where missing, and contexts (rows, C), in float64."""
        if len(self.blocks) == 1:
            features, context = self.block(0)
            return features[indices].double(), context[indices].double()
        blocks = np.searchsorted(self._ends, indices.numpy(), side="right")
        features = torch.empty(len(indices), len(self.columns.features), dtype=torch.float64)
        context = torch.empty(len(indices), self.columns.context_size, dtype=torch.float64)
        for number in np.unique(blocks).tolist():
            here = torch.from_numpy(blocks == number)
            places = indices[here] - self._first(number)
            values, given = self.block(number)
            features[here], context[here] = values[places].double(), given[places].double()
        return features, context

    def parts(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all rows in order, at most `size` at a time; no others are kept."""
        for number in range(len(self.blocks)):
            for piece in self._encoded(number):
                yield from zip(*(each.split(size) for each in piece), strict=True)

    def frame(self, number: int) -> Any:
        """Return a block of the table."""
        return self._source.block(number)

    def block(self, number: int) -> tuple[Tensor, Tensor]:
        """Return the features and contexts of a block, in 32 bits where these hold all of them."""
        if number not in self._kept:
            features, context = (Lean(self.blocks[number]) for _ in range(2))
            for values, given in self._encoded(number):
                features.add(values)
                context.add(given)
            self._kept[number] = features.values, context.values
            if len(self._kept) > KEPT_BLOCKS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]

    def _encoded(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the features and contexts of a block, at most `PIECE` rows at a time."""
        first = self._first(number)
        for frame in parts(self._source, number):
            yield (
                torch.from_numpy(arrays.features(frame, self.columns, first)),
                torch.from_numpy(arrays.context(frame, self.columns, first)),
            )
            first += len(frame)

    def _first(self, number: int) -> int:
        """Return the number of the first row of a block."""
        return int(self._ends[number]) - self.blocks[number]


class Lean:
    """Numbers in 32 bits as long as these hold all of them, in 64 bits otherwise.

    Args:
        rows: their number in the end.
    """

    def __init__(self, rows: int) -> None:
        self.values = torch.empty(rows, 0)
        self._count = 0

    def add(self, values: Tensor) -> None:
        """Add the next rows, shape (n, columns), in float64."""
        if not self._count:
            self.values = torch.empty(len(self.values), values.shape[1])
        if self.values.dtype == torch.float32 and not _fit(values):
            self.values = self.values.double()
        self.values[self._count : self._count + len(values)] = values
        self._count += len(values)


def _fit(values: Tensor) -> bool:
    """Whether 32 bits hold all numbers."""
    return bool(((values.float().double() == values) | values.isnan()).all())
