"""Simulators whose posteriors are known."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Uniform

from invflow.simulation import Prior, Simulations

#: Data are x = A theta + noise, theta ~ N(0, 1).
A = torch.tensor([[1.0, 0.5], [0.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)
NOISE = 0.5
#: The width of the uniform prior, and the noise, of `boxed`.
LOW, HIGH = torch.tensor([0.0, 10.0]), torch.tensor([1.0, 12.0])
BOXED_NOISE = torch.tensor([0.4, 0.8], dtype=torch.float64)


def gaussian_prior() -> Prior:
    return Prior({"theta": MultivariateNormal(torch.zeros(2), torch.eye(2))})


def gaussian(n: int, seed: int) -> Simulations:
    theta = gaussian_prior().sample(n, seed=seed)
    return Simulations(theta, theta @ A.T + NOISE * noise(n, 3, seed))


def gaussian_posterior(x: Tensor) -> MultivariateNormal:
    precision = torch.eye(2, dtype=torch.float64) + A.T @ A / NOISE**2
    mean = torch.linalg.solve(precision, A.T @ x.double() / NOISE**2)
    return MultivariateNormal(mean, precision_matrix=precision)


def gaussian_evidence(x: Tensor) -> Tensor:
    covariance = A @ A.T + NOISE**2 * torch.eye(3, dtype=torch.float64)
    return MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance).log_prob(x)


def boxed_prior() -> Prior:
    return Prior({"a": Uniform(LOW[0], HIGH[0]), "b": Uniform(LOW[1], HIGH[1])})


def boxed(n: int, seed: int) -> Simulations:
    theta = boxed_prior().sample(n, seed=seed)
    return Simulations(theta, theta + BOXED_NOISE * noise(n, 2, seed), ("x", "y"))


def noise(n: int, size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 1000)
    return torch.randn(n, size, generator=generator, dtype=torch.float64)
