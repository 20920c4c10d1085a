"""Images on the axes of a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from invflow.report.figures import WIDTH, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Height of a line of text, in inches.
LINE = 0.3
#: Largest number of characters of the name of a row.
LONGEST = 16


def sheet(images: Tensor, levels: int, columns: int | None = None) -> Figure:
    """Draw images, levels (count, channels, height, width), in columns, or nearly in a square."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    drawn, axes = figure(1, 1, (6, 6))
    show(axes[0, 0], grid(images, columns), levels)
    return drawn


def stacked(
    parts: Sequence[tuple[str, NDArray[Any]]], levels: int, rows: Sequence[str] = ()
) -> Figure:
    """Draw pictures of equal width below each other, each under its title.

    Args:
        parts: titles and pictures.
        levels: number of levels.
        rows: names of the rows of each picture, all of one height; none by default.
    """
    heights = [LINE + WIDTH * picture.shape[0] / picture.shape[1] for _, picture in parts]
    drawn, axes = figure(len(parts), 1, (WIDTH, sum(heights)), height_ratios=heights)
    for axis, (title, picture) in zip(axes[:, 0], parts, strict=True):
        show(axis, picture, levels, title)
        if rows:
            name_rows(axis, rows, picture.shape[0])
    return drawn


def name_rows(axis: Axes, names: Sequence[str], height: int) -> None:
    """Write names beside the rows of a picture, all of one height."""
    axis.axis("on")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0, labelsize=7)
    size = height / len(names)
    # A gap follows each row, and the centre of the first pixel is at 0.
    places = [(i + 0.5) * size - 1 for i in range(len(names))]
    axis.set_xticks([])
    # Names of classes are anyone's, and dollars would begin a formula.
    axis.set_yticks(places, [shortened(name) for name in names], parse_math=False)


def shortened(name: str) -> str:
    """Return a name as it fits beside a row."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def grid(images: Tensor, columns: int) -> NDArray[Any]:
    """Return images side by side, (height, width, channels), with a gap of one pixel, NaN."""
    missing = -len(images) % columns
    padded = np.pad(
        images.movedim(1, -1).numpy().astype(float),
        ((0, missing), (0, 1), (0, 1), (0, 0)),
        constant_values=np.nan,
    )
    lines = padded.reshape(-1, columns, *padded.shape[1:])
    return np.concatenate([np.concatenate(list(line), axis=1) for line in lines], axis=0)


def show(axis: Axes, picture: NDArray[Any], levels: int, title: str = "") -> None:
    """Draw a picture, (height, width, channels); grey ones are drawn dark on white."""
    if picture.shape[-1] == 1:
        axis.imshow(picture[..., 0], cmap="gray_r", vmin=0, vmax=levels - 1)
    else:
        axis.imshow(np.nan_to_num(picture / (levels - 1), nan=1.0).clip(0, 1))
    axis.set_title(title, fontsize=10, loc="left")
    axis.axis("off")
