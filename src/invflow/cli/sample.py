"""`invflow sample`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from invflow.cli import jobs

EXAMPLES = (
    "sample runs/table --count 100 --out rows.csv",
    "sample runs/digits --count 16 --out digits.png",
)


def command(
    run: Annotated[Path, typer.Argument(help="Directory of a finished run.", metavar="RUN")],
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-n",
            help="Number of images, rows or draws; with --fill, for each row.",
            min=1,
            show_default="64 images, or more to have as many of each class; 1000 rows or draws",
        ),
    ] = None,
    posterior: Annotated[
        str | None,
        typer.Option(
            help="Posterior of the model to sample.",
            show_default="the last",
            rich_help_panel="VAE runs",
        ),
    ] = None,
    given: Annotated[
        str | None,
        typer.Option(
            help="For a conditional VAE or density of images, the class of all images; by default "
            "all classes in turn. For a density of a table, a table with the columns that it is "
            "conditional on: one row for all, or one for each.",
            metavar="CLASS|FILE",
        ),
    ] = None,
    fill: Annotated[
        Path | None,
        typer.Option(
            help="Table whose missing values to draw, given the observed ones.",
            metavar="FILE",
            rich_help_panel="Density runs",
        ),
    ] = None,
    expected: Annotated[
        bool | None,
        typer.Option(
            "--expected",
            help="With --fill, fill in the mean of numbers and the most probable category instead "
            "of a draw.",
            rich_help_panel="Density runs",
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            help="For a density of images given their class, strength of the guidance towards the "
            "class, usually from 1 to 4.",
            min=0,
            show_default="none",
            rich_help_panel="Density runs",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Python file of the model, which is run to sample from its posterior, or its Stan "
            "program.",
            metavar="MODEL",
            rich_help_panel="Posterior runs",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write: .npz or .png for images; .csv, .csv.gz, .tsv or .parquet for rows "
            "and draws.",
            metavar="FILE",
            show_default="RUN/samples.npz or .csv",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.", min=0, max=2**32 - 1)] = 0,
) -> None:
    """Sample images from a VAE or a density, rows from a density, or draws from a posterior.

    Images in an .npz file are an array `images` of levels, shape (count, height, width) or (count,
    height, width, 3), which `invflow vae` and `invflow score` read, with an array `labels` if the
    model is conditional. Rows have the columns and types
    of the table that the density was learned from. Draws have a column for each number.
    """
    own = {
        "posterior": posterior,
        "given": given,
        "fill": fill,
        "expected": expected,
        "guidance": guidance,
        "model": model,
    }
    function = action(run, "sample")
    function(run, count, out, seed, **chosen(run, function, own))


def action(run: Path, name: str) -> Callable[..., None]:
    """Return what a command does with a run.

    Raises:
        FileNotFoundError, ValueError: if it is not a run, or of a kind that has no such action.
    """
    job = jobs.of(run)
    function = getattr(import_module(job.actions), name, None)
    if function is None:
        raise ValueError(
            f"{run} is a run of `invflow {job.command}`, which {name} does not apply to"
        )
    return function


def chosen(run: Path, function: Callable[..., None], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a kind of run, which its function names.

    Raises:
        ValueError: if an option of another kind is given.
    """
    known = inspect.signature(function).parameters
    for name, value in options.items():
        if value is not None and name not in known:
            command = jobs.of(run).command
            raise ValueError(f"--{name} does not apply to a run of `invflow {command}`")
    return {name: value for name, value in options.items() if name in known}
