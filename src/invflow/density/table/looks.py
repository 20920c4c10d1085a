"""What is seen of a column in a first pass: its kind, its bounds, and whether it has a density."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd

from invflow.density.table import calendar, dates
from invflow.density.table.calendar import WEEKDAYS, Part
from invflow.density.table.codes import stored
from invflow.density.table.columns import Column
from invflow.density.table.grids import LARGEST_INTEGER, Grid, Search
from invflow.density.table.kinds import Kind
from invflow.density.table.labels import Label
from invflow.density.table.levels import categories, counted
from invflow.density.table.moments import Moments
from invflow.density.table.numbers import not_numbers, numbers
from invflow.density.table.samples import Floats
from invflow.density.table.standard import unbounded, varies

#: A continuous column looks discrete if one value makes up more than this fraction of it,
COMMON_FRACTION = 0.2
#: or if it has at most this many distinct values, each this many times on average.
FEW_DISTINCT, REPEATS = 50, 10
#: A column on a grid is nearly constant if one value makes up more than this fraction of it.
CONSTANT_FRACTION = 0.99
#: The fewest values for which such warnings are given.
FEWEST_WARNED = 100
#: An end of a grid is a bound if at least this many values lie on it,
FEWEST_ON_BOUND = 5
#: and at least this fraction of them. Zero, where numbers begin with it, is a bound by its nature.
BOUND_FRACTION = 0.02
#: The most levels of a column; text with more than a few that hardly repeat is free text or an id.
MOST_LEVELS, FEW_LEVELS, FEWEST_REPEATS = 1000, 20, 2
#: The squares of larger numbers overflow when summed.
LARGEST = 1e150


class Feature:
    """What has been seen of a column of the density.

    Args:
        name: of the column.
        declared: its kind in `kinds`.
    """

    def __init__(self, name: Label, declared: Kind | None) -> None:
        self.name, self.declared = name, declared
        self._look: _Look | None = None

    def add(self, series: Any, first: int) -> Floats:
        """Add a block, and return its numbers as the flow will see them, NaN for others."""
        if self._look is None:
            if series.dtype == object and series.isna().all():
                return np.full(len(series), np.nan)  # nothing to tell its kind by
            self._look = _kind(series, self.declared)(self.name, self.declared)
        return self._look.see(series, first)

    def columns(self, missing: str) -> tuple[Column, ...]:
        """Return the column, or the parts of its dates, after all blocks.

        Raises:
            ValueError: if the column does not have a density, or values are missing.
        """
        look = self._look
        if look is None or not look.count:
            raise ValueError(f"column {self.name!r} has only missing values; leave it out")
        if look.missing and missing == "refuse":
            raise ValueError(
                f"column {self.name!r} has {look.missing} missing value(s) (NaN); fill them in, "
                "leave the column out, or set missing to marginalise"
            )
        return look.columns()


class _Look(ABC):
    def __init__(self, name: Label, declared: Kind | None) -> None:
        self.name, self.declared = name, declared
        self.dtype, self.count, self.missing = "", 0, 0

    def see(self, series: Any, first: int) -> Floats:
        there = int(series.notna().sum())
        self.count += there
        self.missing += len(series) - there
        self.dtype = self.dtype or str(series.dtype)
        return self._add(series, first)

    @abstractmethod
    def _add(self, series: Any, first: int) -> Floats: ...

    @abstractmethod
    def column(self) -> Column: ...

    def columns(self) -> tuple[Column, ...]:
        return (self.column(),)

    def _constant(self, value: Any) -> ValueError:
        return ValueError(
            f"column {self.name!r} is constant ({value}) and does not have a density; leave it "
            "out, or name it in conditional_on"
        )


def _kind(series: Any, declared: Kind | None) -> type[_Look]:
    """Return how to look at a column."""
    if declared is not None and declared.name == "date":
        return _Times
    if declared is not None:
        return _Levels if declared.name in ("categorical", "ordinal") else _Numbers
    if dates.is_time(series):
        return _Times
    if series.dtype == object:
        found = pd.api.types.infer_dtype(series, skipna=True)
        return _Levels if found in ("string", "boolean") else _Numbers
    return _Levels if are_levels(series) else _Numbers


def are_levels(series: Any) -> bool:
    """Whether a column of some dtype other than object holds categories."""
    dtype = series.dtype
    return pd.api.types.is_bool_dtype(dtype) or not (
        pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_complex_dtype(dtype)
    )


class _Levels(_Look):
    """A column of categories."""

    def __init__(self, name: Label, declared: Kind | None) -> None:
        super().__init__(name, declared)
        self._counts: dict[Any, int] = {}
        #: Whether the dtype has the levels, in its order.
        self._known, self._ordered = False, False

    def _add(self, series: Any, first: int) -> Floats:
        dtype = series.dtype
        if isinstance(dtype, pd.CategoricalDtype):
            self._known, self._ordered = True, bool(dtype.ordered)
        for level, count in counted(series).items():
            self._counts[level] = self._counts.get(level, 0) + count
        return np.full(len(series), np.nan)

    def column(self) -> Column:
        seen = [level for level, count in self._counts.items() if count]
        if len(seen) == 1:
            raise self._constant(repr(seen[0]))
        self._check_few()
        ordered = self._ordered if self.declared is None else self.declared.name == "ordinal"
        levels = tuple(self._counts) if self._known else ascending(self._counts)
        if self.declared is not None and self.declared.levels is not None:
            levels = self._declared(levels, self.declared.levels)
        counts = tuple(self._counts.get(level, 0) for level in levels)
        kind = "ordinal" if ordered else "categorical"
        return Column(self.name, kind, self.dtype, categories=levels, counts=counts)

    def _check_few(self) -> None:
        number = len(self._counts)
        undeclared = self.declared is None and not self._known
        rare = number > FEW_LEVELS and self.count < FEWEST_REPEATS * number
        if number > MOST_LEVELS or (undeclared and rare):
            numerals: Any = pd.to_numeric(
                pd.Series(list(self._counts), dtype=object), errors="coerce"
            )
            if numerals.notna().mean() > 0.5 and numerals.isna().any():
                raise not_numbers(self.name, list(self._counts)[int(numerals.isna().argmax())])
            declare = "" if number > MOST_LEVELS else ", or declare it categorical in kinds"
            raise ValueError(
                f"column {self.name!r} has {number} different values, such as "
                f"{next(iter(self._counts))!r}, in {self.count} rows, as ids and free text have: "
                f"leave it out{declare}"
            )

    def _declared(self, levels: tuple[Any, ...], order: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the declared levels; from the command line, numbers come as text."""
        known = {str(level): level for level in levels}
        found = tuple(known.get(str(level), level) for level in order)
        lacking = [level for level in levels if level not in found]
        if lacking:
            raise ValueError(
                f"column {self.name!r} has the value {lacking[0]!r}, which is not among its levels "
                f"in kinds, {', '.join(map(repr, order))}"
            )
        return found


