"""Flows that are affine in normal noise: Gaussians, whose moments have closed forms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Size, Tensor

from invflow.flows.base import Base
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


def affine_map(
    transform: Transform, base: Base, context: Tensor | None, batch_shape: Size, like: Tensor
) -> AffineMap | None:
    """Return the affine map of a flow's distribution, or None if it is not known to be Gaussian.

    Args:
        transform: of the noise.
        base: the distribution of the noise.
        context: shape (*batch, context), or None.
        batch_shape: to which the context's batch broadcasts.
        like: a tensor with the dtype and device of the result.

    Example:
        >>> import torch, invflow
        >>> invflow.flows.Gaussian(3, context=2)(torch.randn(5, 2)).affine_map().shift.shape
        torch.Size([5, 3])
    """
    parts = _parts(transform)
    if type(base) is not StandardNormal or not all(map(_is_affine, parts)):
        return None
    features = transform.features
    # The columns of a diagonal matrix sum to its diagonal, so one point is enough.
    directions = like.new_ones(1, features)
    if not is_diagonal(transform):
        directions = torch.eye(features, dtype=like.dtype, device=like.device)
    length = far(like)
    points = torch.cat([like.new_zeros(1, features), length * directions])
    points = points.reshape(len(points), *(1 for _ in batch_shape), features)
    values, ladj = transform(points.expand(-1, *batch_shape, features), context)
    columns = (values[1:] - values[0]) / length
    return AffineMap(values[0], columns.square().sum(0), ladj[0])


def far(like: Tensor) -> float:
    """Return a length at which an affine map can be measured, where its shift is negligible.

    At length 1, differences of points lose precision if the shift is large. It is a power of 2, so
    multiplying by it is exact.
    """
    return 2.0 ** (int(math.log2(torch.finfo(like.dtype).max)) // 4)


def is_diagonal(transform: Transform) -> bool:
    """Return whether a transform maps each feature by itself."""
    return all(isinstance(part, Elementwise) for part in _parts(transform))


def _parts(transform: Transform) -> Sequence[Transform]:
    if isinstance(transform, Compose):
        return [part for each in transform.transforms for part in _parts(cast(Transform, each))]
    return [transform]


def _is_affine(part: Transform) -> bool:
    # Not those of subclasses, which may compute something else.
    if type(part) is Elementwise:
        return type(part.univariate) in (Additive, Affine)
    return type(part) in LINEAR
