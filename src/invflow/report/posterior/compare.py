"""Several posteriors of the same data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

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
from invflow.vi.run import Run

EVIDENCE = "log evidence, nats"


def compare(runs: Sequence[Run]) -> Comparison:
    """Return the comparison of finished runs, of one model or of several models of the same data.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
        ValueError: if there are no runs, one is given twice, or they are of different kinds or on
            different data.
    """
    named = labelled(runs, _data, "data")
    return compared(
        title="invflow: comparison of posteriors",
        lead=f"{', '.join(named)}; data {runs[0].config.data or 'in the model files'}",
        measure="Posteriors",
        results=results(named),
        text=_text(runs),
        seeds=seeds(named),
        settings=differing(
            {label: run.config.model_dump(exclude={"sha256"}) for label, run in named.items()}
        ),
        others=_training(named),
    )


def results(runs: Mapping[str, Run]) -> Table:
    """Return a head, and a row for each run."""
    first = next(iter(runs.values())).verdict
    rows: list[tuple[str, ...]] = []
    for label, run in runs.items():
        found, record = run.verdict, run.posterior.record
        error = math.hypot(found.log_evidence_error, first.log_evidence_error)
        gain = f"{found.log_evidence - first.log_evidence:+.2f} ± {error:.2f}"
        rows += [
            (
                label,
                found.level,
                f"{found.log_evidence:.2f} ± {found.log_evidence_error:.2f}",
                "" if found is first else gain,
                f"{found.khat:.2f}",
                f"{found.ess:.0f} of {found.draws}",
                "" if record is None else f"{record.seconds:.0f} s",
            )
        ]
    return [("run", "verdict", EVIDENCE, "difference", "k-hat", "ESS", "time"), *rows]


def seeds(runs: Mapping[str, Run]) -> Table:
    """Return the averages over seeds."""
    outcomes = [
        Outcome(
            label,
            "",
            run.config.seed,
            run.config.model_dump(exclude={"seed", "model", "data"}),
            {
                EVIDENCE: run.verdict.log_evidence,
                "k-hat": run.verdict.khat,
                "ESS": run.verdict.ess,
            },
        )
        for label, run in runs.items()
    ]
    return over_seeds(outcomes, {EVIDENCE: ".3f", "k-hat": ".2f", "ESS": ".0f"})


def _training(runs: Mapping[str, Run]) -> list[page.Section]:
    """Return the bounds of all runs, a line for each mode; none where no run was trained."""
    lines: dict[str, figures.Curve] = {}
    for label, run in runs.items():
        bounds = [] if run.posterior.record is None else run.posterior.record.bounds
        for mode, found in groupby(sorted(bounds), key=lambda each: each[0]):
            _, steps, values = zip(*found, strict=True)
            lines[f"{label}, mode {mode + 1}"] = figures.Curve(steps, (), values)
    if not lines:
        return []
    drawn = figures.curves(lines, "bound (nats)")
    figures.focus(drawn.axes[0], [value for line in lines.values() for value in line.values])
    text = "The best bound on the log evidence so far, after each round of training."
    return [page.Section("Training", picture=page.encoded(drawn), text=text)]


def _data(run: Run) -> object:
    """Return the digest of the data file; None where the data are in the model file."""
    return None if run.config.data is None else run.config.sha256[1]


def _text(runs: Sequence[Run]) -> str:
    text = (
        "The log evidence is estimated by importance sampling, ± Monte Carlo standard error. The "
        "difference is from the first run; between models of the same data with normalised "
        "densities, it is the log Bayes factor. Trust it only where the verdicts are good or "
        "usable. k-hat is the tail shape of the importance weights (below 0.7 they are reliable) "
        "and ESS their effective sample size. Time is that of the fit."
    )
    models = {run.config.sha256[0] for run in runs}
    if len(models) > 1 and runs[0].config.data is None:
        names = ", ".join(sorted({Path(run.config.model).name for run in runs}))
        text += (
            f" The models ({names}) have no data file: whether they contain the same data was not "
            "checked."
        )
    return text
