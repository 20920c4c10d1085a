"""A first look at a column that the density is conditional on."""

from __future__ import annotations

from typing import Any

from invflow.density.table import dates
from invflow.density.table.column import Column
from invflow.density.table.kinds import Kind
from invflow.density.table.labels import Label
from invflow.density.table.levels import categories, kind_of
from invflow.density.table.looks.levels import are_levels, ascending
from invflow.density.table.looks.numbers import check_size
from invflow.density.table.looks.times import TimesLook
from invflow.density.table.numbers import numbers


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
        self._times: TimesLook | None = None

    def add(self, series: Any, first: int) -> None:
        """Add a block."""
        if series.isna().any():
            raise ValueError(
                f"column {self.name!r}, which the density is conditional on, has missing values"
            )
        self.dtype = self.dtype or kind_of(series)
        if self._is_categorical(series):
            self.values.update(categories(series))
        elif dates.is_time(series):
            self._times = self._times or TimesLook(self.name, self.declared)
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
