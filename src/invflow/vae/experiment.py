"""Posteriors trained side by side, and scored on images that they have not seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from invflow import training
from invflow.images.data import Images
from invflow.runs.directory import is_finished
from invflow.training import metrics
from invflow.training.loop import Report
from invflow.vae import networks, run
from invflow.vae.build import build
from invflow.vae.config import Config, Format
from invflow.vae.evaluation import bounds, score
from invflow.vae.fitting import Rows, default_warmup, learn
from invflow.vae.models.base import LatentModel
from invflow.vae.objective import Objective
from invflow.vae.run import Result, Run
from invflow.vae.scores import ImageScores, Scores

#: Number of training images, chosen at random, that are scored to see whether a model overfits.
TRAIN_IMAGES = 1000


def train(
    config: Config,
    directory: str | Path,
    *,
    overwrite: bool = False,
    report: Report = lambda step, line: None,
) -> Run | None:
    """Train the posteriors of a run side by side, score them, and put everything on disk.

    A run that was stopped resumes from its last checkpoint, and one that is finished is returned as
    it is. Nothing on disk is touched before the data and the settings have been tried.

    Args:
        config: the settings.
        directory: of the run; made if it does not exist.
        overwrite: start from scratch if there is already a run.
        report: called after every training step.

    Returns:
        The finished run; None in processes other than the first, which alone writes.

    Raises:
        ImportError: if an extra is not installed.
        FileExistsError: if the directory holds another run, or something else.
        FileNotFoundError, ValueError: if something is wrong with the data or with the settings.
        FloatingPointError: if the training diverges.
    """
    directory = Path(directory)
    images = run.read(config)
    format = Format(
        shape=images.shape,
        levels=images.levels,
        likelihood=run.likelihood(config, images),
        digest=images.digest,
        classes=images.classes,
        labels=images.labels_digest,
    )
    metrics.require()
    models = build(config, format)
    settings = _settings(config)
    aim = objective(config)
    training.batch_size(config.batch_size, len(images.train), config.devices)
    fabric = training.launch(config.accelerator, config.devices, config.precision)
    if overwrite or not is_finished(directory):
        for model in models.values():
            first = images.train[: config.batch_size].flatten(1)
            _start(model, first, run.given(model, images, "train", slice(len(first))), config)
    if fabric.is_global_zero:
        run.KIND.prepare(directory, run.begun(config, format), overwrite=overwrite)
    fabric.barrier()
    if is_finished(directory):
        report(config.steps, "already finished")
        return run.load(directory, images) if fabric.is_global_zero else None

    first = next(iter(models.values()))
    train, validation = (
        Rows(getattr(images, part), run.given(first, images, part))
        for part in ("train", "validation")
    )
    parts = [part for model in models.values() for part in model.parts] if config.compile else []
    seconds = learn(models, train, validation, aim, settings, fabric, directory, report, parts)
    results, scores = scored(config, models, images, seconds)
    if fabric.is_global_zero:
        run.finish(directory, models, results, scores)
    fabric.barrier()
    return run.load(directory, images) if fabric.is_global_zero else None


def objective(config: Config) -> Objective:
    """Return what a run trains by."""
    warmup = config.warmup
    if warmup is None:
        amended = config.free_bits > 0 or config.train_samples > 1
        warmup = 0 if amended else default_warmup(config.steps)
    return Objective(config.beta, warmup, config.free_bits, config.train_samples)


def _start(model: LatentModel, levels: Tensor, given: Tensor | None, config: Config) -> None:
    """Let weight-normalised networks start from a batch."""
    noise = torch.Generator(model.like.device).manual_seed(config.seed)
    with networks.starting(model):
        model.elbo(model.observe(levels, noise), noise, given)


def _settings(config: Config) -> training.Settings:
    decay = config.weight_decay
    if decay is None:
        decay = 0.1 if config.optimizer == "adamw" else 0.0
    return training.Settings(
        steps=config.steps,
        batch_size=config.batch_size,
        optimizer=config.optimizer,
        learning_rate=config.learning_rate,
        schedule=config.schedule,
        weight_decay=decay,
        averaging_decay=config.averaging_decay,
        max_gradient_norm=config.max_gradient_norm,
        seed=config.seed,
        evaluate_every=config.evaluate_every,
    )


def scored(
    config: Config,
    models: Mapping[str, LatentModel],
    images: Images,
    seconds: Mapping[str, float],
) -> tuple[dict[str, Result], Scores]:
    """Return what trained models reach on test images, and the scores of each image."""
    clusters = torch.arange(len(images.test)) if images.clusters is None else images.clusters
    chosen = np.random.default_rng(config.seed).permutation(len(images.train))[:TRAIN_IMAGES]
    rows = torch.from_numpy(np.sort(chosen))
    some = images.train[rows]
    found = {
        name: score(
            model,
            images.test,
            samples=config.importance_samples,
            seed=config.seed,
            given=run.given(model, images, "test"),
        )
        for name, model in models.items()
    }
    kept = {
        name: ImageScores(
            each.bound,
            each.log_likelihood,
            each.fewer,
            bounds(
                models[name],
                some,
                seed=config.seed,
                given=run.given(models[name], images, "train", rows),
            ),
        )
        for name, each in found.items()
    }
    scores = Scores(kept, clusters)
    first = found[config.posteriors[0]]
    results = {
        name: Result(
            *scores.mean_and_error(each.bound),
            *scores.mean_and_error(each.log_likelihood),
            *scores.mean_and_error(each.log_likelihood - first.log_likelihood),
            float(each.kl.mean()),
            each.active,
            each.kls.mean(0).tolist(),
            seconds[name],
        )
        for name, each in found.items()
    }
    return results, scores
