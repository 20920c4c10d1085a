"""The effect of single latents on an image."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invflow._modes import evaluating
from invflow.report import figures, pictures
from invflow.report.page import Explore, Panel
from invflow.report.vae.images import spaced
from invflow.vae import evaluation
from invflow.vae.models.base import LatentModel
from invflow.vae.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Largest number of latents shown, and of values of each.
LATENTS, POINTS = 8, 7
#: The outermost values, in standard deviations.
REACH = 3
#: Test images, and draws for each, that determine which latents are active.
IMAGES, DRAWS = 64, 8


@dataclass(frozen=True)
class Traversal:
    """The images of one model as its most active latents change one by one.

    Attributes:
        name: of the model.
        latents: indices of the latents, one for each row.
        picture: the images side by side, (height, width, channels), as from `pictures.grid`.
    """

    name: str
    latents: list[int]
    picture: NDArray[Any]


def traversals(run: Run, generator: torch.Generator) -> list[Traversal]:
    """Return what the most active latents change in a test image, for each model."""
    rows, (shown,) = spaced(run, IMAGES), spaced(run, 1).tolist()
    images, image = run.images.test[rows], run.images.test[shown : shown + 1]
    found: list[Traversal] = []
    for name, model in run.models.items():
        which, sd = most_active(model, images, generator, run.given(model, rows))
        given = run.given(model, slice(shown, shown + 1))
        with torch.no_grad(), evaluating(model):
            z = model.draw(model.observe(image, generator), 1, generator, given)[0][0, 0]
        moved = traversed(model, z, which, sd, given)
        found += [Traversal(name, which.tolist(), pictures.grid(moved.flatten(0, 1), POINTS))]
    return found


def panels(run: Run, found: Sequence[Traversal]) -> list[Panel]:
    """Draw traversals: a row for each latent, with the images along it."""
    _, high, wide = run.format.shape
    drawn: list[Panel] = []
    for each in found:
        rows = len(each.latents)
        height = 0.3 + (figures.HALF - 0.4) * rows * (high + 1) / (POINTS * (wide + 1))
        figure, axes = figures.figure(1, 1, (figures.HALF, height))
        pictures.show(axes[0, 0], each.picture, run.format.levels)
        _label(axes[0, 0], each.latents, (high + 1, wide + 1))
        alt = f"A test image as {rows} latents of the model {each.name} change one by one."
        drawn += [Panel(figure, alt, each.name)]
    return drawn


def closer(run: Run, found: Sequence[Traversal]) -> Explore:
    """Return the same images, of which one is shown at a time."""
    _, high, wide = run.format.shape
    models = [
        {
            "name": each.name,
            "latents": [f"z{i}" for i in each.latents],
            "sheet": _png(pictures.coloured(_without_gaps(each, high, wide), run.format.levels)),
        }
        for each in found
    ]
    data = {"kind": "traversal", "size": [wide, high], "values": _values(), "models": models}
    return Explore("Choose a latent and move it", data)


def _without_gaps(found: Traversal, high: int, wide: int) -> NDArray[Any]:
    """Return the images without the last row and column of each, which are gaps."""
    cells = found.picture.reshape(len(found.latents), high + 1, POINTS, wide + 1, -1)
    kept = cells[:, :high, :, :wide]
    return kept.reshape(len(found.latents) * high, POINTS * wide, -1)


def _png(picture: NDArray[Any]) -> str:
    """Return a picture as the address of a PNG."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, picture, format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


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


def _label(axis: Axes, which: Sequence[int], size: tuple[int, int]) -> None:
    """Name the latents beside the rows, and the deviations below the columns."""
    axis.axis("on")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0, labelsize=8)
    axis.set_yticks(_middles(size[0], len(which)), [f"z{i}" for i in which])
    axis.set_xticks(_middles(size[1], POINTS), _values())


def _values() -> list[str]:
    """Return the values of a latent as text."""
    return [f"{each:+g}" if each else "0" for each in np.linspace(-REACH, REACH, POINTS)]


def _middles(size: int, count: int) -> NDArray[Any]:
    # A gap follows each image, and the centre of the first pixel is at 0.
    return np.arange(count) * size + size / 2 - 1
