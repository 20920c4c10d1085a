"""The ends of a column of numbers."""

from __future__ import annotations

import math

from invflow.density.table.looks.base import FEWEST_WARNED
from invflow.density.table.moments import Moments
from invflow.density.table.samples import Floats

#: An end of a grid is a bound if at least this many values lie on it,
FEWEST_ON_BOUND = 5
#: and at least this fraction of them.
BOUND_FRACTION = 0.02
#: Zero is a bound if none of this many numbers or more is negative, and the smallest is at most
#: this many standard deviations above it: of prices, but not of temperatures in kelvin.
FEWEST_NEAR_ZERO, NEAR_ZERO = 20, 1.0


class Range:
    """The smallest and the largest value, how many there are of each, and the spread."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.on_low = self.on_high = 0
        self._moments = Moments(1)

    def add(self, values: Floats) -> None:
        low, high = float(values.min()), float(values.max())
        if low < self.low:
            self.low, self.on_low = low, 0
        if high > self.high:
            self.high, self.on_high = high, 0
        self.on_low += int((values == self.low).sum())
        self.on_high += int((values == self.high).sum())
        self._moments.add(values[:, None])

    def bounds(self, count: int) -> tuple[float | None, float | None]:
        """Return the lower and the upper bound of a grid's numbers, None for none."""
        fewest = max(FEWEST_ON_BOUND, BOUND_FRACTION * count)
        enough = count >= FEWEST_WARNED
        low = self.low if enough and self.on_low >= fewest else None
        near = NEAR_ZERO * math.sqrt(self._moments.covariance[0, 0])
        if low is None and count >= FEWEST_NEAR_ZERO and 0 <= self.low <= near:
            low = 0.0
        return low, self.high if enough and self.on_high >= fewest else None
