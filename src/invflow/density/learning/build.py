"""The density of a table, built from the arguments of the estimator."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from invflow._checks import plain
from invflow.density.learning.imputer import Imputer
from invflow.density.learning.model import TableDensity
from invflow.density.table import Columns
from invflow.training.batches import generator

#: Arguments of the flow that follow from the table and other arguments.
DERIVED = ("name", "features", "context", "generator")


def build(
    columns: Columns,
    seed: int,
    flow: str,
    transforms: int | None = None,
    hidden_features: Sequence[int] | None = None,
    flow_options: Mapping[str, Any] | None = None,
    members: int = 1,
    networks: int | None = None,
) -> tuple[TableDensity, Imputer | None]:
    """Return an untrained density, and an imputer if values may be missing.

    Args:
        columns: of the table.
        seed: random seed of the weights.
        flow: name of the flow.
        transforms: number of transforms; None for the flow's default.
        hidden_features: widths of hidden layers; None for the flow's default.
        flow_options: further arguments of the flow.
        members: number of flows in an ensemble.
        networks: number of networks of the categories; None for one to each flow.

    Raises:
        TypeError: if the flow does not have an argument.
        ValueError: if the flow is unknown, an argument is out of range, or `flow_options` has an
            argument that follows from the table or from other arguments.
    """
    if not isinstance(flow_options, Mapping | None):
        raise TypeError(f"flow_options must be a mapping from arguments, got {flow_options!r}")
    options: dict[str, Any] = {} if flow_options is None else plain(flow_options)
    derived = [name for name in DERIVED if name in options]
    if derived:
        raise ValueError(
            f"flow_options must not contain {derived[0]!r}, which is set by the table and the "
            "other arguments"
        )
    described: dict[str, Any] = {"name": flow, **options}
    if transforms is not None:
        described["transforms"] = plain(transforms)
    if hidden_features is not None:
        described["hidden_features"] = plain(hidden_features)
    weights = generator("cpu", seed)
    try:
        model = TableDensity(
            columns,
            described,
            members=members,
            networks=members if networks is None else networks,
            generator=weights,
        )
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown is None or unknown[1] not in described:
            raise
        where = " of flow_options" if unknown[1] in options else ""
        raise TypeError(
            f"the flow {flow!r} does not take {unknown[1]!r}; leave it out{where}"
        ) from error
    return model, Imputer(model, generator=weights) if columns.missing else None
