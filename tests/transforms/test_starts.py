"""Where amortised parameters start: the location depends on the context, all else hardly does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from invflow.transforms import Elementwise, Planar, Radial, Sylvester, Transform, UnitTriangular
from invflow.univariate import Univariate
from tests.helpers import UNIVARIATES, generator, randn


@pytest.mark.parametrize("name", UNIVARIATES)
@pytest.mark.parametrize("features", [1, 40])
def test_contexts_of_unit_variance_give_locations_of_unit_variance(
    name: str, features: int
) -> None:
    univariate = UNIVARIATES[name]
    transform = Elementwise(features, univariate, context=7, generator=generator(2)).double()
    context = randn(2000, 7)
    given = transform.given(context, context).view(2000, features, -1)
    spread = (given - given.mean(0)).square().mean((0, 1)).sqrt()
    expected = [0.01] * univariate.parameters
    if univariate.location is not None:
        expected[univariate.location] = 1.0
    share = spread / torch.tensor(expected, dtype=spread.dtype)
    few = 0.2 if features == 1 else 0.7  # one row of seven weights varies
    assert (share > few).all()
    assert (share < 2).all()


@pytest.mark.parametrize(
    "univariate", [each for each in UNIVARIATES.values() if each.location is not None], ids=repr
)
def test_a_location_moves_values_one_way(univariate: Univariate) -> None:
    assert univariate.location is not None
    z = randn(50)
    params = torch.tensor(univariate.start, dtype=z.dtype).expand(50, -1)
    slopes = univariate.slopes(z, params)[1][..., univariate.location]
    assert torch.allclose(slopes, slopes[:1])
    assert (slopes > 0).all()


@pytest.mark.parametrize(
    "build",
    [
        lambda: UnitTriangular(5, context=3),
        lambda: Planar(5, context=3),
        lambda: Radial(5, context=3),
        lambda: Sylvester(5, context=3),
    ],
    ids=["triangular", "planar", "radial", "sylvester"],
)
def test_other_transforms_start_near_the_identity_whatever_the_context(
    build: Callable[[], Transform],
) -> None:
    transform = build().double()
    z = randn(200, 5)
    x, ladj = transform(z, randn(200, 3, seed=1))
    assert (x - z).abs().max() < 0.3
    assert ladj.abs().max() < 0.3
    assert (x != z).any()
