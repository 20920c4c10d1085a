"""A table's density, built by the estimator's arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from invflow.density.imputer import Imputer
from invflow.density.model import TableDensity
from invflow.density.plain import plain
from invflow.density.table import Columns
from invflow.training.batches import generator


def build(
    columns: Columns,
    seed: int,
    flow: str,
    transforms: int | None = None,
    hidden_features: Sequence[int] | None = None,
    flow_options: Mapping[str, Any] | None = None,
) -> tuple[TableDensity, Imputer | None]:
    """Return a density that has learned nothing yet, and what fills gaps where there may be some.

    Args:
        columns: of the table.
        seed: of the weights.
        flow: its name.
        transforms: number of transforms; None for the flow's own default.
        hidden_features: widths of hidden layers; None for the flow's own default.
        flow_options: further arguments of the flow.

    Raises:
        TypeError: arguments that the flow does not have.
        ValueError: an unknown flow, or an argument out of range.
    """
    described: dict[str, Any] = {"name": flow, **plain(flow_options or {})}
    if transforms is not None:
        described["transforms"] = plain(transforms)
    if hidden_features is not None:
        described["hidden_features"] = plain(hidden_features)
    weights = generator("cpu", seed)
    model = TableDensity(columns, described, generator=weights)
    return model, Imputer(model, generator=weights) if columns.missing else None
