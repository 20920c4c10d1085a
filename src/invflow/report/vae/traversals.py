"""The effect of single latents on an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invflow._modes import evaluating
from invflow.report import figures
from invflow.report.vae import pictures
from invflow.vae import evaluation
from invflow.vae.base import LatentModel
from invflow.vae.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Largest number of latents shown, and of values of each.
LATENTS, POINTS = 8, 7
#: The outermost values, in standard deviations.
REACH = 3
#: Test images, and draws for each, that determine which latents are active.
IMAGES, DRAWS = 64, 8
#: Models side by side.
COLUMNS = 2


def traversals(run: Run, generator: torch.Generator) -> Figure:
    """Draw an image as the most active latents change one by one, for each model."""
    test = run.images.test
    _, high, wide = run.format.shape
    columns = min(COLUMNS, len(run.models))
    rows = -(-len(run.models) // columns)
    shown = min(LATENTS, max(model.latents for model in run.models.values()))
    width = figures.WIDTH / COLUMNS
    height = 2 * pictures.LINE + width * shown * (high + 1) / (POINTS * (wide + 1))
    figure, axes = figures.figure(rows, columns, (columns * width, rows * height))
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, model) in zip(axes.flat, run.models.items(), strict=False):
        given = run.given(model, IMAGES)
        which, sd = most_active(model, test[:IMAGES], generator, given)
        first = None if given is None else given[:1]
        with torch.no_grad(), evaluating(model):
            z = model.draw(model.observe(test[:1], generator), 1, generator, first)[0][0, 0]
        images = traversed(model, z, which, sd, first)
        pictures.show(axis, pictures.grid(images.flatten(0, 1), POINTS), run.format.levels, name)
        _label(axis, which, (high + 1, wide + 1))
    return figure


@torch.no_grad()
def most_active(
    model: LatentModel, images: Tensor, generator: torch.Generator, given: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the most active latents of images, and their standard deviations over images.

    Args:
        model: a model of images.
        images: grey levels, (count, channels, height, width).
        generator: random numbers.
        given: what a conditional model depends on, (count, C).

    Returns:
        Indices of at most `LATENTS` latents, the most active first, and their deviations.
    """
    x = model.observe(images.flatten(1), generator)
    spread = evaluation.spread(model, x, DRAWS, generator, given=given)
    which = spread.between.topk(min(LATENTS, model.latents)).indices
    return which, (spread.between + spread.within)[which].sqrt()


def traversed(
    model: LatentModel, z: Tensor, which: Tensor, sd: Tensor, given: Tensor | None = None
) -> Tensor:
    """Return the expected images around latents, one of which changes in each row.

    Args:
        model: a model of images.
        z: the latents, (latents,).
        which: indices of the latents to change, (rows,).
        sd: their standard deviations, (rows,).
        given: what a conditional model depends on, (1, C).

    Returns:
        Levels, (rows, POINTS, channels, height, width), the image at z in the middle of each row.
    """
    away = torch.linspace(-REACH, REACH, POINTS).to(z)
    moved = z.repeat(len(which), POINTS, 1)
    moved[torch.arange(len(which)), :, which] += sd[:, None] * away
    return model.expected(moved, given).unflatten(-1, model.shape)


def _label(axis: Axes, which: Tensor, size: tuple[int, int]) -> None:
    """Name the latents beside the rows, and the deviations below the columns."""
    axis.axis("on")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0, labelsize=7)
    axis.set_yticks(_middles(size[0], len(which)), [f"z{i}" for i in which.tolist()])
    away = np.linspace(-REACH, REACH, POINTS)
    axis.set_xticks(_middles(size[1], POINTS), [f"{each:+g}" if each else "0" for each in away])


def _middles(size: int, count: int) -> NDArray[Any]:
    # A gap follows each image, and the centre of the first pixel is at 0.
    return np.arange(count) * size + size / 2 - 1
