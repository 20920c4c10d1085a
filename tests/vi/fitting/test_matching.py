from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invflow.vi import Flat
from invflow.vi.fitting import matching
from invflow.vi.fitting.matching import match
from invflow.vi.fitting.normal import bound, standard
from invflow.vi.fitting.pathfinder import pathfinder
from invflow.vi.targets.density import Density
from tests.helpers import assert_close, generator, randn
from tests.vi import known


def _density(target: Flat) -> Density:
    return Density(target, generator(0))


@pytest.mark.parametrize("dim", [1, 3, 7])
@pytest.mark.parametrize("count", [2, 5, 11])
def test_an_update_solves_the_equation_of_batch_and_match(dim: int, count: int) -> None:
    """S U S + S = V, whose root is also computed by another formula, of the paper."""
    z, score = randn(count, dim, seed=1), randn(count, dim, seed=2)
    location, scale = randn(dim, seed=3), randn(dim, dim, seed=4).tril(-1) + 2 * torch.eye(dim)
    covariance = scale @ scale.mT
    moved = matching._matched(location, covariance, z, score, 2)
    assert moved is not None
    weight = count * dim / 3
    share = weight / (1 + weight)
    mean, slope = z.mean(0), score.mean(0)
    u = weight * (score - slope).mT @ (score - slope) / count + share * torch.outer(slope, slope)
    away = location - mean
    v = covariance + weight * (z - mean).mT @ (z - mean) / count
    v = v + share * torch.outer(away, away)
    found = moved[1]
    assert_close(moved[2] @ moved[2].mT, found, 1e-7 * float(found.abs().max()))
    assert_close(found @ u @ found + found, v, 1e-7 * float(v.abs().max()))
    identity = torch.eye(dim).double()
    values, vectors = torch.linalg.eig(identity + 4 * u @ v)
    root = (vectors * values.sqrt()) @ torch.linalg.inv(vectors)
    assert_close(found, 2 * v @ torch.linalg.inv(identity + root.real), 1e-7 * float(v.abs().max()))
    expected = (location + weight * (found @ slope + mean)) / (1 + weight)
    assert_close(moved[0], expected, 1e-10)


@pytest.mark.parametrize("dim", [1, 2, 5, 20])
def test_a_gaussian_is_matched(dim: int) -> None:
    """However its scales differ."""
    target, normal = known.correlated(dim, 1e6 if dim > 1 else 1.0)
    density = _density(target)
    (start,) = pathfinder(density, randn(1, dim, seed=3), standard(dim), generator(1))
    assert start is not None
    found = match(density, start, generator(2))
    assert abs(found.elbo) < 0.05
    ratio = torch.linalg.solve(normal.covariance_matrix, found.scale @ found.scale.mT)
    assert (torch.linalg.eigvals(ratio).real - 1).abs().max() < 0.2


def test_it_stops_when_it_is_right() -> None:
    density = _density(Flat(lambda z: -0.5 * z.square().sum(-1), 3))
    assert abs(match(density, standard(3), generator(2)).elbo - 1.5 * math.log(2 * math.pi)) < 0.01
    rounds = matching.WINDOW * matching.FEWEST_DRAWS
    assert density.evaluations <= rounds + 2 * matching.COMPARISON_DRAWS


def test_it_stops_when_it_gets_no_better() -> None:
    """No normal distribution matches a banana."""
    density = _density(known.banana())
    match(density, standard(2), generator(2))
    assert density.evaluations < matching.MOST_ROUNDS * matching.FEWEST_DRAWS


@pytest.mark.parametrize("target", [known.heavy(2, 0.5), known.funnel(10), known.banana()])
def test_it_never_makes_it_worse(target: Flat) -> None:
    density = _density(target)
    (start,) = pathfinder(density, randn(1, target.dim), standard(target.dim), generator(1))
    assert start is not None
    before = bound(density, start, 20_000, generator(5))
    after = bound(density, match(density, start, generator(2)), 20_000, generator(5))
    assert after > before - 0.1


def test_the_bulk_of_a_funnel() -> None:
    density = _density(known.funnel(10))
    (start,) = pathfinder(density, randn(1, 10, seed=3), standard(10), generator(1))
    assert start is not None
    assert match(density, start, generator(2)).elbo > -4


def test_where_the_density_is_not_finite_draws_are_left_out() -> None:
    def half(z: Tensor) -> Tensor:
        return torch.where(z[:, 0] > 1.5, torch.nan, -0.5 * z.square().sum(-1))

    found = match(_density(Flat(half, 2)), standard(2), generator(2))
    assert found.scale.isfinite().all()


def test_where_it_is_finite_nowhere_the_start_is_kept() -> None:
    target, start = Flat(lambda z: z.sum(-1) * torch.nan, 2), standard(2)
    found = match(_density(target), start, generator(2))
    assert torch.equal(found.location, start.location)
    assert torch.equal(found.scale, start.scale)