def ascending(levels: Any) -> tuple[Any, ...]:
    """Return levels in the order of their values."""
    return tuple(sorted(levels, key=lambda value: (str(type(value)), value)))


class _Range:
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
        """Return the ends that are bounds."""
        fewest = max(FEWEST_ON_BOUND, BOUND_FRACTION * count)
        enough = count >= FEWEST_WARNED
        low = self.low if enough and (self.on_low >= fewest or self.low == 0) else None
        return low, self.high if enough and self.on_high >= fewest else None


class _Times(_Look):
    """A column of dates, times or durations."""

    def __init__(self, name: Label, declared: Kind | None) -> None:
        super().__init__(name, declared)
        self._search = dates.Search()
        self._ranges = {unit: _Range() for unit in dates.TICKS}
        self._seen: dict[str, set[int]] = {"weekday": set(), "hour": set(), "monthday": set()}

    def _add(self, series: Any, first: int) -> Floats:
        if not dates.is_time(series):
            raise ValueError(
                f"column {self.name!r} is declared date but has the dtype {series.dtype}; read it "
                "as dates, such as with pandas.to_datetime"
            )
        there = series.dropna()
        if len(there):
            seconds = dates.ticks(there, "s")
            for name, seen in self._seen.items():
                own = Part(self.name, name, 1.0, 0.0, "s").numbers(seconds)
                seen.update(np.unique(own).astype(np.int64).tolist())
            self._search.add(there)
            for unit, each in self._ranges.items():
                each.add(dates.ticks(there, unit))
        return dates.ticks(series, "s")

    def column(self) -> Column:
        unit, grid = self._search.unit, self._search.grid()
        low, high = self._ranges[unit].low, self._ranges[unit].high
        if low == high:
            raise self._constant(dates.times(np.array([low]), unit, self.dtype)[0])
        if grid is None:
            raise ValueError(
                f"column {self.name!r} has times too far from 1970 for their precision; round them "
                "to seconds, or leave it out"
            )
        return Column(
            self.name,
            "date",
            self.dtype,
            smallest=low,
            largest=high,
            step=grid.step,
            origin=grid.origin,
            unit=unit,
        )

    def columns(self) -> tuple[Column, ...]:
        whole = self.column()
        grid, unit = cast(Grid, whole.grid), cast(str, whole.unit)
        lasts = self.dtype.startswith("timedelta")
        if self.declared is not None or lasts or self.count < FEWEST_WARNED:
            return (whole,)
        reach = self._ranges[unit]
        names = calendar.parts(grid, unit, reach.high - reach.low, self._seen)
        parts = [self._part(name, grid, unit) for name in names]
        if not parts:
            return (whole,)
        return replace(parts[0], smallest=reach.low, largest=reach.high), *parts[1:]

    def _part(self, name: str, grid: Grid, unit: str) -> Column:
        part = Part(self.name, name, grid.step, grid.origin, unit)
        column = Column(f"{self.name} ({name})", "integer", self.dtype, part=part)
        if name in self._seen:
            seen = sorted(self._seen[name])
            levels = tuple(WEEKDAYS[i] for i in seen) if name == "weekday" else tuple(seen)
            return replace(column, kind="categorical", categories=levels)
        if name == "time":
            last = calendar.HOUR * dates.TICKS[unit] / grid.step - 1
            return replace(column, low=0.0, high=last)
        return column


