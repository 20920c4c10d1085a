"""A chart of circles: numbers to angles, for vectors of which some entries are angles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from invflow import _checks
from invflow.transforms.base import Transform


class Circles(Transform):
    r"""Some entries onto the circle, so that a standard normal one becomes uniform on it.

    $$x_i = c_i + \pi \operatorname{erf}(z_i / \sqrt 2), \qquad
    \log|\det dx/dz| = \sum_i \log 2\pi + \log N(z_i; 0, 1)$$

    for the entries that are angles, in radians; the others stay as they are. The circle is cut
    opposite of its centre $c_i$, where z is far out: set the centre where a density is large. On the
    way back any number counts as the angle that it is.

    Args:
        features: number of features, D.
        angles: which of them are angles.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: `features` below 1, or angles that are no different features.

    Example:
        >>> circles = Circles(2, angles=[1])
        >>> circles(torch.tensor([5.0, 0.0]))[0]
        tensor([5., 0.])
        >>> circles.inverse(torch.tensor([5.0, 2 * math.pi]))[0].abs().round()
        tensor([5., 0.])
    """

    centre: Tensor

    def __init__(self, features: int, angles: Sequence[int]) -> None:
        super().__init__(features)
        if not isinstance(angles, Sequence):
            raise TypeError(f"angles must be a sequence of integers, got {type(angles).__name__}")
        self.angles = tuple(_checks.positive_integer("angles", i, minimum=0) for i in angles)
        if not angles or len(set(angles)) < len(angles) or max(angles) >= features:
            raise ValueError(
                f"angles must be different features below {features}, one or more, got "
                f"{list(angles)}"
            )
        self.register_buffer("centre", torch.zeros(len(angles)))

    @torch.no_grad()
    def set(self, centre: Tensor) -> None:
        """Set the circles' centres, (angles,).

        Raises:
            ValueError: a wrong shape, or entries that are not finite.
        """
        if centre.shape != self.centre.shape or not bool(torch.isfinite(centre).all()):
            raise ValueError(f"centre must be {len(self.angles)} finite numbers, got {centre}")
        self.centre.copy_(centre)

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        flat = self._picked(z)
        turned = self.centre + math.pi * torch.erf(flat / math.sqrt(2))
        return self._put(z, turned), _ladj(flat).to(z.dtype)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        share = (self._picked(x) - self.centre) / math.pi
        share = share - 2 * torch.round(share / 2)
        edge = 1 - torch.finfo(share.dtype).eps
        flat = math.sqrt(2) * torch.erfinv(share.clamp(-edge, edge))
        return self._put(x, flat), -_ladj(flat).to(x.dtype)

    def _picked(self, value: Tensor) -> Tensor:
        """Return the angles' entries, (*batch, angles), in the centre's precision or better."""
        picked = torch.stack([value[..., i] for i in self.angles], -1)
        return picked.to(torch.promote_types(value.dtype, self.centre.dtype))

    def _put(self, value: Tensor, entries: Tensor) -> Tensor:
        columns = list(value.unbind(-1))
        for place, entry in zip(self.angles, entries.to(value.dtype).unbind(-1), strict=True):
            columns[place] = entry
        return torch.stack(columns, -1)


def _ladj(flat: Tensor) -> Tensor:
    return (0.5 * math.log(2 * math.pi) - 0.5 * flat.square()).sum(-1)
