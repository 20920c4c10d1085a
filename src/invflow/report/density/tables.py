"""What a density has come to, as text."""

from __future__ import annotations

from invflow.density.checks.calibration import Calibration
from invflow.density.run import Run
from invflow.density.table import Column

#: How many of the worst columns are shown.
SHOWN = 8


def brief(run: Run) -> list[tuple[str, ...]]:
    """Return the table of results: a head, and a row for each number."""
    found = run.results.assessment
    rows = [("log density", f"{found.log_density:.4g} ± {found.log_density_error:.2g}")]
    if found.outside:
        rows += [("rows outside of bounds", str(found.outside))]
    tested = len(found.calibration.tested)
    rows += [("calibrated", f"{tested - len(found.calibration.rejected)} of {tested}")]
    if found.energy is not None:
        verdict = "differs" if found.energy.differs else "no difference"
        rows += [("energy test against draws", f"p {found.energy.p_value:.2g}: {verdict}")]
    if found.classifier is not None:
        auc, error = found.classifier.statistic, found.classifier.standard_error
        differs = found.classifier.p_value <= found.classifier.level
        verdict = "differs" if differs else "no difference"
        rows += [("classifier against draws", f"AUC {auc:.3f} ± {error:.3f}: {verdict}")]
    rows += [("training", f"{run.results.seconds:.0f} s")]
    return [("of the test rows", ""), *rows]


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
    """Return the columns that fit worst: by their ranks, and by what tells draws from rows."""
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
        for name in found.worst_columns[:SHOWN]
    ]
    head = ("column", "p of ranks", "error (of chance)", "p of energy test", "classifier's use")
    return [head, *rows]


def coverage(calibration: Calibration) -> list[tuple[str, ...]]:
    """Return which share of values the density's central intervals hold, column by column."""
    shares = list(calibration.tested[0].coverage)
    rows = [
        (
            str(each.name),
            *(
                f"{100 * each.coverage[share]:.1f} ± {100 * each.coverage_error[share]:.1f} %"
                for share in shares
            ),
        )
        for each in calibration.tested
    ]
    return [("column", *(f"{share:.0%} interval" for share in shares)), *rows]


def columns(run: Run) -> list[tuple[str, ...]]:
    """Return what the columns were taken for."""
    known = run.density.columns_
    each = {column.name: (column, "") for column in known.features}
    each |= {column.name: (column, "given, ") for column in known.context}
    rows = [
        (str(name), role + _kind(column), _number(column.smallest), _number(column.largest))
        for name, (column, role) in each.items()
    ]
    return [("column", "taken for", "smallest", "largest"), *rows]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _kind(column: Column) -> str:
    if column.kind == "categorical":
        return f"categorical, {len(column.categories)} categories"
    words = ("from", "to") if column.kind == "integer" else ("above", "below")
    bounds = dict(zip(words, (column.low, column.high), strict=True))
    said = [f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
    return ", ".join([column.kind, " and ".join(said)]) if said else column.kind
