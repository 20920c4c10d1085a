"""`invflow density` of images, and how its runs are sampled and scored."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from invflow.cli import pictures, terminal
from invflow.cli.files import output

HELP = """The report of a density of images has bits per dimension of held-out images, and samples.
"""
EXAMPLES = (
    "density digits --steps 500",
    "density digits --name spline --flow nsf --steps 500",
)


def sample(
    run: Path,
    count: int | None,
    out: Path | None,
    seed: int,
    given: str | None,
    guidance: float | None,
) -> None:
    """Draw images into an `.npz` file or a picture."""
    import torch

    from invflow.images import run as runs
    from invflow.images.data.classes import listed

    finished = runs.load(run)
    kept = {"the images of the run": finished.data.path}
    path = output(out or run / "samples.npz", (".npz", ".png"), kept)
    classes = finished.format.classes
    if given is not None and not classes:
        raise ValueError(
            f"--given does not apply to {run}, whose density is not given classes; train with "
            "--conditional"
        )
    if given is not None and given not in classes:
        raise ValueError(f"--given must be a class of {run} ({listed(classes)}), got {given!r}")
    if guidance and not (classes and finished.config.flow == "tarflow"):
        raise ValueError(
            f"--guidance does not apply to {run}; train a --flow tarflow with --conditional"
        )
    among = (given,) if given is not None else classes
    if count is None:  # as many of each class
        count = 64 if len(among) < 2 else len(among) * math.ceil(64 / len(among))
    names = [among[i % len(among)] for i in range(count)] if among else []
    labels = torch.tensor([classes.index(name) for name in names]) if names else torch.empty(0)
    model = finished.model
    drawn = model.sample(
        count,
        torch.Generator().manual_seed(seed),
        context=finished.context(labels),
        noise=finished.config.noise,
        guidance=guidance or 0.0,
    )
    pictures.write(path, drawn, model.levels, names)
    terminal.say(f"{count} images: {path}")


def score(run: Path, data: str, out: Path | None, samples: int | None, seed: int | None) -> None:
    """Score images into a CSV file."""
    import torch

    from invflow import _files
    from invflow._averages import mean_and_error
    from invflow.images import data as images
    from invflow.images import run as runs
    from invflow.images.pixels import bits_per_dim

    finished = runs.load(run)
    kept = {"the images to score": data, "the images of the run": finished.data.path}
    path = output(out or run / "scores.csv", (".csv",), kept)
    format, size = finished.format, finished.config.size
    context = None
    with terminal.warnings():
        if format.classes:
            levels, labels = images.scorable_labelled(
                data, format.levels, format.shape, format.classes, size
            )
            context = finished.context(labels)
        else:
            levels = images.scorable(data, format.levels, format.shape, size)
    noise = torch.Generator().manual_seed(seed or 0)
    draws = samples or finished.config.draws
    bound = finished.model.log_likelihood(levels, draws, noise, context=context)
    bits = bits_per_dim(bound, format.pixels)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "bound", "bits_per_dim"])
    writer.writerows(zip(range(len(bound)), bound.tolist(), bits.tolist(), strict=True))
    _files.write_text(path, text.getvalue())
    clusters = images.clusters(data)
    means = {
        "bits per dimension": (mean_and_error(bits, clusters), ".3f"),
        "bound, nats per image": (mean_and_error(bound, clusters), ".2f"),
    }
    rows = [(k, f"{mean:{form}}", f"{error:{form}}") for k, ((mean, error), form) in means.items()]
    terminal.table(f"{len(levels)} images", ("score", "mean", "standard error"), rows)
    terminal.say(f"Scores: {path}")
