"""Dates, times and durations as numbers of seconds, and back."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from invflow.density.table import grids
from invflow.density.table.objects import held
from invflow.density.table.samples import Floats

#: Ticks per second, the coarsest that holds all values: float64 has digits for these.
TICKS = {"s": 1, "us": 1_000_000}
#: What stands for the dtype of objects that are times of the day, and some midnight.
TIME, MIDNIGHT = "time", pd.Timestamp(0)
#: Objects that are dates or times, by what stands for their dtype.
OBJECTS = {"date": datetime.date, TIME: datetime.time}
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
    return series.dtype.kind in "mM" or held(series) in OBJECTS


def dtype_of(series: Any) -> str:
    """Return the dtype of a column as text, for dates and times that are objects what they are.

    Example:
        >>> dtype_of(pd.Series([datetime.time(12), None])), dtype_of(pd.Series([1]))
        ('time', 'int64')
    """
    return kind if (kind := held(series)) in OBJECTS else str(series.dtype)


def described(dtype: str) -> str:
    """Return the words for what a dtype means: dates, times of the day or durations.

    Example:
        >>> described("timedelta64[s]"), described("datetime64[us, UTC]")
        ('durations', 'dates with a time zone')
    """
    if dtype == TIME:
        return "times of the day"
    if dtype.startswith("timedelta"):
        return "durations"
    return "dates" if zone_of(dtype) is None else "dates with a time zone"


def zone_of(dtype: str) -> Any:
    """Return the time zone of a dtype; None if it does not have one."""
    return None if dtype in OBJECTS else getattr(pd.api.types.pandas_dtype(dtype), "tz", None)


def ticks(series: Any, unit: str) -> Floats:
    """Return times as ticks since 1970 on the clock of their zone, or since midnight.

    Args:
        series: the values.
        unit: of `TICKS`; what is finer is cut off.

    Returns:
        NaN where missing.

    Example:
        >>> ticks(pd.Series([datetime.date(1970, 1, 2), None]), "s")
        array([86400.,    nan])
    """
    if held(series) == TIME:
        series = spans(series)
    elif series.dtype == object:
        series = pd.to_datetime(series)
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_localize(None)
    plain = series.to_numpy()
    whole = plain.astype(f"{plain.dtype.kind}8[{unit}]").astype(np.int64)
    return np.where(np.isnat(plain), np.nan, whole.astype(np.float64))


def spans(series: Any) -> Any:
    """Return times of the day as spans since midnight.

    Raises:
        ValueError: if one has a time zone.

    Example:
        >>> spans(pd.Series([datetime.time(1, 30)])).dt.total_seconds().tolist()
        [5400.0]
    """
    for value in series:
        if getattr(value, "tzinfo", None) is not None:
            raise ValueError(f"times of the day must not have a time zone, got {value}; remove it")
    count = pa.array(series, pa.time64("us"), from_pandas=True).cast(pa.int64())
    return pd.Series(count.cast(pa.duration("us")).to_pandas()).set_axis(series.index)


def times(ticks: Floats, unit: str, dtype: str) -> Any:
    """Return the times of ticks, in the dtype of their column.

    Example:
        >>> times(np.array([86400.0, np.nan]), "s", "datetime64[ns]")
        <DatetimeArray>
        ['1970-01-02 00:00:00', 'NaT']
        Length: 2, dtype: datetime64[ns]
    """
    kind = "m" if dtype == TIME or dtype.startswith("timedelta") else "M"
    missing = np.isnan(ticks)
    whole = np.where(missing, 0, ticks).astype(np.int64).astype(f"{kind}8[{unit}]")
    whole[missing] = np.array("NaT", whole.dtype)
    found: Any = pd.Series(whole)
    if dtype in OBJECTS:
        stamps = MIDNIGHT + found if dtype == TIME else found
        objects = stamps.dt.time if dtype == TIME else stamps.dt.date
        return objects.where(~missing, None).to_numpy(dtype=object)
    kept: Any = pd.api.types.pandas_dtype(dtype)
    zone = zone_of(dtype)
    if zone is not None:
        found = found.dt.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
    return found.astype(kept).array
