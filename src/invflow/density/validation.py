"""Tables as users hand them to the estimator, checked as scikit-learn does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import validate_data

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


def contexts(given: Any, count: int, columns: Columns) -> pd.DataFrame:
    """Return what draws are given, a row for each.

    Args:
        given: a DataFrame or a mapping with the columns that the density is conditional on, one
            row for all draws or one for each; None where it is conditional on none.
        count: of draws.
        columns: of the table.

    Raises:
        TypeError: something else.
        ValueError: a column is missing, not wanted, or of another number of rows.
    """
    names = [column.name for column in columns.context]
    if not names:
        if given is not None:
            raise ValueError("given must be None, as the density is conditional on no columns")
        return pd.DataFrame(index=range(count))
    if given is None:
        raise ValueError(f"given must hold {', '.join(map(repr, names))}, got None")
    frame = given if isinstance(given, pd.DataFrame) else _frame(given)
    labels = [
        column_name("given", name, columns.names) if isinstance(name, int) else str(name)
        for name in frame.columns
    ]
    frame = frame.set_axis(labels, axis=1)
    for name in names:
        if name not in frame.columns:
            raise ValueError(f"given lacks the column {name!r}")
    if len(frame) not in (1, count):
        raise ValueError(f"given must have one row or {count}, got {len(frame)}")
    rows = frame.iloc[[0] * count if len(frame) == 1 else slice(None)]
    return rows.reset_index(drop=True)


def _frame(given: Any) -> pd.DataFrame:
    """Return the rows of a mapping from columns to values, or to one value for each row."""
    if not isinstance(given, Mapping):
        raise TypeError(f"given must be a DataFrame or a mapping, got {type(given).__name__}")
    lists = any(map(pd.api.types.is_list_like, given.values()))
    return pd.DataFrame(dict(given) if lists else [given])
