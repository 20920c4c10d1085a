"""A few points spread evenly over the unit cube, also in many dimensions."""

from __future__ import annotations

import torch
from torch import Tensor

#: Number of random permutations tried for each dimension.
PERMUTATIONS = 64


def spread(points: int, dimensions: int) -> Tensor:
    """Return fixed points in the unit cube, shape (points, dimensions), in float64.

    A Latin hypercube: the coordinates in each dimension are the midpoints of equal parts of the
    unit interval, in the random order, of several, that correlates least with the dimensions before
    it. A few points of a Sobol sequence are more even in two or three dimensions, but lie along
    diagonals in dozens.

    Example:
        >>> spread(4, 1).sort(0).values.squeeze().tolist()
        [0.125, 0.375, 0.625, 0.875]
    """
    generator = torch.Generator().manual_seed(0)
    # Relative to the centre of the cube.
    found = torch.zeros(points, dimensions, dtype=torch.float64)
    for dimension in range(dimensions):
        order = torch.rand(PERMUTATIONS, points, generator=generator).argsort(-1)
        tried = (order.double() + 0.5) / points - 0.5
        covariance = (tried @ found[:, : max(dimension, 1)]).abs().amax(-1)
        found[:, dimension] = tried[covariance.argmin()]
    return found + 0.5
