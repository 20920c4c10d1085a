"""A density assessed on test rows."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from invflow.density.checks.calibration import Calibration, anomaly, calibrate
from invflow.density.checks.classifier_test import ClassifierTest, classifier_test
from invflow.density.checks.two_sample import EnergyTest, two_sample
from invflow.density.estimator import FlowDensity
from invflow.density.learning import draws
from invflow.density.table import Rows, Source
from invflow.density.table.labels import Label
from invflow.density.table.samples import Floats

Numbers = NDArray[np.int64]
#: Number of test rows, chosen at random, that are compared with draws; all rows are scored.
COMPARED_ROWS = 2000
#: Bars of the histograms of ranks.
BARS = 20
#: Number of rows shown as those of lowest density.
WORST_ROWS = 10
#: A value is unusual if at most this fraction of draws lies further out on its side.
UNUSUAL_TAIL = 0.025
#: The fewest rows of each sample for the classifier test.
FEWEST_CLASSIFIED = 50


@dataclass(frozen=True)
class WorstRow:
    """A row of low density.

    Attributes:
        row: its number in the table, from zero.
        log_density: in nats.
        p_value: as from `FlowDensity.anomaly_scores`.
        reason: its most unusual value, or that no single value is unusual.
    """

    row: int
    log_density: float
    p_value: float
    reason: str


@dataclass(frozen=True)
class Assessment:
    """How well a density fits test rows.

    Attributes:
        rows: number of test rows.
        compared: number of them that were compared with draws.
        complete: number of the latter without missing values, used in the two-sample tests.
        log_density: mean log density, in nats per row.
        log_density_error: its standard error over rows.
        outside: number of rows of density zero, with a value outside the bounds of its column.
        calibration: the calibration test.
        histograms: counts of ranks in equal parts of the unit interval, by column.
        energy: the energy test of rows and draws; None if there are too few rows.
        classifier: the classifier test of rows and draws; None if there are too few rows.
        worst: the rows of lowest density, the lowest first.
        log_cell: as `FlowDensity.log_cell_`.
    """

    rows: int
    compared: int
    complete: int
    log_density: float
    log_density_error: float
    outside: int
    calibration: Calibration
    histograms: dict[Label, list[int]]
    energy: EnergyTest | None
    classifier: ClassifierTest | None
    worst: list[WorstRow]
    log_cell: float = 0.0

    @property
    def worst_columns(self) -> list[Label]:
        """All columns of the density, worst calibrated first."""
        found = sorted(self.calibration.columns, key=lambda each: (each.p_value, -each.statistic))
        return [each.name for each in found]


def assess(
    density: FlowDensity, test: Source, seed: int = 0, known: Floats | None = None
) -> Assessment:
    """Return how well a density fits test rows.

    Args:
        density: fitted.
        test: two or more rows that it was not trained on.
        seed: random seed of draws, and of the choice of rows compared with them.
        known: the log densities of the rows, if they have been computed already.

    Raises:
        ValueError: if columns differ from training, or a value is not of the kind of its column.
    """
    scores = density.score_samples(test) if known is None else known
    model, rows = density.model_, Rows(test, density.columns_)
    names = [column.name for column in density.columns_.features]
    lowest = np.argsort(scores, kind="stable")[:WORST_ROWS]
    chosen = np.random.default_rng(seed).permutation(len(scores))[:COMPARED_ROWS]
    x, context = rows[torch.from_numpy(np.concatenate([np.sort(chosen), lowest]))]
    ranked = draws.ranks(model, x, context, seed)
    compared, u = len(chosen), ranked.values[: len(chosen)]
    # A calibration test needs two values.
    tested = (~np.isnan(u)).sum(0) > 1
    judged = [name for name, kept in zip(names, tested, strict=True) if kept]
    x, context = x[:compared], context[:compared]
    pair = draws.pair(model, x, context, seed)
    smaller = min(len(pair.rows), len(pair.draws))
    mean, error = _mean_and_error(scores)
    return Assessment(
        rows=len(scores),
        compared=compared,
        complete=int((~x.isnan().any(-1)).sum()),
        log_density=mean,
        log_density_error=error,
        outside=int(np.isneginf(scores).sum()),
        calibration=calibrate(
            u[:, tested], names=judged, draws=ranked.draws, joint=draws.radial(model, x, context)
        ),
        histograms={
            name: np.histogram(column[~np.isnan(column)], BARS, (0, 1))[0].tolist()
            for name, column in zip(judged, u[:, tested].T, strict=True)
        },
        energy=None
        if smaller < 2
        else two_sample(pair.rows, pair.draws, names=pair.names, seed=seed),
        classifier=None
        if smaller < FEWEST_CLASSIFIED
        else classifier_test(pair.rows, pair.draws, names=pair.names, seed=seed),
        worst=_worst(density, rows, scores, lowest, ranked.values[compared:]),
        log_cell=density.log_cell_,
    )


def _mean_and_error(scores: Floats) -> tuple[float, float]:
    mean = float(scores.mean())
    if not math.isfinite(mean):
        return mean, math.nan
    return mean, float(scores.std(ddof=1)) / math.sqrt(len(scores))


def _worst(
    density: FlowDensity, rows: Rows, scores: Floats, lowest: Numbers, ranks: Floats
) -> list[WorstRow]:
    """Return the rows with these numbers, explained by the ranks of their values."""
    p_values = anomaly(scores[lowest], density.reference_)
    ends = np.cumsum(rows.blocks)
    found: list[WorstRow] = []
    for number, p, u in zip(lowest.tolist(), p_values.tolist(), ranks, strict=True):
        block = int(np.searchsorted(ends, number, "right"))
        frame: Any = rows.frame(block)
        place = number - int(ends[block])  # from the end of the block
        row, score = int(frame.index[place]), float(scores[number])
        found.append(WorstRow(row, score, p, _reason(frame.iloc[place:][:1], density, u)))
    return found


def _reason(row: Any, density: FlowDensity, ranks: Floats) -> str:
    """Return the most unusual value of a row, if a single value is unusual."""
    for copy in density.columns_.copies:
        if copy.differs(row[copy.name], row[copy.of]).any():
            return f"{copy.name} = {row[copy.name].iloc[0]:.5g}, not {copy}"
    tails = np.minimum(ranks, 1 - ranks)
    if np.isnan(tails).all():
        return "all values missing"
    place = int(np.nanargmin(tails))
    if tails[place] > UNUSUAL_TAIL:
        return "no single value"
    column = density.columns_.features[place]
    name = column.of
    side = "low" if ranks[place] < 0.5 else "high"
    value = row[name].iloc[0]
    if column.is_categorical or column.part is not None:
        return f"{name} = {value}"
    shown = f"{value:.5g}" if isinstance(value, numbers.Real) else str(value)
    return f"{name} = {shown}, {side}"
