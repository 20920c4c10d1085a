"""Probabilities and quantiles of flows of one feature, whose transforms are monotone."""

from __future__ import annotations

import torch
from torch import Size, Tensor
from torch.distributions import transform_to

from invflow.flows.base import Base
from invflow.transforms import Transform


def is_monotone(transform: Transform) -> bool:
    """Return whether a transform is a monotone function of one number."""
    return transform.features == 1 and not transform.wraps


def cdf(
    transform: Transform, base: Base, context: Tensor | None, batch: Size, value: Tensor
) -> Tensor:
    """Return the probability of values up to `value`, (*any, *batch, 1), of shape (*any, *batch).

    Args:
        transform: f, monotone.
        base: the distribution of the noise.
        context: (*batch, context), or None.
        batch: the batch shape.
        value: where.
    """
    z, _ = transform.inverse(value, context)
    below = base.cdf(z).squeeze(-1)
    return torch.where(_increases(transform, context, batch, value), below, 1 - below)


def icdf(
    transform: Transform, base: Base, context: Tensor | None, batch: Size, p: Tensor
) -> Tensor:
    """Return quantiles, (*any, *batch, 1), for probabilities of shape (*any, *batch)."""
    below = torch.where(_increases(transform, context, batch, p), p, 1 - p)
    return transform(base.icdf(below.unsqueeze(-1)), context)[0]


def _increases(transform: Transform, context: Tensor | None, batch: Size, like: Tensor) -> Tensor:
    """Return whether x increases with the noise, shape `batch`."""
    ends = transform_to(transform.domain)(like.new_tensor([[-1.0], [1.0]]))
    ends = ends.reshape(2, *(1 for _ in batch), 1).expand(2, *batch, 1)
    low, high = transform(ends, context)[0].squeeze(-1)
    return low <= high
