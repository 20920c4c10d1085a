"""`invflow vae`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

from invflow import report
from invflow.cli import terminal
from invflow.vae import POSTERIORS, experiment
from invflow.vae.config import Config, LikelihoodName


def _default(setting: str) -> str:
    return str(Config.model_fields[setting].default)


def command(
    images: Annotated[
        Literal["digits", "mnist"], typer.Argument(help="The images to learn.", show_default=True)
    ] = "digits",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Learn the images of this file instead: train_images and test_images, or one "
            "array (count, height, width). Integers are grey levels, up to 17 or 256 of them; "
            "floating-point numbers in [0, 1] are probabilities of white.",
            metavar="FILE.npz",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the run.", show_default="that of the images"),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where runs are kept.", metavar="DIR")] = Path("runs"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew if the run exists.")
    ] = False,
    posterior: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(POSTERIORS)}; give it again to compare.",
            show_default="diagonal and iaf",
        ),
    ] = None,
    likelihood: Annotated[
        LikelihoodName,
        typer.Option(help="Of a pixel; auto takes what suits the grey levels."),
    ] = "auto",
    latents: Annotated[
        int | None, typer.Option(help="Latent features.", show_default=_default("latents"))
    ] = None,
    flow_steps: Annotated[
        int | None, typer.Option(help="Flow steps.", show_default=_default("flow_steps"))
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Updates.", show_default=_default("steps"))
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images per update.", show_default=_default("batch_size"))
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Adam's, at the start.", show_default=_default("learning_rate")),
    ] = None,
    importance_samples: Annotated[
        int | None,
        typer.Option(
            help="Draws per image for the log-likelihood.",
            show_default=_default("importance_samples"),
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of everything random.", show_default=_default("seed"))
    ] = None,
    accelerator: Annotated[
        str | None,
        typer.Option(
            help="cpu, cuda or auto.", metavar="NAME", show_default=_default("accelerator")
        ),
    ] = None,
) -> None:
    """Train VAEs with different posteriors side by side, and report how they compare.

    Writes RUNS/NAME/ with the models, checkpoints, metrics and report.html. A run that was
    stopped goes on where it was when the same command is given again; one that is finished is
    reported again, and not trained.
    """
    given: dict[str, Any] = {
        "data": images,
        "file": str(data) if data is not None else None,
        "likelihood": likelihood,
        "posteriors": tuple(posterior) if posterior else None,
        "latents": latents,
        "flow_steps": flow_steps,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "importance_samples": importance_samples,
        "seed": seed,
        "accelerator": accelerator,
    }
    try:
        config = Config(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise ValueError(f"{option}: {first['msg']}, got {first['input']!r}") from error
    name = name or (data.stem if data is not None else images)
    if Path(name).name != name or name == "..":
        raise ValueError(f"--name must be the name of a directory, not a path, got {name!r}")
    directory = runs / name
    report.require()
    try:
        with terminal.progress("training", config.steps) as told:
            run = experiment.train(config, directory, overwrite=overwrite, report=told)
        report.write(run, experiment.load_images(config).test)
    except KeyboardInterrupt as error:
        raise InterruptedError(
            "interrupted; the same command, without --overwrite, goes on where this one was"
        ) from error
    terminal.table("Test images, nats per image", report.COLUMNS, report.rows(run.results))
    terminal.say(f"Report: {directory / 'report.html'}")
