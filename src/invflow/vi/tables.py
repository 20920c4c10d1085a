"""Named draws as data frames of pandas: a summary, and the draws themselves."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from invflow import _checks
from invflow._extra import required

if TYPE_CHECKING:
    from pandas import DataFrame

Array = np.ndarray[Any, Any]
#: Quantiles in the summary, by the names of their columns.
QUANTILES = {"3%": 0.03, "97%": 0.97}


def summary(named: Mapping[str, Tensor], weights: Array, angular: Collection[str]) -> DataFrame:
    """Return mean, sd, quantiles and the Monte Carlo error of the mean of each number.

    Args:
        named: draws of each parameter, (draws, *shape).
        weights: positive, summing to one, (draws,).
        angular: names of angles, which are counted from their mean direction.

    Raises:
        ImportError: if pandas is not installed.
    """
    rows = {
        column: _row(unrolled(values, weights) if name in angular else values, weights)
        for name, column, values in _columns(named)
    }
    return required("pandas", "vi").DataFrame.from_dict(rows, orient="index")


def chosen(named: Mapping[str, Tensor], var_names: Sequence[str] | None) -> dict[str, Tensor]:
    """Return the draws of some parameters, in this order; None for all.

    Raises:
        TypeError: if the names are one string.
        ValueError: if a parameter does not exist.
    """
    if isinstance(var_names, str):
        raise TypeError(f"var_names must be a sequence of names, such as [{var_names!r}]")
    names = named if var_names is None else var_names
    return {_checks.choice("each of var_names", name, named): named[name] for name in names}


def frame(named: Mapping[str, Tensor]) -> DataFrame:
    """Return draws of each parameter, (draws, *shape), as a row per draw and a column per number.

    Raises:
        ImportError: if pandas is not installed.
    """
    return required("pandas", "vi").DataFrame(
        {column: values for _, column, values in _columns(named)}
    )


def array(value: Tensor) -> Array:
    """Return a tensor as an array."""
    return value.detach().cpu().numpy()


def unrolled(angles: Array, weights: Array) -> Array:
    """Return angles, (draws,), as numbers within half a turn of their weighted mean direction."""
    direction = float(np.angle(weights @ np.exp(1j * angles.astype(np.float64))))
    return direction + np.remainder(angles - direction + np.pi, 2 * np.pi) - np.pi


def _columns(named: Mapping[str, Tensor]) -> Generator[tuple[str, str, Array]]:
    """Yield each number's parameter, its own name such as "theta[0, 1]", and its draws."""
    for name, value in named.items():
        for place in np.ndindex(*value.shape[1:]):
            index = f"[{', '.join(map(str, place))}]" if place else ""
            yield name, f"{name}{index}", array(value)[(slice(None), *place)]


def _row(values: Array, weights: Array) -> dict[str, float]:
    values = values.astype(np.float64)
    mean = float(weights @ values)
    squares = (values - mean) ** 2
    order = np.argsort(values)
    # Midpoints of the steps of the weighted distribution function.
    levels = np.cumsum(weights[order]) - 0.5 * weights[order]
    quantiles = np.interp(list(QUANTILES.values()), levels, values[order])
    return {
        "mean": mean,
        "sd": float(np.sqrt(weights @ squares)),
        **dict(zip(QUANTILES, map(float, quantiles), strict=True)),
        "mcse": float(np.sqrt(weights**2 @ squares)),
    }
