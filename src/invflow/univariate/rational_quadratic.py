r"""Monotone rational-quadratic splines: the common part of those on a line and on a circle.

In one bin let $\xi$ be the fraction of its width and $\theta$ the fraction of its height below a
point, $\bar\xi = 1 - \xi$, and $r_0, r_1$ the slopes at the bin's two knots divided by its mean
slope s. Then

$$\theta = \frac{N}{N + M}, \qquad N = \xi (\xi + r_0 \bar\xi), \quad
M = \bar\xi (\bar\xi + r_1 \xi), \qquad
\frac{d\theta}{d\xi} = \frac{r_1 \xi^2 + 2 \xi \bar\xi + r_0 \bar\xi^2}{(N + M)^2} .$$

To invert, write $N (1 - \theta) = M \theta$ in the odds $v = \xi / \bar\xi$:

$$(1 - \theta) v^2 + B v - \theta = 0, \qquad B = r_0 (1 - \theta) - r_1 \theta .$$

The discriminant, $B^2 + 4 \theta (1 - \theta)$, has no negative terms, so rounding cannot spoil it,
and the sign of B tells which form of the one positive root avoids cancellation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd import Function

from invflow import _checks
from invflow._torch import forward_mode
from invflow.univariate.base import Univariate


class Knots(NamedTuple):
    """The knots (x, y) of a spline in ascending order and its slopes there, [*batch, bins + 1]."""

    x: Tensor
    y: Tensor
    slope: Tensor


#: `forward` or `inverse`, below.
Direction = Callable[[Tensor, Knots], tuple[Tensor, Tensor]]


class _Bin(NamedTuple):
    """The bin of each value: lower corner, size, mean slope, relative slopes at both ends."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    mean: Tensor
    r0: Tensor
    r1: Tensor

    def ladj(self, xi: Tensor) -> Tensor:
        """Return log|dy/dx| at a fraction of the width."""
        return torch.log(self.mean * _slope(xi, self.r0, self.r1))


@dataclass(frozen=True)
class RationalQuadratic(Univariate):
    """The configuration of a spline that maps an interval onto itself, and its knots.

    Coordinates are measured from the middle of the interval.
    """

    bins: int = 8
    low: float = -5.0
    high: float = 5.0
    smallest_bin: float = 0.05
    bound: float = 5.0

    def __post_init__(self) -> None:
        _checks.settle(self, bins=_checks.positive_integer("bins", self.bins, minimum=2))
        for name in ("low", "high", "smallest_bin", "bound"):
            _checks.settle(self, **{name: _checks.number(name, getattr(self, name))})
        for name, bound in (("low", self.low), ("high", self.high)):
            if not math.isfinite(bound):
                raise ValueError(f"{name} must be finite, got {bound!r}")
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low!r} and {self.high!r}")
        if not 0 < self.smallest_bin < 1:
            raise ValueError(f"smallest_bin must be between 0 and 1, got {self.smallest_bin!r}")
        if not 0 < self.bound < math.inf:
            raise ValueError(f"bound must be positive and finite, got {self.bound!r}")

    @property
    def middle(self) -> float:
        """The middle of the interval."""
        return self.low / 2 + self.high / 2

    @property
    def half(self) -> float:
        """Half its length."""
        return self.high / 2 - self.low / 2

    def knot_positions(self, raw: Tensor) -> Tensor:
        """Return knots, [*batch, bins + 1], from one unconstrained number per bin."""
        # Written out, because torch's softmax takes five times as long for a few numbers.
        powers = torch.exp(raw - raw.detach().amax(-1, keepdim=True))
        shares = powers / powers.sum(-1, keepdim=True) * (1 - self.smallest_bin)
        inner = ((shares + self.smallest_bin / self.bins)[..., :-1].cumsum(-1) * 2 - 1) * self.half
        end = inner.new_full((), self.half).expand_as(inner[..., :1])
        return torch.cat([-end, inner, end], -1)

    def knot_slopes(self, raw: Tensor) -> Tensor:
        """Return slopes, shaped like `raw`; zero gives a slope of one."""
        return torch.exp(torch.tanh(raw / self.bound) * self.bound)


