"""Tables as users hand them to the estimator, checked as scikit-learn does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_array, validate_data

from invflow.density.table import Columns, Frame, Rows, Source
from invflow.density.table.columns import column_name, numbered_names


def learned(estimator: Any, X: Any) -> Source:
    """Return a table to learn from, and note its columns in the estimator.

    Args:
        estimator: is given `n_features_in_`, and `feature_names_in_` if the table has names.
        X: an array or a DataFrame, shape (rows, columns), or a `Source`.

    Raises:
        TypeError, ValueError: something else, or a table that is none.
    """
    if isinstance(X, Source):
        estimator.n_features_in_ = len(X.names)
        estimator.feature_names_in_ = np.array(X.names, dtype=object)
        return X
    if isinstance(X, pd.DataFrame):
        table = Frame(X)
        frame: Any = X
        validate_data(estimator, frame, skip_check_array=True)
        return table
    array = _array(estimator, X, reset=True, ensure_min_samples=2)
    return Frame(pd.DataFrame(array, columns=numbered_names(array.shape[1])))


def scored(estimator: Any, X: Any, columns: Columns) -> Rows:
    """Return the rows of a table that has the columns of the one that was learned.

    Args:
        estimator: a fitted one.
        X: an array or a DataFrame, shape (rows, columns), or a `Source`.
        columns: what has been learned of them.

    Raises:
        TypeError, ValueError: something else, other columns, or no rows.
    """
    table = _scored(estimator, X, list(columns.names))
    unknown = [name for name in table.names if name not in columns.names]
    if unknown:
        raise ValueError(
            f"the table has the column {unknown[0]!r}, which was not there in training"
        )
    if sum(table.blocks) == 0:
        raise ValueError("the table has no rows")
    return Rows(table, columns)


def _scored(estimator: Any, X: Any, names: list[str]) -> Source:
    if isinstance(X, Source):
        return X
    if isinstance(X, pd.DataFrame):
        table = Frame(X)
        frame: Any = X
        validate_data(estimator, frame, reset=False, skip_check_array=True)
        # Where one of the tables has no names, columns go by place, as scikit-learn warns.
        named = hasattr(estimator, "feature_names_in_") and all(isinstance(n, str) for n in X)
        return table if named else Frame(X.set_axis(names, axis=1))
    return Frame(pd.DataFrame(_array(estimator, X, reset=False), columns=names))


def _array(estimator: Any, X: Any, **options: Any) -> Any:
    # The survey says more exactly what is not finite.
    return validate_data(estimator, X, dtype="numeric", ensure_all_finite=False, **options)


def contexts(estimator: Any, given: Any, count: int, columns: Columns) -> pd.DataFrame:
    """Return what draws are given, a row for each.

    Args:
        estimator: a fitted one.
        given: a DataFrame or a mapping with the columns that the density is conditional on, and no
            others; a DataFrame of whole rows, with all columns of the table, of which the others
            are passed over; or, if the table had no names, an array, shape (rows, contexts), in
            the order of `conditional_on`. One row for all draws or one for each. None where the
            density is conditional on no columns.
        count: of draws.
        columns: of the table.

    Raises:
        TypeError: something else.
        ValueError: a column is missing, unknown or not wanted, or rows are of another number.
    """
    names = [column.name for column in columns.context]
    if not names:
        if given is not None:
            raise ValueError("given must be None, as the density is conditional on no columns")
        return pd.DataFrame(index=range(count))
    if given is None:
        raise ValueError(f"given must hold {', '.join(map(repr, names))}, got None")
    if isinstance(given, np.ndarray | list | tuple) and not hasattr(estimator, "feature_names_in_"):
        frame = _unnamed(given, names)
    else:
        frame = _named(given, names, columns)
    if len(frame) not in (1, count):
        raise ValueError(f"given must have one row or {count}, got {len(frame)}")
    rows = frame.iloc[[0] * count if len(frame) == 1 else slice(None)]
    return rows.reset_index(drop=True)


def _unnamed(given: Any, names: list[str]) -> pd.DataFrame:
    """Return the rows of an array of contexts."""
    # What is not finite is refused by name, with its row.
    array: Any = check_array(given, dtype="numeric", ensure_all_finite=False, input_name="given")
    if array.shape[1] != len(names):
        raise ValueError(
            f"given must have shape (rows, {len(names)}), a column for each of "
            f"{', '.join(map(repr, names))}, got {array.shape}"
        )
    return pd.DataFrame(array, columns=names)


def _named(given: Any, names: list[str], columns: Columns) -> pd.DataFrame:
    """Return the rows of a table of contexts, or of whole rows."""
    frame = given if isinstance(given, pd.DataFrame) else _frame(given)
    labels = [
        column_name("given", name if isinstance(name, int) else str(name), columns.names)
        for name in frame.columns
    ]
    for i, name in enumerate(labels):
        if name in labels[:i]:
            raise ValueError(f"given names the column {name!r} twice")
    for name in names:
        if name not in labels:
            raise ValueError(f"given lacks the column {name!r}")
    whole = isinstance(given, pd.DataFrame) and len(labels) == len(columns.names)
    others = [name for name in labels if name not in names]
    if others and not whole:
        raise ValueError(
            f"given holds the column {others[0]!r}, which the density is not conditional on; give "
            f"{', '.join(map(repr, names))} alone, or whole rows of the table"
        )
    return frame.set_axis(labels, axis=1)


def _frame(given: Any) -> pd.DataFrame:
    """Return the rows of a mapping from columns to values, or to one value for each row."""
    if not isinstance(given, Mapping):
        raise TypeError(
            "given must be a DataFrame or a mapping, or an array if the density was learned from "
            f"one, got {type(given).__name__}"
        )
    lists = any(map(pd.api.types.is_list_like, given.values()))
    return pd.DataFrame(dict(given) if lists else [given])
