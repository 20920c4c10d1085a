"""`invflow classify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invflow.cli.sample import action

EXAMPLES = (
    "classify runs/table table.csv kind",
    "classify runs/table table.csv kind --out chances.csv",
)


def command(
    run: Annotated[
        Path, typer.Argument(help="Directory of a finished run of a table.", metavar="RUN")
    ],
    data: Annotated[
        str,
        typer.Argument(
            help="A table: .csv, .tsv, .parquet, .npz or .npy. It may lack COLUMN.", metavar="DATA"
        ),
    ],
    column: Annotated[
        str, typer.Argument(help="A categorical column of the run.", metavar="COLUMN")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write: .csv, .csv.gz, .tsv, or .parquet.",
            metavar="FILE",
            show_default="RUN/classes.csv",
        ),
    ] = None,
) -> None:
    """Give the probability of each value of a column, given the rest of each row.

    Writes the rows of the table with a column for each value, such as `probability_yes`: by Bayes'
    rule from the density of the rows. The values of COLUMN are not used. If the table has them,
    shows how many are the most likely value.
    """
    action(run, "classify")(run, data, column, out)
