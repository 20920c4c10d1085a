"""Where the numbers of columns are, and how far they spread, as a flow sees them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from invflow.density.table.arrays import numbers
from invflow.density.table.columns import Column, Columns
from invflow.density.table.moments import Moments
from invflow.density.table.samples import Floats
from invflow.density.table.source import Source, blocks

#: Standard deviations as small, beside the mean, are rounding.
TINY = 1e-12


def standardise(columns: Columns, source: Source) -> Columns:
    """Return columns with the means and scales of some rows, those to learn from.

    A mean and a scale are estimates. Taken from rows that are to judge a density, they would tell
    it something of them: of a single test row far out, that there is one. What the columns hold is
    no estimate, and stays as `survey` has found it.

    Args:
        columns: of the whole table.
        source: rows of it.

    Raises:
        ValueError: a column of the density that does not vary over these rows.

    Example:
        >>> import pandas as pd
        >>> from invflow.density.table import Frame, survey
        >>> table = pd.DataFrame({"height": [1.5, 1.7, 19.3]})
        >>> standardise(survey(Frame(table)), Frame(table[:2])).features[0].location
        1.6
    """
    measured = [*columns.features, *(c for c in columns.context if c.kind != "categorical")]
    moments = {column.name: Moments(1) for column in measured}
    first = 0
    for block in blocks(source):
        for column in measured:
            values = numbers(block[column.name], column.name, first)
            seen = encoded(values, column.kind == "integer", column.low, column.high)
            moments[column.name].add(seen[:, None])
        first += len(block)
    return replace(
        columns,
        features=tuple(_feature(column, moments[column.name]) for column in columns.features),
        context=tuple(
            column if column.kind == "categorical" else placed(column, moments[column.name])
            for column in columns.context
        ),
    )


def _feature(column: Column, moments: Moments) -> Column:
    # Dequantised, whole numbers vary by themselves.
    if not moments.count or (column.kind == "continuous" and not varies(moments)):
        raise ValueError(
            f"column {column.name!r} hardly varies over the {moments.count} values to learn from, "
            "and has no density there: take a smaller test fraction, or leave it out"
        )
    return placed(column, moments)


def varies(moments: Moments) -> bool:
    """Whether numbers vary by more than the digits that they have."""
    location, scale = float(moments.mean[0]), math.sqrt(float(moments.covariance[0, 0]))
    return scale > TINY * abs(location)


def placed(column: Column, moments: Moments) -> Column:
    """Return a column with the mean and the scale of what a flow is to see of it.

    Args:
        column: what is known of it.
        moments: of its numbers, `encoded`.
    """
    location, variance = float(moments.mean[0]), float(moments.covariance[0, 0])
    if column.kind == "integer" and (column.low, column.high) == (None, None):
        location, variance = location + 0.5, variance + 1 / 12  # and something between 0 and 1
    return replace(column, location=location, scale=math.sqrt(variance) or 1.0)


def encoded(values: Floats, integer: bool, low: float | None, high: float | None) -> Floats:
    """Return numbers as a flow will see them, before they are standardised.

    Whole numbers between bounds are taken in the middle of the interval that stands for each.
    """
    if (low, high) == (None, None):
        return values
    if integer:
        values, high = values + 0.5, None if high is None else high + 1
    return unbounded(values, low, high)


def unbounded(values: Floats, low: float | None, high: float | None) -> Floats:
    """Return what a logarithm or a logit makes of numbers between bounds."""
    if low is not None and high is not None:
        return np.log(values - low) - np.log(high - values)
    if low is not None:
        return np.log(values - low)
    return values if high is None else -np.log(high - values)
