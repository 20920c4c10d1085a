r"""Maps whose inverse has no formula: found by bracketing and Newton's method.

The root is found without a graph, by an operator that looks at the numbers to know when it is
there; to the compiler and to `torch.func` it is one step. From there

$$z \leftarrow z - \frac{u(z; p) - x}{u'(z; p)}$$

changes z by rounding only, and gives it the derivatives of the implicit function: one such step
gives the first, two give all up to the third, as each step doubles the order to which they are
exact.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from invflow._broadcast import broadcast
from invflow._operator import fake, mapped, operator
from invflow.univariate import table
from invflow.univariate.base import Univariate


class Numerical(Univariate):
    """A map with an inverse by root finding: a subclass gives `forward` and `root`."""

    def __post_init__(self) -> None:
        # Made here, because the compiler cannot trace it.
        object.__setattr__(self, "_recipe", table.to_recipe(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Be copied with a recipe of its own, which may be that of one process alone."""
        vars(self).update(state)
        object.__setattr__(self, "_recipe", table.to_recipe(self))

    # No field: made from the fields.
    _recipe: ClassVar[str]

    @abstractmethod
    def root(self, x: Tensor, params: Tensor) -> Tensor:
        """Return z with u(z; params) = x up to rounding; its derivatives are of no interest."""

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(x.dtype, torch.float32)
        target, params = x.to(dtype), params.to(dtype)
        with torch.no_grad():
            z = find(self._recipe, target.detach(), params.detach())
        for _ in range(2):
            value, ladj = self.forward(z, params)
            z = z - (value - target) * torch.exp(-ladj)
        _, ladj = self.forward(z, params)
        return z.to(x.dtype), -ladj.to(x.dtype)


def spread(units: int, reach: float) -> tuple[float, ...]:
    """Return points evenly spread over [-reach, reach], for units that start different."""
    return tuple(reach * (2 * i + 1 - units) / max(units - 1, 1) for i in range(units))


@operator
def find(univariate: str, x: Tensor, params: Tensor) -> Tensor:
    """Return the root of the map of a recipe, in the shape that both arguments broadcast to."""
    shape = broadcast(x.shape, params.shape[:-1])
    map = cast(Numerical, table.from_recipe(univariate))
    return map.root(x.expand(shape), params).contiguous()


@fake(find)
def _(univariate: str, x: Tensor, params: Tensor) -> Tensor:
    return x.new_empty(torch.broadcast_shapes(x.shape, params.shape[:-1]))


@mapped(find)
def _(info: Any, in_dims: Any, univariate: str, x: Tensor, params: Tensor) -> tuple[Tensor, int]:
    """Take the new dimension as one more of the batch, the first."""
    _, x_dim, params_dim = in_dims
    rank = max(x.ndim - (x_dim is not None), params.ndim - 1 - (params_dim is not None))
    x = _leading(x, x_dim, rank)
    params = _leading(params, params_dim, rank + 1)
    return find(univariate, x, params), 0


def _leading(tensor: Tensor, dim: int | None, rank: int) -> Tensor:
    """Return a tensor with its mapped dimension first, before `rank` others."""
    moved = tensor.unsqueeze(0) if dim is None else tensor.movedim(dim, 0)
    missing = rank + 1 - moved.ndim
    return moved.reshape(moved.shape[0], *(1,) * missing, *moved.shape[1:])
