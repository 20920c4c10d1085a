"""What the tests of pages read in them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from invflow.report.page import Panel


def headings(text: str) -> list[str]:
    """Return the headings of the sections, the verdict's excepted."""
    return re.findall(r'<section class="part">\n<h2 id="[^"]+">(.*?)</h2>', text)


def shown(panel: Panel) -> NDArray[Any]:
    """Return the red of the picture of a figure, (height, width)."""
    (axis,) = panel.figure.axes
    return np.asarray(axis.get_images()[0].get_array())[..., 0]


def grey(levels: Tensor) -> NDArray[Any]:
    """Return how light 17 levels are drawn."""
    return np.rint(levels.numpy() / 16 * 255)
