r"""Maps without a formula for the inverse, inverted by bracketing and Newton's method.

The root is found without a graph, by an operator that looks at the numbers to decide when to stop;
for the compiler and `torch.func` it is a single step. From there

$$z \leftarrow z - \frac{u(z; p) - x}{u'(z; p)}$$

changes z only by rounding, and adds the derivatives of the implicit function: one such step makes
the first derivative exact, two steps all up to the third, because each step doubles the order.
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
    """A map with a numerical inverse; subclasses implement `forward` and `root`."""

    def __post_init__(self) -> None:
        # Computed here, because the compiler cannot trace it.
        object.__setattr__(self, "_recipe", table.to_recipe(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Give a copy its own recipe, which may be valid in one process only."""
        vars(self).update(state)
        object.__setattr__(self, "_recipe", table.to_recipe(self))

    # Not a field: computed from the fields.
    _recipe: ClassVar[str]

    @abstractmethod
    def root(self, x: Tensor, params: Tensor) -> Tensor:
        """Return z with u(z; params) = x up to rounding; its derivatives are not used."""

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        if torch.compiler.is_exporting():
            raise NotImplementedError(
                f"torch.export cannot write down the inverse of {type(self).__name__}, whose number"
                " of steps depends on the numbers: export the other direction, or a flow of splines"
            )
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
    """Return points evenly spread over [-reach, reach], so that units start different."""
    return tuple(reach * (2 * i + 1 - units) / max(units - 1, 1) for i in range(units))


@operator
def find(univariate: str, x: Tensor, params: Tensor) -> Tensor:
    """Return the root for the map with a recipe, in the arguments' broadcast shape."""
    shape = broadcast(x.shape, params.shape[:-1])
    map = cast(Numerical, table.from_recipe(univariate))
    return map.root(x.expand(shape), params).contiguous()


@fake(find)
def _(univariate: str, x: Tensor, params: Tensor) -> Tensor:
    return x.new_empty(broadcast(x.shape, params.shape[:-1]))


@mapped(find)
def _(info: Any, in_dims: Any, univariate: str, x: Tensor, params: Tensor) -> tuple[Tensor, int]:
    """Make the new dimension the first batch dimension."""
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
