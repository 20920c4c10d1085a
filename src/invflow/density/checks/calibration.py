r"""Calibration of a density by the probability integral transform.

Rows x ~ p go through the model's conditional distribution functions to independent uniform values,
and through a flow to independent standard normal ones, if and only if the model is p (Rosenblatt
1952). The rank of a value among draws of the model tells the same of one column at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from invflow import _checks
from invflow.density.checks._extra import required
from invflow.density.checks.uniformity import INTERVALS, Uniformity, holm, uniformity
from invflow.density.table.columns import column_names
from invflow.density.table.labels import Label
from invflow.density.table.samples import Floats, real_numbers, table


def pit(z: Any) -> Floats:
    """Return the probability integral transform of a flow's noise, Phi(z).

    Args:
        z: noise of held-out rows, (rows, features), for a standard normal base. NaN stays NaN.

    Returns:
        Values in [0, 1], (rows, features): independent and uniform if the model is right. They
        are of the noise's features, which are the data's columns, given those before them in the
        order, for a flow of one autoregressive transform only.

    Raises:
        TypeError, ValueError: z is no table of finite numbers.
        ImportError: SciPy is not installed.

    Example:
        >>> pit([[0.0, -1.0], [2.0, float("nan")]]).round(3)
        array([[0.5  , 0.159],
               [0.977,   nan]])
    """
    return required("scipy.stats").norm.cdf(table("z", z, missing=True))


def radial_pit(z: Any) -> Floats:
    r"""Return the probability integral transform of the noise's squared length.

    $\|z\|^2$ of $D$ standard normal features has the $\chi^2_D$ distribution: its distribution
    function makes it uniform. A model with every feature right alone, but not together, fails here.

    Args:
        z: noise of held-out rows, (rows, features), for a standard normal base.

    Returns:
        Values in [0, 1], (rows,): near 1 where the model finds a row too far out. NaN where a
        feature is NaN.

    Raises:
        TypeError, ValueError: z is no table of finite numbers.
        ImportError: SciPy is not installed.

    Example:
        >>> radial_pit([[0.0, 0.0], [3.0, 4.0]]).round(4)
        array([0., 1.])
    """
    noise = table("z", z, missing=True)
    return required("scipy.stats").chi2.cdf(np.square(noise).sum(1), df=noise.shape[1])


def ranks(x: Any, draws: Any, *, seed: int = 0) -> Floats:
    """Return the randomised ranks of observed values among draws of a model, column by column.

    The rank among L draws, with ties broken at random, is spread over its 1 / (L + 1) of the unit
    interval: (rank + U) / (L + 1). So discrete columns too have uniform values if the model is
    right.

    Args:
        x: held-out rows, (rows, columns). NaN stays NaN.
        draws: of the model, (L, columns). Take many times as many as there are rows: their own
            noise, which all rows share, is what `calibrate` has to be told of.
        seed: of the randomisation.

    Returns:
        Values in (0, 1), (rows, columns).

    Raises:
        TypeError, ValueError: x or draws is no table of finite numbers, or they differ in columns.

    Example:
        >>> ranks([[0.5], [1.5]], [[0.0], [1.0], [2.0]]).shape
        (2, 1)
    """
    observed, drawn = table("x", x, missing=True), table("draws", draws, missing=False)
    if observed.shape[1] != drawn.shape[1]:
        raise ValueError(
            f"draws must have as many columns as x, {observed.shape[1]}, got {drawn.shape[1]}"
        )
    source = np.random.default_rng(_checks.positive_integer("seed", seed, minimum=0))
    values = np.empty_like(observed)
    for column, sorted_draws in enumerate(np.sort(drawn, axis=0).T):
        below = np.searchsorted(sorted_draws, observed[:, column], side="left")
        up_to = np.searchsorted(sorted_draws, observed[:, column], side="right")
        # A random place among the ties, and U within that place, are one uniform number.
        place = source.random(len(observed)) * (up_to - below + 1)
        values[:, column] = (below + place) / (len(drawn) + 1)
    values = np.clip(values, np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)
    return np.where(np.isnan(observed), np.nan, values)


@dataclass(frozen=True)
class Calibration:
    """Whether a density is calibrated. `str()` says it in words.

    Args:
        columns: how uniform each column's values are.
        joint: the same for `radial_pit`, if it was given.
        level: the probability that a right model is called wrong, over all that was tested.
    """

    columns: tuple[Uniformity, ...]
    joint: Uniformity | None = None
    level: float = 0.01

    @property
    def tested(self) -> tuple[Uniformity, ...]:
        """Every column, then the whole rows."""
        return self.columns if self.joint is None else (*self.columns, self.joint)

    @property
    def rejected(self) -> list[Label]:
        """What is not uniform."""
        return [found.name for found in self.tested if found.adjusted < self.level]

    def __str__(self) -> str:
        return "\n".join([self._verdict(), "", *self._lines()])

    def _verdict(self) -> str:
        rows = max(found.rows for found in self.tested)
        wrong = [found for found in self.tested if found.adjusted < self.level]
        if not wrong:
            smallest = min(found.adjusted for found in self.tested)
            return (
                f"calibrated, as far as {rows} rows can tell: nothing departs from uniform "
                f"(smallest p-value {smallest:.2g}, corrected for {len(self.tested)} tests)"
            )
        named = [
            f"{found.name} ({self._how(found)}, p {found.adjusted:.1g})" for found in wrong[:10]
        ]
        more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        return (
            f"not calibrated: {len(wrong)} of {len(self.tested)} depart from uniform in {rows} "
            f"rows: {', '.join(named)}{more}"
        )

    def _how(self, found: Uniformity) -> str:
        """Say in which way the model is off, by the larger of shift and spread."""
        if max(abs(found.shift), abs(found.spread)) < 2:
            return "wrong shape"
        if found is self.joint and abs(found.shift) >= 2:
            return "rows too far out" if found.shift > 0 else "rows too far in"
        if abs(found.shift) > abs(found.spread):
            return "model too low" if found.shift > 0 else "model too high"
        return "model too narrow" if found.spread > 0 else "model too wide"

    def _lines(self) -> list[str]:
        width = max(6, *(len(str(found.name)) for found in self.tested))
        head = "".join(f"{f'{share:.0%} interval':>15}" for share in INTERVALS)
        lines = [f"{'column':<{width}}  p-value  error (noise)  {head}"]
        for found in self.tested:
            cells = [
                f"{f'{100 * covered:.1f} ± {100 * found.coverage_error[share]:.1f} %':>15}"
                for share, covered in found.coverage.items()
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
    """Return whether values are uniform on the unit interval, as they are if their model is right.

    Each column gets a Kolmogorov-Smirnov test and one of its spread, which sees what the former
    hardly does, tails too heavy or too light; and all p-values Holm's correction, which holds
    however the columns depend on each other.

    Args:
        u: values of `pit` or of `ranks` on held-out rows, (rows, columns). NaN is left out.
        names: of the columns; x0, x1, ... by default.
        draws: for `ranks`, among how many draws, whose noise all rows share; for `pit`, None.
        joint: `radial_pit` of the same rows, (rows,).
        level: the probability that a right model is called wrong, over all that is tested.

    Raises:
        TypeError, ValueError: u or joint holds something else than numbers in [0, 1], or too few
            of them; they differ in rows; names or another setting is wrong.
        ImportError: SciPy is not installed.

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
    level = _checks.number("level", level)
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    found = [
        uniformity(name, _in_unit_interval(f"u, column {name!r},", column), draws)
        for name, column in zip(column_names(names, values.shape[1]), values.T, strict=True)
    ]
    if joint is not None:
        rows = real_numbers("joint", joint)
        if rows.shape != (len(values),):
            raise ValueError(f"joint must have shape ({len(values)},) as u, got {rows.shape}")
        found.append(uniformity("whole rows", _in_unit_interval("joint", rows)))
    adjusted = holm([each.p_value for each in found])
    found = [replace(each, adjusted=float(p)) for each, p in zip(found, adjusted, strict=True)]
    last = None if joint is None else found.pop()
    return Calibration(tuple(found), last, level)


