from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Cauchy, Normal

from invflow.vi.fitting.accuracy import EFFECTIVE, NEARLY_ALL, effective, reached, standing
from invflow.vi.trust.importance import importance
from tests.helpers import generator

DRAWS = 4000


def _weights(scale: float) -> Tensor:
    """Log weights of draws from N(0, 1) for N(0, scale): k-hat is 1 - 1 / scale^2 above scale 1.

    Their effective fraction is 1 / E w^2, where E w^2 = 1 / (scale sqrt(2 - scale^2)).
    """
    x = torch.randn(DRAWS, generator=generator(0), dtype=torch.float64)
    return Normal(0.0, scale).log_prob(x) - Normal(0.0, 1.0).log_prob(x)


@pytest.mark.parametrize(
    ("scale", "standard", "high"),
    [
        (1.0, True, True),
        (0.99, True, True),  # effective 99.98 %, gap (s^2 - 1 - log s^2) / 2 = 1e-4
        (0.9, True, False),  # effective 98 %
        (0.5, False, False),  # effective 66 %
        (1.15, True, False),  # effective 94.6 %, k-hat about 0.24
        (1.35, False, False),  # effective 57 %, k-hat about 0.45
    ],
)
def test_normals_of_other_scales(scale: float, standard: bool, high: bool) -> None:
    log_weights = _weights(scale)
    assert reached("standard", log_weights) is standard
    assert reached("high", log_weights) is high


def test_constants_do_not_matter() -> None:
    assert reached("standard", _weights(0.9) + 1000.0)
    assert reached("high", _weights(0.99) - 1000.0)


def test_a_heavy_tail_is_not_accurate() -> None:
    """Nearly all of the draws are effective, but their weights have no variance."""
    pareto = torch.rand(DRAWS, generator=generator(0), dtype=torch.float64) ** -0.7
    log_weights = (0.01 * pareto).log1p()
    assert effective(log_weights) > EFFECTIVE
    assert not reached("standard", log_weights)


@pytest.mark.parametrize(("size", "standard"), [(0.03, True), (0.08, False)])
def test_a_tail_without_a_variance_needs_weights_that_are_nearly_equal(
    size: float, standard: bool
) -> None:
    """Weights one plus a Pareto variable of shape 0.5, whose size sets how far they differ."""
    pareto = torch.rand(DRAWS, generator=generator(0), dtype=torch.float64) ** -0.5
    log_weights = (size * pareto).log1p()
    found = importance(log_weights, torch.zeros(DRAWS))
    assert 0.5 < found.khat < 0.6
    assert found.effective > EFFECTIVE
    assert (found.effective > NEARLY_ALL) is standard
    assert reached("standard", log_weights) is standard
    assert not reached("high", log_weights)


def test_a_tail_that_holds_nothing_has_any_shape() -> None:
    """Weights that are equal but for a small Cauchy variable, whose tail has shape one."""
    noise = Cauchy(0.0, 1.0).icdf(torch.rand(DRAWS, generator=generator(0), dtype=torch.float64))
    log_weights = (1e-6 * noise.abs()).log1p()
    assert importance(log_weights, torch.zeros(DRAWS)).khat > 0.7
    assert reached("standard", log_weights)
    assert reached("high", log_weights)


def test_draws_without_a_density_count_as_weightless() -> None:
    log_weights = _weights(1.0)
    log_weights[: DRAWS // 50] = -math.inf
    assert reached("standard", log_weights)
    log_weights[: DRAWS // 5] = -math.inf
    assert not reached("standard", log_weights)
    assert not reached("high", log_weights)


@pytest.mark.parametrize("accuracy", ["standard", "high"])
def test_nothing_is_reached_without_a_density(accuracy: str) -> None:
    nowhere = torch.full((DRAWS,), -math.inf)
    assert not reached(accuracy, nowhere)  # type: ignore[arg-type]


def test_what_a_fit_waits_for_is_said() -> None:
    assert standing("standard", 0.62) == "62.0% effective, waiting for 90%"
    assert standing("standard", 0.8999) == "89.9% effective, waiting for 90%"
    assert standing("standard", 0.95) == "95.0% effective, waiting for lighter tails"
    assert standing("high", 0.95) == "95.0% effective, waiting for 99.9%"


@pytest.mark.parametrize("size", [0.005, 0.01])
def test_a_lucky_look_hardly_ends_a_fit_that_would_not_be_good(size: float) -> None:
    """Weights of shape 0.75, of which nearly all are effective: looks of 2,048 and 8,192 draws."""
    stops = 0
    for seed in range(40):
        pareto = torch.rand(10_240, generator=generator(seed), dtype=torch.float64) ** -0.75
        log_weights = (size * pareto).log1p()
        stops += reached("standard", log_weights[:2048]) and reached("standard", log_weights[2048:])
    assert stops <= 4
