"""A first look at a column of categories."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from invflow.density.table.column import Column
from invflow.density.table.kinds import Kind
from invflow.density.table.labels import Label
from invflow.density.table.levels import categories, counted
from invflow.density.table.looks.base import Look
from invflow.density.table.numbers import not_numbers
from invflow.density.table.samples import Floats

#: The most levels of a column.
MOST_LEVELS = 1000
#: Text with more than a few levels, each fewer times than this on average, is free text or an id.
FEW_LEVELS, FEWEST_REPEATS = 20, 2


def hardly_repeat(levels: int, values: int) -> bool:
    """Whether so few values have the same level that these are free text, or an id.

    Example:
        >>> hardly_repeat(levels=30, values=50), hardly_repeat(levels=30, values=500)
        (True, False)
    """
    return levels > FEW_LEVELS and values < FEWEST_REPEATS * levels


class LevelsLook(Look):
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
            if self.dtype == "category":
                self._check_scalars(dtype.categories)
            else:
                self._ordered = True  # as intervals are
        try:
            found = counted(series)
        except TypeError as error:  # as of lists
            raise ValueError(
                f"column {self.name!r} has values that cannot be compared: make them text, such "
                "as with .astype(str), or leave it out"
            ) from error
        for level, count in found.items():
            self._counts[level] = self._counts.get(level, 0) + count
        return np.full(len(series), np.nan)

    def _check_scalars(self, levels: Any) -> None:
        """See that the levels of the dtype can be saved and given back."""
        for level, kept in zip(levels, categories(levels), strict=True):
            if isinstance(kept, str) and not isinstance(level, str):
                raise ValueError(
                    f"column {self.name!r} has categories of type {type(level).__name__}, such as "
                    f"{kept!r}: make them text, such as with .cat.rename_categories(str)"
                )

    def column(self) -> Column:
        seen = [level for level, count in self._counts.items() if count]
        if len(seen) == 1:
            return self.constant(seen[0], repr(seen[0]))
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
        if number > MOST_LEVELS or (undeclared and hardly_repeat(number, self.count)):
            numerals: Any = pd.to_numeric(
                pd.Series(list(self._counts), dtype=object), errors="coerce"
            )
            if numerals.notna().mean() > 0.5 and numerals.isna().any():
                raise not_numbers(self.name, list(self._counts)[int(numerals.isna().argmax())])
            declare = "" if number > MOST_LEVELS else ", or declare it categorical in kinds"
            if self.dtype.startswith("period"):
                declare = ", or make it dates, such as with .dt.to_timestamp()"
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


def are_levels(series: Any) -> bool:
    """Whether a column of some dtype other than object holds categories."""
    dtype = series.dtype
    return pd.api.types.is_bool_dtype(dtype) or not (
        pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_complex_dtype(dtype)
    )
