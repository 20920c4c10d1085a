"""What an estimator's arguments say of its training, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invflow import _checks, training
from invflow._checks import plain
from invflow.density.learning import maximum_likelihood

if TYPE_CHECKING:
    from invflow.density.estimator import FlowDensity


def fraction(density: FlowDensity) -> float:
    """Return the share of the rows to set aside.

    Raises:
        TypeError, ValueError: it is not a number between 0 and 1.
    """
    share = _checks.number("validation_fraction", density.validation_fraction)
    if not 0 < share < 1:
        raise ValueError(f"validation_fraction must be between 0 and 1, got {share}")
    return share


def settings(density: FlowDensity, rows: int, seed: int) -> training.Settings:
    """Return how to train on this number of rows.

    Raises:
        TypeError, ValueError: an argument out of range, or of the wrong type.
    """
    return maximum_likelihood.settings(
        rows,
        seed,
        steps=plain(density.steps),
        batch_size=plain(density.batch_size),
        learning_rate=plain(density.learning_rate),
        patience=plain(density.patience),
    )
