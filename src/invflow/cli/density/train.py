"""`invflow density`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from invflow.cli import terminal
from invflow.cli.density.kinds import kinds
from invflow.cli.density.words import spoken, words
from invflow.cli.settings import directory as run_directory
from invflow.cli.settings import option, settings


def command(
    data: Annotated[
        Path,
        typer.Argument(
            help="The table: .csv, .csv.gz or .tsv with the names of columns in the first line, "
            ".parquet, .npz or .npy.",
            metavar="DATA",
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the run.", show_default="that of the file")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where runs are kept.", metavar="DIR")] = Path("runs"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew if the run exists.")
    ] = False,
    conditional_on: Annotated[
        list[str] | None,
        option(
            "Column that the density is conditional on; give it again for more.",
            "Columns",
            metavar="COLUMN",
        ),
    ] = None,
    integer: Annotated[
        list[str] | None, option("Column of whole numbers.", "Columns", metavar="COLUMN")
    ] = None,
    continuous: Annotated[
        list[str] | None,
        option(
            "Column of real numbers, even if all are whole.",
            "Columns",
            metavar="COLUMN",
        ),
    ] = None,
    categorical: Annotated[
        list[str] | None,
        option(
            "Column of categories, one of those in --conditional-on. Text is without being said.",
            "Columns",
            metavar="COLUMN",
        ),
    ] = None,
    bounded: Annotated[
        list[str] | None,
        option(
            "Column of real numbers between bounds; nothing for no bound, as in price:0: . With "
            "--integer for the same column, of whole numbers, bounds included.",
            "Columns",
            metavar="COLUMN:LOW:HIGH",
        ),
    ] = None,
    missing: Annotated[
        str | None,
        option(
            "Values: refuse, or marginalise over them, which sample --fill needs.",
            "Columns",
            "refuse",
        ),
    ] = None,
    flow: Annotated[
        str | None,
        option("nsf, maf, iaf, realnvp, coupling-nsf, gaussian, naf, ...", "Model", "nsf"),
    ] = None,
    transforms: Annotated[
        int | None, option("Number of transforms.", "Model", "the flow's own")
    ] = None,
    hidden: Annotated[
        list[int] | None,
        option(
            "Width of a hidden layer; give it again for more layers.", "Model", "the flow's own"
        ),
    ] = None,
    steps: Annotated[int | None, option("Updates, at most.", "Training", "3000")] = None,
    batch_size: Annotated[int | None, option("Rows per update.", "Training", "256")] = None,
    learning_rate: Annotated[
        float | None, option("At the start; it falls to zero.", "Training", "0.002")
    ] = None,
    patience: Annotated[
        int | None,
        option("Evaluations without a gain that end the training; 0: none do.", "Training", "10"),
    ] = None,
    validation: Annotated[
        float | None, option("Share of the rows to stop the training by.", "Training", "0.1")
    ] = None,
    test_fraction: Annotated[
        float | None, option("Share of the rows to judge the density by.", "Training", "0.1")
    ] = None,
    seed: Annotated[int | None, option("Of everything random.", "Training", "0")] = None,
    accelerator: Annotated[
        str | None, option("cpu, cuda or auto.", "Device", "cpu", metavar="NAME")
    ] = None,
    precision: Annotated[
        str | None, option("32-true, 64-true or bf16-mixed.", "Device", "32-true")
    ] = None,
    compile: Annotated[
        str | None,
        option(
            "Compile the flow: always, never, or auto, where the steps are known to repay it.",
            "Device",
            "auto",
        ),
    ] = None,
) -> None:
    """Learn the density of a table's rows, and report how well it fits rows set aside.

    Writes RUNS/NAME/ with the density, checkpoints, metrics and report.html. A run that was
    stopped goes on where it was when the same command is given again; one that is finished is
    reported again, and not trained.
    """
    from invflow import report
    from invflow.density import data as tables
    from invflow.density import experiment
    from invflow.density.config import Config
    from invflow.density.table.read import READABLE, suffix
    from invflow.report import density as page
    from invflow.training.progress import progress

    named = {"integer": integer, "continuous": continuous, "categorical": categorical}
    said = kinds({kind: names or [] for kind, names in named.items()}, bounded or [])
    given: dict[str, Any] = {
        "data": str(data),
        "flow": flow,
        "transforms": transforms,
        "hidden_features": hidden,
        "kinds": said,
        "conditional_on": conditional_on,
        "missing": missing,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "validation": validation,
        "patience": patience,
        "test_fraction": test_fraction,
        "accelerator": accelerator,
        "precision": precision,
        "compile": compile,
        "seed": seed,
    }
    given = {k: v for k, v in given.items() if v not in (None, [], {})}
    config = settings(Config, given, {"hidden_features": "hidden"})
    report.require()
    with spoken():
        rows = tables.load(config)
    ending = suffix(data, READABLE)
    directory = run_directory(runs, data.name[: -len(ending)] if name is None else name)
    try:
        with (
            spoken(),
            terminal.warnings(words),
            progress("training", config.steps) as told,
        ):
            run = experiment.train(config, directory, rows=rows, overwrite=overwrite, report=told)
        page.write(replace(run, rows=rows))
    except KeyboardInterrupt as error:
        raise InterruptedError(
            "interrupted; the same command, without --overwrite, goes on where this one was"
        ) from error
    terminal.table(*page.brief(run))
    terminal.say(f"Report: {directory / 'report.html'}")
