"""The page of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from invflow.report import page
from invflow.report.vae import table
from invflow.report.vae.curves import curves, pace
from invflow.report.vae.images import reconstructions, samples
from invflow.report.vae.information import grouped, information
from invflow.report.vae.interpolations import interpolations
from invflow.report.vae.posteriors import SHOWN, posteriors
from invflow.report.vae.traversals import REACH, traversals
from invflow.vae.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write(run: Run, test: Tensor) -> None:
    """Write `report.html` into the directory of a run.

    Args:
        run: a finished run.
        test: levels of test images, (count, channels, height, width).

    Raises:
        ImportError: matplotlib or Jinja is not installed.
    """
    generator = torch.Generator().manual_seed(run.config.seed)
    sections = [
        page.Section("Results", table=table.results(run), text=_results_text(run, len(test))),
        _drawn("Training", curves(run), pace(run)),
    ]
    if grouped(run):
        sections += [_drawn("Where the information is", information(run), _information_text(run))]
    sections += [
        _drawn(
            "Posteriors",
            posteriors(run, test, generator),
            "What the posterior of a test image looks like in two latent dimensions. "
            "Filled: the approximate posterior q(z|x). Lines: the model's exact posterior "
            "p(z|x), as estimated by resampling draws from q with (truncated) importance "
            "weights; ESS is the effective sample size of the weights in per cent, and where "
            "it is small the lines are rough, and stay within reach of q. The two dimensions "
            f"are those most correlated under the exact posterior, of the first {SHOWN} at most; "
            "each model has latents of its own.",
        ),
        _drawn(
            "Reconstructions",
            reconstructions(run, test, generator),
            "Test images, and their expected value after one draw from each posterior.",
        ),
        _drawn(
            "Interpolations",
            interpolations(run, test, generator),
            "From one test image to another, which stand at the ends of each line: expected "
            "images on a straight line between one draw of the latents of each.",
        ),
        _drawn(
            "Latent traversals",
            traversals(run, test, generator),
            "Expected images around one draw of the latents of the first test image, in the middle "
            f"column, as a single latent moves by up to {REACH} of its standard deviations over "
            "images. The most active latents come first: those whose posterior's mean varies most.",
        ),
        _drawn(
            "Samples",
            samples(run, generator),
            "Images drawn from each model, latents from the prior.",
        ),
        page.Section("Settings", code=run.config.model_dump_json(indent=2)),
    ]
    lead = (
        f"Posterior {', '.join(run.results)}; {run.model().latents} latents, "
        f"{run.config.steps} steps, seed {run.config.seed}"
    )
    page.write(run.directory / "report.html", f"invflow: VAE on {run.config.data}", lead, sections)


def _drawn(title: str, figure: Figure, text: str) -> page.Section:
    return page.Section(title, picture=page.encoded(figure), text=text)


def _results_text(run: Run, count: int) -> str:
    text = (
        f"Nats per image over {count} test images, ± standard error over images; time is that of "
        "training. Log-likelihoods are importance-sampled with "
        f"{run.config.importance_samples} draws from the posterior, and so are still lower bounds "
        "on average. The gain is the log-likelihood less that of the first row, compared image by "
        "image. The KL is that of the posterior from the prior, the rate; the distortion is minus "
        "the log-likelihood given the latents; the bound is minus both. Active are latents whose "
        "posterior's mean varies over images. The models saw the same batches and the same noise."
    )
    if table.has_bits(run):
        text += (
            " Bits per dimension, over all pixels and colours, are those of the log-likelihood, "
            "and where it says so of the bound."
        )
    return text


def _information_text(run: Run) -> str:
    text = (
        "The divergence of the posterior from the prior in each latent map, on average over the "
        "test images. Layers go from the top, which is decoded first, down to the image, each with "
        "its resolution and its nats in all, its maps from the largest to the smallest."
    )
    if run.config.free_bits:
        text += f" Dashed: the {run.config.free_bits:g} nats that each map had for free."
    return text
