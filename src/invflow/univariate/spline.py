"""A flexible map of an interval, and the identity outside."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from invflow.univariate import rational_quadratic
from invflow.univariate.rational_quadratic import Direction, Knots, RationalQuadratic


@dataclass(frozen=True)
class Spline(RationalQuadratic):
    r"""A monotone rational-quadratic spline on an interval, with linear tails.

    With the knots $(x_k, y_k)$, slopes $d_k$ there, $\xi = (z - x_k) / (x_{k+1} - x_k)$,
    $\bar\xi = 1 - \xi$ and $s_k = (y_{k+1} - y_k) / (x_{k+1} - x_k)$,

    $$x = y_k + (y_{k+1} - y_k) \frac{s_k \xi^2 + d_k \xi \bar\xi}
    {s_k + (d_{k+1} + d_k - 2 s_k) \xi \bar\xi}, \qquad
    \frac{dx}{dz} = s_k^2 \frac{d_{k+1} \xi^2 + 2 s_k \xi \bar\xi + d_k \bar\xi^2}
    {(s_k + (d_{k+1} + d_k - 2 s_k) \xi \bar\xi)^2}$$

    in bin k, and $x = z$ outside the interval. The slope is continuous, and one at both ends. Both
    directions have a closed form.

    Each feature has 3 * bins - 1 parameters: logits of the bins' widths, logits of their heights,
    and logarithms of the inner knots' slopes, softly bounded as in `Affine`. With all of them zero
    the map is the identity.

    Args:
        bins: number of bins, at least 2.
        low: lower end of the interval.
        high: upper end of the interval.
        smallest_bin: minimum width and height of a bin, relative to bins of equal size.
        bound: limit of a knot's log-slope in nats, positive.

    Raises:
        TypeError: if an argument is not a number, or `bins` is not an integer.
        ValueError: if `bins` is below 2, the ends are not finite and in order, `smallest_bin` is
            not between 0 and 1, or `bound` is not positive and finite.

    References:
        Durkan et al. 2019, arXiv 1906.04032, section 3.1.

    Example:
        >>> import torch
        >>> spline, z = Spline(bins=4), torch.tensor([-7.0, 0.5, 2.0])
        >>> params = torch.randn(3, spline.parameters)
        >>> x, ladj = spline.forward(z, params)
        >>> x[0], ladj[0]
        (tensor(-7.), tensor(0.))
        >>> torch.allclose(spline.inverse(x, params)[0], z, atol=1e-5)
        True
    """

    @property
    def start(self) -> tuple[float, ...]:
        return (0.0,) * (3 * self.bins - 1)

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return self._run(rational_quadratic.forward, z, params)

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return self._run(rational_quadratic.inverse, x, params)

    def _knots(self, params: Tensor) -> Knots:
        widths, heights, slopes = params.split([self.bins, self.bins, self.bins - 1], -1)
        ends = F.pad(self.knot_slopes(slopes), (1, 1), value=1.0)
        return Knots(self.knot_positions(widths), self.knot_positions(heights), ends)

    def _run(self, run: Direction, value: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        wide, params = rational_quadratic.widened(value, params)
        # Points outside move to an end: their result is not used, but must be finite.
        point = (wide - self.middle).clamp(-self.half, self.half)
        result, ladj = run(point, self._knots(params))
        inside = (wide > self.low) & (wide < self.high)
        result = torch.where(inside, result + self.middle, wide)
        return result.to(value.dtype), torch.where(inside, ladj, 0.0).to(value.dtype)
