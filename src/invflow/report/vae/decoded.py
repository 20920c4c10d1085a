"""Encoding images and decoding latents, in pieces that fit into memory."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow._modes import evaluating
from invflow.vae.base import LatentModel

#: Largest number of probabilities of pixel levels in one piece.
PROBABILITIES = 2**26


def at_once(model: LatentModel) -> int:
    """Return the number of draws to decode in one piece, fewer for large images."""
    return max(1, min(model.at_once, PROBABILITIES // (model.pixels * model.levels)))


@torch.no_grad()
def latents(model: LatentModel, images: Tensor, generator: torch.Generator) -> Tensor:
    """Return one draw of the latents of each image, (count, latents).

    Args:
        model: a model of images.
        images: grey levels, (count, channels, height, width).
        generator: random numbers.
    """
    x = model.observe(images.flatten(1), generator)
    with evaluating(model):
        return model.draw(x, 1, generator)[0].squeeze(0)


@torch.no_grad()
def expected(model: LatentModel, z: Tensor) -> Tensor:
    """Return the expected image at latents, levels (*batch, channels, height, width).

    Args:
        model: a model of images.
        z: shape (*batch, latents).
    """
    parts = z.reshape(-1, model.latents).split(at_once(model))
    with evaluating(model):
        means = torch.cat([model.likelihood.mean(model.decode(part)) for part in parts])
    return means.reshape(*z.shape[:-1], *model.shape)
