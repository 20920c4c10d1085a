"""Series as numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from invflow.density.table.labels import Label
from invflow.density.table.samples import Floats

#: What to do with values that are not numbers, before training,
REMEDY = "declare it categorical in kinds, name it in conditional_on, or leave it out"
#: and after it.
AS_TRAINED = "give numbers, as in training"


def numbers(series: Any, name: Label, first: int = 0, remedy: str = REMEDY) -> Floats:
    """Return the numbers of a column, NaN where missing.

    Args:
        series: the values.
        name: of the column.
        first: number of the first row in the table, for errors.
        remedy: what to do if there are values that are not numbers, for errors.

    Raises:
        ValueError: if a value is not a number, or is infinite.
    """
    dtype = series.dtype
    if pd.api.types.is_complex_dtype(dtype):
        # scikit-learn's checks of estimators look for these words.
        raise ValueError(f"column {name!r} is complex. Complex data not supported")
    if not (pd.api.types.is_numeric_dtype(dtype) or dtype.kind == "b"):
        series = _parsed(series, name, remedy)
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise ValueError(
            f"column {name!r} has {values[infinite[0]]} in row {first + infinite[0]}; "
            "values must be finite"
        )
    return values


def holds_integers(series: Any) -> bool:
    """Whether the values of a column are integers by their type.

    Example:
        >>> holds_integers(pd.Series([10**30, None], dtype=object))
        True
    """
    return pd.api.types.infer_dtype(series, skipna=True) == "integer"


def _parsed(series: Any, name: Label, remedy: str) -> Any:
    """Return the numbers of a column of objects."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        dtype = series.dtype.categories.dtype
        convert = f", or convert it to {dtype}" if pd.api.types.is_numeric_dtype(dtype) else ""
        raise ValueError(f"column {name!r} has the dtype category: {remedy}{convert}")
    if series.dtype != object:
        raise not_numbers(name, next(iter(_text(series.dropna())), None), remedy)
    for value in series:
        missing = pd.api.types.is_scalar(value) and pd.isna(value)
        if not (missing or isinstance(value, int | float | Decimal | np.number)):
            raise not_numbers(name, value, remedy)
    return pd.to_numeric(series)


def not_numbers(name: Label, value: Any, remedy: str = REMEDY) -> ValueError:
    """Return the error for a column with a value that is not a number."""
    return ValueError(
        f"column {name!r} has values that are not numbers, such as {value!r}: {remedy}"
    )


def _text(series: Any) -> Any:
    """Return the strings that are not numbers: the reason why the column was read as text."""
    if not pd.api.types.is_string_dtype(series.dtype):
        return series
    parsed: Any = pd.to_numeric(series, errors="coerce")
    other = series[parsed.isna()]
    return other if len(other) else series


def plain(dtype: Any) -> Any:
    """Return the NumPy dtype of the numbers in a nullable, sparse, Arrow or NumPy column."""
    inside = getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype))
    return np.dtype(inside).newbyteorder("=")


def stored(dtype: Any) -> Any:
    """Return the dtype of floats in which the numbers of a column are stored."""
    inside = plain(dtype) if pd.api.types.is_float_dtype(dtype) else np.dtype(np.float64)
    return inside.type
