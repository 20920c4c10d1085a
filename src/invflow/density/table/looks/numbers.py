"""A first look at a column of numbers."""

from __future__ import annotations

import math
import warnings
from typing import Any, cast

import numpy as np
import pandas as pd

from invflow.density.table.codes import stored
from invflow.density.table.column import Column
from invflow.density.table.grids import LARGEST_INTEGER, Grid, Search
from invflow.density.table.kinds import Kind
from invflow.density.table.labels import Label
from invflow.density.table.looks.base import FEWEST_WARNED, Look
from invflow.density.table.looks.levels import FEW_LEVELS
from invflow.density.table.looks.range import Range
from invflow.density.table.moments import Moments
from invflow.density.table.numbers import holds_integers, numbers
from invflow.density.table.samples import Floats
from invflow.density.table.standard import unbounded, varies

#: A column off every grid has levels if they are few and each occurs this many times on average;
#: the first rows show that most columns have more.
LEVEL_REPEATS, FIRST_ROWS = 10, 1000
#: A continuous column looks discrete if one value makes up more than this fraction of it,
COMMON_FRACTION = 0.2
#: or if it has at most this many distinct values, each this many times on average.
FEW_DISTINCT, REPEATS = 50, 10
#: A column on a grid is nearly constant if one value makes up more than this fraction of it.
CONSTANT_FRACTION = 0.99
#: The squares of larger numbers overflow when summed, and those of its inverse vanish.
LARGEST = 1e150


