"""The inverse of an autoregressive transform in one sweep, and its gradient in one more.

The sweep takes the features in order: the conditioner's decoder gives the parameters of the next
one, and the univariate map is inverted (`decode`). The gradient is the same sweep in reverse, where
the conditioner has one (`reverse`), otherwise the sweep differentiated (`replay`).
"""

from __future__ import annotations

from torch import Tensor

from invflow import univariate as univariates
from invflow.conditioners import CONDITIONERS, CachedConditioner, Conditioner, ReversiblePlan
from invflow.inverses import replay, reverse
from invflow.inverses.decode import Method, call
from invflow.univariate import Univariate

__all__ = ["Method", "method", "solve"]


def method(conditioner: Conditioner, univariate: Univariate, input_bound: float) -> Method | None:
    """Return how the cached inverse of this pair works, None for want of a decoder."""
    for name, kind in CONDITIONERS.items():
        if kind is type(conditioner) and isinstance(conditioner, CachedConditioner):
            plan, recipe = conditioner.plan, univariates.to_recipe(univariate)
            return Method(name, plan, univariate, plan.recipe, recipe, input_bound)
    return None


def solve(
    method: Method, x: Tensor, offset: Tensor, weights: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the z that an autoregressive transform maps to `x`, and its parameters there.

    Args:
        method: what the tensors mean.
        x: data, [features, batch].
        offset: the conditioner's packed offset, [units, batch].
        weights: the conditioner's packed weights.

    Returns:
        z, [features, batch], and the parameters, [features, outputs, batch]; both differentiable
        with respect to all tensors.
    """
    way = reverse if isinstance(method.plan, ReversiblePlan) else replay
    z, params, _ = call(way.Solve, method, x, offset, *weights)
    return z, params.unflatten(0, (x.shape[0], method.univariate.parameters))
