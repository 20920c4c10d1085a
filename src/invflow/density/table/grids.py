"""Columns that move in steps: origin + step * k with whole numbers k, such as prices in cents."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from invflow.density.table.samples import Floats

#: The most decimal places of a step.
MOST_DIGITS = 9
#: From here on, floats cannot represent numbers between integers.
LARGEST_INTEGER = 2.0**52
#: Bits that a decimal fraction leaves free; with fewer, any float looks like one.
SPARE_BITS = 4
#: At most this fraction of values may lie between the numbers of a grid, by how many more decimal
#: places they have at least,
FEW_BETWEEN = {2: 0.05, 1: 0.02}
#: if there are this many values or more.
FEWEST_WITH_FEW = 100
#: Distinct values are counted up to here.
COUNTED = 1000
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
        """Return the numbers with these k, without digits that come from rounding errors.

        Means of k, which are not whole, give means of numbers.
        """
        exact = self.origin + self.step * places
        return np.where(places % 1 == 0, np.round(exact, self.digits), exact)


class Search:
    """Finds the coarsest grid that the values added lie on.

    A few values with many more decimal places than all others, such as thirds among tenths, are
    between the numbers of the grid.

    Example:
        >>> search = Search()
        >>> search.add(np.arange(40) / 2)
        >>> search.add(np.array([4.25]))
        >>> search.grid()
        Grid(step=0.25, origin=0.0, digits=2)
    """

    def __init__(self) -> None:
        self._fits = True
        #: How many values have how many decimal places; those with too many come last.
        self._counts = [0] * (MOST_DIGITS + 2)
        #: Those with the same number are first + step * k, in units of the last decimal place.
        self._first: dict[int, int] = {}
        self._step: dict[int, int] = {}
        self._distinct: dict[int, set[float]] = defaultdict(set)

    def add(self, values: Floats, dtype: Any = np.float64) -> None:
        """Add numbers, none of them missing, which were stored in a dtype."""
        if len(values) >= FEWEST_ON_GRID and self._fits:
            sorts = _places(values[:FEWEST_ON_GRID], dtype)  # these rule out most columns
            self._fits = bool((sorts <= MOST_DIGITS).mean() > 0.5)
        if not len(values) or not self._fits:
            return
        sorts = _places(values, dtype)
        for digits in np.unique(sorts).tolist():
            own = values[sorts == digits]
            self._counts[digits] += len(own)
            if len(self._distinct[digits]) < COUNTED:
                self._distinct[digits].update(np.unique(own)[:COUNTED].tolist())
            if digits <= MOST_DIGITS:
                self._merge(digits, np.unique(np.rint(own * 10.0**digits)))

    def _merge(self, digits: int, whole: Floats) -> None:
        first = self._first.setdefault(digits, int(whole[0]))
        away = np.abs(whole - first).astype(np.int64)
        self._step[digits] = math.gcd(self._step.get(digits, 0), int(np.gcd.reduce(away)))

    def grid(self, natural: Sequence[int] = (1,)) -> Grid | None:
        """Return the grid; None if there is none, or too few values to tell.

        Args:
            natural: steps that few values are enough for, the largest first.
        """
        digits, count = self._digits(), sum(self._counts)
        if digits is None:
            return None
        first, step = self._joined(digits)
        if count < FEWEST_ON_GRID or not step:
            both = math.gcd(step, first)
            fitting = [each for each in natural if both % each == 0]
            return Grid(float(fitting[0])) if fitting and not digits else None
        unit = 10.0**digits
        return Grid(step / unit, round(first % step / unit, digits), digits)

    @property
    def is_exact(self) -> bool:
        """Whether all values lie on the grid."""
        return not sum(self._counts[(self._digits() or 0) + 1 :])

    @property
    def digits(self) -> int:
        """The largest number of decimal places so far; the most if a value has more."""
        return min(int(np.flatnonzero(self._counts)[-1]), MOST_DIGITS)

    def _digits(self) -> int | None:
        """Return the number of decimal places of the grid."""
        counts = np.array(self._counts)
        if not self._fits or not counts.any():
            return None
        last = int(np.flatnonzero(counts)[-1])
        if counts.sum() >= FEWEST_WITH_FEW:
            for more, fraction in FEW_BETWEEN.items():
                most = int(np.argmax(np.cumsum(counts) >= (1 - fraction) * counts.sum()))
                if last - most >= more and self._are_varied(most):
                    return most
        return None if last > MOST_DIGITS else last

    def _are_varied(self, digits: int) -> bool:
        """Whether values on the grid differ as much as others: not if nearly all are zero."""
        on = sum(len(each) for own, each in self._distinct.items() if own <= digits)
        return 2 * on >= sum(map(len, self._distinct.values()))

    def _joined(self, digits: int) -> tuple[int, int]:
        """Return the first value and the step of all values with at most these decimal places."""
        finer = {own: 10 ** (digits - own) for own in self._first if own <= digits}
        firsts = [self._first[own] * finer[own] for own in finer]
        steps = [self._step[own] * finer[own] for own in finer]
        return firsts[0], math.gcd(*steps, *(first - firsts[0] for first in firsts))


def _places(values: Floats, dtype: Any) -> NDArray[np.int64]:
    """Return the numbers of decimal places of values, `MOST_DIGITS` + 1 where there are more.

    That is also for values with too few bits for their decimal places to mean something.
    """
    found = np.full(len(values), MOST_DIGITS + 1)
    most, left = 2.0 ** (np.finfo(dtype).nmant - SPARE_BITS), np.arange(len(values))
    for digits in range(MOST_DIGITS + 1):
        own = values[left]
        fits = np.round(own, digits).astype(dtype) == own.astype(dtype)
        fits &= np.abs(own) * 10.0**digits < (most if digits else LARGEST_INTEGER)
        found[left[fits]] = digits
        left = left[~fits]
        if not len(left):
            break
    return found
