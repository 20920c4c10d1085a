"""Few points that are spread evenly over the unit cube, in many dimensions too."""

from __future__ import annotations

import torch
from torch import Tensor

#: In each dimension the best of so many permutations is taken.
TRIED = 64


def spread(points: int, dimensions: int) -> Tensor:
    """Return points in the unit cube, always the same, shape (points, dimensions), in float64.

    A Latin hypercube: the coordinates of every dimension are the middles of equal parts of the
    unit interval, in an order that of several random ones correlates least with the dimensions
    before it. Few points of a Sobol sequence are more even in two or three dimensions, but go
    along diagonals in tens.

    Example:
        >>> spread(4, 1).sort(0).values.squeeze().tolist()
        [0.125, 0.375, 0.625, 0.875]
    """
    generator = torch.Generator().manual_seed(0)
    # About the middle of the cube.
    found = torch.zeros(points, dimensions, dtype=torch.float64)
    for dimension in range(dimensions):
        order = torch.rand(TRIED, points, generator=generator).argsort(-1)
        tried = (order.double() + 0.5) / points - 0.5
        covariance = (tried @ found[:, : max(dimension, 1)]).abs().amax(-1)
        found[:, dimension] = tried[covariance.argmin()]
    return found + 0.5
