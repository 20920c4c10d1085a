"""ArviZ, imported where it is used: the only file that knows what changed with its version 1.0.

Its statistics are a package of their own, which loads in a fraction of the time of the whole with
its plots: diagnosing chains needs no plots.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from invflow._extra import required

Array = np.ndarray[Any, Any]


def arviz() -> Any:
    """Return the module `arviz`.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        with warnings.catch_warnings():
            # Version 0.23 announces on import, once a day, that it will change.
            warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
            import arviz
    except ImportError as error:
        raise ImportError('InferenceData needs ArviZ: pip install "invflow[vi]"') from error
    return arviz


def _early(az: Any) -> bool:
    """Return whether it is ArviZ from before version 1.0."""
    return int(az.__version__.partition(".")[0]) < 1


def inference_data(
    groups: Mapping[str, Mapping[str, Array]],
    attributes: dict[str, Any],
    dims: Mapping[str, Sequence[str | None]] | None = None,
    coords: Mapping[str, Sequence[Any] | Array] | None = None,
) -> Any:
    """Return ArviZ's InferenceData, which is a DataTree since ArviZ 1.0.

    Args:
        groups: the variables of each group by name: (chains, draws, *shape), or (*shape) in
            `observed_data` and `constant_data`.
        attributes: of the whole data set.
        dims: names of the axes of a variable after chains and draws, None for ArviZ's own.
        coords: labels along named axes.
    """
    az = arviz()
    axes = {
        "dims": {name: list(each) for name, each in (dims or {}).items()},
        "coords": dict(coords or {}),
    }
    if _early(az):
        return az.from_dict(**groups, attrs=attributes, **axes)
    return az.from_dict(groups, attrs={"/": attributes}, **axes)


def storable(data: Any) -> Any:
    """Return data whose labels netCDF can store: objects, such as intervals, become text."""

    def with_text(group: Any) -> Any:
        objects = {name: each.values for name, each in group.coords.items() if each.dtype == "O"}
        return group.assign_coords({name: list(map(str, each)) for name, each in objects.items()})

    return data.map(with_text) if _early(arviz()) else data.map_over_datasets(with_text)


def convergence(chains: Array) -> tuple[float, float]:
    """Return R-hat, and the smaller of bulk and tail ESS, of a number's draws, (chains, draws)."""
    array = _statistics()
    bulk = array.ess(chains, method="bulk")
    tail = array.ess(chains, method="tail", prob=(0.05, 0.95))
    return float(array.rhat(chains)), min(float(bulk), float(tail))


def _statistics() -> Any:
    """Return ArviZ's functions of arrays."""
    return required("arviz_stats.base", "vi").array_stats
