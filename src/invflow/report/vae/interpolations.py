"""Interpolations between images in latent space."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.report.page import Panel
from invflow.report.vae import pictures
from invflow.report.vae.decoded import expected, latents
from invflow.vae.base import LatentModel
from invflow.vae.run import Run

#: Pairs of images, and points between the two of a pair, both ends included.
IMAGE_PAIRS, POINTS = 4, 11


def interpolations(run: Run, generator: torch.Generator) -> list[Panel]:
    """Draw interpolations between pairs of test images, between the two, for each model."""
    first = run.images.test[:IMAGE_PAIRS]
    second = first.roll(-1, 0)
    panels: list[Panel] = []
    for name, model in run.models.items():
        z = latents(model, first, generator)
        between = interpolated(model, z, z.roll(-1, 0))
        lines = torch.cat([first[:, None], between, second[:, None]], 1)
        picture = pictures.grid(lines.flatten(0, 1), POINTS + 2)
        alt = f"Interpolations between test images by the model {name}, a pair in each row."
        panels += [pictures.strip(name, picture, run.format.levels, alt)]
    return panels


def interpolated(model: LatentModel, first: Tensor, second: Tensor) -> Tensor:
    """Return the expected images on straight lines between latents.

    Args:
        model: a model of images.
        first: where the lines begin, (count, latents).
        second: where they end, the same.

    Returns:
        Levels, (count, POINTS, channels, height, width).
    """
    weight = torch.linspace(0, 1, POINTS).to(first)[:, None]
    return expected(model, torch.lerp(first[:, None], second[:, None], weight))
