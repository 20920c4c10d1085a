"""Posteriors trained side by side, and scored on images that they have not seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from invflow import training
from invflow.vae import data, run
from invflow.vae.config import Config, Format
from invflow.vae.evaluation import Score, mean_and_error, score
from invflow.vae.run import Result, Run

Report = Callable[[int, str], None]


def train(
    config: Config,
    directory: Path,
    *,
    overwrite: bool = False,
    report: Report = lambda step, line: None,
) -> Run:
    """Train the posteriors of a run side by side, score them, and put everything on disk.

    A run that was stopped half way goes on from its last checkpoint, and one that is finished is
    returned as it is. Nothing on disk is touched before the data and the settings have been tried.

    Args:
        config: the settings.
        directory: of the run; made if it does not exist.
        overwrite: begin anew where there is a run already.
        report: told of every training step.

    Raises:
        ImportError: an extra is not installed.
        FileExistsError: the directory holds another run, or something else.
        FileNotFoundError, ValueError: something is wrong with the data or with the settings.
        FloatingPointError: the training diverges.
    """
    images = load_images(config)
    format = Format(
        shape=images.shape,
        levels=images.levels,
        likelihood=images.likelihood,
        digest=images.digest,
    )
    models = run.build(config, format)
    fabric = training.launch(config.accelerator)
    run.prepare(directory, config, format, overwrite=overwrite)
    if run.is_finished(directory):
        report(config.steps, "finished already")
        return run.load(directory)

    levels = images.train.flatten(1)
    validation = images.validation.flatten(1)

    def loss(model: nn.Module, rows: Tensor, noise: torch.Generator) -> Tensor:
        x = observe(levels[rows.cpu()].to(noise.device), noise)
        return -model(x, noise).bound.mean()

    def evaluate(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        noise = torch.Generator(device).manual_seed(config.seed)
        x = observe(validation.to(device), noise)
        elbos = [model(x, noise) for _ in range(8)]
        bound = torch.stack([elbo.bound for elbo in elbos]).mean()
        kl = torch.stack([elbo.kl for elbo in elbos]).mean()
        return {"loss": -float(bound), "kl": float(kl)}

    observe = next(iter(models.values())).likelihood.observe
    settings = training.Settings(
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        clip=50.0,
        seed=config.seed,
        evaluate_every=config.evaluate_every,
    )
    seconds = training.fit(fabric, models, len(levels), loss, evaluate, settings, directory, report)
    scores = {
        name: score(model, images.test, samples=config.importance_samples, seed=config.seed)
        for name, model in models.items()
    }
    first = scores[config.posteriors[0]]
    results = {name: _result(each, first, seconds[name]) for name, each in scores.items()}
    run.finish(directory, models, results)
    return run.load(directory)


def load_images(config: Config) -> data.Images:
    """Return the images that a configuration asks for, and the likelihood that it asks for."""
    if config.file is not None:
        return data.read(Path(config.file), likelihood=config.likelihood)
    images = data.load(config.data)
    if config.likelihood == "auto":
        return images
    return dataclasses.replace(images, likelihood=config.likelihood)


def _result(each: Score, first: Score, seconds: float) -> Result:
    return Result(
        *mean_and_error(each.bound),
        *mean_and_error(each.log_likelihood),
        *mean_and_error(each.log_likelihood - first.log_likelihood),
        float(each.kl.mean()),
        seconds,
    )
