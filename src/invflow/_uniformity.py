"""How uniform values are on the unit interval: a test, its direction, and interval coverage."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invflow._extra import required

Floats = NDArray[np.float64]
#: The nominal probabilities of the central intervals whose coverage is counted.
INTERVALS = (0.5, 0.8, 0.9, 0.95)
#: A shift or spread of fewer standard errors does not explain a rejection.
NOTABLE = 2


@dataclass(frozen=True)
class Uniformity:
    """How uniform the values of one variable are.

    Args:
        name: of the variable.
        rows: number of values.
        effective: number of independent values with the same noise; fewer than `rows` for ranks
            among shared draws.
        statistic: the Kolmogorov-Smirnov statistic, the largest distance of the empirical
            distribution function from the diagonal.
        p_value: of this variable alone, if its values are uniform: the smaller p-value of the
            Kolmogorov-Smirnov test and of a test of the spread, doubled for taking the smaller.
            The Kolmogorov-Smirnov test alone has little power in the tails.
        adjusted: the p-value, corrected for all variables tested.
        error: calibration error, the mean distance of the empirical distribution function from
            the diagonal.
        coverage: for each nominal central interval, the fraction of values inside.
        shift: how far the mean of the values lies above 1/2, in standard errors.
        spread: how far their variance lies above that of uniform values, in standard errors.
    """

    name: Hashable
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
        """Binomial standard error of each interval's coverage if the values are uniform."""
        return {level: math.sqrt(level * (1 - level) / self.effective) for level in self.coverage}

    @property
    def noise(self) -> float:
        r"""Expected calibration error of uniform values.

        $\mathrm{E}\int_0^1 |B| / \sqrt{n}$ for a Brownian bridge $B$: $\sqrt{\pi / 32 n}$.
        """
        return math.sqrt(math.pi / (32 * self.effective))

    @property
    def flaw(self) -> str:
        """How the model that gave the values is wrong: "too low", "too wide", ..."""
        if max(abs(self.shift), abs(self.spread)) < NOTABLE:
            return "wrong shape"
        if abs(self.shift) > abs(self.spread):
            return "too low" if self.shift > 0 else "too high"
        return "too narrow" if self.spread > 0 else "too wide"


def uniformity(name: Hashable, u: Floats, draws: int | None = None) -> Uniformity:
    """Return how uniform values are.

    Ranks among the same L draws compare two samples; their noise is that of n L / (n + L)
    independent values.

    Args:
        name: of the variable.
        u: values in [0, 1], shape (rows,).
        draws: L, for ranks among draws that all rows share; None for independent values.

    Raises:
        ImportError: if SciPy is not installed.

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
    stats = required("scipy.stats", "density")
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
        coverage={level: float(np.mean(np.abs(u - 0.5) <= level / 2)) for level in INTERVALS},
        shift=float(u.mean() - 0.5) * math.sqrt(12 * effective),
        spread=spread,
    )


def holm(p_values: Sequence[float]) -> Floats:
    """Return p-values corrected for multiple tests, in the order given (Holm 1979).

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
    """Integrate the distance of the empirical distribution function from the diagonal."""
    steps = np.arange(len(u) + 1) / len(u)
    edges = np.concatenate([[0.0], np.sort(u), [1.0]])
    # |s| has the integral s |s| / 2, at s = t - step between neighbouring edges t.
    right, left = edges[1:] - steps, edges[:-1] - steps
    return float((right * np.abs(right) - left * np.abs(left)).sum() / 2)
