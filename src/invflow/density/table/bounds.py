"""The bounds of columns as some of a table's rows show them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from invflow.density.table.codes import codes
from invflow.density.table.column import Column
from invflow.density.table.columns import Columns
from invflow.density.table.looks.range import Range
from invflow.density.table.source import Source, pieces


def bounded(columns: Columns, source: Source) -> Columns:
    """Return columns with the bounds that training rows show, in place of those that all rows do.

    A bound of all rows could be that of a test row, which would then score better. Bounds that were
    declared stay, and so do kinds, steps and categories: they define what is measured.

    Args:
        columns: of the whole table, from `survey`.
        source: the training rows.

    Example:
        >>> import pandas as pd
        >>> from invflow.density.table import Frame, survey
        >>> table = pd.DataFrame({"age": [float(i % 40) for i in range(200)] + [-1.0]})
        >>> survey(Frame(table)).features[0].low is None
        True
        >>> bounded(survey(Frame(table)), Frame(table[:200])).features[0].low
        0.0
    """
    ranges = {column.name: Range() for column in columns.features if _may_be_found(column)}
    counts = dict.fromkeys(ranges, 0)
    first = 0
    for block in pieces(source):
        for column in columns.features:
            if column.name not in ranges:
                continue
            found: Any = codes(block[column.of].dropna(), column, first)
            if len(found):
                ranges[column.name].add(column.numbers(found))
                counts[column.name] += len(found)
        first += len(block)
    return replace(
        columns,
        features=tuple(
            _with_bounds(column, ranges[column.name], counts[column.name])
            if column.name in ranges
            else column
            for column in columns.features
        ),
    )


def _may_be_found(column: Column) -> bool:
    """Whether its bounds are found in rows: on grids, but for dates, unless they are declared."""
    declared = (column.low, column.high) != (None, None) and not column.beyond
    dated = column.unit is not None and not column.dtype.startswith("timedelta")
    return column.grid is not None and column.part is None and not (declared or dated)


def _with_bounds(column: Column, seen: Range, count: int) -> Column:
    low, high = seen.bounds(count)
    beyond = 0.0 if (low, high) == (None, None) else 1 / (count + 1)
    return replace(column, low=low, high=high, beyond=beyond)
