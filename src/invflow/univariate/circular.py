"""A flexible map of angles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from invflow._clamped import clamped
from invflow.univariate import rational_quadratic
from invflow.univariate.rational_quadratic import Direction, Knots, RationalQuadratic


@dataclass(frozen=True)
class CircularSpline(RationalQuadratic):
    r"""A monotone rational-quadratic spline on a circle, followed by a rotation.

    $$x = f(z) + \phi \pmod{2\pi}, \qquad \log|dx/dz| = \log f'(z)$$

    where f is the spline of `Spline` that maps $[-\pi, \pi]$ onto itself, with equal slopes at both
    ends, so densities are continuous on the whole circle. Without the phase $\phi$, the point where
    the circle is cut could not move.

    Both directions accept any number as an angle and return angles in [low, high). The noise must
    lie on the circle too, for example uniform noise: the tails of a normal would be wrapped onto
    the circle, and their density would be lost. The conditioner of an autoregressive transform sees
    the angles as they are, in [low, high): its parameters jump where the circle is cut, unless it
    takes their sines and cosines.

    Each feature has 3 * bins + 1 parameters: logits of the bins' widths, logits of their heights,
    logarithms of the knots' slopes, softly bounded as in `Affine`, and the phase in radians. With
    all of them zero the map is the identity.

    Args:
        bins: number of bins, at least 2.
        low: where the circle is cut.
        high: the same point after one turn; high - low is the circumference. Pi for radians (with
            low -pi), 360 for degrees and 24 for hours (with low 0).
        smallest_bin: minimum width and height of a bin, relative to bins of equal size.
        bound: limit of a knot's log-slope in nats, positive.

    Raises:
        TypeError: if an argument is not a number, or `bins` is not an integer.
        ValueError: if `bins` is below 2, the ends are not finite and in order, `smallest_bin` is
            not between 0 and 1, or `bound` is not positive and finite.

    References:
        Rezende et al. 2020, arXiv 2002.02428, section 2.1.

    Example:
        >>> import torch
        >>> circle, z = CircularSpline(bins=4), torch.tensor([-3.0, 0.5, 3.0])
        >>> params = torch.linspace(-1, 1, 3 * circle.parameters).reshape(3, -1)
        >>> x, ladj = circle.forward(z, params)
        >>> torch.allclose(circle.inverse(x + 2 * torch.pi, params)[0], z, atol=1e-5)
        True
    """

    low: float = -math.pi
    high: float = math.pi

    @property
    def start(self) -> tuple[float, ...]:
        return (0.0,) * (3 * self.bins + 1)

    @property
    def base(self) -> dict[str, Any]:
        return {"name": "uniform", "low": self.low, "high": self.high}

    @property
    def wraps(self) -> bool:
        return True

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        wide, params = rational_quadratic.widened(z, params)
        x, ladj = self._run(rational_quadratic.forward, self._wrapped(wide), params)
        return self._wrapped((x + self._phase(params)).to(z.dtype)), ladj.to(z.dtype)

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        wide, params = rational_quadratic.widened(x, params)
        turned = self._wrapped(wide - self._phase(params))
        z, ladj = self._run(rational_quadratic.inverse, turned, params)
        return self._wrapped(z.to(x.dtype)), ladj.to(x.dtype)

    def _run(self, run: Direction, value: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        widths, heights, slopes, _ = params.split([self.bins, self.bins, self.bins, 1], -1)
        slopes = self.knot_slopes(torch.cat([slopes, slopes[..., :1]], -1))
        knots = Knots(self.knot_positions(widths), self.knot_positions(heights), slopes)
        result, ladj = run(clamped(value - self.middle, -self.half, self.half), knots)
        return result + self.middle, ladj

    def _phase(self, params: Tensor) -> Tensor:
        """Return the phase in units of the circle, without whole turns."""
        turns = params[..., -1] / (2 * math.pi)
        return (turns - turns.round()) * (self.high - self.low)

    def _wrapped(self, value: Tensor) -> Tensor:
        """Return the same angles in [low, high)."""
        circumference = self.high - self.low
        value = value - torch.round((value - self.middle) / circumference) * circumference
        # Values at an end, or moved beyond it by rounding.
        value = torch.where(value < self.low, value + circumference, value)
        return torch.where(value >= self.high, value - circumference, value)
