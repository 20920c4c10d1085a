"""`invflow score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invflow.cli.sample import action, chosen

EXAMPLES = (
    "score runs/table table.csv --out scores.csv",
    "score runs/digits digits --samples 100",
)


def command(
    run: Annotated[Path, typer.Argument(help="Directory of a finished run.", metavar="RUN")],
    data: Annotated[
        str,
        typer.Argument(
            help="For a model of images, images as `invflow vae` takes them: their test images, or "
            "all if there are none. For a density of a table, a table: .csv, .tsv, .parquet, .npz "
            "or .npy.",
            metavar="DATA",
        ),
    ],
    posterior: Annotated[
        str | None,
        typer.Option(
            help="Posterior of the model to score with.",
            show_default="the last",
            rich_help_panel="VAE runs",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            help="Importance samples, or draws of noise, per image.",
            min=1,
            show_default="500; for a density, as in training",
            rich_help_panel="Runs of images",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Random seed.",
            min=0,
            max=2**32 - 1,
            show_default="0",
            rich_help_panel="Runs of images",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write: .csv; for rows also .csv.gz, .tsv, or .parquet, which keeps the "
            "types of their columns.",
            metavar="FILE",
            show_default="RUN/scores.csv",
        ),
    ] = None,
) -> None:
    """Score images under a VAE or a density, or rows under a density, in nats.

    Writes a table with the bound and the log-likelihood of each image; or the rows of the table
    with the `log_density` and the `p_value` of each, which says how usual it is. Columns that the
    density does not know are kept. Shows the means.
    """
    own = {"posterior": posterior, "samples": samples, "seed": seed}
    function = action(run, "score")
    function(run, data, out, **chosen(run, function, own))
