"""Interpolations between images in latent space."""

from __future__ import annotations

import torch

from invflow.report import pictures
from invflow.report.page import Panel
from invflow.report.vae.images import spaced
from invflow.vae.run import Run

#: Pairs of images, and points between the two of a pair, both ends included.
IMAGE_PAIRS, POINTS = 4, 11


def interpolations(run: Run, generator: torch.Generator) -> list[Panel]:
    """Draw interpolations between pairs of test images, between the two, for each model."""
    rows = spaced(run, IMAGE_PAIRS)
    first = run.images.test[rows]
    second = first.roll(-1, 0)
    panels: list[Panel] = []
    for name, model in run.models.items():
        x, given = model.observe(first, generator), run.given(model, rows)
        ends = None if given is None else (given, given.roll(-1, 0))
        levels = model.interpolate(x, x.roll(-1, 0), POINTS, generator, ends)
        between = levels.unflatten(2, model.shape)
        lines = torch.cat([first[:, None], between, second[:, None]], 1)
        picture = pictures.grid(lines.flatten(0, 1), POINTS + 2)
        alt = f"Interpolations between test images by the model {name}, a pair in each row."
        panels += [pictures.strip(name, picture, run.format.levels, alt)]
    return panels
