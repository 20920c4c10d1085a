"""Rows of a table as tensors, by number; only the blocks in use are in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from invflow.density.table import arrays
from invflow.density.table.columns import Columns
from invflow.density.table.samples import Floats
from invflow.density.table.source import PIECE, Source
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
        """Yield all rows in order, at most `size` at a time."""
        for number in range(len(self.blocks)):
            for part in zip(*(each.split(size) for each in self.block(number)), strict=True):
                features, context = part
                yield features.double(), context.double()

    def frame(self, number: int) -> Any:
        """Return a block of the table."""
        return self._source.block(number)

    def block(self, number: int) -> tuple[Tensor, Tensor]:
        """Return the features and contexts of a block, in 32 bits where these hold all of them."""
        if number not in self._kept:
            frame, first = self._source.block(number), self._first(number)
            self._kept[number] = (
                _lean(arrays.features, frame, self.columns, first),
                _lean(arrays.context, frame, self.columns, first),
            )
            if len(self._kept) > KEPT_BLOCKS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]

    def _first(self, number: int) -> int:
        """Return the number of the first row of a block."""
        return int(self._ends[number]) - self.blocks[number]


def _lean(
    encode: Callable[[Any, Columns, int], Floats],
    frame: pd.DataFrame,
    columns: Columns,
    first: int,
) -> Tensor:
    """Return the numbers of rows, in 32 bits if these hold all of them, a few rows at a time."""
    found: Tensor | None = None
    for start in range(0, len(frame), PIECE):
        values = torch.from_numpy(encode(frame[start : start + PIECE], columns, first + start))
        if found is None:
            found = torch.empty(len(frame), values.shape[1], dtype=torch.float32)
        if found.dtype == torch.float32 and not _fit(values):
            found = found.double()
        found[start : start + len(values)] = values
    return torch.empty(0, 0) if found is None else found


def _fit(values: Tensor) -> bool:
    """Whether 32 bits hold all numbers."""
    return bool(((values.float().double() == values) | values.isnan()).all())
