"""Points in the unit cube: even in every dimension, and across pairs of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from invflow.density.learning.spread import spread


@pytest.mark.parametrize(("points", "dimensions"), [(32, 40), (7, 3), (1, 2), (5, 0)])
def test_every_dimension_has_the_middles_of_equal_parts(points: int, dimensions: int) -> None:
    found = spread(points, dimensions)
    middles = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    torch.testing.assert_close(found.sort(0).values, middles[:, None].expand(-1, dimensions))
    assert torch.equal(spread(points, dimensions), found)


@pytest.mark.parametrize(("dimensions", "most"), [(3, 0.05), (10, 0.2), (40, 0.4), (200, 0.5)])
def test_no_two_dimensions_go_together(dimensions: int, most: float) -> None:
    """A random Latin hypercube of 32 points comes to 0.58 in 40 dimensions."""
    correlation = np.corrcoef(spread(32, dimensions).numpy().T) - np.eye(dimensions)
    assert np.abs(correlation).max() < most


@pytest.mark.parametrize(("dimensions", "error"), [(1, 2e-3), (2, 5e-3), (5, 0.03)])
def test_smooth_functions_are_integrated(dimensions: int, error: float) -> None:
    """Of the exponential of a sum, in closed form."""
    slopes = torch.randn(50, dimensions, generator=torch.Generator().manual_seed(1)).double()
    exact = (2 * (slopes / 2).sinh() / slopes).log().sum(-1)
    found = ((spread(32, dimensions) - 0.5) @ slopes.T).logsumexp(0) - math.log(32)
    assert float((found - exact).square().mean().sqrt()) < error


def test_no_global_numbers_are_drawn() -> None:
    before = torch.get_rng_state()
    spread(4, 3)
    assert torch.equal(torch.get_rng_state(), before)
