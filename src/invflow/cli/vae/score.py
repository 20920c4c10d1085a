"""`invflow score` of a VAE run."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from invflow import _files
from invflow.cli import terminal
from invflow.cli.settings import target
from invflow.report import vae as page
from invflow.vae import data, evaluation
from invflow.vae import run as runs


def score(
    run: Path, images: str, posterior: str | None, samples: int, out: Path | None, seed: int
) -> None:
    """Score images into a CSV file."""
    finished = runs.load(run)
    kept = {"the images to score": images, "the images of the run": runs.data(run)}
    path = target(out or run / "scores.csv", (".csv",), kept)
    model = finished.model(posterior)
    with terminal.warnings():
        levels = data.scorable(images, model.levels, finished.format.shape)
    scores = evaluation.score(model, levels, samples=samples, seed=seed)
    columns = {"bound": scores.bound, "log_likelihood": scores.log_likelihood, "kl": scores.kl}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *columns])
    values = (column.tolist() for column in columns.values())
    writer.writerows([i, *row] for i, row in enumerate(zip(*values, strict=True)))
    _files.write_text(path, text.getvalue())
    means = {name: evaluation.mean_and_error(column) for name, column in columns.items()}
    rows = [(name, f"{mean:.2f}", f"{error:.2f}") for name, (mean, error) in means.items()]
    if page.has_bits(finished):
        bits = [evaluation.bits_per_dim(nats, model.pixels) for nats in means["log_likelihood"]]
        rows += [("bits/dim", f"{bits[0]:.3f}", f"{abs(bits[1]):.3f}")]
    terminal.table(
        f"{len(levels)} images, nats per image", ("score", "mean", "standard error"), rows
    )
    terminal.say(f"Scores: {path}")
