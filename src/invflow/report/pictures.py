"""Images on the axes of a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from invflow.report.figures import WIDTH, figure
from invflow.report.page import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Largest number of characters of the name of a row.
LONGEST = 16


def sheet(images: Tensor, levels: int, columns: int | None = None) -> Figure:
    """Draw images, levels (count, channels, height, width), in columns, or nearly in a square."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    drawn, axes = figure(1, 1, (6, 6))
    show(axes[0, 0], grid(images, columns), levels)
    return drawn


def strip(
    title: str, picture: NDArray[Any], levels: int, alt: str, rows: Sequence[str] = ()
) -> Panel:
    """Return a picture as wide as the page, under its title.

    Args:
        title: above the picture.
        picture: shape (height, width, channels).
        levels: number of levels.
        alt: what the picture shows, as text.
        rows: names of the rows of the picture, all of one height; none by default.
    """
    drawn, axes = figure(1, 1, (WIDTH, WIDTH * picture.shape[0] / picture.shape[1]))
    drawn.set_layout_engine("constrained", w_pad=0, h_pad=0)
    show(axes[0, 0], picture, levels)
    if rows:
        name_rows(axes[0, 0], rows, picture.shape[0])
    return Panel(drawn, alt, title)


def name_rows(axis: Axes, names: Sequence[str], height: int) -> None:
    """Write names beside the rows of a picture, all of one height."""
    axis.axis("on")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0, labelsize=8)
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


def show(axis: Axes, picture: NDArray[Any], levels: int) -> None:
    """Draw a picture, (height, width, channels); its pixels stay sharp, its gaps transparent."""
    axis.imshow(coloured(picture, levels), interpolation="none")
    axis.axis("off")


def coloured(picture: NDArray[Any], levels: int) -> NDArray[np.uint8]:
    """Return the red, green, blue and opacity of each pixel, (height, width, 4).

    Level 0 is black, and the highest one white.
    """
    colours = np.broadcast_to(picture, (*picture.shape[:2], 3)) / (levels - 1)
    opacity = ~np.isnan(colours[..., :1])
    whole = np.concatenate([np.nan_to_num(colours, nan=1.0), opacity], -1)
    return (whole.clip(0, 1) * 255).round().astype(np.uint8)
