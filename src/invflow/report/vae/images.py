"""Reconstructions of test images, and images drawn from the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from invflow.report.vae import pictures
from invflow.vae.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Images in a row, and rows of samples.
COLUMNS, ROWS = 20, 2


def reconstructions(run: Run, generator: torch.Generator) -> Figure:
    """Draw test images above their reconstructions by each model."""
    chosen = run.images.test[:COLUMNS]
    parts = [("images", chosen)]
    for name, model in run.models.items():
        levels = model.reconstruct(model.observe(chosen, generator), generator)
        parts += [(name, levels.unflatten(1, model.shape))]
    return pictures.stacked([(k, pictures.grid(v, COLUMNS)) for k, v in parts], run.format.levels)


def samples(run: Run, generator: torch.Generator) -> Figure:
    """Draw images from each model."""
    parts = [
        (name, pictures.grid(sampled(run, name, COLUMNS * ROWS, generator), COLUMNS))
        for name in run.models
    ]
    return pictures.stacked(parts, run.format.levels)


def sampled(run: Run, name: str, count: int, generator: torch.Generator) -> Tensor:
    """Return images drawn from one of the models, levels (count, channels, height, width)."""
    return run.models[name].sample(count, generator).reshape(count, *run.format.shape)
