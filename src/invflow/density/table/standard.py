"""The location and scale of columns, by which the inputs of a flow are standardised."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from invflow.density.table.codes import codes
from invflow.density.table.column import Column
from invflow.density.table.columns import Columns
from invflow.density.table.moments import Moments
from invflow.density.table.samples import Floats
from invflow.density.table.source import Source, pieces

#: A standard deviation smaller than this fraction of the mean is rounding error.
ROUNDING = 1e-12


def standardise(columns: Columns, source: Source) -> Columns:
    """Return columns with the locations and scales, and the counts of categories, of training rows.

    These are estimates. Estimated from test rows too, they would leak information about these: a
    single outlier among them shows in the scale. The kinds of columns are not estimates and stay as
    `survey` found them.

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
    measured = [*columns.features, *(c for c in columns.context if not c.is_categorical)]
    moments = {column.name: Moments(1) for column in measured}
    counts = {c.name: np.zeros(len(c.categories) + 1, np.int64) for c in columns.features}
    first = 0
    for block in pieces(source):
        for column in columns.features:
            found = codes(block[column.of], column, first)
            if column.is_categorical:
                seen = found[~np.isnan(found)].astype(np.int64)
                counts[column.name] += np.bincount(seen, minlength=len(counts[column.name]))
            moments[column.name].add(encoded(found, column)[:, None])
        for column in columns.context:
            if not column.is_categorical:
                moments[column.name].add(codes(block[column.of], column, first)[:, None])
        first += len(block)
    return replace(
        columns,
        features=tuple(
            _feature(column, moments[column.name], counts[column.name])
            for column in columns.features
        ),
        context=tuple(
            column if column.is_categorical else placed(column, moments[column.name])
            for column in columns.context
        ),
    )


def _feature(column: Column, moments: Moments, counts: NDArray[np.int64]) -> Column:
    # On a grid numbers always vary, because they are dequantised.
    if not moments.count or (column.kind == "continuous" and not varies(moments)):
        raise ValueError(
            f"column {column.name!r} hardly varies over its {moments.count} training values, so "
            "it does not have a density: reduce test_fraction, or leave it out"
        )
    if column.is_categorical:
        return replace(column, counts=tuple(counts[:-1].tolist()))
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
    if column.grid is not None and column.cells == (None, None):
        location, variance = location + 0.5, variance + 1 / 12  # uniform noise is added
    return replace(column, location=location, scale=math.sqrt(variance) or 1.0)


def encoded(codes: Floats, column: Column) -> Floats:
    """Return codes as the flow sees them, before they are standardised.

    On a grid with bounds they are represented by the middle of their cells.
    """
    low, high = column.cells
    if (low, high) == (None, None):
        return codes
    if column.grid is not None:
        codes = codes + 0.5
    if column.beyond:
        codes = np.clip(
            codes, None if low is None else low + 0.5, None if high is None else high - 0.5
        )
    return unbounded(codes, low, high)


def unbounded(values: Floats, low: float | None, high: float | None) -> Floats:
    """Return the logarithm or logit of numbers between bounds."""
    if low is not None and high is not None:
        return np.log(values - low) - np.log(high - values)
    if low is not None:
        return np.log(values - low)
    return values if high is None else -np.log(high - values)
