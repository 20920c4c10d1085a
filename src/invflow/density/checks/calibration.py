r"""Calibration of a density by the probability integral transform.

The model's conditional distribution functions map rows x ~ p to independent uniform values, and a
flow maps them to independent standard normal values, if and only if the model is p (Rosenblatt
1952). The rank of a value among draws of the model tests one column at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from invflow import _checks
from invflow._extra import required
from invflow._uniformity import INTERVALS, NOTABLE, Uniformity, holm, uniformity
from invflow.density.table.labels import Label, column_names
from invflow.density.table.samples import Floats, real_numbers, table


def pit(z: Any) -> Floats:
    """Return the probability integral transform of a flow's noise, Phi(z).

    Args:
        z: noise of held-out rows, shape (rows, features), for a standard normal base. NaN stays
            NaN.

    Returns:
        Values in [0, 1], shape (rows, features): independent and uniform if the model is correct.
        They belong to the features of the noise. Only for a flow with a single autoregressive
        transform are these the columns of the data, each given the columns before it in the order.

    Raises:
        TypeError, ValueError: if `z` is not a table of finite numbers.
        ImportError: if SciPy is not installed.

    Example:
        >>> pit([[0.0, -1.0], [2.0, float("nan")]]).round(3)
        array([[0.5  , 0.159],
               [0.977,   nan]])
    """
    return required("scipy.stats", "density").norm.cdf(table("z", z, missing=True))


def radial_pit(z: Any) -> Floats:
    r"""Return the probability integral transform of the noise's squared length.

    For $D$ standard normal features $\|z\|^2$ has the $\chi^2_D$ distribution, whose distribution
    function maps it to a uniform value. A model that has each feature right, but not their joint
    distribution, fails here.

    Args:
        z: noise of held-out rows, shape (rows, features), for a standard normal base.

    Returns:
        Values in [0, 1], shape (rows,): near 1 for rows that lie too far out under the model. NaN
        where a feature is NaN.

    Raises:
        TypeError, ValueError: if `z` is not a table of finite numbers.
        ImportError: if SciPy is not installed.

    Example:
        >>> radial_pit([[0.0, 0.0], [3.0, 4.0]]).round(4)
        array([0., 1.])
    """
    noise = table("z", z, missing=True)
    chi2 = required("scipy.stats", "density").chi2
    return chi2.cdf(np.square(noise).sum(1), df=noise.shape[1])


def ranks(x: Any, draws: Any, *, seed: int = 0) -> Floats:
    """Return the randomised ranks of observed values among draws of a model, column by column.

    The rank among L draws, with ties broken at random, is spread uniformly over its part of the
    unit interval: (rank + U) / (L + 1). If the model is correct, these values are uniform, also in
    discrete columns.

    Args:
        x: held-out rows, shape (rows, columns). NaN stays NaN.
        draws: of the model, shape (L, columns); NaN is left out. Use many more draws than rows. All
            rows share the noise of the draws, so pass L to `calibrate`.
        seed: random seed.

    Returns:
        Values in (0, 1), shape (rows, columns).

    Raises:
        TypeError, ValueError: if `x` or `draws` is not a table of finite numbers, or they have
            different columns.

    Example:
        >>> ranks([[0.5], [1.5]], [[0.0], [1.0], [2.0]]).shape
        (2, 1)
    """
    observed, drawn = table("x", x, missing=True), table("draws", draws, missing=True)
    if observed.shape[1] != drawn.shape[1]:
        raise ValueError(
            f"draws must have as many columns as x, {observed.shape[1]}, got {drawn.shape[1]}"
        )
    source = np.random.default_rng(_checks.positive_integer("seed", seed, minimum=0))
    values = np.empty_like(observed)
    for column, sorted_draws in enumerate(np.sort(drawn, axis=0).T):
        sorted_draws = sorted_draws[: int((~np.isnan(sorted_draws)).sum())]  # NaN comes last
        below = np.searchsorted(sorted_draws, observed[:, column], side="left")
        up_to = np.searchsorted(sorted_draws, observed[:, column], side="right")
        # A random place among the ties, and U within that place, are one uniform number.
        place = source.random(len(observed)) * (up_to - below + 1)
        values[:, column] = (below + place) / (len(sorted_draws) + 1)
    values = np.clip(values, np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)
    return np.where(np.isnan(observed), np.nan, values)


@dataclass(frozen=True)
class Calibration:
    """Whether a density is calibrated. `str()` gives it as text.

    Args:
        columns: how uniform the values of each column are.
        joint: the same for `radial_pit`, if given.
        level: the probability of rejecting a correct model, over all tests.
    """

    columns: tuple[Uniformity, ...]
    joint: Uniformity | None = None
    level: float = 0.01

    @property
    def tested(self) -> tuple[Uniformity, ...]:
        """All columns, then the whole rows."""
        return self.columns if self.joint is None else (*self.columns, self.joint)

    @property
    def rejected(self) -> list[Label]:
        """The names of columns whose values are not uniform."""
        return [found.name for found in self.tested if found.adjusted < self.level]

    def __str__(self) -> str:
        return "\n".join([self._verdict(), "", *self._lines()])

    def _verdict(self) -> str:
        rows = max(found.rows for found in self.tested)
        wrong = [found for found in self.tested if found.adjusted < self.level]
        if not wrong:
            smallest = min(found.adjusted for found in self.tested)
            return (
                f"calibrated, judging by {rows} rows: all values look uniform "
                f"(smallest p-value {smallest:.2g}, corrected for {len(self.tested)} tests)"
            )
        named = [
            f"{found.name} ({self._how(found)}, p {found.adjusted:.1g})" for found in wrong[:10]
        ]
        more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        return (
            f"not calibrated: {len(wrong)} of {len(self.tested)} tests reject uniform values on "
            f"{rows} rows: {', '.join(named)}{more}"
        )

    def _how(self, found: Uniformity) -> str:
        """Return how the model is wrong."""
        if found is self.joint and abs(found.shift) >= NOTABLE:
            return "rows too far out" if found.shift > 0 else "rows too far in"
        return f"model {found.flaw}"

    def _lines(self) -> list[str]:
        width = max(6, *(len(str(found.name)) for found in self.tested))
        head = "".join(f"{f'{level:.0%} interval':>15}" for level in INTERVALS)
        lines = [f"{'column':<{width}}  p-value  error (noise)  {head}"]
        for found in self.tested:
            cells = [
                f"{f'{100 * covered:.1f} ± {100 * found.coverage_error[level]:.1f} %':>15}"
                for level, covered in found.coverage.items()
            ]
            error = f"{found.error:.3f} ({found.noise:.3f})"
            lines.append(
                f"{found.name!s:<{width}}  {found.adjusted:>7.2g}  {error:>13}  {''.join(cells)}"
            )
        return lines


def calibrate(
    u: Any,
    *,
    names: Sequence[Label] | None = None,
    draws: int | None = None,
    joint: Any = None,
    level: float = 0.01,
) -> Calibration:
    """Test whether values are uniform on the unit interval, as they are for a correct model.

    Each column gets a Kolmogorov-Smirnov test and a test of the spread, which detects tails that
    are too heavy or too light. Holm's correction is applied to all p-values; it holds for any
    dependence between columns.

    Args:
        u: values of `pit` or `ranks` on held-out rows, shape (rows, columns). NaN is left out.
        names: of the columns; x0, x1, ... by default.
        draws: for `ranks`, the number of draws, whose noise all rows share; None for `pit`.
        joint: `radial_pit` of the same rows, shape (rows,).
        level: the probability of rejecting a correct model, over all tests.

    Raises:
        TypeError, ValueError: if `u` or `joint` has values that are not numbers in [0, 1], or fewer
            than two; if they differ in rows; if `names`, `draws` or `level` is invalid.
        ImportError: if SciPy is not installed.

    Example:
        >>> z = np.random.default_rng(0).standard_normal((500, 2))
        >>> calibrate(pit(z), joint=radial_pit(z)).rejected
        []
        >>> calibrate(pit(2 * z)).rejected
        ['x0', 'x1']
    """
    values = table("u", u, missing=True)
    if draws is not None:
        draws = _checks.positive_integer("draws", draws, minimum=2)
    level = _checks.fraction("level", level)
    found = [
        uniformity(name, _in_unit_interval(f"u, column {name!r},", column), draws)
        for name, column in zip(column_names(names, values.shape[1]), values.T, strict=True)
    ]
    if joint is not None:
        rows = real_numbers("joint", joint)
        if rows.shape != (len(values),):
            raise ValueError(f"joint must have shape ({len(values)},) like u, got {rows.shape}")
        found.append(uniformity("whole rows", _in_unit_interval("joint", rows)))
    adjusted = holm([each.p_value for each in found])
    found = [replace(each, adjusted=float(p)) for each, p in zip(found, adjusted, strict=True)]
    last = None if joint is None else found.pop()
    return Calibration(tuple(found), last, level)


def anomaly(log_density: Any, reference: Any) -> Floats:
    r"""Return p-values of rows: the fraction of reference rows with the same or a lower density.

    $p = (1 + \#\{i : r_i \le s\}) / (n + 1)$ for a row with log density $s$ and $n$ reference log
    densities $r_i$: small for an anomaly. If a row and the reference are exchangeable, like
    held-out rows from one population, then $P(p \le a) \le a$ for every $a$, even if the density is
    wrong (a conformal p-value; Vovk et al. 2005).

    Args:
        log_density: of the rows to test, shape (rows,), in the same units as the reference.
        reference: log densities of rows that the model was not trained on, or of its own draws,
            shape (n,). If these rows were also used to select a model or to stop its training, as
            `FlowDensity.reference_` was, the p-values are only approximately valid. Minus infinity,
            outside the support, is allowed in both.

    Returns:
        p-values in (0, 1], shape (rows,). Among many rows, expect a fraction a of them below a.

    Raises:
        TypeError, ValueError: if either is not a vector of numbers, has NaN or plus infinity, or
            the reference is empty.

    Example:
        >>> anomaly([-9.0, -1.0], [-3.0, -2.0, -1.5])
        array([0.25, 1.  ])
    """
    scores = _log_densities("log_density", log_density)
    known = np.sort(_log_densities("reference", reference))
    if not len(known):
        raise ValueError("reference must have at least one log density, got none")
    return (1 + np.searchsorted(known, scores, side="right")) / (len(known) + 1)


def _log_densities(name: str, value: Any) -> Floats:
    array = real_numbers(name, value)
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape (rows,), got {array.shape}")
    wrong = np.isnan(array) | np.isposinf(array)
    if wrong.any():
        raise ValueError(f"{name} must contain log densities, got {array[wrong][0]}")
    return array


def _in_unit_interval(name: str, column: Floats) -> Floats:
    """Return the values that are not missing."""
    present = column[~np.isnan(column)]
    if len(present) < 2:
        raise ValueError(f"{name} must have at least two values, got {len(present)}")
    if present.min() < 0 or present.max() > 1:
        raise ValueError(
            f"{name} must lie in [0, 1], got values from {present.min()} to {present.max()}"
        )
    return present
