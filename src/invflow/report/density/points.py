"""Rows of the table and draws of the density, for the columns that fit worst."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from invflow.density.learning import draws
from invflow.density.run import Run
from invflow.density.table import Rows
from invflow.density.table.labels import Label
from invflow.density.table.samples import Floats
from invflow.report import figures
from invflow.training.batches import generator

#: Largest number of columns and of rows drawn.
COLUMNS, ROWS = 6, 1000


@dataclass(frozen=True)
class Points:
    """Rows, and draws with the same contexts.

    Attributes:
        names: of the columns.
        rows: of the table, (n, columns), NaN where missing.
        draws: of the density, (n, columns).
        held_out: whether all rows are test rows.
    """

    names: list[Label]
    rows: Floats
    draws: Floats
    held_out: bool

    @property
    def out_of_view(self) -> int:
        """Number of draws beyond the axes, whose limits follow the rows."""
        low, high = np.array(figures.limits(self.rows)).T
        return int(((self.draws < low) | (self.draws > high)).any(1).sum())


def points(run: Run) -> Points:
    """Return rows and draws of the worst columns; test rows if there are enough of them."""
    columns, data = run.density.columns_, run.rows
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
