"""What a compiled Stan program offers, whichever engine compiled it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from invflow.vi.targets.external import Array


class Compiled(Protocol):
    """A compiled Stan program with its data."""

    @property
    def dim(self) -> int:
        """Size of the unconstrained vectors."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Stan's names of the numbers in a row of `constrain`: "mu", "theta.1", "m.2.1"."""
        ...

    def gradients(self, rows: Array) -> tuple[Array, Array]:
        """Return log densities, (batch,), and their gradients, (batch, dim), of unconstrained rows.

        The densities hold all constants that Stan computes, and the Jacobians of constraints. Where
        Stan rejects a row, its log density is NaN.
        """
        ...

    def constrain(self, rows: Array, seeds: Sequence[int]) -> Array:
        """Return parameters, transformed parameters and generated quantities, (batch, names).

        The random numbers of a row's generated quantities come from its seed. Where Stan rejects a
        row, what it could not compute is NaN.
        """
        ...
