"""The inverse of an autoregressive transform by one pass per feature: the textbook reference."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.inverses.pair import Pair


def solve(pair: Pair, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the z that an autoregressive transform maps to `x`, with all its derivatives.

    Pass d gives feature d from the features before it; those after it are still zero. The last pass
    has read all features that parameters depend on: what it gave are the parameters at z.
    Plain autograd keeps the graph of all passes.

    Args:
        pair: what is inverted.
        x: data, (*batch, features).
        context: as the conditioner wants it.

    Returns:
        z, shaped like `x`, and the parameters there, (*batch, features, outputs).
    """
    z, params = torch.zeros_like(x), x
    for d in range(x.shape[-1]):
        params = pair.params(z, context)
        solved, _ = pair.univariate.inverse(x, params)
        z = torch.cat([z[..., :d], solved[..., d : d + 1], z[..., d + 1 :]], -1)
    return z, params
