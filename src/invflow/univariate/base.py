"""The contract of a univariate map."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Univariate(ABC):
    r"""A monotone map of one feature, $x = u(z; p)$, given the feature's parameters $p$.

    A subclass is a frozen dataclass (its fields are its configuration), states the value that each
    parameter starts from, and gives the map and its inverse. Both work elementwise: `z` and `x`
    have any shape, `params` has that shape and one last dimension of size `parameters`.
    """

    @property
    @abstractmethod
    def start(self) -> tuple[float, ...]:
        """The value each parameter starts from, so that a new flow is near the identity."""

    @property
    def parameters(self) -> int:
        """How many parameters the map takes per feature."""
        return len(self.start)

    @property
    def base(self) -> dict[str, Any]:
        """The distribution of noise that suits the map, as a name and its arguments."""
        return {"name": "normal"}

    @abstractmethod
    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Return x = u(z; params) and log|dx/dz|, both shaped like `z`."""

    @abstractmethod
    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Return z with u(z; params) = x and log|dz/dx|, both shaped like `x`."""

    def solver(self, like: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Return `inverse` without its ladj, to be called often on tensors of the kind of `like`.

        A map may make its constants here, once, and then work in place.
        """
        return lambda x, params: self.inverse(x, params)[0]

    def slopes(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Return dx/dz, shaped like `z`, and dx/dparams, shaped like `params`."""

        def value(z: Tensor, params: Tensor) -> Tensor:
            return self.forward(z, params)[0]

        return torch.func.vjp(value, z, params)[1](torch.ones_like(z))

    def config(self) -> dict[str, Any]:
        """Return the fields that rebuild this map."""
        return dataclasses.asdict(self)
