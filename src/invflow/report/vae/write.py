"""The page of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from invflow.report import page
from invflow.report.vae import posteriors, table
from invflow.report.vae.curves import curves, pace
from invflow.report.vae.images import CLASSES, reconstructions, samples
from invflow.report.vae.information import grouped, information
from invflow.report.vae.interpolations import interpolations
from invflow.report.vae.traversals import REACH, traversals
from invflow.report.vae.verdict import verdict
from invflow.vae.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write(run: Run) -> None:
    """Write `report.html` into the directory of a finished run.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
    """
    generator = torch.Generator().manual_seed(run.config.seed)
    sections = [
        page.Section("Results", table=table.results(run), text=_results(run)),
        _drawn("Training", curves(run), f"The evidence lower bound during training. {pace(run)}"),
    ]
    if grouped(run):
        sections += [_drawn("Information by layer", information(run), _information(run))]
    sections += [
        _drawn("Posteriors", posteriors.posteriors(run, generator), _POSTERIORS),
        _drawn(
            "Reconstructions",
            reconstructions(run, generator),
            "Test images, and below them the expected image given one posterior draw.",
        ),
        _drawn(
            "Interpolations",
            interpolations(run, generator),
            "Each row interpolates between the test images at its two ends: expected images along "
            "a straight line between one posterior draw for each.",
        ),
        _drawn(
            "Latent traversals",
            traversals(run, generator),
            "The middle column is the expected image given one posterior draw for the first test "
            f"image. Along each row, one latent moves by up to {REACH} standard deviations, taken "
            "over images. The most active latents, those whose posterior mean varies most, come "
            "first.",
        ),
        _drawn(
            "Samples",
            samples(run, generator),
            f"Images from each model, with latents drawn from the prior.{_given(run)}",
        ),
        page.Section("Settings", code=run.config.model_dump_json(indent=2)),
    ]
    names = list(run.results)
    lead = (
        f"{'Posteriors' if len(names) > 1 else 'Posterior'}: {', '.join(names)}; "
        f"{run.model().latents} latents, {run.config.steps} steps, seed {run.config.seed}"
    )
    title = f"invflow: VAE on {run.config.data}"
    page.write(run.directory / "report.html", title, lead, sections, verdict(run))


def _drawn(title: str, figure: Figure, text: str) -> page.Section:
    return page.Section(title, picture=page.encoded(figure), text=text)


def _results(run: Run) -> str:
    text = (
        f"Nats per image on {len(run.images.test)} test images, ± standard error over images. The "
        "test bound is the evidence lower bound. The log-likelihood is estimated with "
        f"{run.config.importance_samples} importance samples, which on average gives a lower "
        "bound on it. The gain is the difference in log-likelihood from the first row, "
        "computed image by image. The KL is the divergence of the posterior from the prior (the "
        "rate); the distortion is minus the log-likelihood given the latents; the test bound is "
        "minus their sum. A latent is active if its posterior mean varies across images. Time is "
        "training time. All models were trained on the same batches with the same noise."
    )
    if run.format.classes:
        text += (
            f" The models are given the class of each image, one of {len(run.format.classes)}: "
            "every number is about images given their class."
        )
    if table.has_bits(run):
        text += (
            " Bits per dimension count every pixel of every colour channel; they are computed "
            "from the log-likelihood, or from the bound where stated."
        )
    return text


def _given(run: Run) -> str:
    """Return what the samples were given, as text."""
    classes = run.format.classes
    if not classes:
        return ""
    few = "" if len(classes) <= CLASSES else f", for the first {CLASSES} classes"
    return f" Each row was given the class beside it{few}."


_POSTERIORS = (
    "Posteriors of test images in two latent dimensions. Filled: the approximate posterior "
    "q(z|x). Lines: the exact posterior p(z|x) of the model, estimated by resampling draws from q "
    "with truncated importance weights. ESS is the effective sample size of the weights as a "
    "percentage of the draws; where it is small, the lines are rough and stay close to q. The two "
    f"dimensions are the most correlated ones under the exact posterior, among the first "
    f"{posteriors.LATENTS}. Each model has its own latents."
)


def _information(run: Run) -> str:
    text = (
        "The divergence of the posterior from the prior in each latent map, averaged over the test "
        "images. Layers are ordered from the top, which is decoded first, to the image, each "
        "labelled with its resolution and its total in nats; within a layer, maps are sorted."
    )
    if run.config.free_bits:
        text += f" Dashed line: the {run.config.free_bits:g} nats that are free in each map."
    return text
