"""The location and scale of columns, by which the inputs of a flow are standardised."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from invflow.density.table.arrays import numbers
from invflow.density.table.columns import Column, Columns
from invflow.density.table.moments import Moments
from invflow.density.table.samples import Floats
from invflow.density.table.source import Source, blocks

#: A standard deviation smaller than this fraction of the mean is rounding error.
ROUNDING = 1e-12


def standardise(columns: Columns, source: Source) -> Columns:
    """Return columns with the locations and scales of the training rows.

    A mean and a scale are estimates. Estimated from test rows too, they would leak information
    about these: a single outlier among them shows in the scale. The kinds of columns are not
    estimates and stay as `survey` found them.

    Args:
        columns: of the whole table.
        source: the training rows.

    Raises:
        ValueError: if a column of the density does not vary over these rows.

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
    # Integers always vary, because they are dequantised.
    if not moments.count or (column.kind == "continuous" and not varies(moments)):
        raise ValueError(
            f"column {column.name!r} hardly varies over its {moments.count} training values, so "
            "it does not have a density: reduce test_fraction, or leave it out"
        )
    return placed(column, moments)


def varies(moments: Moments) -> bool:
    """Whether numbers vary by more than rounding error."""
    location, scale = float(moments.mean[0]), math.sqrt(float(moments.covariance[0, 0]))
    return scale > ROUNDING * abs(location)


def placed(column: Column, moments: Moments) -> Column:
    """Return a column with the location and scale of its encoded numbers.

    Args:
        column: the column.
        moments: of its `encoded` numbers.
    """
    location, variance = float(moments.mean[0]), float(moments.covariance[0, 0])
    if column.kind == "integer" and (column.low, column.high) == (None, None):
        location, variance = location + 0.5, variance + 1 / 12  # uniform noise is added
    return replace(column, location=location, scale=math.sqrt(variance) or 1.0)


def encoded(values: Floats, integer: bool, low: float | None, high: float | None) -> Floats:
    """Return numbers as the flow sees them, before they are standardised.

    Integers with bounds are represented by the middle of their unit interval.
    """
    if (low, high) == (None, None):
        return values
    if integer:
        values, high = values + 0.5, None if high is None else high + 1
    return unbounded(values, low, high)


def unbounded(values: Floats, low: float | None, high: float | None) -> Floats:
    """Return the logarithm or logit of numbers between bounds."""
    if low is not None and high is not None:
        return np.log(values - low) - np.log(high - values)
    if low is not None:
        return np.log(values - low)
    return values if high is None else -np.log(high - values)
