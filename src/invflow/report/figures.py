"""What the figures of all pages share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invflow.report import page
from invflow.report.svg import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Width of a page, and of a figure that has half of it or a whole small screen, in inches.
WIDTH, HALF = 9.6, 4.7
#: Lines beyond the last colour reuse the colours in another style.
STYLES = ("-", "--", ":", "-.")
#: The same styles as lengths of dashes and gaps, for charts.
DASHES = {"-": [], "--": [8, 4], ":": [2, 3], "-.": [8, 3, 2, 3]}
BLUE, ORANGE, RED = COLOURS[0], COLOURS[1], COLOURS[3]


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
        like: number of the line whose colour it has; None for its own.
        style: one of `STYLES`; "" for the one that follows from its number.
    """

    steps: Sequence[int]
    seconds: Sequence[float]
    values: Sequence[float]
    like: int | None = None
    style: str = ""

    def colour(self, i: int) -> int:
        """Return the number of the colour of the i-th line."""
        return (i if self.like is None else self.like) % len(COLOURS)

    def dashes(self, i: int) -> str:
        """Return the style of the i-th line."""
        return self.style or STYLES[i // len(COLOURS) % len(STYLES)]


def curves(
    lines: Mapping[str, Curve],
    height: str,
    view: tuple[float | None, float | None] = (None, None),
    scale: str = "linear",
) -> list[page.Panel]:
    """Draw evaluations against steps, and against seconds of training where all are known.

    Args:
        lines: by label.
        height: label of the vertical axis.
        view: its lower and upper end; None where the lines decide.
        scale: of it, "linear" or "log".
    """
    across = ["step", "seconds of training"] if all(c.seconds for c in lines.values()) else ["step"]
    panels: list[page.Panel] = []
    for label in across:
        drawn, axes = figure(1, 1, (HALF, 3.2 + 0.2 * len(lines)))
        axis = axes[0, 0]
        for i, (name, line) in enumerate(lines.items()):
            x = line.steps if label == "step" else line.seconds
            look = {"linestyle": line.dashes(i), "color": COLOURS[line.colour(i)]}
            axis.plot(x, line.values, marker=".", ms=4, label=name, **look)
        axis.set(xlabel=label, ylabel=height, yscale=scale)
        axis.locator_params(axis="x", integer=label == "step")
        if scale == "linear":
            axis.ticklabel_format(useOffset=False)
        axis.set_ylim(*view)
        axis.grid(alpha=0.25)
        if len(lines) > 1:
            names = [short(name, 60) for name in lines]
            handles = axis.get_lines()
            drawn.legend(handles, names, loc="outside lower left", frameon=False, fontsize=8)
        panels += [page.Panel(drawn, f"Curves of {height} against {label}: {', '.join(lines)}.")]
    return panels


def chart(lines: Mapping[str, Curve], height: str) -> page.Explore:
    """Return the same lines, against steps, to zoom into."""
    data = [
        {
            "label": label,
            "x": list(line.steps),
            "y": [value if isfinite(value) else None for value in line.values],
            "colour": line.colour(i),
            "dash": DASHES[line.dashes(i)],
        }
        for i, (label, line) in enumerate(lines.items())
    ]
    summary = "Read values and zoom: drag to zoom in, double-click to see all"
    return page.Explore(summary, {"kind": "lines", "x": "step", "y": height, "lines": data})


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


def lowest(bounds: Sequence[float]) -> float | None:
    """Return where to end the vertical axis, above bounds far below the best, if there are any.

    Those are of the first steps, for example.

    Example:
        >>> lowest([-900.0, -91.0, -90.5, -90.0]), lowest([-91.0, -90.0])
        (-99.0, None)
    """
    finite = [bound for bound in bounds if isfinite(bound)]
    if not finite:
        return None
    best = max(finite)
    end = best - max(12 * (best - median(finite)), 5)
    return end if min(finite) < end else None


def pairs(
    names: Sequence[object],
    first: NDArray[np.floating[Any]],
    second: NDArray[np.floating[Any]] | None = None,
    labels: Sequence[str] = ("draws",),
) -> page.Panel:
    """Draw columns against each other, with histograms on the diagonal.

    Args:
        names: of the columns.
        first: a sample, (rows, columns), drawn below the diagonal; NaN where missing.
        second: another, drawn above the diagonal, as far as it is within `limits` of the first.
        labels: of the samples.
    """
    size = len(names)
    width = min(max(1.5 * size, 4.0) + 0.7, WIDTH)
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
                axis.plot(
                    values[:, j], values[:, i], ".", color=colour, ms=2, alpha=0.5, rasterized=True
                )
                axis.set_ylim(view[i])
            axis.tick_params(labelsize=7, labelbottom=i == size - 1, labelleft=j == 0 and i > 0)
            axis.locator_params(nbins=3)
            if i == size - 1:
                axis.set_xlabel(short(names[j], 22), fontsize=9)
            if j == 0:
                axis.set_ylabel(short(names[i], 22), fontsize=9)
    listed = ", ".join(map(str, names))
    alt = f"{' and '.join(labels)}: scatter plots of each pair, and histograms, of {listed}."
    return page.Panel(drawn, alt[0].upper() + alt[1:])


def closer(
    names: Sequence[object], samples: Mapping[str, NDArray[np.floating[Any]]]
) -> page.Explore:
    """Return two columns at a time of samples, to choose and to zoom into.

    Args:
        names: of the columns.
        samples: (rows, columns) by label; NaN where missing.
    """
    data = [
        {
            "label": label,
            "colour": i,
            "columns": [
                [float(f"{value:.5g}") if isfinite(value) else None for value in column]
                for column in values.T.tolist()
            ],
        }
        for i, (label, values) in enumerate(samples.items())
    ]
    summary = "Choose two columns and zoom: drag to zoom in, double-click to see all"
    shown = [str(name) for name in names]
    return page.Explore(summary, {"kind": "pairs", "names": shown, "samples": data})


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
