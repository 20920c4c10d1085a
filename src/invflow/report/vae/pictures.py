"""Images on the axes of a figure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from invflow.report.figures import WIDTH, figure
from invflow.report.page import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def sheet(images: Tensor, levels: int) -> Figure:
    """Draw images, levels (count, channels, height, width), in a near-square grid."""
    columns = math.ceil(math.sqrt(len(images)))
    drawn, axes = figure(1, 1, (6, 6))
    show(axes[0, 0], grid(images, columns), levels)
    return drawn


def strip(title: str, picture: NDArray[Any], levels: int, alt: str) -> Panel:
    """Return a picture as wide as the page, under its title."""
    drawn, axes = figure(1, 1, (WIDTH, WIDTH * picture.shape[0] / picture.shape[1]))
    drawn.set_layout_engine("constrained", w_pad=0, h_pad=0)
    show(axes[0, 0], picture, levels)
    return Panel(drawn, alt, title)


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
