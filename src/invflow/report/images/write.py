"""The page of a density of images."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from invflow._averages import mean_and_error
from invflow.images.run import Run, name
from invflow.report import figures, page, pictures
from invflow.report.settings import count, settings
from invflow.training import metrics

#: Label of the vertical axis of the training curve.
HEIGHT = "bits per dimension"
#: Images in a row, and rows of samples.
COLUMNS, ROWS = 20, 3
#: Largest number of classes shown.
CLASSES = 20


def write(run: Run) -> None:
    """Write `report.html` into the directory of a finished run.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
    """
    page.require()
    found = brief(run)
    line = figures.evaluations(metrics.read(run.directory), "bits")
    sections = [
        page.Section("Results", table=[found.head, *found.rows], text=_results(run)),
        page.Section("Samples", panels=samples(run), text=_samples(run)),
        page.Section(
            "Training",
            panels=figures.curves({"validation images": line}, HEIGHT, (None, highest(line))),
            explore=figures.chart({"validation images": line}, HEIGHT),
            text=_training(run),
        ),
        settings(run.directory, run.config, "density", name(run.config), _facts(run)),
    ]
    lead = f"{run.config.flow}, {len(run.scores)} test images, seed {run.config.seed}"
    title = f"invflow: density of {Path(run.config.data).name}"
    page.write(run.directory / "report.html", title, lead, sections)


def brief(run: Run) -> page.Brief:
    """Return what a terminal shows of the results: a title, a head and rows."""
    nats = mean_and_error(run.scores, run.clusters)
    rows = [
        ("bits per dimension", shown(*run.bits, ".3f")),
        ("log probability, nats per image", shown(*nats, ".2f")),
        ("training time", f"{run.results.seconds:.0f} s"),
    ]
    return page.Brief(f"Results on {len(run.scores)} test images", ("measure", "value"), rows)


def shown(mean: float, error: float, form: str) -> str:
    """Return a number with its standard error, if it has one."""
    return f"{mean:{form}}" if math.isnan(error) else f"{mean:{form}} ± {error:{form}}"


def highest(*lines: figures.Curve) -> float | None:
    """Return the upper end of the vertical axis, if values of the first steps need one."""
    lowest = figures.lowest([-value for line in lines for value in line.values])
    return None if lowest is None else -lowest


def drawn(run: Run, labels: Tensor) -> Tensor:
    """Return images drawn from a density, levels (count, channels, height, width).

    Args:
        run: with the density.
        labels: the number of the class of each image, -1 for none.
    """
    generator = torch.Generator(run.model.like.device).manual_seed(run.config.seed)
    context = run.context(labels)
    return run.model.sample(len(labels), generator, context=context, noise=run.config.noise).cpu()


def samples(run: Run) -> list[page.Panel]:
    """Draw test images, and below them images from the density; a row for each class, if any."""
    classes = run.format.classes[:CLASSES]
    there = len(run.images.test)
    # Evenly spaced: neighbours may be alike.
    shown = min(COLUMNS, there)
    test = run.images.test[(2 * torch.arange(shown) + 1) * there // (2 * shown)]
    labels = (
        torch.arange(len(classes)).repeat_interleave(COLUMNS)
        if classes
        else torch.full((COLUMNS * ROWS,), -1)
    )
    parts = [
        ("test images", "Test images.", test, ()),
        (run.config.flow, "Images drawn from the density.", drawn(run, labels), classes),
    ]
    return [
        pictures.strip(title, pictures.grid(images, COLUMNS), run.format.levels, alt, rows)
        for title, alt, images, rows in parts
    ]


def _results(run: Run) -> str:
    text = (
        f"Means over {count(len(run.scores), 'test image')}, ± standard error over "
        f"{'images' if run.images.clusters is None else 'pictures'}. They are bounds: pixels are "
        "levels, and the probability of an image is estimated from "
        f"{count(run.config.draws, 'draw')} of uniform noise in its cube. On average the log "
        "probability is then too low, and the bits per dimension are too high. Compare only images "
        "with the same levels and the same number of draws. Bits per dimension count every pixel "
        "of every colour channel."
    )
    if run.format.classes:
        text += (
            f" The density is given the class of each image, one of {len(run.format.classes)}: "
            "every number is about images given their class."
        )
    if run.config.noise:
        text += (
            f" The density was trained on images with Gaussian noise of standard deviation "
            f"{run.config.noise:g}, which makes better samples and worse bits per dimension."
        )
    return text


def _training(run: Run) -> str:
    judged = "noisy validation images" if run.config.noise else "them"
    return (
        "Bits per dimension of the validation images, with one draw of uniform noise each. The "
        f"density kept is the one that was best on {judged}."
    )


def _samples(run: Run) -> str:
    text = "Test images, and images drawn from the density."
    if run.config.noise:
        text += " The noise of the training images is taken out of them by the score."
    if run.format.classes:
        text += " Each row was given the class beside it."
    return text


def _facts(run: Run) -> dict[str, str]:
    """Return the sizes of the data and of the density."""
    channels, high, wide = run.format.shape
    parts = ("train", "validation", "test")
    counts = ", ".join(f"{len(getattr(run.images, part)):,} {part}" for part in parts)
    return {
        "images": f"{counts}, {high} x {wide} pixels, {count(channels, 'channel')}, "
        f"{run.format.levels} levels",
        "parameters": f"{sum(each.numel() for each in run.model.parameters()):,}",
    }
