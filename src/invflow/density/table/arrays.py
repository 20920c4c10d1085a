"""Columns of a table as arrays of numbers, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from invflow.density.table.columns import Column, Columns
from invflow.density.table.labels import Label, axis
from invflow.density.table.samples import Floats

#: A context more standard deviations from the mean than this is an error.
MOST_DEVIATIONS = 1e6
#: What to do with a column of text before training,
REMEDY = "name it in conditional_on, or leave it out"
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


def _parsed(series: Any, name: Label, remedy: str) -> Any:
    """Return the numbers of a column of objects."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        dtype = series.dtype.categories.dtype
        convert = f", or convert it to {dtype}" if pd.api.types.is_numeric_dtype(dtype) else ""
        raise ValueError(f"column {name!r} has the dtype category: {remedy}{convert}")
    if series.dtype != object:
        raise _not_numbers(name, next(iter(_text(series.dropna())), None), remedy)
    for value in series:
        if not (pd.isna(value) or isinstance(value, int | float | np.number)):
            raise _not_numbers(name, value, remedy)
    return pd.to_numeric(series)


def _not_numbers(name: Label, value: Any, remedy: str) -> ValueError:
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


def features(frame: pd.DataFrame, columns: Columns, first: int = 0) -> Floats:
    """Return the columns of the density, shape (rows, features), NaN where missing.

    Args:
        frame: rows of the table.
        columns: of the table.
        first: number of the first row in the table, for errors.

    Raises:
        ValueError: if a column is missing, or its values are not of the kind seen in training.
    """
    return _stacked(
        [_feature(frame, column, columns.missing, first) for column in columns.features],
        len(frame),
    )


def _feature(frame: pd.DataFrame, column: Column, missing: bool, first: int) -> Floats:
    values = numbers(_series(frame, column.name), column.name, first, AS_TRAINED)
    gaps = np.flatnonzero(np.isnan(values))
    if len(gaps) and not missing:
        raise ValueError(
            f"column {column.name!r} has a missing value (NaN) in row {first + gaps[0]}; fill it "
            "in, or train a density with missing set to marginalise"
        )
    if column.kind == "integer":
        other = np.flatnonzero(values % 1 > 0)
        if len(other):
            raise ValueError(
                f"column {column.name!r} has {values[other[0]]} in row {first + other[0]} but was "
                "integer in training; declare it continuous in kinds and train again"
            )
    return values


def context(frame: pd.DataFrame, columns: Columns, first: int = 0) -> Floats:
    """Return the context, standardised or one-hot, shape (rows, context size).

    Args:
        frame: rows of the table.
        columns: of the table.
        first: number of the first row in the table, for errors.

    Raises:
        ValueError: if a column or a value is missing, or a category was not seen in training.
    """
    return _stacked([_context(frame, column, first) for column in columns.context], len(frame))


def _context(frame: pd.DataFrame, column: Column, first: int) -> Floats:
    series = _series(frame, column.name)
    lacking = np.flatnonzero(series.isna().to_numpy())
    if len(lacking):
        raise ValueError(
            f"column {column.name!r}, which the density is conditional on, has a missing value in "
            f"row {first + lacking[0]}"
        )
    if column.kind != "categorical":
        values = numbers(series, column.name, first, AS_TRAINED)
        deviations = (values - column.location) / column.scale
        far = np.flatnonzero(np.abs(deviations) > MOST_DEVIATIONS)
        if len(far):
            raise ValueError(
                f"column {column.name!r}, which the density is conditional on, has "
                f"{values[far[0]]:g} in row {first + far[0]}, far outside the values in training"
            )
        return deviations[:, None]
    values = categories(series)
    known = {value: i for i, value in enumerate(column.categories)}
    for value in values:
        if value not in known:
            raise ValueError(
                f"column {column.name!r} has the category {value!r}, which was not seen in training"
            )
    return np.eye(len(known))[[known[value] for value in values]]


def categories(series: Any) -> list[Any]:
    """Return values of types that JSON has: booleans, integers, floats, strings."""
    return [
        value.item()
        if isinstance(value, np.generic)
        else value
        if isinstance(value, bool | int | float)
        else str(value)
        for value in series
    ]


def frame(
    values: Floats, given: pd.DataFrame, columns: Columns, levels: Sequence[Label] = (None,)
) -> pd.DataFrame:
    """Return numbers as a table with the columns and types of the training table.

    Args:
        values: of the features, shape (rows, features); whole numbers in integer columns.
        given: one row for each, with the columns that the density is conditional on; the result
            has its index.
        columns: of the table.
        levels: names of the levels of the columns' labels.
    """
    found: dict[Label, Any] = {
        column.name: _typed(values[:, i], column) for i, column in enumerate(columns.features)
    }
    for column in columns.context:
        found[column.name] = _returned(given[column.name], column)
    numbered = {i: found[name] for i, name in enumerate(columns.names)}
    return pd.DataFrame(numbered, index=given.index).set_axis(axis(columns.names, levels), axis=1)


def _typed(values: Floats, column: Column) -> Any:
    dtype: Any = pd.api.types.pandas_dtype(column.dtype)
    if column.kind != "integer":
        return _rounded(values, column, dtype) if pd.api.types.is_float_dtype(dtype) else values
    if pd.api.types.is_bool_dtype(dtype):
        return pd.array(values > 0.5, dtype=dtype) if np.isfinite(values).all() else values
    if pd.api.types.is_integer_dtype(dtype):
        limits = np.iinfo(_plain(dtype))
        most = float(limits.max)
        # The largest number of 64 bits is not a float, and the next float is too large.
        most = most if int(most) == limits.max else np.nextafter(most, 0)
        values = np.clip(values, limits.min, most)
        return _array(values.astype(_plain(dtype)), dtype) if np.isfinite(values).all() else values
    return values


def _rounded(values: Floats, column: Column, dtype: Any) -> Any:
    """Return numbers rounded to a column's dtype, still between its bounds."""
    kept = _plain(dtype).type
    typed = values.astype(kept)
    if column.low is not None:
        typed = np.maximum(typed, np.nextafter(kept(column.low), kept(np.inf)))
    if column.high is not None:
        typed = np.minimum(typed, np.nextafter(kept(column.high), kept(-np.inf)))
    return _array(typed, dtype)


def _plain(dtype: Any) -> Any:
    """Return the NumPy dtype of the numbers in a nullable, sparse, Arrow or NumPy column."""
    inside = getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype))
    return np.dtype(inside).newbyteorder("=")


def _array(values: Any, dtype: Any) -> Any:
    return values if isinstance(dtype, np.dtype) else pd.array(values, dtype=dtype)


def _returned(series: Any, column: Column) -> Any:
    """Return given values in the dtype of their column, if it can represent them."""
    if column.dtype == "category":
        # The categories of the table, not those of the draws.
        known = list(column.categories)
        return pd.Categorical(series, known) if set(series) <= set(known) else series.array
    try:
        typed = series.astype(column.dtype)
    except (TypeError, ValueError):
        return series.array
    return typed.array if (typed == series).all() else series.array


def _series(frame: pd.DataFrame, name: Label) -> Any:
    if name not in frame.columns:
        raise ValueError(f"the table does not have the column {name!r}")
    return frame[name]


def _stacked(arrays: list[Floats], rows: int) -> Floats:
    if not arrays:
        return np.empty((rows, 0))
    return np.column_stack(arrays)