def widened(value: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in at least single precision: knots may be closer than half precision."""
    dtype = torch.promote_types(value.dtype, torch.float32)
    return value.to(dtype), params.to(dtype)


def forward(x: Tensor, knots: Knots) -> tuple[Tensor, Tensor]:
    """Return the spline's value and log-slope at `x`, which lies between the outermost knots."""
    bin = _find(x, knots.x, knots)
    xi = (x - bin.x) / bin.width
    return bin.y + bin.height * _bent(xi, bin.r0, bin.r1), bin.ladj(xi)


def inverse(y: Tensor, knots: Knots) -> tuple[Tensor, Tensor]:
    """Return the point where the spline has the value `y`, and the inverse's log-slope."""
    bin = _find(y, knots.y, knots)
    xi = _unbend((y - bin.y) / bin.height, bin.r0, bin.r1)
    return bin.x + bin.width * xi, -bin.ladj(xi)


def _find(value: Tensor, edges: Tensor, knots: Knots) -> _Bin:
    below = (value.unsqueeze(-1) >= edges[..., 1:-1]).sum(-1)
    ends = torch.stack([below, below + 1], -1)
    (x0, x1), (y0, y1), (slope0, slope1) = (_picked(table, ends).unbind(-1) for table in knots)
    # Computed between the rounded knots, so that neighbouring bins meet.
    width, height = x1 - x0, y1 - y0
    mean = height / width
    return _Bin(x0, y0, width, height, mean, slope0 / mean, slope1 / mean)


def _picked(table: Tensor, places: Tensor) -> Tensor:
    """Return entries of a table, which may lack the batch, at places with the whole batch."""
    # With `take_along_dim`, torch.compile would make a graph for every batch size.
    return torch.broadcast_tensors(table, places[..., :1])[0].gather(-1, places)


def _parts(xi: Tensor, r0: Tensor, r1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the fraction above, and N and M without the factors that vanish at an end."""
    rest = 1 - xi
    return rest, xi + r0 * rest, rest + r1 * xi


def _slope(xi: Tensor, r0: Tensor, r1: Tensor) -> Tensor:
    rest, n, m = _parts(xi, r0, r1)
    return (r1 * xi * xi + 2 * xi * rest + r0 * rest * rest) / (xi * n + rest * m).square()


def _slopes(xi: Tensor, r0: Tensor, r1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the derivatives by the fraction of the width and by both relative slopes."""
    rest, n, m = _parts(xi, r0, r1)
    by_r = xi * rest / (xi * n + rest * m).square()
    return _slope(xi, r0, r1), by_r * rest * m, -by_r * xi * n


def _bend(xi: Tensor, r0: Tensor, r1: Tensor) -> Tensor:
    rest, n, m = _parts(xi, r0, r1)
    return xi * n / (xi * n + rest * m)


class _Bend(Function):
    r"""$\theta(\xi; r_0, r_1)$, with reverse-mode derivatives that avoid cancellation.

    The quotient rule cancels heavily where the slope is far below the bin's mean: in single
    precision the result would be noise, possibly negative.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(xi: Tensor, r0: Tensor, r1: Tensor) -> Tensor:
        return _bend(xi, r0, r1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, ...]:
        slopes = _slopes(*ctx.saved_tensors)
        return tuple(cotangents[0] * slope for slope in slopes)


def _bent(xi: Tensor, r0: Tensor, r1: Tensor) -> Tensor:
    """Return the fraction of the height, with derivatives of every order in both modes.

    PyTorch does not differentiate a function's own `jvp` again in forward mode: it omits the terms,
    without an error. So the plain formula is used, in a precision in which the cancellation does
    not matter.
    """
    if forward_mode():
        return _bend(xi.double(), r0.double(), r1.double()).to(xi.dtype)
    return cast(Tensor, cast(Any, _Bend).apply(xi, r0, r1))


def _unbend(theta: Tensor, r0: Tensor, r1: Tensor) -> Tensor:
    rest = 1 - theta
    b = r0 * rest - r1 * theta
    low = b >= 0
    root = torch.where(low, b, -b) + torch.sqrt(b * b + 4 * theta * rest)
    above, below = torch.where(low, 2 * theta, root), torch.where(low, root, 2 * rest)
    return above / (above + below)
