"""`invflow compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invflow import report
from invflow.cli import terminal
from invflow.cli.settings import target
from invflow.report import comparison
from invflow.vae import run as saved


def command(
    runs: Annotated[
        list[Path], typer.Argument(help="Directories of finished runs.", metavar="RUN")
    ],
    out: Annotated[Path, typer.Option(help="An .html file.", metavar="FILE")] = Path(
        "compare.html"
    ),
) -> None:
    """Compare finished runs on the same images: results, training, samples.

    Writes one page, and shows the results of every posterior of every run. Runs that differ in
    nothing but their seeds are averaged too, with the standard error over seeds.
    """
    target(out, (".html",), {})
    report.require()
    labelled = comparison.labelled([saved.load(run) for run in runs])
    comparison.write(labelled, out)
    head, *rows = comparison.results(labelled)
    terminal.table("Test images, nats per image", head, rows)
    if seeds := comparison.seeds(labelled):
        head, *rows = seeds
        terminal.table("Mean over seeds, ± standard error over seeds", head, rows)
    terminal.say(f"Comparison: {out}")
