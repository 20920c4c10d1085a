"""The settings of a density that follow from the size of its table."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields, replace
from typing import Any

from invflow import _checks
from invflow._checks import plain
from invflow.flows import Flow

#: Tables with at most this many rows are learned by an ensemble of this many flows.
ENSEMBLES = {1_000: 5, 5_000: 2}
#: From this many rows on, hidden layers are wider and batches larger.
WIDE, LARGE = 30_000, 100_000
#: The fewest and the most updates; between them, half the number of rows.
FEWEST_STEPS, MOST_STEPS = 600, 3000
#: Weight decay, which is divided by the number of rows and at most one.
DECAY = 500
#: The fraction of the rows for validation, and the most rows.
FRACTION, MOST = 0.1, 10_000
#: Rows for each step between evaluations; the most and the fewest steps between them.
ROWS_PER_STEP, LEAST_OFTEN, MOST_OFTEN = 60, 200, 10


@dataclass(frozen=True)
class Defaults:
    """The settings that an estimator takes if it is given none.

    Attributes:
        ensemble: number of flows.
        hidden_features: widths of the hidden layers; None for the flow's default.
        steps: largest number of updates.
        batch_size: rows per update.
        weight_decay: of AdamW.
        validation_fraction: fraction of the rows used for validation.
        evaluate_every: steps between evaluations.
    """

    ensemble: int
    hidden_features: tuple[int, ...] | None
    steps: int
    batch_size: int
    weight_decay: float
    validation_fraction: float
    evaluate_every: int


def defaults(flow: str, rows: int) -> Defaults:
    """Return the settings of a flow for a number of rows, validation rows included.

    Few rows are learned by several flows, with weights that decay: what these flows make of the
    gaps between rows differs, and their mean is closer to the truth than each. Many rows are worth
    a wider network.

    Args:
        flow: its name.
        rows: of the table.

    Example:
        >>> defaults("nsf", 500).ensemble, defaults("nsf", 500_000).ensemble
        (5, 1)
    """
    members = next((count for most, count in ENSEMBLES.items() if rows <= most), 1)
    simple = flow == "gaussian"  # it has nothing to learn by heart
    wide = rows >= WIDE and "hidden_features" in _arguments(flow)
    return Defaults(
        ensemble=1 if simple else members,
        hidden_features=(128, 128) if wide else None,
        steps=MOST_STEPS if simple else min(MOST_STEPS, max(FEWEST_STEPS, rows // 2)),
        batch_size=1024 if rows >= LARGE else 256,
        weight_decay=0.0 if simple else min(1.0, DECAY / rows),
        validation_fraction=min(FRACTION, MOST / rows),
        evaluate_every=min(LEAST_OFTEN, max(MOST_OFTEN, rows // ROWS_PER_STEP)),
    )


def settled(estimator: Any, found: Defaults) -> Defaults:
    """Return settings, with those that an estimator was given in place of the defaults.

    Args:
        estimator: with attributes that have the names of the settings.
        found: the defaults.

    Raises:
        TypeError: if the number of flows is not an integer.
        ValueError: if it is not positive.
    """
    given = {field.name: getattr(estimator, field.name, None) for field in fields(found)}
    chosen = replace(found, **{k: plain(v) for k, v in given.items() if v is not None})
    return replace(chosen, ensemble=_checks.positive_integer("ensemble", chosen.ensemble))


def _arguments(flow: str) -> set[str]:
    kind = Flow.kinds().get(flow)
    return set() if kind is None else set(inspect.signature(kind).parameters)
