"""Several posteriors of the same data, learned from simulations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
from invflow.report.figures import Curve
from invflow.report.inference.verdict import NOMINAL, verdict
from invflow.report.inference.write import HEIGHT, training
from invflow.simulation.run import Judged, Run

LOG_PROB = "log density, nats"


def compare(runs: Sequence[Run]) -> Comparison:
    """Return the comparison of finished runs on the same observed data.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
        ValueError: if `runs` is empty, a run is given twice, or they are of different kinds or on
            different data.
    """
    named = labelled(runs, lambda run: run.inputs["observed"].sha256, "observed data")
    return compared(
        title="invflow: comparison of posteriors from simulations",
        lead=f"{', '.join(named)}; observed data {Path(runs[0].config.observed).name}",
        verdict=None,
        measure="Posteriors",
        results=_results(named),
        text=_TEXT,
        seeds=over_seeds(_outcomes(named), {LOG_PROB: ".3f", "coverage": ".3f"}),
        settings=differing({label: _settings(run) for label, run in named.items()}),
        others=[_parameters(named), _training(named)],
    )


def _results(runs: Mapping[str, Run]) -> Table:
    rows: list[tuple[str, ...]] = []
    for label, run in runs.items():
        found = run.results
        judged = _judged(found.judged)
        evidence = (
            ""
            if found.verdict is None
            else (f"{found.verdict.log_evidence:.3f} ± {found.verdict.log_evidence_error:.3f}")
        )
        time = f"{found.seconds:.0f} s"
        rows += [(label, verdict(found).level, *judged, evidence, time)]
    head = ("run", "verdict", LOG_PROB, f"coverage of {NOMINAL:.0%}", "log evidence", "time")
    return [head, *rows]


def _judged(found: Judged) -> tuple[str, str]:
    coverage, error = found.coverage[NOMINAL], found.coverage_error[NOMINAL]
    return f"{found.log_prob:.3f} ± {found.log_prob_error:.3f}", f"{coverage:.1%} ± {error:.1%}"


def _parameters(runs: Mapping[str, Run]) -> page.Section:
    """Return the mean and the standard deviation of each parameter in each run."""
    names = list(dict.fromkeys(str(name) for run in runs.values() for name in run.summary.index))
    rows = [
        (
            name,
            *(
                f"{run.summary.loc[name, 'mean']:.4g} ± {run.summary.loc[name, 'sd']:.2g}"
                if name in run.summary.index
                else ""
                for run in runs.values()
            ),
        )
        for name in names
    ]
    text = "The mean of the posterior ± its standard deviation."
    return page.Section("Parameters", table=[("parameter", *runs), *rows], text=text)


def _training(runs: Mapping[str, Run]) -> page.Section:
    lines: dict[str, Curve] = {
        label: training(run)["validation simulations"] for label, run in runs.items()
    }
    return page.Section(
        "Training",
        panels=figures.curves(lines, HEIGHT, (None, None)),
        explore=figures.chart(lines, HEIGHT),
        text="The mean log density of the validation simulations, at the unit scale of the flow.",
    )


def _outcomes(runs: Mapping[str, Run]) -> list[Outcome]:
    return [
        Outcome(
            label,
            "",
            run.config.seed,
            _settings(run),
            {
                LOG_PROB: run.results.judged.log_prob,
                "coverage": run.results.judged.coverage[NOMINAL],
            },
        )
        for label, run in runs.items()
    ]


def _settings(run: Run) -> dict[str, Any]:
    return {
        "simulations": Path(run.config.simulations).name,
        "prior": ", ".join(f"{name}={text}" for name, text in run.config.prior.items()),
        "method": run.config.method,
        **asdict(run.config.settings),
    }


_TEXT = (
    "The log density is that of the parameters of simulations that were not learned from, given "
    "their data (for nle, of the data given the parameters): the higher, the better on average, "
    "for runs of one method on the same simulations with the same seed. The coverage is the "
    "fraction of these in the region of highest density with this probability."
)
