"""What a model knows of its data, and the names of the axes of its variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
#: Names that ArviZ has for axes of its own.
RESERVED = frozenset({"chain", "draw"})


@dataclass(frozen=True)
class ModelData:
    """The data of a model, and the names of its axes, in ArviZ's vocabulary.

    Args:
        observed: the data that the likelihood is of, by name.
        constant: other data, such as predictors.
        dims: the names of the axes of a variable, in order; None for an axis without a name.
        coords: the labels along each named axis.

    Example:
        >>> ModelData(dims={"y": ["school"]}, coords={"school": ["A", "B"]}).axes("y", (2,))
        ['school']
    """

    observed: Mapping[str, Array] = field(default_factory=dict[str, Array])
    constant: Mapping[str, Array] = field(default_factory=dict[str, Array])
    dims: Mapping[str, Sequence[str | None]] = field(
        default_factory=dict[str, Sequence[str | None]]
    )
    coords: Mapping[str, Sequence[Any] | Array] = field(
        default_factory=dict[str, Sequence[Any] | Array]
    )

    def axes(self, name: str, shape: Sequence[int]) -> list[str | None]:
        """Return the names of the axes of a variable of this shape.

        An axis of another length than its labels, such as a slice of a named axis, has no name.
        """

        def labelled(axis: str | None, size: int) -> bool:
            return axis is not None and len(self.coords.get(axis, ())) == size

        pairs = zip(self.dims.get(name, ()), shape, strict=False)
        return [
            axis if axis not in RESERVED and labelled(axis, size) else None for axis, size in pairs
        ]
