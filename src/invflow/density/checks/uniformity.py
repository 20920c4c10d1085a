"""How uniform values are on the unit interval: distances, a test, and coverage of intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from invflow.density.checks._extra import required
from invflow.density.table.labels import Label
from invflow.density.table.samples import Floats

#: The nominal shares of the central intervals whose coverage is counted.
INTERVALS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Uniformity:
    """How uniform the values of one column are.

    Args:
        name: of the column.
        rows: how many values there are.
        effective: how many independent values their noise is worth: fewer where they are ranks.
        statistic: Kolmogorov-Smirnov's, the largest distance of the empirical distribution
            function from the diagonal.
        p_value: that values are uniform, for this column alone: of that test and of the spread,
            the smaller one, doubled for looking at both. The distance alone says little of tails.
        adjusted: the p-value, corrected for all columns that were tested.
        error: calibration error, the mean distance of the empirical distribution function from
            the diagonal.
        coverage: of each nominal central interval, the share of values inside.
        shift: how far the values' mean lies above 1/2, in standard errors.
        spread: how far their variance lies above that of uniform values, in standard errors.
    """

    name: Label
    rows: int
    effective: float
    statistic: float
    p_value: float
    adjusted: float
    error: float
    coverage: dict[float, float]
    shift: float
    spread: float

    @property
    def coverage_error(self) -> dict[float, float]:
        """Binomial standard error of each interval's coverage, were the values uniform."""
        return {share: math.sqrt(share * (1 - share) / self.effective) for share in self.coverage}

    @property
    def noise(self) -> float:
        r"""The calibration error of uniform values, on average.

        $\mathrm{E}\int_0^1 |B| / \sqrt{n}$ of a Brownian bridge $B$: $\sqrt{\pi / 32 n}$.
        """
        return math.sqrt(math.pi / (32 * self.effective))


def uniformity(name: Label, u: Floats, draws: int | None = None) -> Uniformity:
    """Return how uniform values are.

    Ranks among the same L draws compare two samples: their noise is that of n L / (n + L) values.

    Args:
        name: of the column.
        u: values in [0, 1], (rows,).
        draws: L, where they are ranks among draws that they share; otherwise None.

    Raises:
        ImportError: SciPy is not installed.

    Example:
        >>> found = uniformity("age", np.array([0.1, 0.4, 0.6, 0.9]))
        >>> found.coverage[0.5], round(found.statistic, 3), round(found.error, 3)
        (0.5, 0.15, 0.065)
    """
    rows = len(u)
    effective = rows if draws is None else rows * draws / (rows + draws)
    statistic = _largest_distance(u)
    # (u - 1/2)^2 of uniform u has mean 1/12 and variance 1/180.
    spread = float(np.square(u - 0.5).mean() - 1 / 12) * math.sqrt(180 * effective)
    stats = required("scipy.stats")
    distance, tails = stats.kstwo.sf(statistic, round(effective)), 2 * stats.norm.sf(abs(spread))
    p_value = float(min(1.0, 2 * min(distance, tails)))
    return Uniformity(
        name=name,
        rows=rows,
        effective=float(effective),
        statistic=statistic,
        p_value=p_value,
        adjusted=p_value,
        error=_mean_distance(u),
        coverage={share: float(np.mean(np.abs(u - 0.5) <= share / 2)) for share in INTERVALS},
        shift=float(u.mean() - 0.5) * math.sqrt(12 * effective),
        spread=spread,
    )


def holm(p_values: Sequence[float]) -> Floats:
    """Return p-values that hold for all tests together, in the order given (Holm 1979).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        array([0.03, 0.06, 0.06])
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return np.minimum(adjusted, 1.0)


def _largest_distance(u: Floats) -> float:
    steps = np.arange(len(u) + 1) / len(u)
    ordered = np.sort(u)
    return float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))


def _mean_distance(u: Floats) -> float:
    """Integrate the empirical distribution function's distance from the diagonal over [0, 1]."""
    steps = np.arange(len(u) + 1) / len(u)
    edges = np.concatenate([[0.0], np.sort(u), [1.0]])
    # |s| has the integral s |s| / 2, at s = t - step between neighbouring edges t.
    right, left = edges[1:] - steps, edges[:-1] - steps
    return float((right * np.abs(right) - left * np.abs(left)).sum() / 2)
