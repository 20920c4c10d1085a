"""Rows and draws, column against column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from invflow.density.data import Data
from invflow.density.learning import draws
from invflow.density.run import Run
from invflow.density.table import Rows
from invflow.density.table.labels import Label
from invflow.density.table.samples import Floats
from invflow.report.density.names import short
from invflow.training.batches import generator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: How many columns and rows are drawn.
COLUMNS, ROWS = 6, 1000
ROW_COLOUR, DRAW_COLOUR = "#1f77b4", "#d95f02"


@dataclass(frozen=True)
class Points:
    """Rows, and draws with the same contexts.

    Attributes:
        names: of the columns.
        rows: of the table, (n, columns), NaN where missing.
        draws: of the density, (n, columns).
        held_out: whether the rows are those of the test alone.
    """

    names: list[Label]
    rows: Floats
    draws: Floats
    held_out: bool

    @property
    def limits(self) -> list[tuple[float, float]]:
        """What of each column is in view: what the rows span, and some more."""
        low, high = np.nanmin(self.rows, 0), np.nanmax(self.rows, 0)
        margin = np.where(high > low, 0.12 * (high - low), 0.5)
        return list(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))

    @property
    def out_of_view(self) -> int:
        """How many draws are not."""
        low, high = np.array(self.limits).T
        return int(((self.draws < low) | (self.draws > high)).any(1).sum())


def points(run: Run, data: Data) -> Points:
    """Return rows and draws of the columns that fit worst; rows of the test if there are enough."""
    columns = run.density.columns_
    held_out = sum(data.test.blocks) >= ROWS // 2
    rows = Rows(data.test if held_out else data.whole, columns)
    chosen = np.random.default_rng(run.config.seed).permutation(len(rows))[:ROWS]
    x, context = rows[torch.from_numpy(np.sort(chosen))]
    drawn = draws.draw(run.density.model_, context, generator("cpu", run.config.seed))
    names = [column.name for column in columns.features]
    shown = [name for name in run.results.assessment.worst_columns if _any(x, names.index(name))]
    places = [names.index(name) for name in shown[:COLUMNS]]
    return Points(
        [names[place] for place in places],
        x[:, places].numpy(),
        drawn[:, places].numpy(),
        held_out,
    )


def _any(x: torch.Tensor, place: int) -> bool:
    return not bool(x[:, place].isnan().all())


def pairs(shown: Points) -> Figure:
    """Draw columns against each other, rows below the diagonal and draws above it."""
    from matplotlib.figure import Figure

    size = len(shown.names)
    width = max(1.45 * size, 4.5) + 0.6
    figure = Figure(figsize=(width, width), layout="constrained")
    axes = figure.subplots(size, size, squeeze=False)
    limits = shown.limits
    for i in range(size):
        for j in range(size):
            axis: Axes = axes[i, j]
            axis.tick_params(labelsize=6)
            axis.set_xlim(limits[j])
            if i == j:
                _histograms(axis, shown.rows[:, i], shown.draws[:, i], limits[i])
            else:
                values, colour = (shown.rows, ROW_COLOUR) if i > j else (shown.draws, DRAW_COLOUR)
                axis.plot(values[:, j], values[:, i], ".", color=colour, ms=2, alpha=0.4)
                axis.set_ylim(limits[i])
            axis.tick_params(labelbottom=i == size - 1, labelleft=j == 0 and i > 0)
            if i == size - 1:
                axis.set_xlabel(short(shown.names[j], 22), fontsize=8)
            if j == 0:
                axis.set_ylabel(short(shown.names[i], 22), fontsize=8)
    return figure


def _histograms(axis: Axes, rows: Floats, draws: Floats, limits: tuple[float, float]) -> None:
    rows = rows[~np.isnan(rows)]
    edges = np.linspace(*limits, 26)
    whole = not (rows % 1).any() and np.ptp(rows) <= 40
    if whole:
        edges = np.arange(np.floor(limits[0]), np.ceil(limits[1]) + 1) - 0.5
    for values, colour in ((rows, ROW_COLOUR), (draws, DRAW_COLOUR)):
        weights = np.full(len(values), 1 / len(values))
        axis.hist(values, edges.tolist(), weights=weights, histtype="step", color=colour, lw=1.3)
    axis.set_yticks([])
