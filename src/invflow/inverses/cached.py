"""The inverse of an autoregressive transform in one sweep, and its gradient in one more.

The sweep takes the groups of features in order: the conditioner's decoder computes the parameters
of the next group, and the univariate map is inverted (`decode`). The gradient is the same sweep in
reverse if the conditioner has one (`reverse`); otherwise the sweep is differentiated (`replay`).
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from invflow._operator import call
from invflow._registry import is_own
from invflow.conditioners import CONDITIONERS, CachedConditioner, Conditioner, ReversiblePlan
from invflow.inverses import replay, reverse
from invflow.inverses.decode import Method, decoded
from invflow.inverses.pair import Pair


def method(pair: Pair) -> Method | None:
    """Return how the cached inverse of a pair works; None if it has none (see `refusal`)."""
    conditioner, univariate, input_bound = pair
    if not isinstance(conditioner, CachedConditioner) or refusal(conditioner):
        return None
    sweeping = _sweeping(conditioner)
    kind = CONDITIONERS.name_of(sweeping) if is_own(sweeping) else None
    return Method(kind or "", conditioner.plan, univariate, input_bound)


def refusal(conditioner: Conditioner) -> str | None:
    """Return why a conditioner has no cached inverse; None if it has one.

    The sweep of a class ignores what a subclass overrides.
    """
    name = type(conditioner).__name__
    if not isinstance(conditioner, CachedConditioner):
        return name
    changed = conditioner.changed(_sweeping(conditioner))
    return f"{name}, which has a {changed[0]} of its own" if changed else None


def _sweeping(conditioner: CachedConditioner) -> type[CachedConditioner]:
    """Return the class that the sweep belongs to: one with a name, else the one that packs."""
    kinds = [kind for kind in type(conditioner).__mro__ if issubclass(kind, CachedConditioner)]
    named = (kind for kind in kinds if CONDITIONERS.name_of(kind) is not None)
    packing = next(kind for kind in kinds if "pack" in vars(kind))
    return next(named, packing)


def solve(method: Method, pair: Pair, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the z that an autoregressive transform maps to `x`, with its first derivatives.

    Args:
        method: how the pair is inverted.
        pair: the conditioner and the map.
        x: data, (*batch, features).
        context: as for the conditioner.

    Returns:
        z, shaped like `x`, and the parameters there, (*batch, features, outputs), in the precision
        of the conditioner.
    """
    batch, features = x.shape[:-1], x.shape[-1]
    offset, weights = cast(CachedConditioner, pair.conditioner).pack(batch, context)
    columns = x.reshape(math.prod(batch), features).t().to(offset.dtype)
    sweep = (
        reverse.ReversedSweep if isinstance(method.plan, ReversiblePlan) else replay.ReplayedSweep
    )
    if torch.compiler.is_exporting():  # an exported program has PyTorch's own operators only
        z, params, _ = decoded(method, columns, offset, list(weights))
    else:
        z, params, _ = call(sweep, method, columns, offset, *weights)
    rows = params.unflatten(0, (features, pair.univariate.parameters)).permute(2, 0, 1)
    return z.t().reshape(x.shape), rows.reshape(*batch, *rows.shape[1:])
