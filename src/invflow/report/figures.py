"""What the figures of all pages share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invflow.report import page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Width of a page, in inches.
WIDTH = 8.5
#: Matplotlib has ten colours; lines beyond the tenth reuse them in another style.
COLOURS, STYLES = 10, ("-", "--", ":", "-.")
BLUE, ORANGE = "#1f77b4", "#d95f02"


def figure(
    rows: int, columns: int, size: Sequence[float], **options: Any
) -> tuple[Figure, NDArray[Any]]:
    """Return a figure that is not attached to any window or global state, and its axes.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
    """
    page.require()
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(size[0], size[1]), layout="constrained")
    return drawn, drawn.subplots(rows, columns, squeeze=False, **options)


@dataclass(frozen=True)
class Curve:
    """Evaluations of a training.

    Attributes:
        steps: at which they were made.
        seconds: of training until then; empty if unknown.
        values: what was measured.
    """

    steps: Sequence[int]
    seconds: Sequence[float]
    values: Sequence[float]


def curves(lines: Mapping[str, Curve], height: str) -> Figure:
    """Draw evaluations against steps, and against seconds of training where all are known.

    Args:
        lines: by label.
        height: label of the vertical axis.
    """
    across = ["step", "seconds of training"] if all(c.seconds for c in lines.values()) else ["step"]
    size = (WIDTH, 3.4 + 0.2 * -(-len(lines) // 2))
    drawn, axes = figure(1, len(across), size, sharey=True)
    for axis, label in zip(axes[0], across, strict=True):
        for i, line in enumerate(lines.values()):
            x = line.steps if label == "step" else line.seconds
            style = STYLES[i // COLOURS % len(STYLES)]
            axis.plot(x, line.values, style, marker=".", ms=4, color=f"C{i % COLOURS}")
        axis.set_xlabel(label)
        axis.ticklabel_format(useOffset=False)
        axis.grid(alpha=0.25)
    axes[0, 0].set_ylabel(height)
    drawn.legend(
        axes[0, 0].get_lines(), lines, loc="outside lower left", ncols=2, frameon=False, fontsize=8
    )
    return drawn


def evaluations(rows: Sequence[Mapping[str, Any]], value: str) -> Curve:
    """Return the evaluations in the metrics of one model.

    Args:
        rows: from `invflow.training.metrics.read`.
        value: name of the column with what was measured.
    """
    seconds = {row["step"]: row["seconds"] for row in rows if row["split"] == "train"}
    evaluated = [row for row in rows if row["split"] == "validation"]
    steps = [row["step"] for row in evaluated]
    return Curve(steps, [seconds[step] for step in steps], [row[value] for row in evaluated])


def focus(axis: Axes, bounds: Sequence[float]) -> None:
    """Cut bounds far below the best off the vertical axis, such as those of the first steps."""
    if bounds:
        best = max(bounds)
        lowest = best - max(12 * (best - median(bounds)), 5)
        if min(bounds) < lowest:
            axis.set_ylim(bottom=lowest)


def pairs(
    names: Sequence[object],
    first: NDArray[np.floating[Any]],
    second: NDArray[np.floating[Any]] | None = None,
) -> Figure:
    """Draw columns against each other, with histograms on the diagonal.

    Args:
        names: of the columns.
        first: a sample, (rows, columns), drawn below the diagonal; NaN where missing.
        second: another, drawn above the diagonal, as far as it is within `limits` of the first.
    """
    size = len(names)
    width = max(1.45 * size, 4.5) + 0.6
    drawn, axes = figure(size, size, (width, width))
    view = limits(first)
    samples = [(first, BLUE)] if second is None else [(first, BLUE), (second, ORANGE)]
    for i in range(size):
        for j in range(size):
            axis: Axes = axes[i, j]
            if i < j and second is None:
                axis.axis("off")
                continue
            axis.set_xlim(view[j])
            if i == j:
                _histograms(axis, [(values[:, i], colour) for values, colour in samples], view[i])
            else:
                values, colour = samples[0 if i > j else 1]
                axis.plot(values[:, j], values[:, i], ".", color=colour, ms=2, alpha=0.4)
                axis.set_ylim(view[i])
            axis.tick_params(labelsize=6, labelbottom=i == size - 1, labelleft=j == 0 and i > 0)
            if i == size - 1:
                axis.set_xlabel(short(names[j], 22), fontsize=8)
            if j == 0:
                axis.set_ylabel(short(names[i], 22), fontsize=8)
    return drawn


def limits(values: NDArray[np.floating[Any]]) -> list[tuple[float, float]]:
    """Return the range of each column's axis: that of its values, and a margin."""
    low, high = np.nanmin(values, 0), np.nanmax(values, 0)
    margin = np.where(high > low, 0.12 * (high - low), 0.5)
    return list(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))


def _histograms(
    axis: Axes,
    samples: Sequence[tuple[NDArray[np.floating[Any]], str]],
    limits: tuple[float, float],
) -> None:
    first = samples[0][0]
    first = first[~np.isnan(first)]
    edges = np.linspace(*limits, 26)
    if not (first % 1).any() and np.ptp(first) <= 40:  # a bar for each integer
        edges = np.arange(np.floor(limits[0]), np.ceil(limits[1]) + 1) - 0.5
    for values, colour in samples:
        values = values[~np.isnan(values)]
        weights = np.full(len(values), 1 / len(values))
        axis.hist(values, edges.tolist(), weights=weights, histtype="step", color=colour, lw=1.3)
    axis.set_yticks([])


def short(name: object, length: int) -> str:
    r"""Return a name of at most this many characters that matplotlib does not read as a formula.

    Example:
        >>> short("price in $ or in $100", 14)
        'price in \\$ or…'
    """
    text = str(name)
    text = text if len(text) <= length else f"{text[: length - 1]}…"
    return text.replace("$", "\\$")
