"""Charts of circles: from numbers to angles, for vectors in which some entries are angles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from invflow import _checks
from invflow._clamped import clamped
from invflow.transforms.base import Transform

#: Largest concentration: the density opposite the centre is e^10 times smaller than at it.
MOST = 5.0
#: Number of terms in the series of the distribution function, enough for that concentration; knots
#: of a table of it, and Newton steps from there, that invert it to rounding.
TERMS, KNOTS, NEWTONS = 25, 129, 3


class Circles(Transform):
    r"""Maps some entries onto circles, so that a standard normal becomes von Mises.

    $$x_i = c_i + F_{\kappa_i}^{-1}(\Phi(z_i)), \qquad
    \log|\det dx/dz| = \sum_i \log N(z_i; 0, 1) - \log f_{\kappa_i}(x_i - c_i)$$

    for the entries that are angles, in radians; the others are unchanged. $f_\kappa$ and $F_\kappa$
    are the density and distribution function of a von Mises distribution with mean 0 and
    concentration $\kappa$, which starts at zero (uniform). The circle is cut opposite its centre
    $c_i$, where z is extreme. Centre and concentration are not learned but measured, and set by
    `set`, so that a density has little mass at the cut and is close to normal in z. The inverse
    accepts any number as an angle.

    Args:
        features: number of features, D.
        angles: which features are angles.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `features` is below 1, or the angles are not different features.

    References:
        Mardia and Jupp 2000, Directional Statistics, section 3.5.4.

    Example:
        >>> circles = Circles(2, angles=[1])
        >>> x, _ = circles(torch.tensor([5.0, 1.0]))
        >>> circles.inverse(x + torch.tensor([0.0, 2 * math.pi]))[0]
        tensor([5.0000, 1.0000])
    """

    centre: Tensor
    concentration: Tensor

    def __init__(self, features: int, angles: Sequence[int]) -> None:
        super().__init__(features)
        self.angles = _checks.places("angles", angles, self.features)
        self.register_buffer("centre", torch.zeros(len(self.angles)))
        self.register_buffer("concentration", torch.zeros(len(self.angles)))

    @property
    def wraps(self) -> bool:
        return True

    @torch.no_grad()
    def set(self, centre: Tensor, concentration: Tensor) -> None:
        """Set the circles' centres and concentrations, (angles,) each.

        Raises:
            ValueError: if a shape is wrong, a centre is not finite, or a concentration is not in
                [0, 5].
        """
        for name, value in (("centre", centre), ("concentration", concentration)):
            if value.shape != self.centre.shape or not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} must be {len(self.angles)} finite numbers, got {value}")
        if not bool(((concentration >= 0) & (concentration <= MOST)).all()):
            raise ValueError(f"concentration must be between 0 and {MOST}, got {concentration}")
        self.centre.copy_(centre)
        self.concentration.copy_(concentration)

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        flat = self._picked(z)
        angle = self._quantile(flat)
        x = self._put(z, self.centre.double() + angle)
        return x, self._ladj(flat, angle).to(z.dtype)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        turns = (self._picked(x) - self.centre.double()) / (2 * math.pi)
        angle = 2 * math.pi * (turns - torch.round(turns))
        # From the nearer end, for precision.
        share = self._below(torch.where(angle < 0, angle, -angle), self._weights())
        share = clamped(share, torch.finfo(torch.float64).tiny, 0.5)
        low = torch.special.ndtri(share)
        flat = torch.where(angle < 0, low, -low)
        return self._put(x, flat), -self._ladj(flat, angle).to(x.dtype)

    def _picked(self, value: Tensor) -> Tensor:
        """Return the angles' entries, (*batch, angles), in double precision."""
        return torch.stack([value[..., i] for i in self.angles], -1).double()

    def _put(self, value: Tensor, entries: Tensor) -> Tensor:
        columns = list(value.unbind(-1))
        for place, entry in zip(self.angles, entries.to(value.dtype).unbind(-1), strict=True):
            columns[place] = entry
        return torch.stack(columns, -1)

    def _ladj(self, flat: Tensor, angle: Tensor) -> Tensor:
        normal = -0.5 * flat.square() - 0.5 * math.log(2 * math.pi)
        return (normal - self._log_density(angle)).sum(-1)

    def _log_density(self, angle: Tensor) -> Tensor:
        kappa = self.concentration.double()
        # log I_0(k) is log(e^-k I_0(k)) + k.
        constant = math.log(2 * math.pi) + torch.special.i0e(kappa).log()
        return kappa * (torch.cos(angle) - 1) - constant

    def _weights(self) -> Tensor:
        """Return I_j / I_0 at each concentration, (angles, terms)."""
        kappa = self.concentration.double()
        ratio, ratios = torch.zeros_like(kappa), list[Tensor]()
        for j in range(2 * TERMS, 0, -1):  # I_j / I_(j - 1), by the stable recurrence
            ratio = kappa / (2 * j + kappa * ratio)
            ratios.append(ratio)
        return torch.stack(ratios[::-1]).cumprod(0)[:TERMS].mT

    def _below(self, angle: Tensor, weights: Tensor) -> Tensor:
        r"""Return F, $\frac12 + \frac{1}{2\pi} (x + 2 \sum_j \frac{I_j}{I_0} \sin(j x) / j)$."""
        order = torch.arange(1, TERMS + 1, dtype=angle.dtype, device=angle.device)
        waves = torch.sin(angle.unsqueeze(-1) * order) / order
        return 0.5 + (angle + 2 * (waves * weights).sum(-1)) / (2 * math.pi)

    def _quantile(self, flat: Tensor) -> Tensor:
        """Return the von Mises quantile at the probability of a normal variable below z."""
        low = torch.where(flat < 0, flat, -flat)
        share, weights = torch.special.ndtr(low), self._weights()
        with torch.no_grad():
            knots = torch.linspace(-math.pi, 0.0, KNOTS, dtype=flat.dtype, device=flat.device)
            table = self._below(knots.unsqueeze(-1).expand(KNOTS, len(self.angles)), weights).mT
            below = (table < share.unsqueeze(-1)).sum(-1)
            angle = math.pi * (below - 0.5).clamp(min=0.0) / (KNOTS - 1) - math.pi
            for _ in range(NEWTONS - 2):
                angle = self._newton(angle, share, weights)
        for _ in range(2):  # exact derivatives up to the third, as in `root`
            angle = self._newton(angle, share, weights)
        return torch.where(flat < 0, angle, -angle)

    def _newton(self, angle: Tensor, share: Tensor, weights: Tensor) -> Tensor:
        """Return an angle closer to the one with a fraction `share` below it."""
        angle = clamped(angle, -math.pi, 0.0)
        slope = torch.exp(-self._log_density(angle))
        return angle - (self._below(angle, weights) - share) * slope
