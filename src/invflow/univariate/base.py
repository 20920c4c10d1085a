"""What every univariate map provides."""

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

    A subclass is a frozen dataclass whose fields are its configuration. It defines the initial
    value of each parameter, the map and its inverse. Both work elementwise: `z` and `x` may have
    any shape, and `params` has the same shape plus a last dimension of size `parameters`.
    """

    @property
    @abstractmethod
    def start(self) -> tuple[float, ...]:
        """The initial value of each parameter, which makes a new flow close to the identity."""

    @property
    def location(self) -> int | None:
        """The index of the parameter that moves the map's values; None if there is none.

        Where a context gives the parameters, it is the one that depends on it from the start.
        """
        return None

    @property
    def parameters(self) -> int:
        """The number of parameters per feature."""
        return len(self.start)

    @property
    def base(self) -> dict[str, Any]:
        """The distribution of the noise that suits the map, as a name and arguments."""
        return {"name": "normal"}

    @property
    def wraps(self) -> bool:
        """Whether values go around a circle, so that the map is monotone only up to whole turns."""
        return False

    @abstractmethod
    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Return x = u(z; params) and log|dx/dz|, both shaped like `z`."""

    @abstractmethod
    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Return z with u(z; params) = x and log|dz/dx|, both shaped like `x`."""

    def solver(self, like: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Return a function for `inverse` without ladj, for repeated calls on tensors like `like`.

        A map can compute its constants once here, and then work in place.
        """
        return lambda x, params: self.inverse(x, params)[0]

    def slopes(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Return dx/dz, shaped like `z`, and dx/dparams, shaped like `params`."""

        def value(z: Tensor, params: Tensor) -> Tensor:
            return self.forward(z, params)[0]

        return torch.func.vjp(value, z, params)[1](torch.ones_like(z))

    def config(self) -> dict[str, Any]:
        """Return the fields from which the map can be rebuilt."""
        return dataclasses.asdict(self)
