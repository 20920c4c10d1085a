"""Markers of missing values, such as "?" and -999: finding them, and replacing them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from invflow.density.table.files.numerals import is_number
from invflow.density.table.labels import Label

#: What means a missing value in many tables.
WORDS = frozenset(
    {"?", "-", "--", ".", "*", "na", "n/a", "#n/a", "nan", "null", "(null)", "<na>", "nil"}
)

#: A marker among numbers occurs this often, beside this many other values.
REPEATS, FEWEST_OTHERS = 3, 5
#: It is further from the others than this fraction of their range,
FAR = 2.0
#: or than this one, if it looks like a code: -200, 999.
NEAR = 0.1
_CODE = re.compile(r"-?9{2,}|-[1-9]00+")


def is_marker(text: str) -> bool:
    """Whether a text usually means a missing value.

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
        for part in [text] if _column(text) in found else text.split(","):
            if (name := _column(part)) in found:
                found[name].append(part.rpartition("=")[2])
            else:
                for every in found.values():
                    every.append(part)
    return found


def _column(text: str) -> str | None:
    """Return what may be the name of a column in COLUMN=VALUE."""
    return text.rpartition("=")[0] or None


def without(series: Any, markers: Iterable[str]) -> Any:
    """Return a column with its markers replaced by missing values.

    Example:
        >>> without(pd.Series([1, -9, 3]), ["-9", "?"]).tolist()
        [1, <NA>, 3]
    """
    markers = [marker.strip() for marker in markers]
    if not markers or pd.api.types.is_bool_dtype(series.dtype):
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


def outlying(values: Any) -> list[str]:
    """Return repeated numbers far outside the others, as codes such as -999 are.

    Args:
        values: of a column, none missing.

    Example:
        >>> outlying(np.array([*range(9), -200, -200, -200]))
        ['-200']
    """
    found: list[str] = []
    while True:
        distinct, counts = np.unique(values, return_counts=True)
        if len(distinct) <= FEWEST_OTHERS:
            return found
        for place, inner, others in ((0, 1, slice(1, None)), (-1, -2, slice(None, -1))):
            value, rest = float(distinct[place]), distinct[others]
            gap, spread = abs(value - float(distinct[inner])), float(rest[-1] - rest[0])
            alone = value < 0 <= rest[0]
            far = gap > FAR * spread
            coded = _CODE.fullmatch(f"{value:g}") and (alone or gap > NEAR * spread)
            if counts[place] >= REPEATS and (far or coded):
                found.append(repr(value).removesuffix(".0"))
                values = values[values != value]
                break
        else:
            return found


class Unmarked:
    """A source whose markers are replaced by missing values.

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
