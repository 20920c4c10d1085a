from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Laplace, Normal, StudentT

from invflow.vi.trust.exponents import falls, limits
from tests.helpers import assert_close, randn
from tests.vi import known

DISTANCES = (10.0, 30.0, 90.0)


def rays(dim: int) -> Tensor:
    generic = randn(5, dim, seed=2)
    axes = torch.eye(dim).double()
    return torch.cat([axes, -axes, generic / generic.norm(dim=1, keepdim=True)])


def exponents(log_density: Callable[[Tensor], Tensor], dim: int, shift: float = 0.0) -> Tensor:
    centre = torch.full((dim,), shift / math.sqrt(dim)).double()
    return limits(falls(log_density, centre, rays(dim), DISTANCES), DISTANCES)


@pytest.mark.parametrize("dim", [1, 3, 20])
@pytest.mark.parametrize("df", [1.0, 2.0, 3.0, 5.0, 10.0, 30.0])
def test_exponents_of_student_t(dim: int, df: float) -> None:
    """Also seen from half a standard deviation beside the mode."""
    for shift in (0.0, 0.5):
        together = exponents(known.together(dim, df).log_density, dim, shift)
        assert_close(together, torch.full_like(together, df + dim), 0.02 * (df + dim))
        own = exponents(known.heavy(dim, df).log_density, dim, shift)[: 2 * dim]
        assert_close(own, torch.full_like(own, df + 1), 0.02 * (df + 1))
    diagonal = torch.ones(1, dim).double() / math.sqrt(dim)
    far = (1e3, 3e3, 9e3)
    along = falls(known.heavy(dim, df).log_density, torch.zeros(dim).double(), diagonal, far)
    assert limits(along, far).item() == pytest.approx(dim * (df + 1), rel=1e-3)


@pytest.mark.parametrize(
    "log_density",
    [
        Normal(0.0, 1.0).log_prob,
        Laplace(0.0, 0.7).log_prob,
        lambda z: -z - 2 * torch.nn.functional.softplus(-z),  # logistic
        lambda z: z - torch.log1p((2 * z).exp()),  # the logarithm of a half-Cauchy scale
        lambda z: 2 * z - z.exp(),  # and of a gamma
        lambda z: -z.abs().clamp(min=1e-3).sqrt() * 4,  # a stretched exponential
    ],
)
@pytest.mark.parametrize("dim", [1, 4])
def test_light_tails_have_no_exponent(log_density: Callable[[Tensor], Tensor], dim: int) -> None:
    assert bool(exponents(lambda z: log_density(z).sum(-1), dim).isinf().all())


def test_neither_funnels_nor_other_modes_have_one() -> None:
    assert bool(exponents(known.funnel(4).log_density, 4).isinf().all())
    two = known.modes(torch.tensor([[0.0, 0.0], [12.0, 0.0]]), 1.0)
    assert bool(exponents(two.log_density, 2).isinf().all())


def test_the_fall_between_distances_is_that_of_the_density() -> None:
    centre, steps = randn(2), randn(3, 2, seed=1)
    found = falls(lambda z: -3 * z.norm(dim=-1).log(), 0 * centre, steps, (2.0, 5.0, 7.0))
    assert_close(found, torch.full((2, 3), 3.0).double(), 1e-12)
    box = falls(
        lambda z: torch.where(z.norm(dim=-1) < 5, 0.0, -torch.inf), centre, steps, DISTANCES
    )
    assert bool(box.isinf().all())
    nothing = falls(lambda z: torch.full_like(z[:, 0], torch.nan), centre, steps, DISTANCES)
    assert bool(limits(nothing, DISTANCES).isinf().all())


def test_a_one_sided_tail_is_seen_on_its_side() -> None:
    def log_density(z: Tensor) -> Tensor:  # Student-t on the right, normal on the left
        right = StudentT(3.0).log_prob(z.clamp(min=0)) - StudentT(3.0).log_prob(torch.zeros(1))
        return torch.where(z > 0, right, -0.5 * z.square()).sum(-1)

    right, left = exponents(log_density, 1)[:2].tolist()
    assert right == pytest.approx(4.0, rel=1e-3)
    assert math.isinf(left)
