"""`invflow score`."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Annotated

import typer

from invflow import _files, report
from invflow.cli import terminal
from invflow.vae import data, evaluation
from invflow.vae import run as runs


def command(
    run: Annotated[Path, typer.Argument(help="Directory of a finished run.", metavar="RUN")],
    images: Annotated[
        str,
        typer.Argument(
            help=f"{', '.join(data.NAMES)}, an .npz file or a folder: the test images, or all "
            "where none are set apart for the test.",
            metavar="DATA",
        ),
    ],
    posterior: Annotated[
        str | None, typer.Option(help="Which of the run's models.", show_default="the last")
    ] = None,
    samples: Annotated[int, typer.Option(help="Importance samples per image.", min=1)] = 500,
    out: Annotated[
        Path | None, typer.Option(help="CSV file.", metavar="FILE", show_default="RUN/scores.csv")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random numbers.", min=0, max=2**63 - 1)] = 0,
) -> None:
    """Score images under a trained model: bound and log-likelihood of each, in nats.

    Writes a CSV file with a line per image, and shows the means.
    """
    finished = runs.load(run)
    model = finished.model(posterior)
    levels = data.scorable(images, model.levels, finished.format.shape)
    scores = evaluation.score(model, levels, samples=samples, seed=seed)
    columns = {"bound": scores.bound, "log_likelihood": scores.log_likelihood, "kl": scores.kl}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *columns])
    values = (column.tolist() for column in columns.values())
    writer.writerows([i, *row] for i, row in enumerate(zip(*values, strict=True)))
    path = out or run / "scores.csv"
    _files.write_text(path, text.getvalue())
    means = {name: evaluation.mean_and_error(column) for name, column in columns.items()}
    rows = [(name, f"{mean:.2f}", f"{error:.2f}") for name, (mean, error) in means.items()]
    if report.has_bits(finished):
        bits = [evaluation.bits_per_dim(nats, model.pixels) for nats in means["log_likelihood"]]
        rows += [("bits/dim", f"{bits[0]:.3f}", f"{abs(bits[1]):.3f}")]
    terminal.table(
        f"{len(levels)} images, nats per image", ("score", "mean", "standard error"), rows
    )
    terminal.say(f"Scores: {path}")
