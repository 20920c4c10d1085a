"""The ends of a column of numbers."""

from __future__ import annotations

import math

from invflow.density.table.looks.base import FEWEST_WARNED
from invflow.density.table.samples import Floats

#: An end of a grid is a bound if at least this many values lie on it,
FEWEST_ON_BOUND = 5
#: and at least this fraction of them. Zero is a bound by its nature, where no number is negative,
BOUND_FRACTION = 0.02
#: and the smallest of this many or more is at most this fraction of the largest.
FEWEST_NEAR_ZERO, NEAR_ZERO = 20, 0.02


class Range:
    """The smallest and the largest value, and how many there are of each."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.on_low = self.on_high = 0

    def add(self, values: Floats) -> None:
        low, high = float(values.min()), float(values.max())
        if low < self.low:
            self.low, self.on_low = low, 0
        if high > self.high:
            self.high, self.on_high = high, 0
        self.on_low += int((values == self.low).sum())
        self.on_high += int((values == self.high).sum())

    def bounds(self, count: int) -> tuple[float | None, float | None]:
        """Return the lower and the upper bound of a grid's numbers, None for none."""
        fewest = max(FEWEST_ON_BOUND, BOUND_FRACTION * count)
        enough = count >= FEWEST_WARNED
        low = self.low if enough and self.on_low >= fewest else None
        if low is None and count >= FEWEST_NEAR_ZERO and 0 <= self.low <= NEAR_ZERO * self.high:
            low = 0.0
        return low, self.high if enough and self.on_high >= fewest else None
