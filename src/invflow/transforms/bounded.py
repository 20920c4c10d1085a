"""Elementwise maps to bounded supports."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.nn.functional import logsigmoid

from invflow import _checks
from invflow.transforms.base import Transform


class Sigmoid(Transform):
    r"""An elementwise map onto an interval with bounds $a$ and $b$.

    $$x_i = a + (b - a)\, \sigma(z_i), \qquad
    \log|\det dx/dz| = \sum_i \log(b - a) + \log\sigma(z_i) + \log\sigma(-z_i)$$

    Extreme values are rounded, but never to a bound itself: x stays at least one rounding unit
    inside, so that its inverse is finite. The inverse treats a bound as that nearest inner number,
    and returns NaN outside the interval.

    Args:
        features: number of features, D.
        low: a.
        high: b.

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if `features` is below 1, or the bounds are not finite, not in order, or too
            close to each other for the dtype of what is mapped.

    Example:
        >>> import torch
        >>> Sigmoid(2, low=-1.0, high=3.0)(torch.zeros(2))
        (tensor([1., 1.]), tensor(0.))
    """

    def __init__(self, features: int, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__(features)
        self.low, self.high = _finite("low", low), _finite("high", high)
        if not low < high:
            raise ValueError(f"high must be greater than low={low!r}, got {high!r}")

    @property
    def codomain(self) -> Constraint:
        return constraints.independent(constraints.interval(self.low, self.high), 1)

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        width = self.high - self.low
        lowest, highest = (
            self.low + _unit(self.low, z.dtype),
            self.high - _unit(self.high, z.dtype),
        )
        if not lowest < highest:
            raise ValueError(
                f"low={self.low!r} and high={self.high!r} must be further apart: {z.dtype} has too "
                "few numbers between them"
            )
        # From the nearer bound, to keep the precision of the distance to it.
        x = torch.where(
            z < 0, self.low + width * torch.sigmoid(z), self.high - width * torch.sigmoid(-z)
        )
        x = x.clamp(lowest, highest)
        ladj = math.log(width) + logsigmoid(z) + logsigmoid(-z)
        return x, ladj.sum(-1)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        above_low = torch.where(x == self.low, _unit(self.low, x.dtype), x - self.low).log()
        below_high = torch.where(x == self.high, _unit(self.high, x.dtype), self.high - x).log()
        ladj = math.log(self.high - self.low) - above_low - below_high
        return above_low - below_high, ladj.sum(-1)


class Softplus(Transform):
    r"""An elementwise map onto a half line with bound $a$.

    $$x_i = a + \log(1 + e^{z_i}), \qquad \log|\det dx/dz| = \sum_i \log\sigma(z_i)$$

    As for `Sigmoid`, x stays at least one rounding unit above the bound; the inverse treats the
    bound as that number, and returns NaN below it.

    Args:
        features: number of features, D.
        low: a.

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if `features` is below 1, or the bound is not finite.

    Example:
        >>> import torch
        >>> Softplus(1, low=2.0)(torch.zeros(1))
        (tensor([2.6931]), tensor(-0.6931))
    """

    def __init__(self, features: int, low: float = 0.0) -> None:
        super().__init__(features)
        self.low = _finite("low", low)

    @property
    def codomain(self) -> Constraint:
        return constraints.independent(constraints.greater_than(self.low), 1)

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        # torch's softplus drops the exponential above 20, which is visible in float64.
        x = self.low - logsigmoid(-z)
        return x.clamp(min=self.low + _unit(self.low, z.dtype)), logsigmoid(z).sum(-1)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        above = torch.where(x == self.low, _unit(self.low, x.dtype), x - self.low)
        slope = torch.log(-torch.expm1(-above))
        return above + slope, -slope.sum(-1)


def _finite(name: str, value: float) -> float:
    found = _checks.number(name, value)
    if not math.isfinite(found):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return found


def _unit(bound: float, dtype: torch.dtype) -> float:
    """Return a distance from a bound at which a number is certain to differ from it."""
    limits = torch.finfo(dtype)
    return max(abs(bound) * limits.eps, limits.tiny)
