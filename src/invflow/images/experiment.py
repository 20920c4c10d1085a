"""A density of images: trained, and scored on images that it has not seen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from invflow import training
from invflow.flows.compiling import worth_compiling
from invflow.images import run
from invflow.images.build import build
from invflow.images.config import Config, Format
from invflow.images.data import Images
from invflow.images.model import EVALUATED_AT_ONCE, ImageDensity
from invflow.images.noise import noisy
from invflow.images.pixels import bits_per_dim
from invflow.images.run import Results, Run, contexts
from invflow.runs.directory import is_finished
from invflow.training import metrics
from invflow.training.loop import Report

NAME = "density"


def train(
    config: Config,
    directory: str | Path,
    *,
    overwrite: bool = False,
    report: Report = lambda step, line: None,
) -> Run:
    """Learn the density of images, score test images, and put everything on disk.

    A run that was stopped resumes from its last checkpoint, and one that is finished is returned as
    it is. Nothing on disk is touched before the data and the settings have been tried. Validation
    images decide when to stop and which weights to keep; test images have no influence.

    Args:
        config: the settings.
        directory: of the run; made if it does not exist.
        overwrite: start from scratch if there is already a run.
        report: called after every training step.

    Raises:
        ImportError: if an extra is not installed.
        FileExistsError: if the directory holds another run, or something else.
        FileNotFoundError, ValueError: if something is wrong with the data or with the settings.
        FloatingPointError: if the training diverges.
    """
    directory = Path(directory)
    images = run.read(config)
    format = Format.of(images)
    metrics.require()
    flow = build(config, format)
    model = run.density(flow, config, format)
    settings = _settings(config, len(images.train))
    training.batch_size(config.batch_size, len(images.train), 1)
    fabric = training.launch(config.accelerator, 1, config.precision)
    run.KIND.prepare(directory, run.begun(config, format), overwrite=overwrite)
    if is_finished(directory):
        report(config.steps, "already finished")
        return run.load(directory, images)

    levels, labels = images.train.flatten(1), images.labels.get("train")

    def loss(trained: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        rows = rows.cpu()
        return trained(levels[rows], None if labels is None else labels[rows], noise)

    def evaluate(trained: nn.Module) -> dict[str, float]:
        model = cast(_Trained, trained).model
        bits = _bits(_scored(model, images, format, "validation", 1, config.seed), format)
        # What is kept is best by what is trained.
        loss = _bits(_noisy(model, images, format, config), format) if config.noise else bits
        return {"loss": loss, "bits": bits}

    trained = {NAME: _Trained(model, config, format)}
    compile = config.compile and worth_compiling(flow, fabric.device, config.precision)
    compiled = [flow] if compile else []
    seconds = training.fit(
        fabric, trained, len(levels), loss, evaluate, settings, directory, report, compiled
    )
    bound = _scored(model, images, format, "test", config.draws, config.seed).double().cpu()
    clusters = torch.arange(len(bound)) if images.clusters is None else images.clusters
    columns = {"bound": bound, "clusters": clusters}
    run.finish(directory, flow.cpu(), Results(seconds=seconds[NAME]), columns)
    return run.load(directory, images)


class _Trained(nn.Module):
    """A density whose call is the loss of images, in bits per dimension."""

    def __init__(self, model: ImageDensity, config: Config, format: Format) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.format = format

    def forward(self, levels: Tensor, labels: Tensor | None, noise: torch.Generator) -> Tensor:
        model, context = self.model, None
        if labels is not None:
            labels = labels.to(model.like.device)
            hidden = torch.rand(labels.shape, generator=noise, device=noise.device)
            known = hidden >= self.config.hidden_labels
            context = contexts(model, self.format, torch.where(known, labels, -1))
        if self.config.noise:
            nats = noisy(model, levels, self.config.noise, noise, context=context)
        else:
            nats = model(levels, noise, context=context)
        return bits_per_dim(nats, self.format.pixels).mean()


def _scored(
    model: ImageDensity, images: Images, format: Format, part: str, draws: int, seed: int
) -> Tensor:
    """Return bounds on the log probability of the images of a part, in nats."""
    noise = torch.Generator(model.like.device).manual_seed(seed)
    levels = getattr(images, part).flatten(1)
    context = contexts(model, format, images.labels[part]) if images.classes else None
    return model.log_likelihood(levels, draws, noise, context=context)


def _noisy(model: ImageDensity, images: Images, format: Format, config: Config) -> Tensor:
    """Return the log density of noisy validation images, the same noise every time, in nats."""
    noise = torch.Generator(model.like.device).manual_seed(config.seed)
    parts = torch.arange(len(images.validation)).split(EVALUATED_AT_ONCE)
    labels = images.labels["validation"] if images.classes else None
    found: list[Tensor] = []
    for rows in parts:
        context = None if labels is None else contexts(model, format, labels[rows])
        levels = images.validation[rows]
        found.append(noisy(model, levels, config.noise, noise, context=context))
    return torch.cat(found)


def _bits(nats: Tensor, format: Format) -> float:
    return float(bits_per_dim(nats, format.pixels).mean())


def _settings(config: Config, images: int) -> training.Settings:
    """Return the settings of the training, with an evaluation every epoch or so."""
    epoch = math.ceil(images / min(config.batch_size, images))
    return training.Settings.of(
        config,
        optimizer="adam",
        schedule="cosine",
        weight_decay=0.0,
        averaging_decay=0.0,
        max_gradient_norm=1.0,
        evaluate_every=min(config.steps, max(50, min(epoch, 500))),
    )
