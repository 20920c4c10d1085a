"""The integral of a positive network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from invflow import _checks
from invflow._constant import constant
from invflow.univariate.bracketing import increasing_root
from invflow.univariate.numerical import Numerical, spread

#: Maximum number of nodes: the time to compute them grows with the cube of their number.
MOST = 1000


@dataclass(frozen=True)
class Monotonic(Numerical):
    r"""An unconstrained monotonic map: a shift plus the integral of a positive network.

    $$x = \mu + \int_0^z g(t)\,dt, \qquad
    \log g(t) = s + \sum_j v_j \tanh(w_j t + b_j), \qquad \log|dx/dz| = \log g(z)$$

    for $|t|$ up to `edge`; beyond it, the slope stays constant. The integral is computed by
    Gauss-Legendre quadrature. The conditioner provides all weights of the network (in the paper,
    some of its inputs). They are softly bounded, $|v_j| < B / H$ and $|w_j| < W$ for H units, so
    that g varies slowly enough for the quadrature and lies within $e^{s \pm B}$, which brackets the
    inverse. With the defaults, the log-slope agrees with the derivative of the value to 1e-9 for
    parameters of size one and to 1e-7 for any; with 32 nodes, to 1e-6 and 1e-3.

    Each feature has 3 * units + 2 parameters: v, w and b of each unit, s and the shift. They start
    at the identity, with the units' steps spread over the interval.

    Args:
        units: H, number of hidden units of the network.
        nodes: number of quadrature points.
        edge: how far from zero the slope still changes.
        bound: B, limit of the log-slope in nats on either side of s, positive.
        steepness: W, limit of a unit's weight, positive.

    Raises:
        TypeError: if an argument is not a number, or `units` or `nodes` is not an integer.
        ValueError: if `units` is below 1, `nodes` is below 16 or above `MOST`, or another argument
            is not positive and finite.

    References:
        Wehenkel and Louppe 2019, arXiv 1908.05164.

    Example:
        >>> import torch
        >>> map, z = Monotonic(units=4), torch.tensor([-2.0, 0.5, 3.0])
        >>> params = torch.randn(3, map.parameters)
        >>> x, ladj = map.forward(z, params)
        >>> torch.allclose(map.inverse(x, params)[0], z, atol=1e-4)
        True
    """

    units: int = 8
    nodes: int = 48
    edge: float = 6.0
    bound: float = 4.0
    steepness: float = 2.0

    # Not fields: computed from `nodes`.
    _points: ClassVar[tuple[float, ...]]
    _weights: ClassVar[tuple[float, ...]]

    def __post_init__(self) -> None:
        _checks.settle(
            self,
            units=_checks.positive_integer("units", self.units),
            nodes=_checks.positive_integer("nodes", self.nodes, minimum=16),
        )
        for name in ("edge", "bound", "steepness"):
            _checks.settle(self, **{name: _checks.number(name, getattr(self, name))})
        super().__post_init__()
        if self.nodes > MOST:
            raise ValueError(f"nodes must be at most {MOST}, got {self.nodes}")
        for name in ("edge", "bound", "steepness"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value!r}")
        points, weights = np.polynomial.legendre.leggauss(self.nodes)
        object.__setattr__(self, "_points", tuple((points / 2 + 0.5).tolist()))
        object.__setattr__(self, "_weights", tuple((weights / 2).tolist()))

    @property
    def start(self) -> tuple[float, ...]:
        zeros, ones = (0.0,) * self.units, (1.0,) * self.units
        return (*zeros, *ones, *spread(self.units, 3.0), 0.0, 0.0)

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(z.dtype, torch.float32)
        wide, params = z.to(dtype), params.to(dtype)
        inner = wide.clamp(-self.edge, self.edge)
        points, weights = constant(self._points, wide), constant(self._weights, wide)
        between = self._log_slope(inner.unsqueeze(-1) * points, params.unsqueeze(-2))
        ladj = self._log_slope(inner, params)
        integral = inner * (torch.exp(between) * weights).sum(-1)
        x = params[..., -1] + integral + (wide - inner) * torch.exp(ladj)
        return x.to(z.dtype), ladj.to(z.dtype)

    def root(self, x: Tensor, params: Tensor) -> Tensor:
        def curve(z: Tensor) -> tuple[Tensor, Tensor]:
            value, ladj = self.forward(z, params)
            return value, torch.exp(ladj)

        *_, middle = self._network(params)
        ends = [(x - params[..., -1]) * torch.exp(r - middle) for r in (self.bound, -self.bound)]
        low, high = torch.minimum(*ends), torch.maximum(*ends)
        return increasing_root(curve, x, low, high, (x - params[..., -1]) * torch.exp(-middle))

    def _network(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return v, w and b, [..., units], and s."""
        v, w, b, s, _ = params.split([self.units, self.units, self.units, 1, 1], -1)
        share = self.bound / self.units
        return (
            torch.tanh(v / share) * share,
            torch.tanh(w / self.steepness) * self.steepness,
            b,
            torch.tanh(s.squeeze(-1) / self.bound) * self.bound,
        )

    def _log_slope(self, t: Tensor, params: Tensor) -> Tensor:
        v, w, b, s = self._network(params)
        return s + (v * torch.tanh(w * t.unsqueeze(-1) + b)).sum(-1)
