"""Densities whose divergences are known."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from invflow import Flow
from invflow.flows import Gaussian
from tests.helpers import generator, perturbed, randn


def normal(features: int, seed: int = 0, scale: float = 0.5) -> MultivariateNormal:
    """Return a correlated Gaussian, far from the origin."""
    root = torch.eye(features).double() + scale * randn(features, features, seed=seed)
    return MultivariateNormal(
        3 + randn(features, seed=seed + 1), root @ root.mT + 0.1 * torch.eye(features).double()
    )


def gaussian(features: int, context: int = 0, seed: int = 1, scale: float = 0.3) -> Flow:
    """Return a Gaussian flow, away from its start."""
    flow = Gaussian(features, context, generator=generator(seed)).double()
    return perturbed(flow, scale=scale, seed=seed)


def normal_of(flow: Flow) -> MultivariateNormal:
    """Return the distribution of a Gaussian flow, by the images of the origin and the axes."""
    with torch.no_grad():
        points = torch.cat([torch.zeros(1, flow.features), torch.eye(flow.features)]).double()
        images, _ = flow.transform(points)
        root = (images[1:] - images[0]).mT
        return MultivariateNormal(images[0], root @ root.mT)


def cubic(x: Tensor) -> Tensor:
    """Return the log density of a light-tailed distribution, up to a constant."""
    return -0.25 * (x - 0.5).pow(4).sum(-1) + 0.3 * x[..., 0] * x[..., -1]
