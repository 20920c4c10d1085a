"""Targets with known answers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Gamma, MultivariateNormal, Normal, StudentT

from invflow.vi import Flat
from tests.helpers import generator


def correlated(dim: int = 5, condition: float = 1e6) -> tuple[Flat, MultivariateNormal]:
    """A Gaussian whose covariance has this condition number, and what it is."""
    basis = torch.linalg.qr(torch.randn(dim, dim, generator=generator(3), dtype=torch.float64)).Q
    half = math.log10(condition) / 2
    variances = torch.logspace(-half, half, dim, dtype=torch.float64)
    covariance = basis * variances @ basis.mT
    normal = MultivariateNormal(10.0 * torch.arange(dim).double(), (covariance + covariance.mT) / 2)
    return Flat(normal.log_prob, dim), normal


def banana() -> Flat:
    """E x = 0, E y = 1, var y = 2.25, evidence one."""

    def log_density(z: Tensor) -> Tensor:
        x, y = z.unbind(-1)
        return Normal(0.0, 1.0).log_prob(x) + Normal(x.square(), 0.5).log_prob(y)

    return Flat(log_density, 2)


def funnel(dim: int = 10) -> Flat:
    """Neal's: v ~ N(0, 3), the others N(0, e^{v/2})."""

    def log_density(z: Tensor) -> Tensor:
        v, rest = z[:, 0], z[:, 1:]
        width = torch.exp(v / 2).unsqueeze(-1)
        each = Normal(0.0, width, validate_args=False).log_prob(rest)
        return Normal(0.0, 3.0).log_prob(v) + each.sum(-1)

    return Flat(log_density, dim)


def modes(centres: Tensor, scale: float, weights: Tensor | None = None) -> Flat:
    """A mixture of round Gaussians, evidence one."""
    count, dim = centres.shape
    shares = torch.full((count,), 1.0 / count) if weights is None else weights
    constant = dim * math.log(scale * math.sqrt(2 * math.pi))

    def log_density(z: Tensor) -> Tensor:
        far = ((z.unsqueeze(1) - centres.to(z)) / scale).square().sum(-1)
        return torch.logsumexp(-0.5 * far + shares.to(z).log(), 1) - constant

    return Flat(log_density, dim)


def circle(count: int = 8, radius: float = 4.0, scale: float = 0.4) -> Flat:
    """Modes around a circle."""
    angles = torch.arange(count) * 2 * math.pi / count
    return modes(radius * torch.stack([angles.cos(), angles.sin()], -1), scale)


def heavy(dim: int = 2, df: float = 1.0) -> Flat:
    """Independent Student-t."""
    return Flat(lambda z: StudentT(df).log_prob(z).sum(-1), dim)


def together(dim: int = 2, df: float = 1.0) -> Flat:
    """Multivariate Student-t."""
    constant = math.lgamma((df + dim) / 2) - math.lgamma(df / 2) - dim / 2 * math.log(df * math.pi)
    return Flat(lambda z: constant - (df + dim) / 2 * torch.log1p(z.square().sum(-1) / df), dim)


def bounded() -> Flat:
    """A gamma distribution of each of three positive numbers, on the log scale."""
    return Flat(lambda z: (Gamma(2.0, 3.0).log_prob(z.exp()) + z).sum(-1), 3)
