"""Reconstructions of test images, and images drawn from the models."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.report.page import Panel
from invflow.report.vae import pictures
from invflow.report.vae.decoded import expected, latents
from invflow.vae.run import Run

#: Images in a row, and rows of samples.
COLUMNS, ROWS = 20, 2


def reconstructions(run: Run, generator: torch.Generator) -> list[Panel]:
    """Draw test images above their reconstructions by each model."""
    chosen = run.images.test[:COLUMNS]
    parts = [("test images", "Test images.", chosen)]
    for name, model in run.models.items():
        found = expected(model, latents(model, chosen, generator))
        parts += [(name, f"Reconstructions of the test images by the model {name}.", found)]
    levels = run.format.levels
    return [
        pictures.strip(title, pictures.grid(images, COLUMNS), levels, alt)
        for title, alt, images in parts
    ]


def samples(run: Run, generator: torch.Generator) -> list[Panel]:
    """Draw images from each model."""
    return [
        pictures.strip(
            name,
            pictures.grid(sampled(run, name, COLUMNS * ROWS, generator), COLUMNS),
            run.format.levels,
            f"Images drawn from the model {name}.",
        )
        for name in run.models
    ]


def sampled(run: Run, name: str, count: int, generator: torch.Generator) -> Tensor:
    """Return images drawn from one of the models, levels (count, channels, height, width)."""
    return run.models[name].sample(count, generator).reshape(count, *run.format.shape)