def anomaly(log_density: Any, reference: Any) -> Floats:
    r"""Return how usual rows are: the share of reference rows that are no likelier than they.

    $p = (1 + \#\{i : r_i \le s\}) / (n + 1)$ for a row of log density $s$ among $n$ reference log
    densities: small for an anomaly. If a row and the reference are exchangeable, as held-out rows
    of one population are, $P(p \le a) \le a$ for every a, however wrong the density is (a conformal
    p-value; Vovk et al. 2005).

    Args:
        log_density: of the rows in question, (rows,), in the same units as the reference.
        reference: log densities of rows that the model was not trained on, or of its own draws,
            (n,). With rows that have chosen among models, or where training ends, as a
            `FlowDensity`'s `reference_` has, p-values are only approximately valid. Minus infinity,
            outside of the support, is allowed in both.

    Returns:
        p-values in (0, 1], (rows,). Looking at many rows, expect a share `a` of them below `a`.

    Raises:
        TypeError, ValueError: either holds something else than numbers, NaN or infinity, or is no
            vector; the reference is empty.

    Example:
        >>> anomaly([-9.0, -1.0], [-3.0, -2.0, -1.5])
        array([0.25, 1.  ])
    """
    scores = _log_densities("log_density", log_density)
    known = np.sort(_log_densities("reference", reference))
    if not len(known):
        raise ValueError("reference must hold at least one log density, got none")
    return (1 + np.searchsorted(known, scores, side="right")) / (len(known) + 1)


def _log_densities(name: str, value: Any) -> Floats:
    array = real_numbers(name, value)
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape (rows,), got {array.shape}")
    wrong = np.isnan(array) | np.isposinf(array)
    if wrong.any():
        raise ValueError(f"{name} must hold log densities, got {array[wrong][0]}")
    return array


def _in_unit_interval(name: str, column: Floats) -> Floats:
    """Return the values that are not missing."""
    present = column[~np.isnan(column)]
    if len(present) < 2:
        raise ValueError(f"{name} must have two values or more, got {len(present)}")
    if present.min() < 0 or present.max() > 1:
        raise ValueError(
            f"{name} must lie in [0, 1], got values from {present.min()} to {present.max()}"
        )
    return present
