from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from invflow.vi import Flat
from invflow.vi.fitting.modes import find_modes
from invflow.vi.targets.density import Density
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
    density = _density(Flat(lambda z: -0.5 * (z - 3).square().sum(-1), 2))
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
