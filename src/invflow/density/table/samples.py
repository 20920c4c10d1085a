"""Samples given as arrays: checked, as a table's rows and columns of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def real_numbers(name: str, value: Any) -> Floats:
    """Return `value` as an array of real numbers.

    Raises:
        TypeError: it holds something else.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be an array of numbers, got {value!r}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of numbers, got dtype {array.dtype}")
    return array.astype(np.float64)


def table(name: str, value: Any, *, missing: bool) -> Floats:
    """Return `value` as an array (rows, columns) of finite numbers, NaN where `missing` may be.

    Raises:
        TypeError: it holds something else than numbers.
        ValueError: it has another shape, fewer than two rows, no column, or infinite values; it
            has NaN where nothing may be missing.
    """
    array = real_numbers(name, value)
    if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] < 1:
        raise ValueError(
            f"{name} must have shape (rows, columns) with two rows or more, got {array.shape}"
        )
    _refuse(name, "infinite", np.isinf(array))
    if not missing:
        _refuse(name, "missing (NaN)", np.isnan(array))
    return array


def samples(x: Any, y: Any, *, missing: bool) -> tuple[Floats, Floats]:
    """Return two tables with the same columns.

    Raises:
        TypeError, ValueError: either is no table, or they differ in columns.
    """
    first, second = table("x", x, missing=missing), table("y", y, missing=missing)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"y must have as many columns as x, {first.shape[1]}, got {second.shape[1]}"
        )
    return first, second


def _refuse(name: str, what: str, where: NDArray[np.bool_]) -> None:
    if where.any():
        row, column = np.argwhere(where)[0]
        raise ValueError(
            f"{name} must hold finite numbers, got {where.sum()} {what}, the first in row {row}, "
            f"column {column}"
        )
