"""A density judged by rows that it has not learned from."""

from __future__ import annotations

import math
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
#: So many test rows, at random, are compared with draws; all are scored.
ROWS = 2000
#: Bars of the histograms of ranks.
BARS = 20
#: Rows that are shown as those that fit worst.
WORST = 10
#: A value further out than this share of draws, on either side, is unusual by itself.
UNUSUAL = 0.025
#: Of fewer rows in each sample the classifier can learn nothing.
CLASSIFIED = 50


@dataclass(frozen=True)
class WorstRow:
    """A row of low density.

    Attributes:
        row: its number in the table, from zero.
        log_density: in nats.
        p_value: how usual it is, as `FlowDensity.anomaly_scores` says.
        reason: its most unusual value, or that none is unusual alone.
    """

    row: int
    log_density: float
    p_value: float
    reason: str


@dataclass(frozen=True)
class Assessment:
    """How well a density fits rows that it has not learned from.

    Attributes:
        rows: how many there are.
        compared: how many of them were compared with draws.
        complete: how many of these, with nothing missing, were in the two-sample tests.
        log_density: the mean, in nats per row.
        log_density_error: its standard error over rows.
        outside: rows of density zero, with a value beyond its column's bounds.
        calibration: whether values are where the density says.
        histograms: counts of ranks in equal parts of the unit interval, by column.
        energy: the energy test of rows and draws; None of too few rows.
        classifier: the classifier test of them; None of too few rows.
        worst: rows of the lowest density, the lowest first.
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

    @property
    def worst_columns(self) -> list[Label]:
        """All columns of the density, the worst calibrated first."""
        found = sorted(self.calibration.columns, key=lambda each: (each.p_value, -each.statistic))
        return [each.name for each in found]


def assess(density: FlowDensity, test: Source, seed: int = 0) -> Assessment:
    """Return how well a density fits test rows.

    Args:
        density: a fitted one.
        test: rows that it has not learned from, two or more.
        seed: of draws, and of what rows are compared with them.

    Raises:
        ValueError: other columns than in training, or values that do not suit them.
    """
    scores = density.score_samples(test)
    model, rows = density.model_, Rows(test, density.columns_)
    names = [column.name for column in density.columns_.features]
    lowest = np.argsort(scores, kind="stable")[:WORST]
    chosen = np.random.default_rng(seed).permutation(len(scores))[:ROWS]
    x, context = rows[torch.from_numpy(np.concatenate([np.sort(chosen), lowest]))]
    ranked = draws.ranks(model, x, context, seed)
    compared, u = len(chosen), ranked.values[: len(chosen)]
    # Columns that are nearly always missing cannot be judged.
    seen = (~np.isnan(u)).sum(0) > 1
    judged = [name for name, there in zip(names, seen, strict=True) if there]
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
            u[:, seen], names=judged, draws=ranked.draws, joint=draws.radial(model, x, context)
        ),
        histograms={
            name: np.histogram(column[~np.isnan(column)], BARS, (0, 1))[0].tolist()
            for name, column in zip(judged, u[:, seen].T, strict=True)
        },
        energy=None
        if smaller < 2
        else two_sample(pair.rows, pair.draws, names=pair.names, seed=seed),
        classifier=None
        if smaller < CLASSIFIED
        else classifier_test(pair.rows, pair.draws, names=pair.names, seed=seed),
        worst=_worst(density, rows, scores, lowest, ranked.values[compared:]),
    )


def _mean_and_error(scores: Floats) -> tuple[float, float]:
    mean = float(scores.mean())
    if not math.isfinite(mean):
        return mean, math.nan
    return mean, float(scores.std(ddof=1)) / math.sqrt(len(scores))


def _worst(
    density: FlowDensity, rows: Rows, scores: Floats, lowest: Numbers, ranks: Floats
) -> list[WorstRow]:
    """Return rows by their numbers among the test rows, with the ranks of their values."""
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
    """Return the most unusual value of a row, if one is unusual by itself."""
    tails = np.minimum(ranks, 1 - ranks)
    if np.isnan(tails).all():
        return "no values"
    place = int(np.nanargmin(tails))
    if tails[place] > UNUSUAL:
        return "no value alone"
    name = density.columns_.features[place].name
    side = "low" if ranks[place] < 0.5 else "high"
    return f"{name} = {row[name].iloc[0]:.5g}, {side}"
