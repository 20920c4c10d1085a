"""`invflow score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invflow.cli.settings import refuse
from invflow.runs import directory as runs_directory


def command(
    run: Annotated[Path, typer.Argument(help="Directory of a finished run.", metavar="RUN")],
    data: Annotated[
        str,
        typer.Argument(
            help="For a VAE, images as `invflow vae` takes them: those of the test, or all where "
            "none are set apart for it. For a density, a table: .csv, .tsv, .parquet, .npz or "
            ".npy.",
            metavar="DATA",
        ),
    ],
    posterior: Annotated[
        str | None,
        typer.Option(
            help="Which of the run's models.", show_default="the last", rich_help_panel="VAE runs"
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            help="Importance samples per image.",
            min=1,
            show_default="500",
            rich_help_panel="VAE runs",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="CSV file; of rows also .csv.gz, .tsv, or .parquet, which keeps the types of "
            "their columns.",
            metavar="FILE",
            show_default="RUN/scores.csv",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of the random numbers.",
            min=0,
            max=2**63 - 1,
            show_default="0",
            rich_help_panel="VAE runs",
        ),
    ] = None,
) -> None:
    """Score images under a VAE, or rows under a density, in nats.

    Writes a table with a line per image, with its bound and log-likelihood; or the rows
    themselves, in the columns of their table, each with its `log_density` and with its `p_value`,
    how usual it is; columns that the density does not know are kept. Shows the means.
    """
    match runs_directory.model(run):
        case "density-run" | "student-run":
            from invflow.cli.density import score as density

            refuse("density", {"--posterior": posterior, "--samples": samples, "--seed": seed})
            density.score(run, Path(data), out)
        case "vae-run":
            from invflow.cli.vae import score as vae

            vae.score(run, data, posterior, samples or 500, out, seed or 0)
        case other:
            raise ValueError(f"{run} holds the model {other!r}, expected a VAE or density run")
