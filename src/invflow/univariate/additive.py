"""Shift."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from invflow.univariate.base import Univariate


@dataclass(frozen=True)
class Additive(Univariate):
    r"""A shift, which preserves volume.

    $$x = z + \mu, \qquad \log|dx/dz| = 0$$

    with one parameter, $\mu$.

    References:
        Dinh et al. 2015, arXiv 1410.8516, section 3.2.

    Example:
        >>> import torch
        >>> Additive().forward(torch.tensor([2.0]), torch.tensor([[1.0]]))
        (tensor([3.]), tensor([0.]))
    """

    @property
    def start(self) -> tuple[float, ...]:
        return (0.0,)

    @property
    def location(self) -> int:
        return 0

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        x = z + params.squeeze(-1)
        return x, torch.zeros_like(x)

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        z = x - params.squeeze(-1)
        return z, torch.zeros_like(z)
