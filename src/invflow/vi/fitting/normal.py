"""Normal distributions that approximate a posterior, and their bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from invflow.vi.targets.density import Density


@dataclass(frozen=True)
class Normal:
    """A normal distribution with location (dim,), Cholesky factor (dim, dim), and its bound."""

    location: Tensor
    scale: Tensor
    elbo: float

    @property
    def log_det(self) -> float:
        """The log determinant of the Cholesky factor."""
        return float(self.scale.diagonal().log().sum())

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return draws, (count, dim), and their log density, (count,)."""
        shape = (count, len(self.location))
        noise = torch.randn(shape, generator=generator, dtype=self.location.dtype)
        return self.points(noise), log_standard(noise) - self.log_det

    def points(self, coordinates: Tensor) -> Tensor:
        """Return `location + scale @ u` for coordinates u, (*batch, dim)."""
        return self.location + coordinates @ self.scale.mT

    def coordinates(self, points: Tensor) -> Tensor:
        """Return the coordinates of points, (*batch, dim): the inverse of `points`."""
        offset = (points - self.location).unsqueeze(-1)
        return torch.linalg.solve_triangular(self.scale, offset, upper=False).squeeze(-1)

    def distance(self, point: Tensor) -> float:
        """Return the Mahalanobis distance of a point."""
        return float(self.coordinates(point).norm())

    def placed(self, location: Tensor, scale: Tensor, elbo: float = -math.inf) -> Normal:
        """Return the distribution with this location and scale in the coordinates of this one."""
        return Normal(self.points(location), self.scale @ scale, elbo)


def standard(dim: int) -> Normal:
    """Return the standard normal distribution."""
    return Normal(
        torch.zeros(dim, dtype=torch.float64), torch.eye(dim, dtype=torch.float64), -math.inf
    )


def log_standard(noise: Tensor) -> Tensor:
    """Return the standard normal log density of noise, (*batch, dim)."""
    return -0.5 * (noise.square().sum(-1) + noise.shape[-1] * math.log(2 * math.pi))


def bound(density: Density, normal: Normal, draws: int, generator: torch.Generator) -> float:
    """Return the evidence lower bound of a normal distribution, by Monte Carlo."""
    z, log_q = normal.draw(draws, generator)
    return float((density.exact(z) - log_q).mean())
