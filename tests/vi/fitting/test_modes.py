from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from invflow.vi import Flat
from invflow.vi.fitting.modes import find_modes
from invflow.vi.targets.density import Density
from invflow.vi.targets.guarded import Guarded
from tests.helpers import assert_close, generator, randn
from tests.vi import known


def _density(target: Flat) -> Density:
    return Density(target, generator(0))


def test_every_mode_is_found_once() -> None:
    density = _density(known.circle())
    found = find_modes(density, None, generator(0), lambda done, line: None)
    angles = sorted(
        round(math.atan2(float(each.location[1]), float(each.location[0])) / (math.pi / 4)) % 8
        for each in found.normals
    )
    assert angles == list(range(8))
    assert all(abs(each.elbo + math.log(8)) < 0.05 for each in found.normals)
    assert sum(found.hits) <= found.starts
    assert not found.interrupted


def test_a_negligible_mode_is_left_out() -> None:
    centres, shares = torch.tensor([[0.0], [9.0]]), torch.tensor([1.0, 1e-9])
    target = known.modes(centres, 1.0, shares)
    points = torch.tensor([[0.5], [9.5], [8.5]])
    found = find_modes(_density(target), points, generator(0), lambda done, line: None)
    assert len(found.normals) == 1
    assert float(found.normals[0].location.abs()) < 0.1


@pytest.mark.parametrize(
    ("dim", "away", "width"), [(5, 67.0, 3.0), (10, 20.0, 1.0), (2, 11.0, 1.0)]
)
def test_a_second_mode_far_away_is_found(dim: int, away: float, width: float) -> None:
    """Nine tenths of the posterior lie there."""
    direction = randn(dim, seed=3)
    there = away * direction / direction.norm()

    def log_density(z: torch.Tensor) -> torch.Tensor:
        first = MultivariateNormal(torch.zeros(dim).double(), torch.eye(dim).double())
        second = MultivariateNormal(there, width**2 * torch.eye(dim).double())
        return torch.logaddexp(
            first.log_prob(z) + math.log(0.1), second.log_prob(z) + math.log(0.9)
        )

    found = find_modes(
        _density(Flat(log_density, dim)), None, generator(0), lambda done, line: None
    )
    assert len(found.normals) == 2
    assert found.normals[0].distance(there) < 0.5


def test_a_start_at_the_mode_is_a_start() -> None:
    """The only one; the density is not asked for values of no points."""

    def log_density(z: torch.Tensor) -> torch.Tensor:
        if not len(z):
            raise ValueError("no points")
        return -0.5 * (z - 3).square().sum(-1)

    density = Guarded(Flat(log_density, 2), generator(0))
    points = torch.full((1, 2), 3.0).double()
    found = find_modes(density, points, generator(0), lambda done, line: None)
    assert_close(found.normals[0].location, points[0], 0.2)


def test_ctrl_c_ends_the_search_with_what_it_has_found() -> None:
    def stop(done: int, line: str) -> None:
        if done == 4:
            raise KeyboardInterrupt

    found = find_modes(_density(known.banana()), None, generator(0), stop)
    assert found.interrupted
    assert found.starts == 4
    assert found.hits == [4]


def test_the_bulk_of_a_hierarchical_posterior() -> None:
    """32 groups with one observation each, centred: most starts lead into the neck of the funnel.

    The evidence is an integral over the mean and the scale of the groups.
    """
    noise = torch.randn((2, 32), generator=generator(0)).double()
    y = 0.3 * noise[0] + noise[1]

    def prior(mu: torch.Tensor, log_tau: torch.Tensor) -> torch.Tensor:
        return -0.5 * (mu / 10).square() - 0.5 * log_tau.exp().square() + log_tau

    def log_density(z: torch.Tensor) -> torch.Tensor:
        mu, log_tau, theta = z[:, 0], z[:, 1], z[:, 2:]
        away = (theta - mu.unsqueeze(1)) / log_tau.exp().unsqueeze(1)
        each = -0.5 * (y - theta).square() - 0.5 * away.square()
        return prior(mu, log_tau) + each.sum(1) - 32 * log_tau

    axes = torch.linspace(-3, 3, 400).double(), torch.linspace(-9, 3, 800).double()
    mu, log_tau = torch.meshgrid(*axes, indexing="ij")
    variance = 1 + log_tau.exp().square()
    square = (y.square().sum() - 2 * mu * y.sum() + 32 * mu.square()) / variance
    value = prior(mu, log_tau) - 0.5 * square - 16 * (variance / (2 * math.pi)).log()
    cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
    evidence = float(value.flatten().logsumexp(0)) + math.log(cell)
    found = find_modes(_density(Flat(log_density, 34)), None, generator(0), lambda done, line: None)
    # A normal distribution's bound falls short of the evidence of a curved posterior.
    assert found.normals[0].elbo > evidence - 3
    assert found.hits[0] > 1
