"""Probabilities of small images without Monte Carlo."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from invflow.flows import Flow
from invflow.images import ImageDensity
from invflow.transforms import Elementwise
from tests.helpers import randn


def every_image(model: ImageDensity) -> Tensor:
    """Return all images there are, (levels ** pixels, pixels)."""
    return torch.tensor(list(itertools.product(range(model.levels), repeat=model.pixels)))


def cube(pixels: int, nodes: int) -> tuple[Tensor, Tensor]:
    """Return points and weights of Gauss-Legendre quadrature over the unit cube."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    axis, weight = torch.tensor((points + 1) / 2), torch.tensor(weights / 2)
    grid = torch.cartesian_prod(*[axis] * pixels).reshape(-1, pixels)
    return grid, torch.cartesian_prod(*[weight] * pixels).reshape(-1, pixels).prod(-1)


@torch.no_grad()
def quadrature(model: ImageDensity, nodes: int) -> tuple[Tensor, Tensor]:
    """Return log P(x), and the bound of uniform noise, of every image."""
    r, weight = cube(model.pixels, nodes)
    log_p = model.log_density(every_image(model)[:, None] + r)
    return (log_p + weight.log()).logsumexp(-1), (log_p * weight).sum(-1)


@torch.no_grad()
def diagonal(pixels: int, shift: float = 0.6, log_scale: float = -0.7) -> Flow:
    """Return a flow of independent normal logits, which differ from pixel to pixel."""
    flow = Flow(Elementwise(pixels, "affine")).double()
    for parameter in flow.parameters():
        start = torch.tensor([shift, log_scale], dtype=torch.float64).repeat(pixels)
        parameter.copy_(start + 0.2 * randn(2 * pixels, seed=3))
    return flow


def below(model: ImageDensity, y: Tensor, alpha: float) -> Tensor:
    """Return the chance that each pixel of a `diagonal` flow's image is below a number of levels.

    Args:
        model: over a `diagonal` flow.
        y: (count, pixels).
        alpha: the model's.
    """
    logit = torch.logit(alpha + (1 - 2 * alpha) * y / model.levels)
    z, _ = model.flow.transform.inverse(logit.clamp(-1e3, 1e3))
    return torch.special.ndtr(z)
