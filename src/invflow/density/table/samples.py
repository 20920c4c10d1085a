"""Samples given as arrays, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def real_numbers(name: str, value: Any) -> Floats:
    """Return `value` as an array of real numbers.

    Raises:
        TypeError: if it is not an array of real numbers.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be an array of numbers, got {value!r}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of numbers, got dtype {array.dtype}")
    return array.astype(np.float64)


def table(name: str, value: Any, *, missing: bool) -> Floats:
    """Return `value` as an array (rows, columns) of finite numbers, or NaN if `missing`.

    Raises:
        TypeError: if a value is not a number.
        ValueError: if it has another shape, fewer than two rows, no column, infinite values, or
            NaN although `missing` is false.
    """
    array = real_numbers(name, value)
    if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] < 1:
        raise ValueError(
            f"{name} must have shape (rows, columns) with at least two rows, got {array.shape}"
        )
    _refuse(name, "infinite", np.isinf(array))
    if not missing:
        _refuse(name, "missing (NaN)", np.isnan(array))
    return array


def samples(x: Any, y: Any, *, missing: bool) -> tuple[Floats, Floats]:
    """Return two tables with the same columns.

    Raises:
        TypeError, ValueError: if either is not a table of numbers, or they have different columns.
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
            f"{name} must contain finite numbers, got {where.sum()} {what}, the first in row "
            f"{row}, column {column}"
        )
