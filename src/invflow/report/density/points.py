"""Rows of the table and draws of the density: the numbers that fit worst, and categories."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from invflow.density.learning import draws
from invflow.density.run import Run
from invflow.density.table import Column, Rows
from invflow.density.table.calendar import DAY
from invflow.density.table.dates import TICKS, TIME
from invflow.density.table.labels import Label
from invflow.density.table.samples import Floats
from invflow.report import figures
from invflow.training.batches import generator

#: Largest number of columns and of rows drawn.
COLUMNS, ROWS = 6, 1000
#: Seconds of a mean year, and the lengths of parts of dates in days.
YEAR, DAYS = 365.2425 * DAY, {"day": 1, "week": 7}


@dataclass(frozen=True)
class Levels:
    """How common the values of a categorical column are.

    Attributes:
        name: of the column.
        values: its values.
        rows: fraction of the rows with each, of those with any.
        draws: fraction of the draws with each.
    """

    name: Label
    values: list[str]
    rows: list[float]
    draws: list[float]


@dataclass(frozen=True)
class Points:
    """Rows, and draws with the same contexts.

    Attributes:
        names: of the columns of numbers.
        rows: of the table, (n, columns), NaN where missing; dates as years, times of the day as
            hours and durations as seconds.
        draws: of the density, (n, columns).
        held_out: whether all rows are test rows.
        levels: of the categorical columns.
    """

    names: list[Label]
    rows: Floats
    draws: Floats
    held_out: bool
    levels: list[Levels] = field(default_factory=list)

    @property
    def out_of_view(self) -> int:
        """Number of draws beyond the axes, whose limits follow the rows."""
        if not self.names:
            return 0
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
    worst = run.results.assessment.worst_columns
    place = {column.name: i for i, column in enumerate(columns.features)}
    found = [(columns.features[place[name]], place[name]) for name in worst]
    found = [(column, i) for column, i in found if not bool(x[:, i].isnan().all())]
    numbers = [(column, i) for column, i in found if not column.is_categorical][:COLUMNS]
    values = [
        np.column_stack([_units(each[:, i].numpy(), column) for column, i in numbers])
        if numbers
        else np.empty((len(each), 0))
        for each in (x, drawn)
    ]
    levels = [
        _levels(column, x[:, i].numpy(), drawn[:, i].numpy())
        for column, i in found
        if column.is_categorical
    ]
    names: list[Label] = [column.name for column, _ in numbers]
    return Points(names, values[0], values[1], held_out, levels)


def _units(codes: Floats, column: Column) -> Floats:
    """Return the numbers of codes; dates, days and weeks as years, times of the day as hours.

    Durations are seconds.
    """
    found = column.numbers(codes)
    if column.part is not None and column.part.name in DAYS:
        return 1970 + found * DAYS[column.part.name] * DAY / YEAR
    if column.unit is None:
        return found
    seconds = found / TICKS[column.unit]
    if column.dtype.startswith("timedelta"):
        return seconds
    return seconds / 3600 if column.dtype == TIME else 1970 + seconds / YEAR


def _levels(column: Column, rows: Floats, draws: Floats) -> Levels:
    size = len(column.categories)
    fractions: list[list[float]] = []
    for codes in (rows, draws):
        counts = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=size + 1)
        fractions.append((counts / max(counts.sum(), 1))[:size].tolist())
    return Levels(column.name, [str(value) for value in column.categories], *fractions)
