"""`invflow compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invflow import report
from invflow.cli import terminal
from invflow.cli.settings import target
from invflow.report import vae as page
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
    found = page.compare([saved.load(run) for run in runs])
    found.write(out)
    for title, (head, *rows) in found.tables.items():
        terminal.table(title, head, rows)
    terminal.say(f"Comparison: {out}")
