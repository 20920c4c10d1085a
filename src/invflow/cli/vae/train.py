"""`invflow vae`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from invflow import _checks, report
from invflow.cli import terminal
from invflow.cli.settings import directory as run_directory
from invflow.cli.settings import settings
from invflow.report import vae as page
from invflow.training.progress import progress
from invflow.vae import POSTERIORS, experiment
from invflow.vae.build import RESNET_POSTERIORS
from invflow.vae.config import (
    BinarisationName,
    CompileName,
    Config,
    LikelihoodName,
    NetworkName,
    OptimizerName,
    PrecisionName,
    PriorName,
    ScheduleName,
)
from invflow.vae.data import NAMES, name_of
from invflow.vae.presets import PRESETS


def _option(setting: str, help: str, panel: str, **options: Any) -> Any:
    default = options.pop("default", None) or str(Config.model_fields[setting].default)
    return typer.Option(help=help, show_default=default, rich_help_panel=panel, **options)


def command(
    images: Annotated[
        str | None,
        typer.Argument(
            help=f"The images to learn: {', '.join(NAMES)}; a folder of image files, with "
            "subfolders train, validation and test or without; or an .npz file with train_images "
            "and test_images, or one array, (count, height, width) or (count, height, width, 3). "
            "Integers are levels, up to 17 or 256 of them; grey floating-point numbers in [0, 1] "
            "are probabilities of white.",
            metavar="DATA",
            show_default="digits",
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"Settings to begin with: {', '.join(PRESETS)}.")
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
            help=f"{', '.join(POSTERIORS)}; with --network resnet-vae "
            f"{', '.join(RESNET_POSTERIORS)}. Give it again to compare.",
            show_default="diagonal and iaf",
            rich_help_panel="Model",
        ),
    ] = None,
    prior: Annotated[PriorName | None, _option("prior", "Of the latents.", "Model")] = None,
    likelihood: Annotated[
        LikelihoodName | None,
        _option("likelihood", "Of a pixel; auto takes what suits the grey levels.", "Model"),
    ] = None,
    binarisation: Annotated[
        BinarisationName | None,
        _option("binarisation", "Of grey images, for a Bernoulli likelihood.", "Model"),
    ] = None,
    network: Annotated[
        NetworkName | None,
        _option("network", "Encoder and decoder; resnet-vae has latents in every layer.", "Model"),
    ] = None,
    latents: Annotated[int | None, _option("latents", "Latent features.", "Model")] = None,
    hidden: Annotated[
        list[int] | None,
        _option(
            "hidden",
            "Width of a hidden layer (mlp), or its maps; give it again for more layers.",
            "Model",
            default="the network's own",
        ),
    ] = None,
    context: Annotated[
        int | None, _option("context", "Size of the encoder's output.", "Model")
    ] = None,
    flow_steps: Annotated[
        int | None,
        _option("flow_steps", "Flow steps.", "Model", default="4; 1 in a resnet-vae's layer"),
    ] = None,
    flow_hidden: Annotated[
        list[int] | None,
        _option(
            "flow_hidden",
            "Width of a hidden layer of each step's network; give it again for more layers.",
            "Model",
            default="128; in a resnet-vae its features",
        ),
    ] = None,
    depths: Annotated[
        list[int] | None,
        _option(
            "depths",
            "Layers of a resnet-vae; give it again for the next, halved resolution.",
            "Model",
            default="4",
        ),
    ] = None,
    features: Annotated[
        int | None, _option("features", "Feature maps of a resnet-vae.", "Model")
    ] = None,
    maps: Annotated[
        int | None, _option("maps", "Latent maps in each layer of a resnet-vae.", "Model")
    ] = None,
    beta: Annotated[float | None, _option("beta", "Weight of the divergence.", "Training")] = None,
    warmup: Annotated[
        int | None,
        _option(
            "warmup",
            "Updates over which that weight grows from 0.",
            "Training",
            default="a third, at most 10,000",
        ),
    ] = None,
    free_bits: Annotated[
        float | None,
        _option("free_bits", "Nats that each group of latents has for free.", "Training"),
    ] = None,
    train_samples: Annotated[
        int | None,
        _option(
            "train_samples",
            "Draws for the importance-weighted bound; 1 for the evidence lower bound.",
            "Training",
        ),
    ] = None,
    optimizer: Annotated[
        OptimizerName | None, _option("optimizer", "What takes the steps.", "Training")
    ] = None,
    learning_rate: Annotated[
        float | None, _option("learning_rate", "At the start.", "Training")
    ] = None,
    schedule: Annotated[
        ScheduleName | None, _option("schedule", "Of the learning rate.", "Training")
    ] = None,
    weight_decay: Annotated[
        float | None,
        _option("weight_decay", "AdamW's.", "Training", default="0.1 with adamw"),
    ] = None,
    average: Annotated[
        float | None,
        _option(
            "average",
            "Decay of the weights' moving average, which is then what is evaluated.",
            "Training",
        ),
    ] = None,
    clip: Annotated[
        float | None, _option("clip", "Largest norm of a gradient.", "Training")
    ] = None,
    steps: Annotated[int | None, _option("steps", "Updates.", "Training")] = None,
    batch_size: Annotated[
        int | None, _option("batch_size", "Images per update, on all devices.", "Training")
    ] = None,
    evaluate_every: Annotated[
        int | None,
        _option("evaluate_every", "Updates between evaluations and checkpoints.", "Training"),
    ] = None,
    importance_samples: Annotated[
        int | None,
        _option("importance_samples", "Draws per image for the log-likelihood.", "Training"),
    ] = None,
    seed: Annotated[int | None, _option("seed", "Of everything random.", "Training")] = None,
    accelerator: Annotated[
        str | None, _option("accelerator", "cpu, cuda or auto.", "Device", metavar="NAME")
    ] = None,
    devices: Annotated[int | None, _option("devices", "How many.", "Device")] = None,
    precision: Annotated[
        PrecisionName | None, _option("precision", "Of the arithmetic.", "Device")
    ] = None,
    compile: Annotated[
        CompileName | None,
        _option(
            "compile", "Compile the networks: always or never; auto is never as yet.", "Device"
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
        "likelihood": likelihood,
        "binarisation": binarisation,
        "posteriors": posterior,
        "prior": prior,
        "network": network,
        "latents": latents,
        "hidden": hidden,
        "context": context,
        "flow_steps": flow_steps,
        "flow_hidden": flow_hidden,
        "depths": depths,
        "features": features,
        "maps": maps,
        "beta": beta,
        "warmup": warmup,
        "free_bits": free_bits,
        "train_samples": train_samples,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "weight_decay": weight_decay,
        "average": average,
        "clip": clip,
        "steps": steps,
        "batch_size": batch_size,
        "evaluate_every": evaluate_every,
        "importance_samples": importance_samples,
        "seed": seed,
        "accelerator": accelerator,
        "devices": devices,
        "precision": precision,
        "compile": compile,
    }
    config = _config(preset, {k: v for k, v in given.items() if v not in (None, [])})
    directory = run_directory(runs, name_of(config.data) if name is None else name)
    report.require()
    try:
        with terminal.warnings():
            data = experiment.load_images(config)
        with progress("training", config.steps) as told:
            run = experiment.train(config, directory, images=data, overwrite=overwrite, report=told)
        if run is None:  # another process reports
            return
        page.write(replace(run, images=data))
    except KeyboardInterrupt as error:
        raise InterruptedError(
            "interrupted; the same command, without --overwrite, goes on where this one was"
        ) from error
    terminal.table(*page.brief(run))
    terminal.say(f"Report: {directory / 'report.html'}")


def _config(preset: str | None, given: dict[str, Any]) -> Config:
    chosen = {} if preset is None else PRESETS[_checks.choice("--preset", preset, PRESETS)]
    return settings(Config, chosen | given, {"posteriors": "posterior"})
