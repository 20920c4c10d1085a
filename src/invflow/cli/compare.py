"""`invflow compare`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from invflow import report
from invflow.cli import jobs, terminal
from invflow.cli.files import output

EXAMPLES = (
    "compare runs/digits runs/both",
    "compare runs/table runs/wide --out densities.html",
)


def command(
    runs: Annotated[
        list[Path], typer.Argument(help="Directories of finished runs.", metavar="RUN")
    ],
    out: Annotated[Path, typer.Option(help="File to write: .html.", metavar="FILE")] = Path(
        "compare.html"
    ),
) -> None:
    """Compare finished runs of one kind on the same data: results, training, samples.

    Writes one page, and shows the results and which run is ahead. Differences are from the first
    run, and are computed image by image, row by row or draw by draw where runs have these in
    common. Runs that differ only in their seeds are also averaged, with the standard error over
    seeds.
    """
    output(out, (".html",), {})
    report.require()
    kinds = {jobs.of(run): run for run in runs}
    if len(kinds) > 1:
        listed = ", ".join(f"{run} of `invflow {job.command}`" for job, run in kinds.items())
        raise ValueError(f"runs must be of one kind to be compared, got {listed}")
    (job,) = kinds
    load = job.part("run").load
    found = import_module(job.page).compare([load(run) for run in runs])
    found.write(out)
    for title, (head, *rows) in found.tables.items():
        terminal.table(title, head, rows)
    for line in found.verdict.lines if found.verdict else ():
        terminal.say(line)
    terminal.say(f"Comparison: {out}")
