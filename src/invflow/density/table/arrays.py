"""Columns of a table as arrays of codes, and back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from invflow.density.table import codes, levels
from invflow.density.table.column import Column
from invflow.density.table.columns import Columns
from invflow.density.table.labels import Label, axis
from invflow.density.table.levels import intervals
from invflow.density.table.samples import Floats

#: The fewest values of which one at least is expected to have occurred in training.
MANY = 20
#: A context more standard deviations from the mean than this is an error.
MOST_DEVIATIONS = 1e6


def features(frame: pd.DataFrame, columns: Columns, first: int = 0) -> Floats:
    """Return the codes of the columns of the density, (rows, features), NaN where missing.

    What is missing but has a copy is known.

    Args:
        frame: rows of the table.
        columns: of the table.
        first: number of the first row in the table, for errors.

    Raises:
        ValueError: if a column is missing, or its values are not of the kind seen in training.
    """
    each = [codes.codes(_series(frame, column.of), column, first) for column in columns.features]
    for column, own in zip(columns.features, each, strict=True):
        if column.is_categorical and column.part is None and column.gap_of is None:
            _warn_if_never_seen(column, _series(frame, column.of), own)
    copies = [copy.originals(_series(frame, copy.name)) for copy in columns.copies]
    if not columns.missing:
        names = [column.of for column in columns.features] + [copy.name for copy in columns.copies]
        for name, own in zip(names, each + copies, strict=True):
            _refuse_gaps(name, own, first)
    for place, own in zip(columns.originals, copies, strict=True):
        each[place] = np.where(np.isnan(each[place]), own, each[place])
    # The columns are read one after the other, and written so.
    return np.stack(each).T


def _warn_if_never_seen(column: Column, series: Any, codes: Floats) -> None:
    """Warn if a column may be another: none of many values occurred in training."""
    there = ~np.isnan(codes)
    if there.sum() >= MANY and (codes[there] == len(column.categories)).all():
        warnings.warn(
            f"column {column.of!r}: none of its {there.sum()} values, such as "
            f"{levels.categories(series[there][:1])[0]!r}, occurred in training, where they were "
            f"{', '.join(map(repr, column.categories[:3]))}",
            UserWarning,
            stacklevel=2,
        )


def _refuse_gaps(name: Label, values: Floats, first: int) -> None:
    if np.isnan(values.sum()):
        raise ValueError(
            f"column {name!r} has a missing value (NaN) in row "
            f"{first + np.isnan(values).argmax()}; fill it "
            "in, or train a density with missing set to marginalise or learn"
        )


def context(frame: pd.DataFrame, columns: Columns, first: int = 0) -> Floats:
    """Return the context, standardised or one-hot, shape (rows, context size).

    Args:
        frame: rows of the table.
        columns: of the table.
        first: number of the first row in the table, for errors.

    Raises:
        ValueError: if a column or a value is missing, or a category was not seen in training.
    """
    if not columns.context:
        return np.empty((len(frame), 0))
    return np.column_stack([_context(frame, column, first) for column in columns.context])


def _context(frame: pd.DataFrame, column: Column, first: int) -> Floats:
    series = _series(frame, column.of)
    lacking = np.flatnonzero(series.isna().to_numpy())
    if len(lacking):
        raise ValueError(
            f"column {column.of!r}, which the density is conditional on, has a missing value in "
            f"row {first + lacking[0]}"
        )
    found = codes.codes(series, column, first)
    if not column.is_categorical:
        deviations = (found - column.location) / column.scale
        far = np.flatnonzero(np.abs(deviations) > MOST_DEVIATIONS)
        if len(far):
            raise ValueError(
                f"column {column.of!r}, which the density is conditional on, has "
                f"{found[far[0]]:g} in row {first + far[0]}, far outside the values in training"
            )
        return deviations[:, None]
    unseen = np.flatnonzero(found == len(column.categories))
    if len(unseen):
        value = levels.categories([series.iloc[unseen[0]]])[0]
        raise ValueError(
            f"column {column.of!r} has the category {value!r}, which was not seen in training"
        )
    return np.eye(len(column.categories))[found.astype(np.int64)]


def frame(
    values: Floats, given: pd.DataFrame, columns: Columns, axes: Sequence[Label] = (None,)
) -> pd.DataFrame:
    """Return codes as a table with the columns and types of the training table.

    Args:
        values: codes of the features, shape (rows, features), as `features` returns.
        given: one row for each, with the columns that the density is conditional on; the result
            has its index.
        columns: of the table.
        axes: names of the levels of the columns' labels.
    """
    found: dict[Label, Any] = {}
    parts: dict[Label, dict[Column, Floats]] = {}
    missing = {columns.features[i].gap_of: values[:, i] == 1 for i in columns.tells}

    def there(name: Label, own: Floats) -> Floats:
        return np.where(missing[name], np.nan, own) if name in missing else own

    for column, own in zip(columns.features, values.T, strict=True):
        if column.part is not None:
            parts.setdefault(column.of, {})[column] = own
        elif column.gap_of is None:
            found[column.name] = codes.values(there(column.name, own), column)
    for copy, place in zip(columns.copies, columns.originals, strict=True):
        found[copy.name] = copy.values(there(copy.name, values[:, place]))
    found |= {name: codes.date(each) for name, each in parts.items()}
    found |= {column.of: _returned(given[column.of], column) for column in columns.context}
    # With its dtype, as pandas would make text of objects.
    numbered = {
        i: pd.Series(found[name], index=given.index, dtype=found[name].dtype)
        for i, name in enumerate(columns.names)
    }
    return pd.DataFrame(numbered, index=given.index).set_axis(axis(columns.names, axes), axis=1)


def filled(found: pd.DataFrame, given: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Return a table from `frame` with the observed values that codes cannot tell from others.

    These are numbers between those of a grid, categories that were never seen, and copies.

    Args:
        found: the table.
        given: the same rows, with gaps.
        columns: of the table.
    """
    for column in columns.features:
        lost = codes.are_between(given[column.of], column)
        if lost.any():
            place = columns.names.index(column.of)
            own = found.iloc[:, place].to_numpy(dtype=object, copy=True)
            own[lost] = given[column.of].to_numpy(dtype=object)[lost]
            found.isetitem(place, pd.Series(own).infer_objects().array)
    for copy in columns.copies:
        place, own = columns.names.index(copy.name), given[copy.name]
        found.isetitem(place, found.iloc[:, place].where(own.isna(), own))
    return found


def _returned(series: Any, column: Column) -> Any:
    """Return given values in the dtype of their column, if it can represent them."""
    if column.dtype == "category" or column.dtype.startswith("interval"):
        # The categories of the table, not those of the draws.
        known: Any = list(column.categories)
        if column.dtype != "category":
            known = intervals(known, column.dtype)
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
