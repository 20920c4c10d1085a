"""Columns that move in steps: origin + step * k with whole numbers k, such as prices in cents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from invflow.density.table.samples import Floats

#: The most decimal places of a step.
MOST_DIGITS = 9
#: From here on, floats cannot represent numbers between integers.
LARGEST_INTEGER = 2.0**52
#: Bits that a decimal fraction leaves free; with fewer, any float looks like one.
SPARE_BITS = 4
#: Fewer values lie on a grid by chance; whole numbers are always taken for such.
FEWEST_ON_GRID = 20


class Grid(NamedTuple):
    """The numbers origin + step * k.

    Attributes:
        step: their distance.
        origin: the one of smallest size that is not negative, 0 <= origin < step.
        digits: number of decimal places.
    """

    step: float
    origin: float = 0.0
    digits: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether these are the whole numbers."""
        return (self.step, self.origin) == (1.0, 0.0)

    def exact(self, values: Any) -> Any:
        """Return k, not rounded."""
        return (values - self.origin) / self.step

    def places(self, values: Floats, dtype: Any = np.float64) -> Floats:
        """Return the k of numbers, or of the last one on the grid below, NaN where missing.

        Args:
            values: the numbers.
            dtype: in which they were stored: with few digits, 0.1 is not 0.1 in float64.
        """
        exact = self.exact(values)
        nearest = np.rint(exact)
        on = self.values(nearest).astype(dtype) == values.astype(dtype)
        return np.where(on, nearest, np.floor(exact))

    def values(self, places: Floats) -> Floats:
        """Return the numbers with these k, without digits that come from rounding errors."""
        return np.round(self.origin + self.step * places, self.digits)


class Search:
    """Finds the coarsest grid that the values added lie on.

    Example:
        >>> search = Search()
        >>> search.add(np.arange(40) / 2)
        >>> search.add(np.array([4.25]))
        >>> search.grid()
        Grid(step=0.25, origin=0.0, digits=2)
    """

    def __init__(self) -> None:
        self._count, self._digits, self._fits = 0, 0, True
        #: All values are first + step * k, in units of the last decimal place.
        self._first: int | None = None
        self._step = 0

    def add(self, values: Floats, dtype: Any = np.float64) -> None:
        """Add numbers, none of them missing, which were stored in a dtype."""
        self._count += len(values)
        digits = self._places(values, dtype) if self._fits and len(values) else None
        self._fits = self._fits and (digits is not None or not len(values))
        if digits is None:
            return
        finer = 10 ** (digits - self._digits)
        self._digits, self._step = digits, self._step * finer
        whole = np.unique(np.rint(values * 10.0**digits))
        self._first = int(whole[0]) if self._first is None else self._first * finer
        away = np.abs(whole - self._first).astype(np.int64)
        self._step = math.gcd(self._step, int(np.gcd.reduce(away)))

    def _places(self, values: Floats, dtype: Any) -> int | None:
        """Return the number of decimal places of all values so far; None if there are too many."""
        largest, most = np.abs(values).max(), 2.0 ** (np.finfo(dtype).nmant - SPARE_BITS)
        for digits in range(self._digits, MOST_DIGITS + 1):
            if largest * 10.0**digits >= (most if digits else LARGEST_INTEGER):
                return None
            # The first values rule out most.
            if all(_has(part, digits, dtype) for part in (values[:FEWEST_ON_GRID], values)):
                return digits
        return None

    @property
    def digits(self) -> int:
        """The number of decimal places so far."""
        return self._digits

    def grid(self, natural: Sequence[int] = (1,)) -> Grid | None:
        """Return the grid; None if there is none, or too few values to tell.

        Args:
            natural: steps that few values are enough for, the largest first.
        """
        if not self._fits or self._first is None:
            return None
        if self._count < FEWEST_ON_GRID or not self._step:
            both = math.gcd(self._step, self._first)
            fitting = [step for step in natural if both % step == 0]
            return Grid(float(fitting[0])) if fitting and not self._digits else None
        unit = 10.0**self._digits
        origin = round(self._first % self._step / unit, self._digits)
        return Grid(self._step / unit, origin, self._digits)


def _has(values: Floats, digits: int, dtype: Any) -> bool:
    """Whether values have so few decimal places."""
    return bool((np.round(values, digits).astype(dtype) == values.astype(dtype)).all())
