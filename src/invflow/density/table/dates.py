"""Dates, times and durations as numbers of seconds, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from invflow.density.table import grids
from invflow.density.table.samples import Floats

#: Ticks per second, the coarsest that holds all values: float64 has digits for these.
TICKS = {"s": 1, "us": 1_000_000}
#: The natural steps in seconds, which few values are enough to see.
NATURAL = (86_400, 3_600, 60, 1)


class Search:
    """Finds the unit of `TICKS` and the grid of times."""

    def __init__(self) -> None:
        self._searches = {unit: grids.Search() for unit in TICKS}
        self._is_whole = True

    def add(self, series: Any) -> None:
        """Add times, none of them missing."""
        seconds, finer = ticks(series, "s"), ticks(series, "us")
        self._is_whole = self._is_whole and bool((seconds * TICKS["us"] == finer).all())
        self._searches["s"].add(seconds)
        self._searches["us"].add(finer)

    @property
    def unit(self) -> str:
        """Seconds if these hold all times."""
        return "s" if self._is_whole else "us"

    def grid(self) -> grids.Grid | None:
        """Return the grid in ticks of the unit; None for times too far from 1970."""
        return self._searches[self.unit].grid(NATURAL if self._is_whole else (1,))


def is_time(series: Any) -> bool:
    """Whether a column holds dates, times or durations."""
    if series.dtype.kind in "mM":
        return True
    return series.dtype == object and pd.api.types.infer_dtype(series, skipna=True) == "date"


def ticks(series: Any, unit: str) -> Floats:
    """Return times as ticks since 1970 on the clock of their zone, NaN where missing.

    Args:
        series: the values.
        unit: of `TICKS`; what is finer is cut off.

    Example:
        >>> import datetime
        >>> ticks(pd.Series([datetime.date(1970, 1, 2), None]), "s")
        array([86400.,    nan])
    """
    if series.dtype == object:
        series = pd.to_datetime(series)
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_localize(None)
    plain = series.to_numpy()
    whole = plain.astype(f"{plain.dtype.kind}8[{unit}]").astype(np.int64)
    return np.where(np.isnat(plain), np.nan, whole.astype(np.float64))


def times(ticks: Floats, unit: str, dtype: str) -> Any:
    """Return the times of ticks, in the dtype of their column.

    Example:
        >>> times(np.array([86400.0, np.nan]), "s", "datetime64[ns]")
        <DatetimeArray>
        ['1970-01-02 00:00:00', 'NaT']
        Length: 2, dtype: datetime64[ns]
    """
    kind = "m" if dtype.startswith("timedelta") else "M"
    missing = np.isnan(ticks)
    whole = np.where(missing, 0, ticks).astype(np.int64).astype(f"{kind}8[{unit}]")
    whole[missing] = np.array("NaT", whole.dtype)
    found: Any = pd.Series(whole)
    if dtype == "object":
        return np.array([None if pd.isna(t) else t.date() for t in found], dtype=object)
    kept: Any = pd.api.types.pandas_dtype(dtype)
    zone = getattr(kept, "tz", None)
    if zone is not None:
        found = found.dt.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
    return found.astype(kept).array
