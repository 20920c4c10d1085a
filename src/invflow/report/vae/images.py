"""Reconstructions of test images, and images drawn from the models."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.report import pictures
from invflow.report.page import Panel
from invflow.vae.models.base import LatentModel
from invflow.vae.run import Run

#: Images in a row, and rows of samples.
COLUMNS, ROWS = 20, 2
#: Largest number of classes shown.
CLASSES = 20


def spaced(run: Run, count: int) -> Tensor:
    """Return the numbers of test images that are shown, evenly spaced.

    Neighbours may be alike: of one class, or from one part of a picture.
    """
    there = len(run.images.test)
    count = min(count, there)
    return (2 * torch.arange(count) + 1) * there // (2 * count)


def reconstructions(run: Run, generator: torch.Generator) -> list[Panel]:
    """Draw test images above their reconstructions by each model."""
    rows = spaced(run, COLUMNS)
    chosen = run.images.test[rows]
    parts = [("test images", "Test images.", chosen)]
    for name, model in run.models.items():
        x, given = model.observe(chosen, generator), run.given(model, rows)
        found = model.reconstruct(x, generator, given).unflatten(1, model.shape)
        parts += [(name, f"Reconstructions of the test images by the model {name}.", found)]
    levels = run.format.levels
    return [
        pictures.strip(title, pictures.grid(images, COLUMNS), levels, alt)
        for title, alt, images in parts
    ]


def samples(run: Run, generator: torch.Generator) -> list[Panel]:
    """Draw images from each model; from conditional ones, a row for each class, the first few."""
    classes = run.format.classes[:CLASSES]
    by_class = ", a row for each class" if classes else ""
    return [
        pictures.strip(
            name,
            pictures.grid(_rows(run, model, generator), COLUMNS),
            run.format.levels,
            f"Images drawn from the model {name}{by_class}.",
            classes,
        )
        for name, model in run.models.items()
    ]


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
