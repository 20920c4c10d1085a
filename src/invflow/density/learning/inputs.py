"""Tables that users pass to the estimator, checked as scikit-learn does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_array, validate_data

from invflow.density.table import Columns, Frame, Rows, Source
from invflow.density.table.containers import Container, taken
from invflow.density.table.labels import (
    Label,
    are_names,
    axis,
    column_label,
    numbered_names,
    unique,
)


def learned(estimator: Any, X: Any) -> tuple[Source, Container]:
    """Return the training table and what it is in, and record its columns in the estimator.

    Args:
        estimator: receives `n_features_in_`, and `feature_names_in_` if all labels are strings.
        X: an array or a table of any library, shape (rows, columns), or a `Source`.

    Raises:
        TypeError, ValueError: if `X` is not a table.
    """
    if isinstance(X, str | Path):
        raise TypeError(
            f"X must be an array, a DataFrame or a Source, got {X!r}; read a file with "
            "invflow.density.table.read"
        )
    estimator.levels_ = (None,)
    if known := taken(X):  # first: to ask a lazy frame for the attributes of a Source reads it
        frame, container = known
        table = Frame(frame)
        estimator.levels_ = tuple(frame.columns.names)
        _record(estimator, frame, reset=True)
        return table, container
    if isinstance(X, Source):
        _record(estimator, pd.DataFrame(columns=axis(X.names)), reset=True)
        return X, Container("pandas", X.schema)
    array = _array(estimator, X, reset=True, ensure_min_samples=2)
    table = Frame(pd.DataFrame(array, columns=numbered_names(array.shape[1])))
    return table, Container("numpy")


def scored(estimator: Any, X: Any, columns: Columns) -> Rows:
    """Return the rows of a table with the columns of the training table.

    Args:
        estimator: fitted.
        X: an array or a DataFrame, shape (rows, columns), or a `Source`.
        columns: of the training table.

    Raises:
        TypeError, ValueError: if `X` is not a table, has other columns, or has no rows.
    """
    table = _scored(estimator, X, columns.names)
    unknown = [name for name in table.names if name not in columns.names]
    if unknown:
        raise _unknown(unknown[0])
    if sum(table.blocks) == 0:
        raise ValueError("the table has no rows")
    return Rows(table, columns)


def with_values(X: Any, columns: Columns, name: Label, values: Any) -> tuple[Any, Any]:
    """Return rows whose values of a column are the first of `values`, and their index.

    The column may be missing. A `Source` is returned as it is.

    Args:
        X: an array or a table, or a `Source`.
        columns: of the training table.
        name: of the column.
        values: of the column.
    """
    place = columns.names.index(name)
    if known := taken(X):
        frame = known[0].copy()
        labels, own = unique(frame.columns), values[:1].repeat(len(frame))
        if name in labels:
            frame.isetitem(labels.index(name), own)
        elif len(labels) == len(columns.names):  # matched by position
            frame.isetitem(place, own)
        else:
            frame.insert(min(place, len(labels)), name, own)
        return frame, frame.index
    if isinstance(X, Source):
        return X, None
    array: Any = check_array(X, dtype="numeric", ensure_all_finite=False).copy()
    if array.shape[1] == len(columns.names):
        array[:, place] = values[0]
    return array, None


def _scored(estimator: Any, X: Any, names: Sequence[Label]) -> Source:
    known = taken(X)
    if known is None:
        if isinstance(X, Source):
            return X
        array = _array(estimator, X, reset=False)
        return Frame(pd.DataFrame(array, columns=axis(names)))
    frame, _ = known
    found = unique(frame.columns)
    if are_names(found) and are_names(names):
        # The names must be those of the training table. After training on an array, named columns
        # are matched by position, with scikit-learn's warning.
        _record(estimator, frame, reset=False)
        return Frame(frame if set(found) == set(names) else frame.set_axis(axis(names), axis=1))
    if are_names(names):
        found = unique(_training_label(label, names) for label in found)
        _record(estimator, frame, reset=False)
    return Frame(frame.set_axis(axis(found), axis=1))


def _training_label(label: Label, names: Sequence[Label]) -> Label:
    try:
        return column_label("the table", label, names)
    except ValueError as error:
        raise _unknown(label) from error


def _unknown(label: Label) -> ValueError:
    return ValueError(f"the table has the column {label!r}, which the training table did not have")


def _record(estimator: Any, frame: Any, *, reset: bool) -> None:
    """Let scikit-learn record or check the names of columns, if all labels are names."""
    if not are_names(frame.columns):
        frame = frame.set_axis(range(frame.shape[1]), axis=1)
    validate_data(estimator, frame, reset=reset, skip_check_array=True)


def _array(estimator: Any, X: Any, **options: Any) -> Any:
    masked = isinstance(X, np.ma.MaskedArray)
    values: Any = np.ma.filled(X.astype(np.float64), np.nan) if masked else X
    # The survey reports more precisely which values are not finite.
    return validate_data(estimator, values, dtype="numeric", ensure_all_finite=False, **options)


def contexts(estimator: Any, given: Any, count: int, columns: Columns) -> pd.DataFrame:
    """Return the values that draws are conditional on, one row for each draw.

    Args:
        estimator: fitted.
        given: a DataFrame or a mapping with exactly the columns that the density is conditional on;
            a DataFrame of whole rows, whose other columns are ignored; or, if the table had no
            names, an array, shape (rows, contexts), in the order of `conditional_on`. One row for
            all draws, or one for each. None if the density is not conditional.
        count: number of draws.
        columns: of the table.

    Raises:
        TypeError: if `given` has another type.
        ValueError: if a column is missing, unknown or not allowed, or the number of rows is wrong.
    """
    names = list(columns.given)
    if not names:
        if given is not None:
            raise ValueError("given must be None, because the density is not conditional")
        return pd.DataFrame(index=range(count))
    if known := taken(given):
        given, _ = known
    if given is None:
        raise ValueError(f"given must have the columns {', '.join(map(repr, names))}, got None")
    if isinstance(given, np.ndarray | list | tuple) and not hasattr(estimator, "feature_names_in_"):
        frame = _unnamed(given, names)
    else:
        frame = _named(given, names, columns)
    if len(frame) not in (1, count):
        raise ValueError(f"given must have one row or {count}, got {len(frame)}")
    rows = frame.iloc[[0] * count if len(frame) == 1 else slice(None)]
    return rows.reset_index(drop=True)


def _unnamed(given: Any, names: list[Label]) -> pd.DataFrame:
    """Return the rows of an array of contexts."""
    # Values that are not finite are reported later, with their column and row.
    array: Any = check_array(given, dtype="numeric", ensure_all_finite=False, input_name="given")
    if array.shape[1] != len(names):
        raise ValueError(
            f"given must have shape (rows, {len(names)}), one column for each of "
            f"{', '.join(map(repr, names))}, got {array.shape}"
        )
    return pd.DataFrame(array, columns=axis(names))


def _named(given: Any, names: list[Label], columns: Columns) -> pd.DataFrame:
    """Return the rows of a table of contexts, or of whole rows."""
    frame, keys = (given, given.columns) if isinstance(given, pd.DataFrame) else _frame(given)
    labels = [column_label("given", key, columns.names) for key in keys]
    for i, name in enumerate(labels):
        if name in labels[:i]:
            raise ValueError(f"given has the column {name!r} twice")
    for name in names:
        if name not in labels:
            raise ValueError(f"given does not have the column {name!r}")
    whole = isinstance(given, pd.DataFrame) and len(labels) == len(columns.names)
    others = [name for name in labels if name not in names]
    if others and not whole:
        raise ValueError(
            f"given has the column {others[0]!r}, which the density is not conditional on; give "
            f"only {', '.join(map(repr, names))}, or whole rows of the table"
        )
    return frame.set_axis(axis(labels), axis=1)


def _frame(given: Any) -> tuple[pd.DataFrame, list[Any]]:
    """Return the rows of a mapping from columns to values, or to single values, and its keys.

    The columns are numbered, because pandas splits keys that are tuples.
    """
    if not isinstance(given, Mapping):
        raise TypeError(
            "given must be a DataFrame or a mapping, or an array if the density was trained on an "
            f"array, got {type(given).__name__}"
        )
    values = dict(enumerate(given.values()))
    lists = any(map(pd.api.types.is_list_like, values.values()))
    return pd.DataFrame(values if lists else [values]), list(given)
