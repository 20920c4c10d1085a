from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invflow.simulation import NPE, Simulations
from invflow.simulation.assess import DENSITY, Assessment, assess
from tests.simulation import known


class Exact:
    """The exact posterior of the linear model, too narrow by a factor."""

    names = known.gaussian_prior().names

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        precision = torch.eye(2, dtype=torch.float64) + known.A.T @ known.A / known.NOISE**2
        self.gain = torch.linalg.solve(precision, known.A.T / known.NOISE**2)
        self.lower = scale * torch.linalg.cholesky(torch.linalg.inv(precision))

    def sample(self, x: Tensor, n: int, seed: int) -> Tensor:
        noise = torch.randn(
            n, len(x), 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        return x @ self.gain.T + noise @ self.lower.T

    def log_prob(self, theta: Tensor, x: Tensor) -> Tensor:
        away = (theta - x @ self.gain.T) @ torch.linalg.inv(self.lower).T
        constant = self.lower.diagonal().log().sum() + math.log(2 * math.pi)
        return -0.5 * away.square().sum(-1) - constant


def _assess(scale: float, count: int = 1000) -> Assessment:
    exact, some = Exact(scale), known.gaussian(count, 11)
    return assess(exact.names, some.parameters, some.data, exact.sample, exact.log_prob, 99, 0)


def test_exact_posteriors_are_calibrated() -> None:
    found = _assess(1.0)
    assert found.calibration.rejected == []
    assert ": all 3 tests of uniform ranks pass (smallest corrected p-value" in str(found)
    assert list(found.calibration.ranks.columns) == ["theta[0]", "theta[1]", DENSITY]
    for p, fraction in found.coverage.items():
        assert fraction == pytest.approx(p, abs=4 * found.coverage_error[p])
    for test in found.calibration.tests:
        assert test.coverage[0.9] == pytest.approx(0.9, abs=4 * test.coverage_error[0.9])
    parts = known.gaussian(1000, 11)
    exact = [
        float(known.gaussian_posterior(x).log_prob(theta))
        for theta, x in zip(parts.parameters, parts.data, strict=True)
    ]
    assert found.log_prob == pytest.approx(sum(exact) / 1000)


def test_narrow_posteriors_are_not() -> None:
    found = _assess(0.7)
    assert "theta[0]" in found.calibration.rejected
    assert found.coverage[0.9] < 0.8
    assert "not calibrated" in str(found)
    assert "highest-density regions contain what was simulated" in str(found)


def test_a_learned_posterior_covers_what_it_should(linear: NPE) -> None:
    found = linear.assess(known.gaussian(1000, 21), draws=100)
    assert found.calibration.rejected == []
    assert found.coverage[0.9] == pytest.approx(0.9, abs=4 * found.coverage_error[0.9])


def test_posteriors_are_judged_near_the_data(linear: NPE) -> None:
    x = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
    some = linear.nearest(known.gaussian(2000, 21), x, 100)
    assert len(some) == 100
    assert float((some.data - x).norm(dim=-1).mean()) < 1.5
    assert linear.assess(some).simulations == 100


def test_too_few_simulations_are_refused(linear: NPE) -> None:
    few: Simulations = known.gaussian(19, 55)
    with pytest.raises(ValueError, match="simulations must be at least 20 to assess posteriors"):
        linear.assess(few)


def test_simulations_that_were_learned_from_are_refused(linear: NPE) -> None:
    some = known.gaussian(4000, 0)[:50] + known.gaussian(30, 77)
    with pytest.raises(ValueError, match="that were learned from, got 50 that were, of 80"):
        linear.assess(some)


def test_simulations_of_other_parameters_are_refused(linear: NPE) -> None:
    some = known.gaussian(30, 5)
    other = Simulations(some.parameters, some.data, names=("theta[1]", "theta[0]"))
    with pytest.raises(ValueError, match=r"have the parameters theta\[1\], theta\[0\], but"):
        linear.assess(other)