class NumbersLook(Look):
    """A column of numbers."""

    def __init__(self, name: Label, declared: Kind | None) -> None:
        super().__init__(name, declared)
        #: The first value that is not on the declared grid, and its row.
        self._off: tuple[float, int] | None = None
        self._range = Range()
        self._search = Search()
        self._is_whole = True
        self._bounds = (None, None) if declared is None else (declared.low, declared.high)
        self._grid = Grid(1.0) if declared is not None and declared.name == "integer" else None
        self._moments = Moments(1)
        #: The values of the first block that has any.
        self._sample: Floats | None = None
        #: How often each value occurs, as long as they are few.
        self._levels: dict[float, int] | None = {}
        #: The most common value of these, and its count in the whole column.
        self._most_common, self._common = math.nan, 0

    def _add(self, series: Any, first: int) -> Floats:
        values = numbers(series, self.name, first)
        there = values[~np.isnan(values)]
        self._is_whole = self._is_whole and holds_integers(series)
        if len(there):
            self._add_numbers(there, series.dtype)
            self._find_off(values, series.dtype, first)
            self._check_bounds(there)
        low, high = self._bounds
        if (low, high) == (None, None):
            seen = values
        else:
            step = 0.0 if self._grid is None else self._grid.step
            seen = unbounded(values + step / 2, low, None if high is None else high + step)
        self._moments.add(seen[:, None])
        return seen

    def _add_numbers(self, there: Floats, dtype: Any) -> None:
        check_size(self.name, there)
        self._range.add(there)
        self._search.add(there, stored(dtype))
        if self._sample is None:
            self._sample = there
            distinct, counts = np.unique(there, return_counts=True)
            self._most_common = float(distinct[counts.argmax()])
            if self.declared is not None and self.declared.step is not None:
                self._grid = _declared_grid(self.declared.step, float(there[0]))
        self._count_levels(there)
        self._common += int((there == self._most_common).sum())

    def _count_levels(self, there: Floats) -> None:
        if self._levels is None or len(np.unique(there[:FIRST_ROWS])) > FEW_LEVELS:
            self._levels = None
            return
        for value, count in zip(*np.unique(there, return_counts=True), strict=True):
            self._levels[float(value)] = self._levels.get(float(value), 0) + int(count)
        if len(self._levels) > FEW_LEVELS:
            self._levels = None

    def _level(self, value: float) -> float:
        return int(value) if pd.api.types.is_integer_dtype(self.dtype) else value

    def _find_off(self, values: Floats, dtype: Any, first: int) -> None:
        if self._off is None and self._grid is not None:
            kept = stored(dtype)
            nearest = self._grid.values(np.rint(self._grid.exact(values))).astype(kept)
            off = np.flatnonzero((nearest != values.astype(kept)) & ~np.isnan(values))
            if len(off):
                self._off = float(values[off[0]]), first + int(off[0])

    def _check_bounds(self, there: Floats) -> None:
        low = -math.inf if self._bounds[0] is None else self._bounds[0]
        high = math.inf if self._bounds[1] is None else self._bounds[1]
        if self._grid is None:
            inside = (low < there) & (there < high)
        else:
            inside = (low <= there) & (there <= high)
        if not inside.all():
            bounds = " and ".join(
                f"{word} {bound:g}"
                for word, bound in zip(("lower", "upper"), self._bounds, strict=True)
                if bound is not None
            )
            closed = self._grid is not None
            on = "" if closed else " or on a bound, where a continuous column has no density"
            raise ValueError(
                f"column {self.name!r} has values outside its bounds ({bounds}){on}; correct the "
                "bounds in kinds"
            )

    def column(self) -> Column:
        low, high = self._range.low, self._range.high
        exact = max(abs(low), abs(high)) < LARGEST_INTEGER
        # Beyond that, different whole numbers may be the same float.
        if low == high and (exact or not self._is_whole):
            return self.constant(self._level(low), repr(self._level(low)))
        if self._off is not None:
            value, row = self._off
            raise ValueError(
                f"column {self.name!r} has {value:g} in row {row} but is declared "
                f"{self._said}; declare it continuous in kinds"
            )
        if self._grid is not None and not exact:
            raise ValueError(
                f"column {self.name!r} is declared {self._said} but has values beyond 2**52; "
                "declare it continuous in kinds"
            )
        if self.declared is None and not exact and self._is_whole:
            raise ValueError(
                f"column {self.name!r} has whole numbers beyond 2**52, as ids have; leave it out, "
                "or declare it continuous in kinds"
            )
        grid = self._search.grid() if self.declared is None else self._grid
        if grid is None and self.declared is None and self._has_few_levels:
            counts = dict(sorted(cast(dict[float, int], self._levels).items()))
            levels = tuple(map(self._level, counts))
            return Column(
                self.name,
                "ordinal",
                self.dtype,
                categories=levels,
                counts=tuple(counts.values()),
            )
        if grid is None:
            return self._continuous()
        self._warn_if_nearly_constant()
        bounds, beyond = self._bounds, 0.0
        if bounds == (None, None):
            bounds = self._range.bounds(self.count)
            beyond = 0.0 if bounds == (None, None) else 1 / (self.count + 1)
        whole = grid.is_whole and (self._grid is not None or self._search.is_exact)
        steps: dict[str, Any] = {} if whole else grid._asdict()
        return Column(
            self.name,
            "integer" if whole else "grid",
            self.dtype,
            *bounds,
            smallest=low,
            largest=high,
            beyond=beyond,
            **steps,
        )

    @property
    def _has_few_levels(self) -> bool:
        return self._levels is not None and self.count >= LEVEL_REPEATS * len(self._levels)

    @property
    def _said(self) -> str:
        grid = self._grid
        return "integer" if grid is None or grid.is_whole else f"a grid of step {grid.step:g}"

    def _continuous(self) -> Column:
        low, high = self._range.low, self._range.high
        if max(abs(low), abs(high)) < 1 / LARGEST:
            raise ValueError(
                f"column {self.name!r} has values of at most {max(abs(low), abs(high)):g}; use a "
                "smaller unit"
            )
        if not varies(self._moments):
            raise ValueError(
                f"column {self.name!r} hardly varies, from {low} to {high}; subtract a "
                "constant to keep its precision, or leave it out"
            )
        self._warn_if_discrete()
        return Column(
            self.name, "continuous", self.dtype, *self._bounds, smallest=low, largest=high
        )

    def _warn_if_nearly_constant(self) -> None:
        if self.count >= FEWEST_WARNED and self._common > CONSTANT_FRACTION * self.count:
            warnings.warn(
                f"column {self.name!r} is nearly constant: {self._common} of its {self.count} "
                f"values are {self._most_common:g}; leave it out, or name it in conditional_on",
                UserWarning,
                stacklevel=6,
            )

    def _warn_if_discrete(self) -> None:
        """Warn if a continuous column looks discrete: its density can grow without limit."""
        values = np.empty(0) if self._sample is None else self._sample
        if len(values) < FEWEST_WARNED:
            return
        distinct, counts = np.unique(values, return_counts=True)
        common = counts.max() / len(values)
        if common > COMMON_FRACTION:
            what = f"{100 * common:.0f} % of its values are {distinct[counts.argmax()]:g}"
        elif len(distinct) <= min(FEW_DISTINCT, len(values) / REPEATS):
            what = f"it has only {len(distinct)} distinct values"
        else:
            return
        warnings.warn(
            f"column {self.name!r} is treated as continuous, but {what}: the density can grow "
            "without limit there; declare its step or categorical in kinds",
            UserWarning,
            stacklevel=7,
        )


def _declared_grid(step: float, value: float) -> Grid:
    """Return the grid of a step that a value lies on."""
    search = Search()
    search.add(np.array([step, value]))
    digits = search.digits
    place = math.floor(value / step)
    return Grid(step, abs(round(value - step * place, digits)) % step, digits)


def check_size(name: Label, values: Floats) -> None:
    """See that the squares of numbers do not overflow.

    Raises:
        ValueError: if they do.
    """
    largest = np.abs(values).max(initial=0.0)
    if largest > LARGEST:
        raise ValueError(f"column {name!r} has values up to {largest:g}; use a larger unit")
