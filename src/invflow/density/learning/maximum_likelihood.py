"""Training by maximum likelihood, stopped when the validation rows no longer improve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from invflow import _checks, training
from invflow.density.learning.defaults import MOST
from invflow.density.learning.imputer import Imputer, hide
from invflow.density.learning.model import TableDensity
from invflow.density.table import Rows
from invflow.training import metrics
from invflow.training.batches import generator
from invflow.training.loop import Report

NAME = "density"
#: Validation rows evaluated at once.
EVALUATED_AT_ONCE = 4096


class Trained(nn.Module):
    """A density, with an imputer if values are missing. Calling it returns the mean loss of rows.

    The loss of a complete row is minus its log density; of a row with missing values, minus the
    bound on its log density from a draw of the imputer. The loss of an ensemble is the mean over
    its members. In addition the imputer is trained on completed rows with random values hidden, so
    that it can fill every pattern of missing values.

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
        (numbers, categories), whole = self.bounds(x, context, uniform, noise)
        loss = -numbers.mean() - categories.mean()
        return loss if self.imputer is None else loss + self.misfit(whole.detach(), context, noise)

    def bounds(
        self, x: Tensor, context: Tensor, uniform: Tensor, noise: torch.Generator
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Return bounds on the log density of rows, with gaps or without, and the completed rows.

        Args:
            x: shape (rows, features), NaN where missing.
            context: shape (rows, context size).
            uniform: in [0, 1), the shape of x.
            noise: random numbers.

        Returns:
            Bounds of the numbers and of the categories by each member, (members, rows); and
            encoded rows, shape (rows, features).
        """
        y, ladj = self.model.encoding(x, uniform)
        whole, drawn = y, y.new_zeros(2, len(y))
        if self.imputer is not None:
            normal = torch.randn(x.shape, generator=noise, dtype=x.dtype, device=x.device)
            whole, drawn = self.imputer.complete(y, context, normal)
        # The log density of a complete row is known exactly.
        drawn = torch.where(y.isnan().any(-1), drawn, 0.0)
        numbers, categories = self.model(whole, context)
        return (numbers + ladj.nansum(-1) - drawn[0], categories - drawn[1]), whole

    def misfit(self, whole: Tensor, context: Tensor, noise: torch.Generator) -> Tensor:
        """Return the mean loss of the imputer on complete rows with random values hidden.

        Args:
            whole: encoded rows, shape (rows, features).
            context: shape (rows, context size).
            noise: random numbers.
        """
        there = hide(whole, noise)
        normal = torch.randn(whole.shape, generator=noise, dtype=whole.dtype, device=whole.device)
        learned = cast(Imputer, self.imputer).log_prob(whole, there, context, normal)
        return -learned.double().mean()


def settings(
    seed: int,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    evaluate_every: int,
    patience: int,
) -> training.Settings:
    """Return training settings.

    Args:
        seed: random seed of batches and noise.
        steps: largest number of updates.
        batch_size: rows per update.
        learning_rate: AdamW's initial learning rate; it decays to zero along a cosine.
        weight_decay: of AdamW.
        evaluate_every: steps between evaluations; fewer if there are fewer steps.
        patience: as for `training.Settings`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range.
    """
    steps = _checks.positive_integer("steps", steps)
    if _checks.number("weight_decay", weight_decay) < 0:
        raise ValueError(f"weight_decay must be 0 or more, got {weight_decay}")
    return training.Settings(
        steps=steps,
        batch_size=_checks.positive_integer("batch_size", batch_size),
        optimizer="adamw",
        learning_rate=_checks.positive("learning_rate", learning_rate),
        schedule="cosine",
        weight_decay=weight_decay,
        averaging_decay=0.0,
        max_gradient_norm=10.0,
        seed=seed,
        evaluate_every=min(steps, evaluate_every),
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
    """Train in place, and keep the weights of each part that are best on the validation rows.

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
    held = first_rows(validation)
    now = 0

    def loss(trained: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        nonlocal now
        now = step

        def fetch() -> tuple[Tensor, Tensor]:
            x, context = train[rows.cpu()]
            return x.to(rows.device), context.to(rows.device)

        return trained(fetch, noise)

    def evaluate(trained: nn.Module) -> dict[str, float]:
        losses = mean_losses(cast(Trained, trained), held, settings.seed)
        curve.append((now, -losses["loss"]))
        return {**losses, "bound": -losses["loss"]}

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


def first_rows(rows: Rows) -> list[tuple[Tensor, Tensor]]:
    """Return the first `MOST` rows, at most `EVALUATED_AT_ONCE` at a time."""
    found: list[tuple[Tensor, Tensor]] = []
    left = MOST
    for x, context in rows.parts(EVALUATED_AT_ONCE):
        found.append((x[:left].clone(), context[:left].clone()))
        left -= len(found[-1][0])
        if not left:
            break
    return found


def mean_losses(
    trained: Trained, rows: Sequence[tuple[Tensor, Tensor]], seed: int
) -> dict[str, float]:
    """Return the mean losses of rows: of all, and of each part, named by its path.

    Args:
        trained: the density, with its imputer.
        rows: to evaluate, some at a time.
        seed: of the random numbers that complete rows and hide values.
    """
    model = trained.model
    device = model.shifts.device
    noise = generator(device, seed)
    found: list[tuple[Tensor, Tensor]] = []
    misfit, count = 0.0, 0
    for x, context in rows:
        x, context = x.to(device), context.to(device)
        uniform = model.shifts[torch.arange(len(x), device=device) % len(model.shifts)]
        bounds, whole = trained.bounds(x, context, uniform, noise)
        found.append(bounds)
        if trained.imputer is not None:
            misfit += len(x) * float(trained.misfit(whole, context, noise))
        count += len(x)
    parts = [-torch.cat(bounds, -1).mean(-1) for bounds in zip(*found, strict=True)]
    losses = {"loss": sum(float(each.mean()) for each in parts)}
    for paths, each in zip(model.paths, parts, strict=True):
        named = zip(paths, each.tolist(), strict=False)  # there may be no part
        losses |= {f"model.{path}.loss": loss for path, loss in named}
    return losses if trained.imputer is None else losses | {"imputer.loss": misfit / count}
