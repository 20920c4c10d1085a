"""`invflow sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invflow.cli.settings import refuse
from invflow.runs import directory as runs_directory


def command(
    run: Annotated[Path, typer.Argument(help="Directory of a finished run.", metavar="RUN")],
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-n",
            help="How many images or rows; with --fill, of each row.",
            min=1,
            show_default="64 images, 1000 rows",
        ),
    ] = None,
    posterior: Annotated[
        str | None,
        typer.Option(
            help="Which of the run's models.", show_default="the last", rich_help_panel="VAE runs"
        ),
    ] = None,
    given: Annotated[
        Path | None,
        typer.Option(
            help="Table with the columns that the density is conditional on: one row for all, or "
            "one for each.",
            metavar="FILE",
            rich_help_panel="Density runs",
        ),
    ] = None,
    fill: Annotated[
        Path | None,
        typer.Option(
            help="Table whose missing values to draw, given what is there.",
            metavar="FILE",
            rich_help_panel="Density runs",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Of images an .npz file or a .png picture; of rows .csv, .csv.gz, .tsv or "
            ".parquet.",
            metavar="FILE",
            show_default="RUN/samples.npz or .csv",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random numbers.", min=0, max=2**63 - 1)] = 0,
) -> None:
    """Draw images from a VAE, or rows from a density.

    An .npz file gets images as `images`, levels (count, height, width), or with colours (count,
    height, width, 3), which is what `invflow vae` and `invflow score` read. Rows have the columns
    and types of the table that the density was learned from.
    """
    match runs_directory.model(run):
        case "density-run" | "student-run":
            from invflow.cli.density import sample as density

            refuse("density", {"--posterior": posterior})
            density.sample(run, count, given, fill, out, seed)
        case "vae-run":
            from invflow.cli.vae import sample as vae

            refuse("VAE", {"--given": given, "--fill": fill})
            vae.sample(run, count or 64, posterior, out, seed)
        case other:
            raise ValueError(f"{run} holds the model {other!r}, expected a VAE or density run")
