"""Checks of tables given as arrays, and the packages of the `density` extra."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def required(module: str) -> Any:
    """Return a module of the `density` extra.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f'this needs {package}: pip install "invflow[density]"') from error


def numbers(name: str, value: Any) -> Floats:
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
    array = numbers(name, value)
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


def column_names(names: Sequence[str] | None, columns: int) -> list[str]:
    """Return the columns' names; x0, x1, ... where none are given.

    Raises:
        TypeError: they are no sequence of strings.
        ValueError: there are too many or too few, or a name stands twice.
    """
    if names is None:
        return [f"x{i}" for i in range(columns)]
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"names must be a sequence of strings, got {names!r}")
    if len(names) != columns or len(set(names)) != columns:
        raise ValueError(f"names must be {columns} different names, got {list(names)}")
    return list(names)


def _refuse(name: str, what: str, where: NDArray[np.bool_]) -> None:
    if where.any():
        row, column = np.argwhere(where)[0]
        raise ValueError(
            f"{name} must hold finite numbers, got {where.sum()} {what}, the first in row {row}, "
            f"column {column}"
        )
