"""Reconstructions of test images, and images drawn from the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from invflow.report.vae import pictures
from invflow.vae.base import LatentModel
from invflow.vae.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Images in a row, and rows of samples.
COLUMNS, ROWS = 20, 2
#: Largest number of classes shown.
CLASSES = 20


def reconstructions(run: Run, generator: torch.Generator) -> Figure:
    """Draw test images above their reconstructions by each model."""
    chosen = run.images.test[:COLUMNS]
    parts = [("images", chosen)]
    for name, model in run.models.items():
        given = run.given(model, len(chosen))
        levels = model.reconstruct(model.observe(chosen, generator), generator, given)
        parts += [(name, levels.unflatten(1, model.shape))]
    return pictures.stacked([(k, pictures.grid(v, COLUMNS)) for k, v in parts], run.format.levels)


def samples(run: Run, generator: torch.Generator) -> Figure:
    """Draw images from each model; from conditional ones, a row for each class, the first few."""
    classes = run.format.classes[:CLASSES]
    parts = [
        (name, pictures.grid(_rows(run, model, generator), COLUMNS))
        for name, model in run.models.items()
    ]
    return pictures.stacked(parts, run.format.levels, classes)


def sampled(run: Run, name: str, count: int, generator: torch.Generator) -> Tensor:
    """Return images drawn from one of the models, levels (count, channels, height, width).

    Those of conditional models are of the classes in turn.
    """
    model = run.models[name]
    drawn = model.sample(count, generator, run.in_turn(model, count))
    return drawn.reshape(count, *run.format.shape)


def _rows(run: Run, model: LatentModel, generator: torch.Generator) -> Tensor:
    """Return images in rows of `COLUMNS`, levels (count, channels, height, width)."""
    if not model.given:
        drawn = model.sample(COLUMNS * ROWS, generator)
    else:
        shown = torch.arange(min(CLASSES, model.given)).repeat_interleave(COLUMNS)
        drawn = model.sample(len(shown), generator, model.one_hot(shown))
    return drawn.reshape(-1, *run.format.shape)