class _Numbers(_Look):
    """A column of numbers."""

    def __init__(self, name: Label, declared: Kind | None) -> None:
        super().__init__(name, declared)
        #: The first value that is not on the declared grid, and its row.
        self._off: tuple[float, int] | None = None
        self._range = _Range()
        self._search = Search()
        self._bounds = (None, None) if declared is None else (declared.low, declared.high)
        self._grid = Grid(1.0) if declared is not None and declared.name == "integer" else None
        self._moments = Moments(1)
        #: The values of the first block that has any.
        self._sample: Floats | None = None
        #: The most common value of these, and its count in the whole column.
        self._most_common, self._common = math.nan, 0

    def _add(self, series: Any, first: int) -> Floats:
        values = numbers(series, self.name, first)
        there = values[~np.isnan(values)]
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
        self._common += int((there == self._most_common).sum())

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
        if low == high:
            raise self._constant(f"{low:g}")
        exact = max(abs(low), abs(high)) < LARGEST_INTEGER
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
        grid = self._search.grid() if self.declared is None else self._grid
        if grid is None:
            return self._continuous(exact)
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
    def _said(self) -> str:
        grid = self._grid
        return "integer" if grid is None or grid.is_whole else f"a grid of step {grid.step:g}"

    def _continuous(self, exact: bool) -> Column:
        low, high = self._range.low, self._range.high
        if not varies(self._moments):
            raise ValueError(
                f"column {self.name!r} hardly varies, from {low} to {high}; subtract a "
                "constant to keep its precision, or leave it out"
            )
        if self.declared is None and not exact and pd.api.types.is_integer_dtype(self.dtype):
            raise ValueError(
                f"column {self.name!r} has whole numbers beyond 2**52, as ids have; leave it out, "
                "or declare it continuous in kinds"
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
                stacklevel=5,
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
            stacklevel=5,
        )


def _declared_grid(step: float, value: float) -> Grid:
    """Return the grid of a step that a value lies on."""
    search = Search()
    search.add(np.array([step, value]))
    digits = search.digits
    place = math.floor(value / step)
    return Grid(step, abs(round(value - step * place, digits)) % step, digits)


class Context:
    """What has been seen of a column that the density is conditional on.

    Args:
        name: of the column.
        declared: its kind in `kinds`.

    Raises:
        ValueError: if it is declared with bounds.
    """

    def __init__(self, name: Label, declared: Kind | None) -> None:
        if declared is not None and (declared.low, declared.high) != (None, None):
            raise ValueError(
                f"column {name!r} is in conditional_on and cannot have bounds in kinds"
            )
        self.name, self.declared = name, declared
        self.dtype = ""
        self.values: set[Any] = set()
        self._times: _Times | None = None

    def add(self, series: Any, first: int) -> None:
        """Add a block."""
        if series.isna().any():
            raise ValueError(
                f"column {self.name!r}, which the density is conditional on, has missing values"
            )
        self.dtype = self.dtype or str(series.dtype)
        if self._is_categorical(series):
            self.values.update(categories(series))
        elif dates.is_time(series):
            self._times = self._times or _Times(self.name, self.declared)
            self._times.see(series, first)
        else:
            check_size(self.name, numbers(series, self.name, first))

    def columns(self) -> tuple[Column, ...]:
        """Return the column, or the parts of its dates, after all blocks."""
        if self._times is not None:
            return self._times.columns()
        if self.values:
            levels = ascending(self.values)
            return (Column(self.name, "categorical", self.dtype, categories=levels),)
        return (Column(self.name, "continuous", self.dtype),)

    def _is_categorical(self, series: Any) -> bool:
        if self.declared is not None:
            return self.declared.name in ("categorical", "ordinal")
        return are_levels(series) and not dates.is_time(series)


def check_size(name: Label, values: Floats) -> None:
    """See that the squares of numbers do not overflow.

    Raises:
        ValueError: if they do.
    """
    largest = np.abs(values).max(initial=0.0)
    if largest > LARGEST:
        raise ValueError(f"column {name!r} has values up to {largest:g}; use a larger unit")
