"""The page of several runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from invflow.report import page
from invflow.report.comparison import figures, tables
from invflow.vae.run import Run


def write(runs: Mapping[str, Run], path: Path) -> None:
    """Write the page that compares runs.

    Args:
        runs: finished runs of the same images, by label.
        path: of the page.

    Raises:
        ImportError: matplotlib or Jinja is not installed.
    """
    sections = [page.Section("Results", table=tables.results(runs), text=_results_text(runs))]
    if seeds := tables.seeds(runs):
        text = (
            "Runs with the same settings but for their seeds: the mean over seeds, ± its standard "
            "error over seeds."
        )
        sections += [page.Section("Over seeds", table=seeds, text=text)]
    if settings := tables.settings(runs):
        sections += [page.Section("Settings that differ", table=settings)]
    sections += [
        page.Section(
            "Training",
            picture=page.encoded(figures.curves(runs)),
            text="The bound on validation images over steps, and over the time they took.",
        ),
        page.Section(
            "Samples",
            picture=page.encoded(figures.samples(runs)),
            text="Images drawn from each model, latents from the prior.",
        ),
    ]
    first = next(iter(runs.values()))
    lead = f"{', '.join(runs)}: on the test images of {first.config.data}"
    page.write(path, "invflow: VAE runs compared", lead, sections)


def _results_text(runs: Mapping[str, Run]) -> str:
    text = (
        "Nats per image over the same test images, ± standard error over images. Errors are those "
        "of each mean alone: the runs' differences, image by image, are often known better. Time "
        "is that of training."
    )
    draws = sorted({run.config.importance_samples for run in runs.values()})
    if len(draws) > 1:
        text += (
            f" Log-likelihoods are of {', '.join(map(str, draws))} importance samples; more "
            "samples give higher ones."
        )
    likelihoods = sorted({run.format.likelihood for run in runs.values()})
    if len(likelihoods) > 1:
        text += (
            f" The likelihoods of pixels differ ({', '.join(likelihoods)}): binary pixels, levels "
            "and real numbers are different things to predict, whose nats cannot be compared."
        )
    return text
