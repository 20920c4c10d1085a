"""`invflow distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from invflow.cli import terminal
from invflow.cli.settings import directory as run_directory
from invflow.cli.settings import option, settings


def command(
    teacher: Annotated[
        Path, typer.Argument(help="Directory of a finished density run.", metavar="RUN")
    ],
    student: Annotated[
        str | None, option("A flow that is fast to sample: iaf, realnvp, ...", "Model", "iaf")
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
    univariate: Annotated[
        str | None,
        option("The map of each feature: affine, gated, spline, ...", "Model", "the flow's own"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the run.", show_default="that of the teacher, and the flow's"),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where runs are kept.", metavar="DIR")] = Path("runs"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew if the run exists.")
    ] = False,
    reverse: Annotated[
        float | None, option("Weight of KL(student || teacher).", "Training", "1")
    ] = None,
    forward: Annotated[
        float | None,
        option("Weight of KL(teacher || student), by which no mode is dropped.", "Training", "0"),
    ] = None,
    moments: Annotated[
        float | None,
        option("Weight of differences between means and covariances.", "Training", "0"),
    ] = None,
    steps: Annotated[int | None, option("Updates.", "Training", "3000")] = None,
    batch_size: Annotated[int | None, option("Draws per update.", "Training", "256")] = None,
    learning_rate: Annotated[
        float | None, option("At the start; it falls to zero.", "Training", "0.001")
    ] = None,
    draws: Annotated[
        int | None, option("By which both are compared in the end.", "Training", "10000")
    ] = None,
    seed: Annotated[int | None, option("Of everything random.", "Training", "0")] = None,
) -> None:
    """Teach a flow that is fast to sample a density that has been learned, and say how close it is.

    Writes RUNS/NAME/ with the student, of which `invflow sample` and `invflow score` take what they
    take of its teacher, checkpoints, metrics and report.html. A run that was stopped goes on where
    it was when the same command is given again.
    """
    from invflow import report
    from invflow.distillation import run as students
    from invflow.report import student as page
    from invflow.training.progress import progress

    given: dict[str, Any] = {
        "teacher": str(teacher),
        "flow": student,
        "transforms": transforms,
        "hidden_features": hidden,
        "univariate": univariate,
        "reverse": reverse,
        "forward": forward,
        "moments": moments,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "draws": draws,
        "seed": seed,
    }
    given = {k: v for k, v in given.items() if v not in (None, [])}
    options = {"hidden_features": "hidden", "flow": "student"}
    config = settings(students.Config, given, options)
    report.require()
    directory = run_directory(
        runs, f"{teacher.resolve().name}-{config.flow}" if name is None else name
    )
    try:
        with progress("teaching", config.steps) as told:
            run = students.train(config, directory, overwrite=overwrite, report=told)
        page.write(run)
    except KeyboardInterrupt as error:
        raise InterruptedError(
            "interrupted; the same command, without --overwrite, goes on where this one was"
        ) from error
    terminal.table(*page.brief(run))
    terminal.say(f"Report: {directory / 'report.html'}")
