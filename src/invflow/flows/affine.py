"""Flows that are affine in normal noise: Gaussians, whose moments have closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor

from invflow.flows.bases import StandardNormal
from invflow.transforms import (
    Compose,
    Elementwise,
    Householder,
    LULinear,
    Permutation,
    Rotation,
    Transform,
    UnitTriangular,
)
from invflow.univariate import Additive, Affine

if TYPE_CHECKING:
    from invflow.flows.distribution import FlowDistribution

#: Transforms that are linear, and constant shifts and scales, whatever their parameters.
LINEAR = (Householder, LULinear, Permutation, Rotation, UnitTriangular)


class AffineMap(NamedTuple):
    r"""The map $x = A z + b$ of a Gaussian, z ~ N(0, I).

    Attributes:
        shift: b, (*batch, features).
        squares: the diagonal of $A A^\top$, which holds the variances, (*batch, features).
        ladj: log|det A|, shape `batch`.
    """

    shift: Tensor
    squares: Tensor
    ladj: Tensor


def affine_map(q: FlowDistribution) -> AffineMap | None:
    """Return the affine map of a Gaussian, or None if `q` is not known to be Gaussian.

    Args:
        q: a flow's distribution.

    Example:
        >>> import torch, invflow
        >>> affine_map(invflow.flows.Gaussian(3, context=2)(torch.randn(5, 2))).shift.shape
        torch.Size([5, 3])
    """
    parts = _parts(q.transform)
    if type(q.base) is not StandardNormal or not all(map(_is_affine, parts)):
        return None
    features = q.event_shape[0]
    # The columns of a diagonal matrix sum to its diagonal, so one point is enough.
    diagonal = all(isinstance(part, Elementwise) for part in parts)
    like = q.like
    directions = like.new_ones(1, features)
    if not diagonal:
        directions = torch.eye(features, dtype=like.dtype, device=like.device)
    points = torch.cat([like.new_zeros(1, features), directions])
    points = points.reshape(len(points), *(1 for _ in q.batch_shape), features)
    values, ladj = q.transform(points.expand(-1, *q.batch_shape, features), q.context)
    return AffineMap(values[0], (values[1:] - values[0]).square().sum(0), ladj[0])


def _parts(transform: Transform) -> Sequence[Transform]:
    if isinstance(transform, Compose):
        return [part for each in transform.transforms for part in _parts(cast(Transform, each))]
    return [transform]


def _is_affine(part: Transform) -> bool:
    # Not those of subclasses, which may compute something else.
    if type(part) is Elementwise:
        return type(part.univariate) in (Additive, Affine)
    return type(part) in LINEAR
