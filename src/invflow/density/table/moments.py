"""Means and covariances of rows that come in parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Moments:
    """Mean and covariance of the rows seen so far; rows with missing values are left out.

    Parts are put together as by Chan, Golub and LeVeque (1983), which keeps the digits of columns
    far from zero.

    Args:
        size: of a row.

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

    def add(self, rows: Array) -> None:
        """Take in rows, shape (rows, size)."""
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
    def covariance(self) -> Array:
        """The covariance, shape (size, size)."""
        return self._scatter / max(self.count, 1)

    @property
    def correlation(self) -> Array:
        """The correlation; columns that do not vary have none with others."""
        covariance = self.covariance
        scale = np.sqrt(np.diag(covariance))
        product = np.outer(scale, scale)
        correlation = np.divide(
            covariance, product, out=np.zeros_like(covariance), where=product > 0
        )
        np.fill_diagonal(correlation, 1.0)
        return correlation
