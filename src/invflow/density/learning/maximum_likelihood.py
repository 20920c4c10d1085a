"""Training by maximum likelihood, stopped when the validation rows no longer improve."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from invflow import _checks, training
from invflow.density.learning.imputer import Imputer, hide
from invflow.density.learning.model import TableDensity
from invflow.density.table import Rows
from invflow.training import metrics
from invflow.training.batches import generator

NAME = "density"
Report = Callable[[int, str], None]
#: Validation rows evaluated at once.
EVALUATED_AT_ONCE = 4096


class Trained(nn.Module):
    """A density, with an imputer if values are missing. Calling it returns the mean loss of rows.

    The loss of a complete row is minus its log density; of a row with missing values, minus the
    bound on its log density from a draw of the imputer. In addition the imputer is trained on
    completed rows with random values hidden, so that it can fill every pattern of missing values.

    Args:
        model: the density.
        imputer: None if no values are missing.
    """

    def __init__(self, model: TableDensity, imputer: Imputer | None) -> None:
        super().__init__()
        self.model = model
        self.imputer = imputer

    def forward(self, fetch: Callable[[], tuple[Tensor, Tensor]], noise: torch.Generator) -> Tensor:
        # A function, not tensors: mixed precision would round these before they are encoded.
        x, context = fetch()
        uniform = torch.rand(x.shape, generator=noise, dtype=x.dtype, device=x.device)
        if self.imputer is None:
            return -self.model.bound(x, context, uniform).mean()
        bounds, whole = self.bounds(x, context, uniform, noise)
        there = hide(whole, noise)
        normal = torch.randn(x.shape, generator=noise, dtype=x.dtype, device=x.device)
        learned = self.imputer.log_prob(whole.detach(), there, context, normal)
        return -bounds.mean() - learned.double().mean()

    def bounds(
        self, x: Tensor, context: Tensor, uniform: Tensor, noise: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return bounds on the log density of rows with gaps, and the completed rows.

        Args:
            x: shape (rows, features), NaN where missing.
            context: shape (rows, context size).
            uniform: in [0, 1), the shape of x.
            noise: random numbers.
        """
        y, ladj = self.model.encoding(x, uniform)
        normal = torch.randn(x.shape, generator=noise, dtype=x.dtype, device=x.device)
        imputer = cast(Imputer, self.imputer)
        filled, log_p, log_w = imputer.complete(self.model, y, context, normal)
        # The log density of a complete row is known exactly.
        bounds = torch.where(y.isnan().any(-1), log_w, log_p)
        return bounds + ladj.nansum(-1), filled


def settings(
    rows: int, seed: int, *, steps: int, batch_size: int, learning_rate: float, patience: int
) -> training.Settings:
    """Return training settings, with an evaluation every epoch, but at least every 500 steps.

    Args:
        rows: number of training rows.
        seed: random seed of batches and noise.
        steps: largest number of updates.
        batch_size: rows per update.
        learning_rate: Adam's initial learning rate; it decays to zero along a cosine.
        patience: as for `training.Settings`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range.
    """
    steps = _checks.positive_integer("steps", steps)
    batch_size = _checks.positive_integer("batch_size", batch_size)
    learning_rate = _checks.positive("learning_rate", learning_rate)
    epoch = math.ceil(rows / min(batch_size, rows))
    return training.Settings(
        steps=steps,
        batch_size=batch_size,
        optimizer="adam",
        learning_rate=learning_rate,
        schedule="cosine",
        weight_decay=0.0,
        averaging_decay=0.0,
        max_gradient_norm=10.0,
        seed=seed,
        evaluate_every=min(steps, max(50, min(epoch, 500))),
        patience=patience,
    )


def fit(
    model: TableDensity,
    imputer: Imputer | None,
    train: Rows,
    validation: Rows,
    settings: training.Settings,
    fabric: Any,
    directory: Path | None = None,
    report: Report = lambda step, line: None,
    compile: bool = False,
) -> list[tuple[int, float]]:
    """Train in place, and keep the weights that are best on the validation rows.

    Args:
        model: the density.
        imputer: None if no values are missing.
        train: training rows.
        validation: rows that decide when to stop and which weights to keep.
        settings: of the training.
        fabric: the devices to train on.
        directory: as for `training.fit`.
        report: called after every step.
        compile: whether to compile the density while it is trained.

    Returns:
        Pairs of a step and the mean log density of the validation rows in nats. With a directory,
        they include those of earlier processes.

    Raises:
        ValueError: if a checkpoint is damaged or belongs to another run, or the devices cannot
            share batches evenly.
        FloatingPointError: if the training diverges.
    """
    curve: list[tuple[int, float]] = []
    now = 0

    def loss(trained: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        nonlocal now
        now = step

        def fetch() -> tuple[Tensor, Tensor]:
            x, context = train[rows.cpu()]
            return x.to(rows.device), context.to(rows.device)

        return trained(fetch, noise)

    def evaluate(trained: nn.Module) -> dict[str, float]:
        bound = mean_bound(cast(Trained, trained), validation, settings.seed)
        curve.append((now, bound))
        return {"loss": -bound, "bound": bound}

    whole = Trained(model, imputer)
    training.fit(
        fabric,
        {NAME: whole},
        train.blocks,
        loss,
        evaluate,
        settings,
        directory,
        report,
        parts=[model] if compile else [],
    )
    return curve if directory is None else _recorded(directory)


def _recorded(directory: Path) -> list[tuple[int, float]]:
    """Return the curve of a run, from its metrics."""
    rows = metrics.read(directory)
    return [(row["step"], row["bound"]) for row in rows if row["split"] == "validation"]


def mean_bound(trained: Trained, rows: Rows, seed: int) -> float:
    """Return the mean bound on the log density of rows, which training maximises."""
    model = trained.model
    device = model.shifts.device
    noise = generator(device, seed)
    total, count = 0.0, 0
    for x, context in rows.parts(EVALUATED_AT_ONCE):
        x, context = x.to(device), context.to(device)
        uniform = model.shifts[torch.arange(len(x), device=device) % len(model.shifts)]
        if trained.imputer is None:
            bounds = model.bound(x, context, uniform)
        else:
            bounds, _ = trained.bounds(x, context, uniform, noise)
        total += float(bounds.sum())
        count += len(x)
    return total / count
