"""How to train: optimizers and schedules by name, and everything else that decides the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from invflow import _checks

#: Optimizers by name.
OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
}
#: By name, the factor of the learning rate after a number of steps, out of a number of them.
SCHEDULES: Mapping[str, Callable[[int, int], float]] = {
    "cosine": lambda done, steps: 0.5 * (1 + math.cos(math.pi * done / steps)),
    "constant": lambda done, steps: 1.0,
}


@dataclass(frozen=True)
class Settings:
    """How to train.

    Args:
        steps: number of updates.
        batch_size: rows per update, those of all devices together.
        optimizer: one of `OPTIMIZERS`.
        learning_rate: at the start.
        schedule: of the learning rate, one of `SCHEDULES`: "cosine" falls to zero.
        weight_decay: AdamW's; 0 for the others.
        averaging_decay: decay of an exponential moving average of the weights, in [0, 1), 0 for none. The
            averaged weights are what is evaluated and kept.
        max_gradient_norm: largest norm of a gradient.
        seed: of batches and noise.
        evaluate_every: steps between evaluations; each is followed by a checkpoint.
        patience: the number of successive evaluations without an improvement that end the
            training; 0 to go on regardless.

    Raises:
        TypeError: `averaging_decay` is not a number, or `patience` is not an integer.
        ValueError: an unknown name, an `averaging_decay` or `patience` out of range, or a weight decay with
            an optimizer other than AdamW.
    """

    steps: int
    batch_size: int
    optimizer: str
    learning_rate: float
    schedule: str
    weight_decay: float
    averaging_decay: float
    max_gradient_norm: float
    seed: int
    evaluate_every: int
    patience: int = 0

    def __post_init__(self) -> None:
        _checks.choice("optimizer", self.optimizer, OPTIMIZERS)
        _checks.choice("schedule", self.schedule, SCHEDULES)
        _checks.settle(
            self, averaging_decay=_checks.number("averaging_decay", self.averaging_decay)
        )
        if not 0 <= self.averaging_decay < 1:
            raise ValueError(f"averaging_decay must be in [0, 1), got {self.averaging_decay}")
        _checks.settle(
            self, patience=_checks.positive_integer("patience", self.patience, minimum=0)
        )
        if self.weight_decay and self.optimizer != "adamw":
            raise ValueError(
                f"weight_decay must be 0 with the optimizer {self.optimizer!r}, "
                f"got {self.weight_decay}; 'adamw' has one"
            )

    def build_optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of a model's parameters."""
        options: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        if self.optimizer != "adamax":  # of which torch has no fused form
            options["fused"] = True
        return OPTIMIZERS[self.optimizer](model.parameters(), **options)

    def learning_rate_after(self, done: int) -> float:
        """Return the learning rate of the step that follows `done` steps."""
        return self.learning_rate * SCHEDULES[self.schedule](done, self.steps)
