r"""The energy test of two samples (Székely and Rizzo 2013, J. Stat. Plan. Inference 143).

$E = 2 E|X - Y| - E|X - X'| - E|Y - Y'|$ is zero if and only if X and Y have the same joint
distribution. Permuting the assignment of rows to samples gives a p-value that is exact for every
sample size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from invflow import _checks
from invflow._extra import required
from invflow.density.table.labels import Label, column_names
from invflow.density.table.samples import Floats, samples

#: Number of distances in memory at once.
DISTANCES = 2**21


@dataclass(frozen=True)
class EnergyTest:
    """The result of an energy test. `str()` gives it as text.

    Args:
        statistic: n m / (n + m) times the energy distance of the standardised rows.
        effect: energy distance divided by its largest value, 2 E|X - Y|: from 0, the same
            distribution, to 1. Unlike the statistic, it does not grow with the number of rows;
            noise alone gives about the mean of 1 / n and 1 / m.
        p_value: of the same distribution.
        columns: the statistic of each column by itself.
        column_p_values: of each column, corrected for testing all of them.
        rows: n and m, the numbers of rows of x and y that were compared.
        permutations: number of permutations.
        level: the probability of rejecting samples with the same distribution: half for whole
            rows, half for columns.
    """

    statistic: float
    effect: float
    p_value: float
    columns: dict[Label, float]
    column_p_values: dict[Label, float]
    rows: tuple[int, int]
    permutations: int
    level: float = 0.01

    @property
    def rejected(self) -> list[Label]:
        """The columns that differ by themselves, the most different first."""
        wrong = [name for name, p in self.column_p_values.items() if p <= self.level / 2]
        return sorted(wrong, key=lambda name: -self.columns[name])

    @property
    def differs(self) -> bool:
        """Whether whole rows differ, or a column by itself."""
        return self.p_value <= self.level / 2 or bool(self.rejected)

    def __str__(self) -> str:
        numbers = (
            f"(energy test, p {self.p_value:.2g} of {self.permutations} permutations, effect "
            f"{self.effect:.2g}, {self.rows[0]} and {self.rows[1]} rows)"
        )
        if not self.differs:
            return f"no difference found {numbers}"
        if self.rejected:
            named = [f"{name} (p {self.column_p_values[name]:.2g})" for name in self.rejected[:10]]
            more = f" and {len(self.rejected) - 10} more" if len(self.rejected) > 10 else ""
            return f"the samples differ {numbers}; columns that differ: {', '.join(named)}{more}"
        return (
            f"the samples differ {numbers}; no single column differs: look at the dependence "
            "between columns"
        )


def two_sample(
    x: Any,
    y: Any,
    *,
    names: Sequence[Label] | None = None,
    permutations: int = 999,
    rows: int = 2000,
    seed: int = 0,
) -> EnergyTest:
    """Test whether two samples have the same distribution, with the energy test.

    Columns are divided by their standard deviation over both samples, so units do not matter. The
    p-values of columns come from the same permutations, by the distribution of the largest
    statistic of a column (Westfall and Young 1993). Time grows as rows^2 * permutations, memory as
    rows * permutations.

    Args:
        x: independent held-out rows, shape (n, columns).
        y: draws of the model, or other rows, shape (m, columns).
        names: of the columns; x0, x1, ... by default.
        permutations: number of permutations. The smallest possible p-value is
            1 / (1 + permutations); at least 2 / level are needed to reject.
        rows: a larger sample is reduced to this number of rows at random.
        seed: random seed of rows and permutations.

    Raises:
        TypeError: if `x` or `y` has values that are not numbers, or another argument has the wrong
            type.
        ValueError: if `x` or `y` has missing or infinite values, fewer than two rows, or different
            columns. Distances need all values: compare complete rows, or use `classifier_test`.
        ImportError: if SciPy is not installed.

    Example:
        >>> source = np.random.default_rng(0)
        >>> x, y = source.standard_normal((2, 200, 3))
        >>> two_sample(x, y).p_value > 0.01
        True
        >>> two_sample(x, 2 * y).p_value
        0.001
    """
    first, second = samples(x, y, missing=False)
    labels = column_names(names, first.shape[1])
    permutations = _checks.positive_integer("permutations", permutations, minimum=19)
    rows = _checks.positive_integer("rows", rows, minimum=2)
    source = np.random.default_rng(_checks.positive_integer("seed", seed, minimum=0))
    first, second = (_subsample(each, rows, source) for each in (first, second))
    pooled = _standardised(np.concatenate([first, second]))
    members = _memberships(len(first), len(second), permutations, source)
    whole, between = _energies(pooled, members)
    columns = np.stack([_column_energies(column, members) for column in pooled.T])
    largest = columns.max(axis=0)
    size = len(first) * len(second) / len(pooled)
    return EnergyTest(
        statistic=size * float(whole[0]),
        effect=float(whole[0] / (2 * between)) if between else 0.0,
        p_value=_p_value(whole, whole[0]),
        columns=dict(zip(labels, (size * columns[:, 0]).tolist(), strict=True)),
        column_p_values={
            name: _p_value(largest, energies[0])
            for name, energies in zip(labels, columns, strict=True)
        },
        rows=(len(first), len(second)),
        permutations=permutations,
    )


def _subsample(table: Floats, rows: int, source: np.random.Generator) -> Floats:
    if len(table) <= rows:
        return table
    return table[source.choice(len(table), rows, replace=False)]


def _standardised(pooled: Floats) -> Floats:
    """Centre and scale columns, ignoring the sample, so that permutations stay exact."""
    centred = pooled - pooled.mean(axis=0)
    scale = centred.std(axis=0)
    return centred / np.where(scale > 0, scale, 1.0)


def _memberships(n: int, m: int, permutations: int, source: np.random.Generator) -> Floats:
    """Return 1 for rows of x: as observed, then permuted, shape (n + m, 1 + permutations)."""
    observed = np.repeat([1.0, 0.0], [n, m])
    permuted = [source.permutation(observed) for _ in range(permutations)]
    return np.stack([observed, *permuted], axis=1)


def _energies(pooled: Floats, members: Floats) -> tuple[Floats, float]:
    """Return the energy distance of each membership, and the observed mean distance of x to y.

    With a = 1 for rows of x, distances within x sum to a' D a, and from x to all rows to a' D 1:
    one pass over the distances D, some rows at a time, serves all permutations.
    """
    cdist = required("scipy.spatial.distance", "density").cdist
    total, within, to_all = 0.0, np.zeros(members.shape[1]), np.zeros(members.shape[1])
    step = max(1, DISTANCES // len(pooled))
    for start in range(0, len(pooled), step):
        distances = cdist(pooled[start : start + step], pooled)
        rows = members[start : start + step]
        total += distances.sum()
        within += np.einsum("ij,ij->j", rows, distances @ members)
        to_all += distances.sum(axis=1) @ rows
    n = members[:, 0].sum()
    m = len(pooled) - n
    between = (to_all - within) / (n * m)
    within_y = (total - 2 * to_all + within) / m**2
    return 2 * between - within / n**2 - within_y, float(between[0])


def _column_energies(column: Floats, members: Floats) -> Floats:
    """Return the energy distance of each membership in one column: 2 ∫ (F - G)^2."""
    order = np.argsort(column)
    of_x = np.cumsum(members[order], axis=0)[:-1]
    of_y = np.arange(1, len(column))[:, None] - of_x
    n = members[:, 0].sum()
    return 2 * np.diff(column[order]) @ np.square(of_x / n - of_y / (len(column) - n))


def _p_value(statistics: Floats, observed: float) -> float:
    """Return the fraction of permutations, the observed one included, that differ as much."""
    # Equal statistics of different memberships differ by rounding.
    return float(np.mean(statistics >= observed - 1e-9 * abs(observed)))
