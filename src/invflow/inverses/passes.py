"""The inverse of an autoregressive transform by one pass per feature: the textbook reference."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.conditioners import Conditioner
from invflow.conditioners.soft_clip import soft_clip
from invflow.univariate import Univariate


def solve(
    conditioner: Conditioner,
    univariate: Univariate,
    input_bound: float,
    x: Tensor,
    context: Tensor | None,
) -> Tensor:
    """Return the z that an autoregressive transform maps to `x`, with all its derivatives.

    Pass d gives feature d from the features before it; those after it are still zero.
    Plain autograd keeps the graph of all passes.

    Args:
        conditioner: gives the parameters.
        univariate: the map of each feature.
        input_bound: the bound of what the conditioner reads.
        x: data, (*batch, features).
        context: as the conditioner wants it.
    """
    z = torch.zeros_like(x)
    for d in range(conditioner.features):
        solved, _ = univariate.inverse(x, conditioner(soft_clip(z, input_bound), context))
        z = torch.cat([z[..., :d], solved[..., d : d + 1], z[..., d + 1 :]], -1)
    return z
