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

    Writes one page, and shows the results. Runs that differ only in their seeds are also averaged,
    with the standard error over seeds.
    """
    output(out, (".html",), {})
    report.require()
    found = {jobs.of(run): run for run in runs}
    if len(found) > 1:
        kinds = ", ".join(f"{run} of `invflow {job.command}`" for job, run in found.items())
        raise ValueError(f"runs must be of one kind to be compared, got {kinds}")
    (job,) = found
    load = job.part("run").load
    for table in import_module(job.page).compare([load(run) for run in runs], out):
        terminal.table(*table)
    terminal.say(f"Comparison: {out}")
