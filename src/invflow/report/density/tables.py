"""The results of a density run as text."""

from __future__ import annotations

import numpy as np

from invflow.density.checks.calibration import Calibration
from invflow.density.run import Run
from invflow.density.table import Column
from invflow.density.table.dates import times
from invflow.report.density.verdict import verdict
from invflow.report.page import Brief

#: Largest number of columns listed as those that fit worst.
WORST_COLUMNS = 8


def brief(run: Run) -> Brief:
    """Return what a terminal shows of the results: a title, a head, rows and the verdict."""
    found = run.results.assessment
    density = f"{found.log_density:.4g} ± {found.log_density_error:.2g}"
    rows = [("log density, nats per row", density)]
    if found.log_cell:
        rows += [
            ("the same per unit, steps divided out", f"{found.log_density - found.log_cell:.4g}")
        ]
    if found.outside:
        rows += [("rows outside the bounds", str(found.outside))]
    rows += [("calibrated columns", calibrated(run))]
    if found.energy is not None:
        said = "differs" if found.energy.differs else "no difference found"
        rows += [("energy test against draws", f"p = {found.energy.p_value:.2g}: {said}")]
    if found.classifier is not None:
        auc, error = found.classifier.statistic, found.classifier.standard_error
        differs = found.classifier.p_value <= found.classifier.level
        said = "differs" if differs else "no difference found"
        rows += [("classifier against draws", f"AUC {auc:.3f} ± {error:.3f}: {said}")]
    rows += [("training time", f"{run.results.seconds:.0f} s")]
    title = f"Results on {found.rows} test rows"
    return Brief(title, ("measure", "value"), rows, verdict(found).lines)


def calibrated(run: Run) -> str:
    """Return how many of the tested columns are calibrated."""
    calibration = run.results.assessment.calibration
    tested = len(calibration.tested)
    return f"{tested - len(calibration.rejected)} of {tested}"


def worst_rows(run: Run) -> list[tuple[str, ...]]:
    """Return the rows that fit worst."""
    return [
        ("row", "log density", "p-value", "most unusual value"),
        *(
            (str(each.row), f"{each.log_density:.2f}", f"{each.p_value:.3f}", each.reason)
            for each in run.results.assessment.worst
        ),
    ]


def worst_columns(run: Run) -> list[tuple[str, ...]]:
    """Return the columns that fit worst: by their ranks, and by the tests against draws."""
    found = run.results.assessment
    calibrated = {each.name: each for each in found.calibration.columns}
    energy = {} if found.energy is None else found.energy.column_p_values
    classifier = {} if found.classifier is None else found.classifier.columns
    rows = [
        (
            str(name),
            f"{calibrated[name].adjusted:.2g}",
            f"{calibrated[name].error:.3f} ({calibrated[name].noise:.3f})",
            f"{energy[name]:.2g}" if name in energy else "",
            f"{classifier[name]:+.3f}" if name in classifier else "",
        )
        for name in found.worst_columns[:WORST_COLUMNS]
    ]
    head = ("column", "p (ranks)", "error (by chance)", "p (energy test)", "classifier use")
    return [head, *rows]


def coverage(calibration: Calibration) -> list[tuple[str, ...]]:
    """Return the fraction of values in the density's central intervals, by column."""
    levels = list(calibration.tested[0].coverage)
    rows = [
        (
            str(each.name),
            *(
                f"{100 * each.coverage[level]:.1f} ± {100 * each.coverage_error[level]:.1f}%"
                for level in levels
            ),
        )
        for each in calibration.tested
    ]
    return [("column", *(f"{level:.0%} interval" for level in levels)), *rows]


def columns(run: Run) -> list[tuple[str, ...]]:
    """Return the kinds and ranges of the columns."""
    known = run.density.columns_
    each = {column.name: (column, "") for column in known.features}
    each |= {column.name: (column, "context, ") for column in known.context}
    rows = [
        (str(name), role + _kind(column), *ends(column)) for name, (column, role) in each.items()
    ]
    rows += [(str(copy.name), f"copy: {copy}", "", "") for copy in known.copies]
    return [("column", "kind", "smallest", "largest"), *rows]


def ends(column: Column) -> tuple[str, str]:
    """Return the smallest and the largest value."""
    found = column.smallest, column.largest
    unit = column.unit if column.part is None else column.part.unit
    if unit is None or None in found:
        low, high = ("" if value is None else f"{value:.6g}" for value in found)
    else:
        low, high = map(str, times(np.array(found, np.float64), unit, column.dtype))
    return low, high


def _kind(column: Column) -> str:
    if column.is_categorical:
        return f"{column.kind}, {len(column.categories)} categories"
    said = [f"grid of step {column.step:g}" if column.kind == "grid" else column.kind]
    words = ("above", "below") if column.grid is None else ("from", "to")
    said_of = (column.low, column.high) if column.unit is None else (None, None)  # not ticks
    bounds = dict(zip(words, said_of, strict=True))
    limits = [f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
    return ", ".join([*said, " and ".join(limits)] if limits else said)
