"""The page of a posterior."""

from __future__ import annotations

from pathlib import Path

from invflow.report import page
from invflow.report.posterior import figures
from invflow.vi.run import Run


def write(run: Run) -> None:
    """Write `report.html` into the directory of a finished run.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
    """
    page.require()
    record, verdict = run.results.record, run.results.verdict
    draws = figures.around(run.draws, run.angular)
    found = brief(run)
    parameters = page.Section("Parameters", table=[found.head, *found.rows], text=_PARAMETERS)
    pairs = page.Section(
        "Pairs",
        picture=page.encoded(figures.pairs(draws)),
        text=f"Importance-resampled draws of the first {figures.PAIRS} parameters at most.",
    )
    marginals = page.Section(
        "Marginals",
        picture=page.encoded(figures.marginals(draws)),
        text=(
            "Histograms of importance-resampled draws. Shaded: the central 94%; line: the median. "
            f"The first {figures.MARGINALS} parameters at most."
        ),
    )
    sections = [page.Section(f"Verdict: {verdict.level}", code=str(verdict)), parameters]
    lead = f"{run.dim} unconstrained dimensions, seed {run.config.seed}"
    lead += f", {record.evaluations:,} evaluations of the log density, {record.seconds:.0f} s"
    if record.bounds:
        picture = page.encoded(figures.bounds(record.bounds))
        text = "The best bound on the log evidence so far, after each round of training."
        sections += [page.Section("Training", picture=picture, text=text)]
    title = f"invflow: posterior of {Path(run.config.model).stem}"
    page.write(run.directory / "report.html", title, lead, [*sections, pairs, marginals])


def brief(run: Run) -> page.Brief:
    """Return what a terminal shows of the results: a title, a head and rows."""
    head = ("parameter", *map(str, run.summary.columns))
    rows = [
        (str(name), *(f"{value:.4g}" for value in row))
        for name, row in zip(run.summary.index, run.summary.to_numpy(), strict=True)
    ]
    return page.Brief("Parameters", head, rows, tuple(str(run.results.verdict).splitlines()))


_PARAMETERS = "Estimates from importance-weighted draws."
