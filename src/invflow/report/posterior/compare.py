"""Several posteriors of the same data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
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
from invflow.report.figures import Curve
from invflow.report.posterior.figures import bounds
from invflow.report.posterior.write import HEIGHT
from invflow.report.ranking import CLEAR, Differences, leader, listed
from invflow.vi.run import Run

EVIDENCE = "log evidence, nats"
_BAYES = (
    "A difference is a log Bayes factor only if both densities are normalised and of the same data."
)
_MISSED = (
    "At least one of them has missed a part of the posterior, most likely the one with the lower "
    "log evidence."
)


def compare(runs: Sequence[Run]) -> Comparison:
    """Return the comparison of finished runs, of one model or of several models of the same data.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
        ValueError: if `runs` is empty, a run is given twice, or they are of different kinds or on
            different data.
    """
    named = labelled(runs, _data, "data")
    data = runs[0].config.data
    return compared(
        title="invflow: comparison of posteriors",
        lead=f"{', '.join(named)}; data {Path(data).name if data else 'in the model files'}",
        verdict=ahead(named),
        measure="Posteriors",
        results=results(named),
        text=_text(runs),
        seeds=seeds(named),
        settings=differing(
            {
                label: {"model": run.config.model, "seed": run.config.seed, **_settings(run)}
                for label, run in named.items()
            }
        ),
        others=_training(named),
    )


def results(runs: Mapping[str, Run]) -> Table:
    """Return a head, and a row for each run."""
    first = next(iter(runs.values()))
    rows: list[tuple[str, ...]] = []
    for label, run in runs.items():
        found, record = run.results.verdict, run.results.record
        mean, error = difference(run, first)
        gain = f"{mean:+.3f} ± {error:.3f}"
        rows += [
            (
                label,
                found.level,
                f"{found.log_evidence:.3f} ± {found.log_evidence_error:.3f}",
                "" if run is first else gain,
                f"{found.khat:.2f}",
                f"{found.ess:.0f}",
                f"{record.seconds:.0f} s",
            )
        ]
    return [("run", "verdict", EVIDENCE, "difference", "k-hat", "ESS", "time"), *rows]


def ahead(runs: Mapping[str, Run]) -> page.Verdict | None:
    """Return which model has the highest evidence, or whether runs of one model agree.

    None for a single run.
    """
    if len(runs) < 2:
        return None
    if bad := [label for label, run in runs.items() if run.results.verdict.level == "bad"]:
        headline = f"Nothing can be compared: the verdict on {listed(bad)} is bad."
        return page.Verdict("unclear", headline, ["A log evidence from such draws means nothing."])
    models: dict[str, dict[str, Run]] = {}
    for label, run in runs.items():
        models.setdefault(run.inputs["model"].sha256, {})[label] = run
    for same in models.values():
        if found := _disagreement(same):
            return page.Verdict("unclear", found, [_MISSED])
    if len(models) == 1:
        best = max(runs, key=lambda label: runs[label].results.verdict.ess)
        verdict = runs[best].results.verdict
        return page.Verdict(
            "clear",
            f"The runs agree: no two log evidences are {CLEAR:g} standard errors apart.",
            [f"{best} has the most effective draws, {verdict.ess:,.0f} of {verdict.draws:,}."],
        )

    def better(mine: Outcome, others: Outcome) -> Differences:
        return {"log evidence": difference(runs[mine.label], runs[others.label])}

    surest = [
        min(same, key=lambda label: same[label].results.verdict.log_evidence_error)
        for same in models.values()
    ]
    outcomes = [
        Outcome(label, "", 0, {"model": model}, {})
        for model, label in zip(models, surest, strict=True)
    ]
    found = leader(outcomes, better, "log evidence", ".3f")
    return found and found._replace(points=[*found.points, _BAYES])


def difference(run: Run, other: Run) -> tuple[float, float]:
    """Return how far the log evidence of a run is above that of another, and the error."""
    mine, others = run.results.verdict, other.results.verdict
    mean = mine.log_evidence - others.log_evidence
    return mean, math.hypot(mine.log_evidence_error, others.log_evidence_error)


def _disagreement(runs: Mapping[str, Run]) -> str:
    """Return which runs of a model are furthest apart, as text; "" if all agree."""
    furthest = max(runs, key=lambda label: runs[label].results.verdict.log_evidence)
    for label, run in runs.items():
        mean, error = difference(runs[furthest], run)
        if mean > CLEAR * error:
            return (
                f"Runs of the same model disagree: the log evidence of {furthest} is above that of "
                f"{label} by {mean:.3f} ± {error:.3f} nats."
            )
    return ""


def seeds(runs: Mapping[str, Run]) -> Table:
    """Return the averages over seeds."""
    outcomes = [
        Outcome(
            label,
            "",
            run.config.seed,
            _settings(run),
            {
                EVIDENCE: run.results.verdict.log_evidence,
                "k-hat": run.results.verdict.khat,
                "ESS": run.results.verdict.ess,
            },
        )
        for label, run in runs.items()
    ]
    return over_seeds(outcomes, {EVIDENCE: ".3f", "k-hat": ".2f", "ESS": ".0f"})


def _training(runs: Mapping[str, Run]) -> list[page.Section]:
    """Return the bounds of all runs, a line for each mode; none where no run was trained."""
    lines: dict[str, Curve] = {}
    for label, run in runs.items():
        lines |= bounds(run.results.record.bounds, f"{label}, ")
    if not lines:
        return []
    lowest = figures.lowest([value for line in lines.values() for value in line.values])
    text = "The best bound on the log evidence so far, after each round of training."
    panels = figures.curves(lines, HEIGHT, (lowest, None))
    return [
        page.Section("Training", panels=panels, explore=figures.chart(lines, HEIGHT), text=text)
    ]


def _settings(run: Run) -> dict[str, object]:
    """Return what a fit depends on besides its seed."""
    inputs = {f"sha256 of {name}": each.sha256[:12] for name, each in run.inputs.items()}
    return {**asdict(run.config.settings), **inputs}


def _data(run: Run) -> object:
    """Return the digest of the data file; None where the data are in the model file."""
    return run.inputs["data"].sha256 if "data" in run.inputs else None


def _text(runs: Sequence[Run]) -> str:
    text = (
        "The log evidence is estimated by importance sampling, ± Monte Carlo standard error. The "
        "difference is from the first run; its error also covers the mass in the tail of the "
        "weights and the mass that the wider search finds. Between models of the same data with "
        "normalised densities, it is the log Bayes factor. Trust it only where the verdicts are "
        "good or usable. k-hat is the tail shape of the importance weights (below 0.7 they are "
        "reliable) and ESS their effective sample size, of "
        f"{runs[0].results.verdict.draws:,} draws. Time is that of the fit."
    )
    models = {run.inputs["model"].sha256 for run in runs}
    if len(models) > 1 and runs[0].config.data is None:
        names = ", ".join(sorted({Path(run.config.model).name for run in runs}))
        text += (
            f" The models ({names}) have no data file: whether they contain the same data was not "
            "checked."
        )
    return text
