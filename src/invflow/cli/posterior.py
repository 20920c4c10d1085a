"""`invflow posterior`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invflow.cli import terminal
from invflow.cli.settings import directory as run_directory


def command(
    model: Annotated[
        Path,
        typer.Argument(
            help="Python file, which is run: it defines target, log_density and dim, or model.",
            metavar="MODEL.py",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="JSON object with the model's data.", metavar="FILE.json"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run.", show_default="that of the model")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where runs are kept.", metavar="DIR")] = Path("runs"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew if the run exists.")
    ] = False,
    draws: Annotated[int, typer.Option(help="Draws to write.", min=100)] = 4000,
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0, max=2**62)] = 0,
) -> None:
    """Fit the posterior of a model, and say whether to trust it.

    Writes RUNS/NAME/ with draws (ArviZ NetCDF and Parquet), summary.csv, verdict.txt, the fitted
    flow, checkpoints and report.html. A fit that was stopped goes on where it was when the same
    command is given again.
    """
    from invflow.report import posterior as report
    from invflow.report import require
    from invflow.vi import files, fit, run
    from invflow.vi.targets import model_file

    require()
    target = model_file.load(model, data)
    settings = run.settings(model, data, seed)
    directory = run_directory(runs, model.stem if name is None else name)
    run.check(directory, settings, overwrite=overwrite)
    try:
        found = fit(
            target,
            seed=seed,
            progress=True,
            directory=directory / "checkpoints",
            ready=lambda: run.prepare(directory, settings, overwrite=overwrite),
        )
        verdict = found.diagnose()
        files.write(found, verdict, directory, draws)
        summary = found.summary()
        title = f"invflow: posterior of {model.stem}"
        table = found.to_pandas(draws)
        report.write(found, verdict, summary, table, directory / "report.html", title)
    except KeyboardInterrupt as error:
        raise InterruptedError(
            "interrupted; the same command, without --overwrite, goes on where this one was"
        ) from error
    terminal.table(
        "Parameters",
        ("parameter", *map(str, summary.columns)),
        [
            (str(key), *(f"{value:.4g}" for value in row))
            for key, row in zip(summary.index, summary.to_numpy(), strict=True)
        ],
    )
    for line in str(verdict).splitlines():
        terminal.say(line)
    terminal.say(f"Report: {directory / 'report.html'}")
