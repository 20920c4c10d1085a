"""Log densities of rows, complete or with gaps."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.density.learning import conditional
from invflow.density.learning.imputer import Imputer
from invflow.density.learning.model import TableDensity
from invflow.density.table import Rows, copies
from invflow.density.table.samples import Floats

#: Rows scored at once.
SCORED_AT_ONCE = 8192


@torch.no_grad()
def log_density(model: TableDensity, imputer: Imputer | None, rows: Rows) -> Floats:
    """Return the log density of rows, in nats and the units of the table, shape (rows,).

    Args:
        model: the density.
        imputer: of that density; None if no values are missing.
        rows: of the table.
    """
    parts = rows.parts(SCORED_AT_ONCE)
    scores = [log_density_of(model, imputer, x, context) for x, context in parts]
    found = torch.cat(scores).numpy()
    if rows.columns.copies:
        frames = map(rows.frame, range(len(rows.blocks)))
        found += copies.log_density(frames, rows.columns.copies)
    return found


@torch.no_grad()
def log_density_of(
    model: TableDensity, imputer: Imputer | None, x: Tensor, context: Tensor
) -> Tensor:
    """Return the log density of features without copies, shape (rows,).

    Args:
        model: the density.
        imputer: of that density; None if no values are missing.
        x: codes, shape (rows, features), NaN where missing.
        context: shape (rows, context size).
    """
    gaps = x.sum(-1).isnan()
    if imputer is None or not gaps.any():
        return model.log_prob(x, context)
    score = x.new_zeros(len(x))  # of a row with nothing observed: an integral over all rows
    score[~gaps] = model.log_prob(x[~gaps], context[~gaps])
    gaps &= ~x.isnan().all(-1)
    score[gaps] = conditional.log_prob(model, imputer, x[gaps], context[gaps])
    return score
