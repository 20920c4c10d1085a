"""The page of a posterior."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from invflow import _tensors
from invflow.report import page
from invflow.report.figures import chart, curves, lowest
from invflow.report.posterior import figures
from invflow.report.settings import count, settings
from invflow.vi.run import Run, name

#: Label of the vertical axis of the bounds.
HEIGHT = "bound (nats)"
#: Effective number of draws below which figures would show single draws.
ENOUGH = 300
#: The fitted flow, in the directory of a run.
FLOW = "model/model.safetensors"


def write(run: Run) -> None:
    """Write `report.html` into the directory of a finished run.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
    """
    page.require()
    record, found = run.results.record, brief(run)
    draws = figures.around(run.draws, run.angular)
    lead = f"{run.dim} unconstrained dimensions, seed {run.config.seed}"
    lead += f", {record.evaluations:,} evaluations of the log density, {record.seconds:.0f} s"
    sections = [
        page.Section("Parameters", table=[found.head, *found.rows], text=_PARAMETERS),
        *_drawn(run, draws),
    ]
    if record.bounds:
        lines = figures.bounds(record.bounds)
        view = (lowest([line for each in lines.values() for line in each.values]), None)
        text = "The best bound on the log evidence so far, after each round of training."
        panels, explore = curves(lines, HEIGHT, view), chart(lines, HEIGHT)
        sections += [page.Section("Training", panels=panels, explore=explore, text=text)]
    sections += [
        settings(run.directory, run.config, "posterior", name(run.config), _facts(run, len(draws)))
    ]
    title = f"invflow: posterior of {Path(run.config.model).stem}"
    page.write(run.directory / "report.html", title, lead, sections, verdict(run))


def verdict(run: Run) -> page.Verdict:
    """Return whether to trust the posterior, as text."""
    found = run.results.verdict
    numbers = str(found).partition("\n")[0].removeprefix(f"{found.level}: ")
    return page.Verdict(found.level, _HEADLINES[found.level], [*found.sentences, f"{numbers}."])


def _drawn(run: Run, draws: Any) -> list[page.Section]:
    """Return the figures of the draws, where enough of them differ."""
    effective = run.results.verdict.ess
    if effective < ENOUGH:
        text = (
            f"Only {effective:.0f} draws are effective, fewer than the {ENOUGH} that figures of "
            "them need: resampled, they would repeat a few points."
        )
        return [page.Section("Draws", text=text)]
    shown = f"Importance-resampled draws of the first {figures.PAIRS} parameters at most."
    marginals = (
        "Histograms of importance-resampled draws. Shaded: the central 94%; line: the median. "
        f"The first {figures.MARGINALS} parameters at most."
    )
    pairs, closer = [figures.pairs(draws)], figures.closer(draws)
    return [
        page.Section("Pairs", panels=pairs, explore=closer, text=shown),
        page.Section("Marginals", panels=figures.marginals(draws), text=marginals),
    ]


def _facts(run: Run, draws: int) -> dict[str, str]:
    """Return the sizes of the model and of the flow."""
    facts = {
        "model": f"{count(run.dim, 'unconstrained dimension')}, "
        f"{count(len(run.summary), 'parameter')} in the table",
        "draws": f"{draws:,}",
    }
    path = run.directory / FLOW
    if path.exists():
        size = sum(each.numel() for each in _tensors.header(path).sizes.values())
        facts["numbers in the fitted flow"] = f"{size:,}"
    return facts


def brief(run: Run) -> page.Brief:
    """Return what a terminal shows of the results: a title, a head and rows."""
    head = ("parameter", *map(str, run.summary.columns))
    rows = [
        (str(name), *(f"{value:.4g}" for value in row))
        for name, row in zip(run.summary.index, run.summary.to_numpy(), strict=True)
    ]
    return page.Brief("Parameters", head, rows, tuple(str(run.results.verdict).splitlines()))


_HEADLINES = {
    "good": "The draws match the posterior within their Monte Carlo errors.",
    "usable": "The draws can be used, with the exceptions below.",
    "bad": "Do not use these draws.",
}

_PARAMETERS = "Estimates from importance-weighted draws."
