"""The page of a run: the posterior, and how far it can be trusted."""

from __future__ import annotations

from pathlib import Path

from invflow.report import figures, page
from invflow.report.density.curve import line
from invflow.report.density.ranks import BAND, histogram
from invflow.report.figures import Curve
from invflow.report.inference.verdict import verdict
from invflow.report.posterior.figures import closer, marginals, pairs
from invflow.report.settings import count, settings
from invflow.simulation.run import Judged, Run, name
from invflow.training import metrics

#: Label of the vertical axis of training.
HEIGHT = "nats per simulation"


def write(run: Run) -> None:
    """Write `report.html` into the directory of a finished run.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
    """
    page.require()
    found, shown = run.results, brief(run)
    sections = [
        page.Section("Parameters", table=[shown.head, *shown.rows], text=_PARAMETERS),
        page.Section("Pairs", panels=[pairs(run.draws)], explore=closer(run.draws), text=_PAIRS),
        page.Section("Marginals", panels=marginals(run.draws), text=_MARGINALS),
    ]
    what = "parameters" if run.config.method == "npe" else "data"
    near = " near the observed data" if run.config.method == "npe" else " near the posterior"
    for judged, where in ((found.judged, ""), (found.near, near)):
        if judged is not None:
            sections += _trust(judged, what, where)
    lines = training(run)
    sections += [
        page.Section(
            "Training",
            panels=figures.curves(lines, HEIGHT, (None, None)),
            explore=figures.chart(lines, HEIGHT),
            text=_TRAINING,
        ),
        settings(run.directory, run.config, "infer", name(run.config), _facts(run)),
    ]
    lead = (
        f"{run.config.method}, {count(len(run.summary), 'parameter')}, "
        f"{count(found.learned, 'simulation')} learned from; seed {run.config.seed}"
    )
    title = f"invflow: posterior from {Path(run.config.simulations).name}"
    page.write(run.directory / "report.html", title, lead, sections, verdict(found))


def brief(run: Run) -> page.Brief:
    """Return what a terminal shows of the results: a title, a head and rows."""
    head = ("parameter", *map(str, run.summary.columns))
    rows = [
        (str(label), *(f"{value:.4g}" for value in row))
        for label, row in zip(run.summary.index, run.summary.to_numpy(), strict=True)
    ]
    return page.Brief("Parameters", head, rows, verdict(run.results).lines)


def training(run: Run) -> dict[str, Curve]:
    """Return the mean log density against the step, of the first flow."""
    rows = [row for row in metrics.read(run.directory) if row["model"] == "flow-0"]
    return {
        "validation simulations": line(rows, "validation", lambda row: -row["loss"]),
        "training simulations": line(rows, "train", lambda row: -row["loss"]),
    }


def _trust(found: Judged, what: str, where: str) -> list[page.Section]:
    table = [
        ("region", "contains", "expected by chance"),
        *(
            (f"{p:.0%}", f"{fraction:.1%}", f"{p:.1%} ± {found.coverage_error[p]:.1%}")
            for p, fraction in found.coverage.items()
        ),
    ]
    panels = [histogram(test, found.histograms[str(test.name)]) for test in found.tests]
    return [
        page.Section(
            f"Coverage{where}",
            table=table,
            text=f"The fraction of {found.simulations} simulations{where} whose {what} lie in "
            "the region of highest density with this probability. None of them was "
            f"learned from. Their mean log density is {found.log_prob:.3f} ± "
            f"{found.log_prob_error:.3f} nats.",
        ),
        page.Section(f"Ranks{where}", panels=panels, text=_RANKS),
    ]


def _facts(run: Run) -> dict[str, str]:
    found = run.results
    return {
        "simulations": f"{found.learned:,} learned from, {found.judged.simulations:,} to judge by",
        "observations": str(len(found.observed)),
        "draws": f"{len(run.draws):,}",
        "time": f"{found.seconds:.0f} s",
    }


_PARAMETERS = (
    "Mean, standard deviation and quantiles of the posterior, and the standard deviation of the "
    "simulated parameters. The last column, the ratio of the two, is what the data say: where it "
    "is near 1, they say nothing about this parameter."
)
_PAIRS = "Draws of the first parameters."
_MARGINALS = "Histograms of draws. Shaded: the central 94%; line: the median."
_RANKS = (
    "Ranks of parameters (for nle, of data) among draws, and of their density among those of the "
    "draws, scaled from 0 to 1. If the densities are right on average, all bars are close to 1, "
    f"and each is in the grey band with probability {BAND:.0%}. A U shape means that densities are "
    "too narrow, a hump that they are too wide, a slope that they are too high or too low."
)
_TRAINING = (
    "The mean log density, at the unit scale of the flow. The weights kept are the ones that were "
    "best on the validation simulations."
)
