from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from invflow.vi import Flat
from invflow.vi.fitting.normal import Normal, bound, log_standard, standard
from invflow.vi.targets.density import Density
from tests.helpers import assert_close, generator, randn


def _normal(dim: int) -> Normal:
    scale = randn(dim, dim, seed=1).tril(-1) + 2 * torch.eye(dim).double()
    return standard(dim).placed(randn(dim), scale)


def _exact(normal: Normal) -> MultivariateNormal:
    return MultivariateNormal(normal.location, scale_tril=normal.scale)


@pytest.mark.parametrize("dim", [1, 3])
def test_draws_have_the_density_returned(dim: int) -> None:
    normal = _normal(dim)
    z, log_q = normal.draw(7, generator(2))
    assert_close(log_q, _exact(normal).log_prob(z), 1e-10)


@pytest.mark.parametrize("dim", [1, 3])
def test_points_and_coordinates_are_inverse(dim: int) -> None:
    normal, u = _normal(dim), randn(2, 5, dim, seed=4)
    assert_close(normal.coordinates(normal.points(u)), u, 1e-12)
    log_q = log_standard(u) - normal.log_det
    assert_close(_exact(normal).log_prob(normal.points(u)), log_q, 1e-10)
    assert normal.distance(normal.points(u)[0, 0]) == pytest.approx(float(u[0, 0].norm()))


def test_a_distribution_in_the_coordinates_of_another() -> None:
    """Pushing it through the other's map gives the same distribution."""
    inner, outer = _normal(3), standard(3).placed(randn(3, seed=7), _normal(3).scale.mT.tril())
    placed, u = outer.placed(inner.location, inner.scale, 1.5), randn(4, 3)
    assert_close(placed.points(u), outer.points(inner.points(u)), 1e-12)
    assert placed.elbo == 1.5


def test_bound_of_the_target_itself_is_the_evidence() -> None:
    shifted = Flat(lambda z: -0.5 * z.square().sum(-1) + 3.0, 2)
    found = bound(Density(shifted, generator(0)), standard(2), 50, generator(0))
    assert abs(found - 3.0 - math.log(2 * math.pi)) < 1e-9
