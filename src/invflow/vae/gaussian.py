"""The KL divergence of Gaussian posteriors, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from invflow.flows import FlowDistribution, StandardNormal
from invflow.transforms import Compose, Elementwise, Transform, UnitTriangular
from invflow.univariate import Affine


def kl_from_normal(q: FlowDistribution) -> Tensor | None:
    r"""Return the KL divergence of a Gaussian posterior from N(0, I), or None for other posteriors.

    For $z = A \epsilon + b$, where A is the posterior's matrix:

    $$\mathrm{KL}(q \| N(0, I)) = \tfrac12 \big(\|A\|_F^2 + \|b\|^2 - D\big) - \log|\det A|$$

    Args:
        q: the posterior.

    Returns:
        Divergences in nats, with the posterior's batch shape; None if `q` is not known to be
        Gaussian.

    Example:
        >>> import torch
        >>> from invflow.flows import Flow
        >>> flow = Flow(Elementwise(features=3, context=2))
        >>> kl_from_normal(flow(torch.randn(5, 2))).shape
        torch.Size([5])
    """
    parts = _parts(q.transform)
    if type(q.base) is not StandardNormal or not all(_is_affine(part) for part in parts):
        return None
    features = q.event_shape[0]
    # The columns of a diagonal matrix sum to its diagonal, so one point is enough.
    diagonal = all(isinstance(part, Elementwise) for part in parts)
    like = q.like
    directions = like.new_ones(1, features) if diagonal else torch.eye(features).to(like)
    points = torch.cat([like.new_zeros(1, features), directions])
    points = points.reshape(len(points), *(1 for _ in q.batch_shape), features)
    values, ladj = q.transform(points.expand(-1, *q.batch_shape, features), q.context)
    shift = values[0]
    columns = values[1:] - shift
    squares = columns.square().sum((0, -1)) + shift.square().sum(-1)
    return 0.5 * (squares - features) - ladj[0]


def _parts(transform: Transform) -> Sequence[Transform]:
    if isinstance(transform, Compose):
        return [part for each in transform.transforms for part in _parts(cast(Transform, each))]
    return [transform]


def _is_affine(part: Transform) -> bool:
    if isinstance(part, Elementwise):
        return isinstance(part.univariate, Affine)
    return isinstance(part, UnitTriangular)
