"""Log densities of a table's rows, whole or with gaps."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.density.learning import conditional
from invflow.density.learning.imputer import Imputer
from invflow.density.learning.model import TableDensity
from invflow.density.table import Rows
from invflow.density.table.samples import Floats

#: Rows that are scored at once.
CHUNK = 8192


@torch.no_grad()
def log_density(model: TableDensity, imputer: Imputer | None, rows: Rows) -> Floats:
    """Return the log density of rows, in nats and the units of the table, shape (rows,).

    Args:
        model: the density.
        imputer: of that density; None where nothing is missing.
        rows: of the table.
    """
    scores: list[Tensor] = []
    for x, context in rows.parts(CHUNK):
        score = x.new_empty(len(x))
        gaps = x.isnan().any(-1)
        score[~gaps] = model.log_prob(x[~gaps], context[~gaps])
        if imputer is not None and gaps.any():
            score[gaps] = conditional.log_prob(model, imputer, x[gaps], context[gaps])
        scores.append(score)
    return torch.cat(scores).numpy()
