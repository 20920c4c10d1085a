"""How to train: optimizers and schedules by name, and all other settings of the loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import torch

from invflow import _checks

#: Optimizers by name.
OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
}
#: By name, the factor of the learning rate, given the steps done and the total number of steps.
SCHEDULES: Mapping[str, Callable[[int, int], float]] = {
    "cosine": lambda done, steps: 0.5 * (1 + math.cos(math.pi * done / steps)),
    "constant": lambda done, steps: 1.0,
}


@dataclass(frozen=True)
class Settings:
    """How to train.

    Args:
        steps: number of updates.
        batch_size: rows per update, over all devices.
        optimizer: one of `OPTIMIZERS`.
        learning_rate: initial learning rate.
        schedule: of the learning rate, one of `SCHEDULES`; "cosine" decays to zero.
        weight_decay: for AdamW; must be 0 for the others.
        averaging_decay: decay of an exponential moving average of the weights, in [0, 1); 0 for no
            average. The averaged weights are the ones that are evaluated and kept.
        max_gradient_norm: gradients with a larger norm are scaled down to it.
        seed: of batches and noise.
        evaluate_every: steps between evaluations; a checkpoint follows each.
        patience: stop after this many evaluations without improvement; 0 for never.

    Raises:
        TypeError: if `averaging_decay` is not a number, or `patience` not an integer.
        ValueError: if a name is unknown, `averaging_decay` or `patience` is out of range, or
            `weight_decay` is set for an optimizer other than AdamW.
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
            self,
            averaging_decay=_checks.number("averaging_decay", self.averaging_decay),
            patience=_checks.positive_integer("patience", self.patience, minimum=0),
        )
        if not 0 <= self.averaging_decay < 1:
            raise ValueError(f"averaging_decay must be in [0, 1), got {self.averaging_decay}")
        if self.weight_decay and self.optimizer != "adamw":
            raise ValueError(
                f"weight_decay must be 0 with the optimizer {self.optimizer!r}, "
                f"got {self.weight_decay}; use 'adamw' for weight decay"
            )

    @classmethod
    def of(cls, config: object, **others: Any) -> Self:
        """Return the settings that a configuration holds under the same names.

        Args:
            config: an object with attributes.
            others: settings that `config` does not have, or that replace its own.

        Raises:
            TypeError: if a setting is missing, or is unknown.

        Example:
            >>> from types import SimpleNamespace
            >>> config = SimpleNamespace(steps=9, batch_size=4, optimizer="adam", seed=0, more=1)
            >>> config.learning_rate, config.weight_decay, config.averaging_decay = 0.1, 0.0, 0.0
            >>> Settings.of(
            ...     config, schedule="constant", max_gradient_norm=1.0, evaluate_every=3
            ... ).steps
            9
        """
        names = [field.name for field in fields(cls)]
        return cls(**{k: getattr(config, k) for k in names if hasattr(config, k)} | others)

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that a training that is resumed must share with the one that it resumes.

        With a constant rate these are all but the number of steps, which may be raised.
        """
        same = asdict(self)
        if self.schedule == "constant":
            del same["steps"]
        return same

    def build_optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return an optimizer of a model's parameters."""
        options: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        if self.optimizer != "adamax":  # torch has no fused version of it
            options["fused"] = True
        return OPTIMIZERS[self.optimizer](model.parameters(), **options)

    def learning_rate_after(self, done: int) -> float:
        """Return the learning rate of the step that follows `done` steps."""
        return self.learning_rate * SCHEDULES[self.schedule](done, self.steps)
