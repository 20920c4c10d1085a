"""Several densities of the same table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from invflow._averages import mean_and_error
from invflow.density.run import Run
from invflow.report import figures, page
from invflow.report.comparison import (
    Comparison,
    Outcome,
    Table,
    compared,
    differing,
    labelled,
    over_seeds,
)
from invflow.report.density.curve import HEIGHT
from invflow.report.density.tables import calibrated
from invflow.report.ranking import Differences, leader
from invflow.training import metrics


def compare(runs: Sequence[Run]) -> Comparison:
    """Return the comparison of finished runs.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
        ValueError: if `runs` is empty, a run is given twice, or they are of different kinds, on
            different tables, or on columns taken differently.
    """
    named = labelled(runs, lambda run: run.data.sha256, "tables")
    labelled(runs, _columns, "columns, or on columns of other kinds,")
    lines = {
        label: figures.evaluations(metrics.read(run.directory), "bound")
        for label, run in named.items()
    }
    bounds = [bound for line in lines.values() for bound in line.values]
    return compared(
        title="invflow: comparison of density runs",
        lead=f"{', '.join(named)}; test rows of {Path(runs[0].config.data).name}",
        verdict=ahead(named),
        measure="Test rows, nats per row",
        results=results(named),
        text=_TEXT,
        seeds=seeds(named),
        settings=differing({label: _settings(run) for label, run in named.items()}),
        others=[
            page.Section(
                "Training",
                panels=figures.curves(lines, HEIGHT, (figures.lowest(bounds), None)),
                explore=figures.chart(lines, HEIGHT),
                text="Mean log density of the validation rows against steps and against time.",
            )
        ],
    )


def results(runs: Mapping[str, Run]) -> Table:
    """Return a head, and a row for each run."""
    first = next(iter(runs.values()))
    rows = [
        (
            label,
            f"{run.results.assessment.log_density:.2f} ± "
            f"{run.results.assessment.log_density_error:.2f}",
            "" if run is first else gain(run, first),
            calibrated(run),
            f"{run.results.seconds:.0f} s",
        )
        for label, run in runs.items()
    ]
    return [("run", "log density", "gain", "calibrated columns", "time"), *rows]


def gain(run: Run, first: Run) -> str:
    """Return by how much a density is higher than another on average, and the standard error.

    Compared row by row where both have the same test rows.

    Raises:
        ValueError: if they have scored different numbers of the same rows.
    """
    mean, error = difference(run, first)
    return f"{mean:+.2f} ± {error:.2f}"


def difference(run: Run, first: Run) -> tuple[float, float]:
    """Return the numbers of `gain`."""
    if _test_rows(run) == _test_rows(first):
        if len(run.scores) != len(first.scores):
            raise ValueError(
                f"{run.directory} and {first.directory} must have scores of the same test rows, "
                f"got {len(run.scores)} and {len(first.scores)} of them"
            )
        return mean_and_error(run.scores - first.scores)
    found, other = run.results.assessment, first.results.assessment
    error = math.hypot(found.log_density_error, other.log_density_error)
    return found.log_density - other.log_density, error


def ahead(runs: Mapping[str, Run]) -> page.Verdict | None:
    """Return which density is ahead; None if there is only one."""

    def better(mine: Outcome, others: Outcome) -> Differences:
        return {"log density": difference(runs[mine.label], runs[others.label])}

    return leader(outcomes(runs), better, "log density")


def seeds(runs: Mapping[str, Run]) -> Table:
    """Return the averages over seeds."""
    return over_seeds(outcomes(runs), {"log density": ".2f", "time, s": ".0f"})


def outcomes(runs: Mapping[str, Run]) -> list[Outcome]:
    """Return what each density reached."""
    return [
        Outcome(
            label,
            "",
            run.config.seed,
            {k: v for k, v in _settings(run).items() if k not in ("seed", "data")},
            {"log density": run.results.assessment.log_density, "time, s": run.results.seconds},
        )
        for label, run in runs.items()
    ]


def _test_rows(run: Run) -> object:
    return run.config.seed, run.config.test_fraction


def _columns(run: Run) -> object:
    """Return what the units of a density depend on."""
    columns = run.density.columns_
    features = [(column.name, column.kind) for column in columns.features]
    return features, [column.name for column in columns.context]


def _settings(run: Run) -> dict[str, Any]:
    return run.config.model_dump()


_TEXT = (
    "The mean log density of test rows, in nats per row, ± standard error over rows. The gain is "
    "the difference from the first run, computed row by row where both have the same test rows "
    "(runs with the same seed and test fraction). A column is calibrated if a test finds no "
    "difference between its ranks and uniform ones. Time is training time."
)
