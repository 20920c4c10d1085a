"""A table's density, built by the estimator's arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from invflow._checks import plain
from invflow.density.learning.imputer import Imputer
from invflow.density.learning.model import TableDensity
from invflow.density.table import Columns
from invflow.training.batches import generator

#: What the table and other arguments say of the flow.
DECIDED = ("name", "features", "context", "generator")


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
        ValueError: an unknown flow, an argument out of range, or one that is decided without it.
    """
    options: dict[str, Any] = {} if flow_options is None else plain(flow_options)
    decided = [name for name in DECIDED if name in options]
    if decided:
        raise ValueError(f"flow_options must not hold {decided[0]!r}, which is decided without it")
    described: dict[str, Any] = {"name": flow, **options}
    if transforms is not None:
        described["transforms"] = plain(transforms)
    if hidden_features is not None:
        described["hidden_features"] = plain(hidden_features)
    weights = generator("cpu", seed)
    try:
        model = TableDensity(columns, described, generator=weights)
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown is None or unknown[1] not in described:
            raise
        where = "flow_options" if unknown[1] in options else unknown[1]
        raise TypeError(f"{where}: the flow {flow!r} has no argument {unknown[1]!r}") from error
    return model, Imputer(model, generator=weights) if columns.missing else None
