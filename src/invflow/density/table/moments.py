"""Means, covariances and correlations, accumulated over blocks of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from invflow.density.table.samples import Floats


class Moments:
    """Mean and covariance of the rows added; rows with missing values are left out.

    Blocks are combined by the method of Chan, Golub and LeVeque (1983), which keeps the precision
    of columns far from zero.

    Args:
        size: number of columns.

    Example:
        >>> moments = Moments(1)
        >>> moments.add(np.array([[1.0], [2.0]]))
        >>> moments.add(np.array([[6.0]]))
        >>> moments.mean, moments.covariance
        (array([3.]), array([[4.66666667]]))
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean = np.zeros(size)
        self._scatter = np.zeros((size, size))

    def add(self, rows: Floats) -> None:
        """Add rows, shape (rows, size)."""
        rows = rows[~np.isnan(rows).any(1)]
        if not len(rows):
            return
        mean = rows.mean(0)
        centred = rows - mean
        step = mean - self.mean
        total = self.count + len(rows)
        self._scatter += centred.T @ centred
        self._scatter += np.outer(step, step) * (self.count * len(rows) / total)
        self.mean = self.mean + step * (len(rows) / total)
        self.count = total

    @property
    def covariance(self) -> Floats:
        """The covariance, shape (size, size)."""
        return self._scatter / max(self.count, 1)


class Correlations:
    """Correlations of columns, each pair over the rows that have both values.

    Args:
        size: number of columns.

    Example:
        >>> found = Correlations(2)
        >>> found.add(np.array([[1.0, 2.0], [2.0, 4.0], [3.0, np.nan], [5.0, 10.0]]))
        >>> found.correlation.round(6), found.counts
        (array([[1., 1.],
               [1., 1.]]), array([[4., 3.],
               [3., 3.]]))
    """

    def __init__(self, size: int) -> None:
        self.counts = np.zeros((size, size))
        self._sums, self._squares, self._products = (np.zeros((size, size)) for _ in range(3))
        self._location = np.full(size, np.nan)
        self._scale = np.ones(size)

    def add(self, rows: Floats) -> None:
        """Add rows, shape (rows, columns), NaN where missing."""
        there = ~np.isnan(rows)
        self._place(rows, there)
        centred = (rows - self._location) / self._scale
        centred[~there] = 0.0
        present = there.astype(np.float64)
        self.counts += present.T @ present
        # Of column i, over the rows that have column j too.
        self._sums += centred.T @ present
        self._squares += np.square(centred).T @ present
        self._products += centred.T @ centred

    def among(self, places: Sequence[int]) -> Correlations:
        """Return the correlations of some of the columns."""
        found, block = Correlations(len(places)), np.ix_(places, places)
        found.counts, found._sums = self.counts[block], self._sums[block]
        found._squares, found._products = self._squares[block], self._products[block]
        return found

    @property
    def has_gaps(self) -> bool:
        """Whether values are missing."""
        return bool((self.counts != self.counts.max()).any())

    @property
    def correlation(self) -> Floats:
        """The correlations; zero for columns that do not vary over the rows that have both."""
        counts = np.maximum(self.counts, 1)
        means = self._sums / counts
        variances = self._squares / counts - np.square(means)
        covariances = self._products / counts - means * means.T
        product = np.sqrt(np.maximum(variances, 0) * np.maximum(variances.T, 0))
        correlation = np.divide(covariances, product, out=np.zeros_like(product), where=product > 0)
        np.fill_diagonal(correlation, 1.0)
        return correlation

    def _place(self, rows: Floats, there: NDArray[np.bool_]) -> None:
        """Choose an approximate location and scale from the first rows, to keep precision."""
        for i in np.flatnonzero(np.isnan(self._location) & there.any(0)).tolist():
            values = rows[there[:, i], i]
            self._location[i] = values.mean()
            self._scale[i] = values.std() or 1.0
