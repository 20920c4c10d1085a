"""Training by maximum likelihood, stopped where rows set aside no longer gain."""

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
#: Rows that are evaluated at once.
CHUNK = 4096


class Trained(nn.Module):
    """A density, with an imputer where rows have gaps, whose call is the mean loss of rows.

    The loss of a whole row is minus its log density; of one with missing values, minus the bound
    on its log density that a draw of the imputer gives. Beside it the imputer learns from rows, the
    gaps filled, of which any part is hidden, to be of use for every pattern.

    Args:
        model: the density.
        imputer: None where nothing is missing.
    """

    def __init__(self, model: TableDensity, imputer: Imputer | None) -> None:
        super().__init__()
        self.model = model
        self.imputer = imputer

    def forward(self, fetch: Callable[[], tuple[Tensor, Tensor]], noise: torch.Generator) -> Tensor:
        # Not given as tensors: in mixed precision they would be rounded before they are encoded.
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
        """Return bounds on the log density of rows with gaps, and the rows with the gaps filled.

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
        # A whole row needs no bound.
        bounds = torch.where(y.isnan().any(-1), log_w, log_p)
        return bounds + ladj.nansum(-1), filled


def settings(
    rows: int, seed: int, *, steps: int, batch_size: int, learning_rate: float, patience: int
) -> training.Settings:
    """Return how to train, with an evaluation each epoch, and one in 50 to 500 steps.

    Args:
        rows: how many there are to learn.
        seed: of batches and noise.
        steps: number of updates, at most.
        batch_size: rows per update.
        learning_rate: Adam's at the start; it falls to zero along a cosine.
        patience: as for `training.Settings`.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an argument out of range.
    """
    steps = _checks.positive_integer("steps", steps)
    batch_size = _checks.positive_integer("batch_size", batch_size)
    learning_rate = _checks.number("learning_rate", learning_rate)
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate}")
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
    """Train in place, and leave what did best on the rows set aside.

    Args:
        model: the density.
        imputer: None where nothing is missing.
        train: rows to learn.
        validation: rows that decide when to stop and what to keep.
        settings: how to train.
        fabric: where to train.
        directory: as for `training.fit`.
        report: told of every step.
        compile: whether to compile the density while it is trained.

    Returns:
        Mean log densities of the validation rows: step, and nats per row; where there is a
        directory, those of earlier processes too.

    Raises:
        ValueError: a damaged checkpoint, or one of another run, or batches that the devices cannot
            share evenly.
        FloatingPointError: the training diverges.
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
    """Return the mean over rows of the bounds that training maximises, with fixed noise."""
    model = trained.model
    device = model.shifts.device
    noise = generator(device, seed)
    total, count = 0.0, 0
    for x, context in rows.parts(CHUNK):
        x, context = x.to(device), context.to(device)
        uniform = model.shifts[torch.arange(len(x), device=device) % len(model.shifts)]
        if trained.imputer is None:
            bounds = model.bound(x, context, uniform)
        else:
            bounds, _ = trained.bounds(x, context, uniform, noise)
        total += float(bounds.sum())
        count += len(x)
    return total / count
