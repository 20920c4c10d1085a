"""`invflow vae`, and how its runs are sampled and scored."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from invflow.cli import pictures, terminal
from invflow.cli.files import output

HELP = """Train VAEs with different posteriors side by side, and report how they compare.

Writes RUNS/NAME/ with the models, checkpoints, metrics and report.html. The same command resumes a
run that was stopped; a finished one is reported again, not trained.
"""
EXAMPLES = (
    "vae digits --steps 500",
    "vae digits --name both --posteriors full,iaf --latents 8 --steps 500",
)


def sample(
    run: Path,
    count: int | None,
    out: Path | None,
    seed: int,
    posterior: str | None,
    given: str | None,
) -> None:
    """Draw images into an `.npz` file or a picture."""
    import torch

    from invflow.vae import run as runs

    finished = runs.load(run)
    kept = {"the images of the run": finished.data.path}
    path = output(out or run / "samples.npz", (".npz", ".png"), kept)
    model = finished.model(posterior)
    classes = finished.format.classes
    if given is not None and given not in classes:
        raise ValueError(_no_class(run, given, classes))
    among = (given,) if given is not None else classes
    if count is None:  # as many of each class
        count = 64 if len(among) < 2 else len(among) * math.ceil(64 / len(among))
    generator = torch.Generator().manual_seed(seed)
    names = [among[i % len(among)] for i in range(count)] if among else []
    one_hot = model.one_hot(torch.tensor(list(map(classes.index, names)))) if names else None
    images = model.sample(count, generator, one_hot).reshape(count, *finished.format.shape)
    # A Gaussian likelihood draws real numbers.
    levels = images.round().clamp(0, model.levels - 1)
    pictures.write(path, levels, model.levels, names)
    terminal.say(f"{count} images: {path}")


def _no_class(run: Path, given: str, classes: Sequence[str]) -> str:
    from invflow.images.data.classes import listed

    if classes:
        return f"--given must be a class of {run} ({listed(classes)}), got {given!r}"
    return (
        f"--given does not apply to {run}, whose models are not given classes; train with "
        "--conditional"
    )


def score(
    run: Path,
    data: str,
    out: Path | None,
    posterior: str | None,
    samples: int | None,
    seed: int | None,
) -> None:
    """Score images into a CSV file."""
    from invflow import _files
    from invflow._averages import mean_and_error
    from invflow.images import data as images
    from invflow.images.pixels import bits_per_dim
    from invflow.report import vae as page
    from invflow.vae import evaluation
    from invflow.vae import run as runs

    finished = runs.load(run)
    kept = {"the images to score": data, "the images of the run": finished.data.path}
    path = output(out or run / "scores.csv", (".csv",), kept)
    model = finished.model(posterior)
    fit = model.levels, finished.format.shape
    size, classes = finished.config.size, finished.format.classes
    given = None
    with terminal.warnings():
        if classes:
            levels, labels = images.scorable_labelled(data, *fit, classes, size)
            given = model.one_hot(labels)
        else:
            levels = images.scorable(data, *fit, size)
    scores = evaluation.score(model, levels, samples=samples or 500, seed=seed or 0, given=given)
    columns = {"bound": scores.bound, "log_likelihood": scores.log_likelihood, "kl": scores.kl}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *columns])
    values = (column.tolist() for column in columns.values())
    writer.writerows([i, *row] for i, row in enumerate(zip(*values, strict=True)))
    _files.write_text(path, text.getvalue())
    clusters = images.clusters(data)
    means = {name: mean_and_error(column, clusters) for name, column in columns.items()}
    rows = [(name, f"{mean:.2f}", f"{error:.2f}") for name, (mean, error) in means.items()]
    if page.has_bits(finished):
        bits = [bits_per_dim(nats, model.pixels) for nats in means["log_likelihood"]]
        rows += [("bits/dim", f"{bits[0]:.3f}", f"{abs(bits[1]):.3f}")]
    head = ("score", "mean", "standard error")
    terminal.table(f"{len(levels)} images, nats per image", head, rows)
    terminal.say(f"Scores: {path}")
