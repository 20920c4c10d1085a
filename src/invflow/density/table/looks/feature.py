"""A first look at a column of the density."""

from __future__ import annotations

from typing import Any

import numpy as np

from invflow.density.table import dates
from invflow.density.table.column import Column
from invflow.density.table.kinds import Kind
from invflow.density.table.labels import Label
from invflow.density.table.looks.base import Look
from invflow.density.table.looks.levels import LevelsLook, are_levels
from invflow.density.table.looks.numbers import NumbersLook
from invflow.density.table.looks.times import TimesLook
from invflow.density.table.objects import held
from invflow.density.table.samples import Floats


class Feature:
    """What has been seen of a column of the density.

    Args:
        name: of the column.
        declared: its kind in `kinds`.
    """

    def __init__(self, name: Label, declared: Kind | None) -> None:
        self.name, self.declared = name, declared
        self._look: Look | None = None
        self._missing = 0

    def add(self, series: Any, first: int) -> Floats:
        """Add a block, and return its numbers as the flow will see them, NaN for others."""
        self._missing += int(series.isna().sum())
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
        if self._missing and missing == "refuse":
            raise ValueError(
                f"column {self.name!r} has {self._missing} missing value(s) (NaN); fill them in, "
                "leave the column out, or set missing to marginalise or learn"
            )
        tells = (_told(self.name),) if self._missing and missing == "learn" else ()
        return *tells, *look.columns()


def _told(name: Label) -> Column:
    """Return the column that tells whether values of a column are missing."""
    told = f"{name} (missing)"
    return Column(told, "categorical", "bool", categories=(False, True), gap_of=name)


def _kind(series: Any, declared: Kind | None) -> type[Look]:
    """Return how to look at a column."""
    if declared is not None and declared.name == "date":
        return TimesLook
    if declared is not None:
        return LevelsLook if declared.name in ("categorical", "ordinal") else NumbersLook
    if dates.is_time(series):
        return TimesLook
    if series.dtype == object:
        return LevelsLook if held(series) in ("string", "boolean") else NumbersLook
    return LevelsLook if are_levels(series) else NumbersLook
