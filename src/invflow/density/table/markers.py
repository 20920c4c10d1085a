"""Markers of missing values, such as "?" and -999: which they may be, and taking them out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from invflow.density.table.labels import Label
from invflow.density.table.numerals import is_number

#: What stands for a missing value in many tables.
WORDS = frozenset(
    {"?", "-", "--", ".", "*", "na", "n/a", "#n/a", "nan", "null", "(null)", "<na>", "nil"}
)


def is_marker(text: str) -> bool:
    """Whether a text usually stands for a missing value.

    Example:
        >>> is_marker("N/A"), is_marker("none")
        (True, False)
    """
    return text.strip().lower() in WORDS


def by_column(na: Iterable[str], names: Iterable[Label]) -> Mapping[Label, list[str]]:
    """Return the markers of each column.

    Args:
        na: each a value, or COLUMN=VALUE; several are separated by commas.
        names: of the columns.

    Example:
        >>> by_column(["?,-9", "a=0"], ["a", "b"])
        {'a': ['?', '-9', '0'], 'b': ['?', '-9']}
    """
    found: dict[Label, list[str]] = {name: [] for name in names}
    for text in na:
        whole = text.rpartition("=")
        parts = [text] if whole[0] in found else text.split(",")
        for part in parts:
            name, _, value = part.rpartition("=")
            for column in [name] if name in found else found:
                found[column].append(value if name in found else part)
    return found


def without(series: Any, markers: Iterable[str]) -> Any:
    """Return a column with its markers missing.

    Example:
        >>> without(pd.Series([1, -9, 3]), ["-9", "?"]).tolist()
        [1, <NA>, 3]
    """
    markers = [marker.strip() for marker in markers]
    if not markers:
        return series
    if pd.api.types.is_bool_dtype(series.dtype):
        return series
    if pd.api.types.is_numeric_dtype(series.dtype):
        where = series.isin([float(each) for each in markers if is_number(each)])
        if not where.any():
            return series
        if pd.api.types.is_integer_dtype(series.dtype) and isinstance(series.dtype, np.dtype):
            series = series.astype(series.dtype.name.replace("i", "I").replace("u", "U"))
        return series.mask(where)
    if pd.api.types.is_string_dtype(series.dtype) or series.dtype == "category":
        return series.mask(series.astype(str).str.strip().isin(markers))
    return series


class Unmarked:
    """A source whose markers of missing values are missing.

    Args:
        source: the table.
        na: markers, as in `by_column`.
    """

    def __init__(self, source: Any, na: Iterable[str]) -> None:
        self.names = source.names
        self.blocks = tuple(source.blocks)
        self.schema = source.schema
        self._source = source
        self._markers = by_column(na, source.names)

    def block(self, number: int) -> pd.DataFrame:
        frame = self._source.block(number)
        columns = [
            without(frame.iloc[:, i], self._markers[name]) for i, name in enumerate(self.names)
        ]
        return pd.concat(columns, axis=1).set_axis(frame.columns, axis=1)
