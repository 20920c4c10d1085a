"""The page of a run."""

from __future__ import annotations

from pathlib import Path

import torch

from invflow.report import page
from invflow.report.settings import count, settings
from invflow.report.vae import curves, posteriors, table, traversals
from invflow.report.vae.images import CLASSES, reconstructions, samples
from invflow.report.vae.information import grouped, information
from invflow.report.vae.interpolations import interpolations
from invflow.report.vae.verdict import units, verdict
from invflow.vae.run import Run, name


def write(run: Run) -> None:
    """Write `report.html` into the directory of a finished run.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
    """
    generator = torch.Generator().manual_seed(run.config.seed)
    bounds = curves.lines(run)
    sections = [
        page.Section("Results", table=table.results(run), text=_results(run)),
        page.Section(
            "Training",
            panels=curves.curves(bounds),
            explore=curves.closer(bounds),
            text=f"The evidence lower bound during training. {curves.pace(run)}",
        ),
    ]
    if grouped(run):
        panels = information(run)
        sections += [page.Section("Information by layer", panels=panels, text=_information(run))]
    panels = posteriors.posteriors(run, generator)
    sections += [
        page.Section("Posteriors", panels=panels, text=_POSTERIORS),
        page.Section(
            "Reconstructions",
            panels=reconstructions(run, generator),
            text="Test images, and below them the expected image given one posterior draw.",
        ),
        page.Section(
            "Interpolations",
            panels=interpolations(run, generator),
            text=_INTERPOLATIONS + (_CLASSES_CHANGE if run.format.classes else ""),
        ),
    ]
    moved = traversals.traversals(run, generator)
    sections += [
        page.Section(
            "Latent traversals",
            panels=traversals.panels(run, moved),
            explore=traversals.closer(run, moved),
            text=_TRAVERSALS,
        ),
        page.Section(
            "Samples",
            panels=samples(run, generator),
            text=f"Images from each model, with latents drawn from the prior.{_given(run)}",
        ),
        settings(run.directory, run.config, "vae", name(run.config), _facts(run)),
    ]
    names = list(run.results)
    lead = (
        f"{'Posteriors' if len(names) > 1 else 'Posterior'}: {', '.join(names)}; "
        f"{run.model().latents} latents, {run.config.steps} steps, seed {run.config.seed}"
    )
    title = f"invflow: VAE on {Path(run.config.data).name}"
    page.write(run.directory / "report.html", title, lead, sections, verdict(run))


def _facts(run: Run) -> dict[str, str]:
    """Return the sizes of the data and of the models."""
    images = run.images
    channels, high, wide = run.format.shape
    parts = ("train", "validation", "test")
    counts = ", ".join(f"{len(getattr(images, part)):,} {part}" for part in parts)
    sizes = {
        name: sum(each.numel() for each in model.parameters()) for name, model in run.models.items()
    }
    return {
        "images": f"{counts}, {high} x {wide} pixels, {count(channels, 'channel')}, "
        f"{run.format.levels} levels",
        "likelihood": run.format.likelihood,
        "parameters": ", ".join(f"{name} {size:,}" for name, size in sizes.items()),
    }


def _results(run: Run) -> str:
    text = (
        f"Nats per image, ± standard error over {units(run)}. The "
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
    "percentage of the draws. Where it is small, the lines are rough and stay close to q; where "
    f"fewer than {posteriors.ENOUGH} draws are effective, there are none. The two dimensions are "
    f"the most correlated ones among the first {posteriors.LATENTS}. Each model has its own "
    "latents."
)

_INTERPOLATIONS = (
    "Each row interpolates between the test images at its two ends: expected images along a "
    "straight line between one posterior draw for each."
)

_CLASSES_CHANGE = " What the model is given changes from one class to the other along the line."

_TRAVERSALS = (
    "The middle column is the expected image given one posterior draw for a test image. "
    f"Along each row, one latent moves by up to {traversals.REACH} standard deviations, taken over "
    "images. The most active latents, those whose posterior mean varies most, come first."
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
