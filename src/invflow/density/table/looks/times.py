"""A first look at a column of dates, times or durations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from invflow.density.table import calendar, dates
from invflow.density.table.calendar import WEEKDAYS, Part
from invflow.density.table.column import Column
from invflow.density.table.grids import Grid
from invflow.density.table.kinds import Kind
from invflow.density.table.labels import Label
from invflow.density.table.looks.base import FEWEST_WARNED, Look
from invflow.density.table.looks.range import Range
from invflow.density.table.samples import Floats


class TimesLook(Look):
    """A column of dates, times or durations."""

    def __init__(self, name: Label, declared: Kind | None) -> None:
        super().__init__(name, declared)
        self._search = dates.Search()
        self._ranges = {unit: Range() for unit in dates.TICKS}
        names = ("weekday", "hour", "monthday", "season")
        self._seen: dict[str, set[int]] = {each: set() for each in names}

    def _add(self, series: Any, first: int) -> Floats:
        if not dates.is_time(series):
            raise ValueError(
                f"column {self.name!r} is declared date but has the dtype {series.dtype}; read it "
                f"as dates, such as with pandas.to_datetime, or with --dates '{self.name}=FORMAT'"
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
            only = dates.times(np.array([low]), unit, self.dtype)[0]
            return replace(self.constant(int(low), str(only)), unit=unit)
        if grid is None:
            raise ValueError(
                f"column {self.name!r} has times too far from 1970 for their precision; round them "
                "to seconds, or leave it out"
            )
        bounds, beyond = self._bounds(grid, unit)
        return Column(
            self.name,
            "date",
            self.dtype,
            *bounds,
            beyond=beyond,
            smallest=low,
            largest=high,
            step=grid.step,
            origin=grid.origin,
            unit=unit,
        )

    def columns(self) -> tuple[Column, ...]:
        whole = self.column()
        if whole.is_categorical:
            return (whole,)
        parts = [self._part(name, whole) for name in self._names(whole)]
        if not parts:
            return (whole,)
        return replace(parts[0], smallest=whole.smallest, largest=whole.largest), *parts[1:]

    def _names(self, whole: Column) -> list[str]:
        """Return the names of the parts; none if the column stays whole."""
        if self.declared is not None or self.count < FEWEST_WARNED:
            return []
        grid, unit = cast(Grid, whole.grid), cast(str, whole.unit)
        ends = self._ranges[unit].low, self._ranges[unit].high
        if not self._within_a_day and not self._lasts:
            return calendar.parts(grid, unit, ends, self._seen)
        return calendar.hours(grid, unit) if calendar.are_times_of_day(grid, unit, ends) else []

    def _bounds(self, grid: Grid, unit: str) -> tuple[tuple[float | None, float | None], float]:
        """Return the bounds of the numbers, and the probability of what lies beyond them."""
        if self._within_a_day:
            first = grid.origin % grid.step
            steps = (calendar.DAY * dates.TICKS[unit] - 1 - first) // grid.step
            return (first, first + steps * grid.step), 0.0
        bounds = self._ranges[unit].bounds(self.count) if self._lasts else (None, None)
        return bounds, 0.0 if bounds == (None, None) else 1 / (self.count + 1)

    @property
    def _within_a_day(self) -> bool:
        return self.dtype == dates.TIME

    @property
    def _lasts(self) -> bool:
        return self.dtype.startswith("timedelta")

    def _part(self, name: str, whole: Column) -> Column:
        grid, unit = cast(Grid, whole.grid), cast(str, whole.unit)
        part = Part(self.name, name, grid.step, grid.origin, unit)
        column = Column(f"{self.name} ({name})", "integer", self.dtype, part=part)
        if name in self._seen:
            seen = sorted(self._seen[name])
            levels = tuple(WEEKDAYS[i] for i in seen) if name == "weekday" else tuple(seen)
            return replace(column, kind="categorical", categories=levels)
        if name == "time":
            last = calendar.HOUR * dates.TICKS[unit] / grid.step - 1
            return replace(column, low=0.0, high=last)
        if name == "week of season":
            return replace(column, low=0.0, high=calendar.SEASON - 1.0)
        return column
