"""Histograms of the ranks of values among draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from invflow._uniformity import Uniformity
from invflow.density.checks.calibration import Calibration
from invflow.density.table.labels import Label
from invflow.report import figures
from invflow.report.page import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Largest number of columns drawn, and the size of a histogram in inches.
COLUMNS, SIZE = 24, (1.7, 1.35)
#: Smallest number of values per bar, if there are enough.
VALUES_PER_BAR = 8
#: Probability that a bar is in the band, if the density is right.
BAND = 0.99


def ranks(
    calibration: Calibration, histograms: dict[Label, list[int]], names: list[Label]
) -> list[Panel]:
    """Draw a histogram for each column, with the band expected by chance.

    Args:
        calibration: of the columns.
        histograms: counts in equal parts of the unit interval, by column.
        names: of the columns, in the order to draw them.
    """
    found = {each.name: each for each in calibration.columns}
    panels: list[Panel] = []
    for name in names[:COLUMNS]:
        panels += [histogram(found[name], histograms[name])]
    return panels


def histogram(column: Uniformity, whole: Sequence[int]) -> Panel:
    """Draw a histogram, with the band expected by chance.

    Args:
        column: how uniform its ranks are.
        whole: counts in equal parts of the unit interval.
    """
    figure, axes = figures.figure(1, 1, SIZE)
    axis: Axes = axes[0, 0]
    counts = merged(np.array(whole))
    bars = len(counts)
    edges = np.linspace(0, 1, bars + 1)
    low, high = band(column, bars)
    even = column.rows / bars
    axis.axhspan(low / even, high / even, color="#999", alpha=0.3, lw=0)
    axis.stairs(counts / even, edges, fill=True, color=figures.BLUE, alpha=0.75)
    axis.axhline(1, color="black", lw=0.8, ls=":")
    axis.set(xlim=(0, 1), ylim=(0, 1.08 * max(high / even, counts.max() / even)))
    axis.tick_params(labelsize=8)
    alt = f"Histogram of the ranks of {column.name}, p-value {column.adjusted:.2g}."
    return Panel(figure, alt, str(column.name))


def merged(counts: np.ndarray) -> np.ndarray:
    """Return counts of fewer, wider bars where bars would hold too few values.

    Example:
        >>> merged(np.full(20, 2)).tolist()
        [8, 8, 8, 8, 8]
    """
    for bars in (20, 10, 5, 4):
        if counts.sum() >= VALUES_PER_BAR * bars:
            break
    return counts.reshape(bars, -1).sum(1)


def band(column: Uniformity, bars: int) -> tuple[float, float]:
    """Return the range of a bar's count if values are uniform."""
    from scipy import stats

    # Ranks are noisier than the same number of independent values.
    scale = column.rows / column.effective
    low, high = stats.binom.interval(BAND, round(column.effective), 1 / bars)
    return scale * float(low), scale * float(high)
