"""The values of a feature as the codes that the flow sees, and back (see `Column`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from invflow.density.table import dates, levels
from invflow.density.table.calendar import WEEKDAYS, Part, joined
from invflow.density.table.column import Column
from invflow.density.table.numbers import AS_TRAINED, numbers, plain, stored
from invflow.density.table.samples import Floats


def codes(series: Any, column: Column, first: int = 0) -> Floats:
    """Return the codes of values, NaN where missing.

    A value between two numbers of a grid is in the cell of the lower one. A category that was not
    seen in training has the number of categories as its code.

    Args:
        series: the values.
        column: what they are.
        first: number of the first row in the table, for errors.

    Raises:
        ValueError: if the values are not of the kind of the column.
    """
    if column.gap_of is not None:
        return series.isna().to_numpy(dtype=np.float64)
    if column.part is not None:
        return _part(_ticks(series, column, column.part.unit), column, column.part)
    if column.unit is not None:
        found = _ticks(series, column, column.unit)
        if column.is_categorical:
            return levels.codes(pd.Series(found), column.categories)
        return _placed(found, column)
    if column.is_categorical:
        return levels.codes(series, column.categories)
    values = numbers(series, column.name, first, AS_TRAINED)
    return _placed(values, column, stored(series.dtype))


def _placed(values: Floats, column: Column, dtype: Any = np.float64) -> Floats:
    return values if column.grid is None else column.grid.places(values, dtype)


def ends(column: Column) -> tuple[float, float] | None:
    """Return the codes of the smallest and the largest value seen; None if they are not known."""
    if column.smallest is None or column.largest is None:
        return None
    low, high = _placed(np.array([column.smallest, column.largest]), column).tolist()
    return low, high


def _ticks(series: Any, column: Column, unit: str) -> Floats:
    if not dates.is_time(series) and series.notna().any():
        raise ValueError(
            f"column {column.of!r} has values that are not dates, such as "
            f"{levels.categories(series.dropna()[:1])[0]!r}: give dates, as in training"
        )
    return dates.ticks(_alike(series, column) if series.notna().any() else series, unit)


def _alike(series: Any, column: Column) -> Any:
    """Return dates in the time zone of the column."""
    own = dates.dtype_of(series)
    what, asked = dates.described(own), dates.described(column.dtype)
    if what != asked:
        raise ValueError(
            f"column {column.of!r} has {what}, but had {asked} in training: give {asked}"
        )
    zone = dates.zone_of(column.dtype)
    return series if zone is None else series.dt.tz_convert(zone)


def _part(ticks: Floats, column: Column, part: Part) -> Floats:
    """Return the codes of a part of times."""
    found = part.numbers(ticks)
    if not column.is_categorical:
        return found
    return levels.codes(pd.Series(_names(found, part), dtype=object), column.categories)


def _names(numbers: Floats, part: Part) -> list[Any]:
    """Return the values of a categorical part: names of days, and hours as whole numbers."""
    names: Sequence[Any] = WEEKDAYS if part.name == "weekday" else range(24)
    return [None if np.isnan(number) else names[int(number)] for number in numbers]


def values(codes: Floats, column: Column) -> Any:
    """Return the values of codes, in the dtype of their column.

    Args:
        codes: of values, NaN where missing. Means of codes, which are not whole, are rounded only
            for dates and dtypes of integers.
        column: what they are.
    """
    if column.has_numbers and (codes % 1 > 0).any():
        means = np.interp(codes, np.arange(len(column.categories)), column.categories)
        return pd.Series(means).astype(column.dtype).array
    if column.unit is not None:
        places = np.rint(codes)
        if column.is_categorical:
            known = np.array([*column.categories, np.nan])
            found = known[np.where(np.isnan(codes), -1, places).astype(np.int64)]
        else:
            found = column.numbers(places)
        return dates.times(found, column.unit, column.dtype)
    if column.is_categorical:
        return levels.values(codes, column.categories, column.dtype, column.kind == "ordinal")
    dtype: Any = pd.api.types.pandas_dtype(column.dtype)
    found = column.numbers(codes)
    if pd.api.types.is_bool_dtype(dtype):
        return pd.array(found > 0.5, dtype=dtype) if np.isfinite(found).all() else found
    if pd.api.types.is_float_dtype(dtype):
        return _rounded(found, column, dtype)
    whole = pd.api.types.is_integer_dtype(dtype) and column.grid is not None
    return _whole(np.rint(found), dtype) if whole else found


def date(codes: Mapping[Column, Floats]) -> Any:
    """Return the dates of the codes of their parts."""
    first = next(iter(codes))
    return dates.times(ticks(codes), cast(Part, first.part).unit, first.dtype)


def ticks(codes: Mapping[Column, Floats]) -> Floats:
    """Return the times of the codes of their parts, NaN where one is missing."""
    numbers: dict[str, Floats] = {}
    for column, own in codes.items():
        part = cast(Part, column.part)
        if column.is_categorical:
            names: list[Any] = list(WEEKDAYS if part.name == "weekday" else range(24))
            places = np.array([*(float(names.index(level)) for level in column.categories), np.nan])
            own = places[np.where(np.isnan(own), -1, own).astype(np.int64)]
        numbers[part.name] = own
    return joined(numbers, cast(Part, next(iter(codes)).part))


def _whole(values: Floats, dtype: Any) -> Any:
    """Return whole numbers in a dtype of integers; those that it cannot hold are cut."""
    if not np.isfinite(values).all() and isinstance(dtype, np.dtype):
        return values
    limits = np.iinfo(plain(dtype))
    most = float(limits.max)
    # The largest number of 64 bits is not a float, and the next float is too large.
    most = most if int(most) == limits.max else np.nextafter(most, 0)
    missing = np.isnan(values)
    typed = np.clip(np.where(missing, 0, values), limits.min, most).astype(plain(dtype))
    if not missing.any():
        return _array(typed, dtype)
    return pd.array([None if gap else v for gap, v in zip(missing, typed, strict=True)], dtype)


def _rounded(values: Floats, column: Column, dtype: Any) -> Any:
    """Return numbers rounded to a column's dtype, still between its bounds."""
    kept = plain(dtype).type
    typed = values.astype(kept)
    if column.grid is None and column.low is not None:
        typed = np.maximum(typed, np.nextafter(kept(column.low), kept(np.inf)))
    if column.grid is None and column.high is not None:
        typed = np.minimum(typed, np.nextafter(kept(column.high), kept(-np.inf)))
    return _array(typed, dtype)


def are_between(series: Any, column: Column) -> Any:
    """Whether values are none of a feature's own, as between the numbers of a grid; (rows,).

    Codes do not tell them from others. Times are not judged.

    Example:
        >>> are_between(pd.Series([2.0, 2.5, None]), Column("n", "integer", "float64")).tolist()
        [False, True, False]
    """
    found = codes(series, column)
    if column.part is not None or column.gap_of is not None:
        return np.zeros(len(found), dtype=bool)
    if column.is_categorical:
        return found == len(column.categories)
    if column.grid is None or column.unit is not None:
        return np.zeros(len(found), dtype=bool)
    kept = stored(pd.api.types.pandas_dtype(column.dtype))
    own = numbers(series, column.name, 0, AS_TRAINED)
    return (column.numbers(found).astype(kept) != own.astype(kept)) & ~np.isnan(found)


def _array(values: Any, dtype: Any) -> Any:
    return values if isinstance(dtype, np.dtype) else pd.array(values, dtype=dtype)
