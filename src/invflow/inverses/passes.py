"""The inverse of an autoregressive transform by one pass per group: the textbook reference."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.inverses.pair import Pair


def solve(pair: Pair, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the z that an autoregressive transform maps to `x`, with all its derivatives.

    Pass d computes group d from the features before it; later features are still zero. The last
    pass has read every feature that parameters depend on, so its parameters are those at z. Plain
    autograd keeps the graph of all passes.

    Args:
        pair: the conditioner and the map.
        x: data, (*batch, features).
        context: as for the conditioner.

    Returns:
        z, shaped like `x`, and the parameters there, (*batch, features, outputs).
    """
    z, params, end = torch.zeros_like(x), x, 0
    for size in pair.conditioner.groups:
        first, end = end, end + size
        params = pair.params(z, context)
        solved, _ = pair.univariate.inverse(x, params)
        z = torch.cat([z[..., :first], solved[..., first:end], z[..., end:]], -1)
    return z, params
