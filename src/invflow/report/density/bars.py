"""How common the values of categorical columns are, in rows and in draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from invflow.report import figures
from invflow.report.density.points import Levels
from invflow.report.page import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Largest number of columns drawn, and of values of each, the most common ones.
COLUMNS, VALUES = 24, 12
#: Width of a panel, and height of a value's bars and of the rest, in inches.
WIDTH, BAR, REST = 2.3, 0.24, 0.6


def bars(columns: Sequence[Levels]) -> list[Panel]:
    """Draw the values of each column with two bars: the fraction of rows and of draws."""
    panels: list[Panel] = []
    for column in columns[:COLUMNS]:
        chosen = np.argsort(column.rows, kind="stable")[::-1][:VALUES]
        chosen = np.sort(chosen)[::-1].tolist()  # the first value on top
        size = WIDTH, BAR * len(chosen) + REST
        figure, axes = figures.figure(1, 1, size)
        _draw(axes[0, 0], column, chosen)
        parts = [f"{column.values[i]} {column.rows[i]:.0%}" for i in reversed(chosen)]
        alt = f"Bars of the values of {column.name} among the rows: {', '.join(parts)}."
        panels.append(Panel(figure, alt, str(column.name)))
    return panels


def _draw(axis: Axes, column: Levels, chosen: Sequence[int]) -> None:
    places = np.arange(len(chosen))
    for values, colour, shift in (
        (column.rows, figures.BLUE, 0.2),
        (column.draws, figures.ORANGE, -0.2),
    ):
        axis.barh(places + shift, [values[i] for i in chosen], 0.4, color=colour)
    axis.set_yticks(places, [figures.short(column.values[i], 16) for i in chosen])
    axis.tick_params(labelsize=8)
    axis.locator_params(axis="x", nbins=4)
