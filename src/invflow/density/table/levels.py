"""The levels of a categorical column, and their codes 0, 1, ..., in the order of the levels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from invflow.density.table.dates import OBJECTS, dtype_of
from invflow.density.table.samples import Floats


def categories(values: Iterable[Any]) -> list[Any]:
    """Return values of types that JSON has: booleans, integers, floats, strings."""
    return [
        value.item()
        if isinstance(value, np.generic)
        else value
        if isinstance(value, bool | int | float)
        else str(value)
        for value in values
    ]


def kind_of(series: Any) -> str:
    """Return the dtype of a column; for categories that are intervals that of these.

    Example:
        >>> kind_of(pd.Series(["a"])), kind_of(pd.cut(pd.Series([1, 4]), [0, 2, 5]))
        ('str', 'interval[int64, right]')
    """
    dtype = series.dtype
    categorical = isinstance(dtype, pd.CategoricalDtype)
    of_intervals = categorical and isinstance(dtype.categories, pd.IntervalIndex)
    return str(dtype.categories.dtype) if of_intervals else dtype_of(series)


def counted(series: Any) -> dict[Any, int]:
    """Return the levels of a column and how often each occurs; the dtype's own levels come first.

    Example:
        >>> counted(pd.Series(["b", None, "b", "a"]))
        {'b': 2, 'a': 1}
    """
    dtype = series.dtype
    known = dtype.categories if isinstance(dtype, pd.CategoricalDtype) else ()
    places, found = pd.factorize(series)
    counts = np.bincount(places[places >= 0], minlength=len(found)).tolist()
    return dict.fromkeys(categories(known), 0) | dict(zip(categories(found), counts, strict=True))


def codes(series: Any, levels: Sequence[Any]) -> Floats:
    """Return the codes of values, NaN where missing.

    Args:
        series: the values.
        levels: of the column. The code of any other value is their number. Values of another type
            are known by how they are spelled: where a file happens to hold only the numbers among
            "1", "2" and "3+", these are read as numbers.

    Example:
        >>> codes(pd.Series(["b", None, "c", "a"]), ("a", "b"))
        array([ 1., nan,  2.,  0.])
        >>> codes(pd.Series([2.0, None, 1.0]), ("1", "2", "3+"))
        array([ 1., nan,  0.])
    """
    places, found = pd.factorize(series)
    known = {value: code for code, value in enumerate(levels)}
    spelled = {_spelled(value): code for value, code in known.items()}
    each = [
        known.get(value, spelled.get(_spelled(value), len(levels))) for value in categories(found)
    ]
    return np.array([*each, np.nan])[places]


def _spelled(value: Any) -> str:
    """Return a value as text; whole numbers without decimal places, which gaps make floats."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)


def values(codes: Floats, levels: Sequence[Any], dtype: str, ordered: bool) -> Any:
    """Return the values of codes, in the dtype of their column if it can represent them.

    Args:
        codes: of levels, NaN where missing.
        levels: of the column.
        dtype: of the column.
        ordered: whether the levels are ordered.
    """
    missing = np.isnan(codes)
    places = np.where(missing, -1, codes).astype(np.int64)
    if dtype == "category":
        return pd.Categorical.from_codes(places, pd.Index(list(levels)), ordered=ordered)
    if dtype.startswith("interval"):
        return pd.Categorical.from_codes(places, intervals(levels, dtype), ordered=ordered)
    if dtype in OBJECTS:
        levels = [OBJECTS[dtype].fromisoformat(level) for level in levels]
    known = np.empty(len(levels) + 1, dtype=object)
    known[:-1] = levels
    drawn = pd.Series(known[places], dtype=object)
    holds_gaps = dtype != "bool" or not missing.any()
    try:
        return drawn.astype(dtype if holds_gaps else object).array
    except (TypeError, ValueError):
        return drawn.array


def intervals(levels: Sequence[str], dtype: str) -> Any:
    """Return the intervals that texts describe.

    Args:
        levels: texts, such as "(0, 10]".
        dtype: of the intervals, such as "interval[int64, right]".

    Example:
        >>> intervals(["(0, 10]", "(10, 20]"], "interval[int64, right]")
        IntervalIndex([(0, 10], (10, 20]], dtype='interval[int64, right]')
    """
    kind: Any = pd.api.types.pandas_dtype(dtype)
    ends = [level[1:-1].split(", ") for level in levels]
    first, last = (pd.Index(each).astype(kind.subtype) for each in zip(*ends, strict=True))
    return pd.IntervalIndex.from_arrays(first, last, kind.closed)
