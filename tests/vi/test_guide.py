from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from invflow.vi.guide import AutoIAF
from tests.vi.test_pyro import SIGMA, Y, schools

pyro = pytest.importorskip("pyro", reason="needs Pyro")
dist = pyro.distributions
infer = pytest.importorskip("pyro.infer")


@pytest.fixture(autouse=True)
def _clean() -> Any:
    pyro.clear_param_store()
    state = torch.get_rng_state()
    pyro.set_rng_seed(0)
    yield
    torch.set_rng_state(state)
    pyro.clear_param_store()


def _fit(model: Any, guide: Any, steps: int, *args: Any) -> list[float]:
    loss = infer.Trace_ELBO(num_particles=16, vectorize_particles=True, max_plate_nesting=1)
    svi = infer.SVI(model, guide, pyro.optim.Adam({"lr": 5e-3}), loss)
    return [svi.step(*args) for _ in range(steps)]


def test_fits_a_correlated_normal() -> None:
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]])

    def model() -> None:
        pyro.sample("z", dist.MultivariateNormal(torch.tensor([1.0, -2.0]), covariance))

    guide = AutoIAF(model, transforms=2, hidden_features=(16,), init_scale=0.5)
    losses = _fit(model, guide, 1000)
    assert abs(sum(losses[-100:]) / 100) < 0.05
    with torch.no_grad():
        z = guide.get_posterior().sample((4000,))
    assert (z.mean(0) - torch.tensor([1.0, -2.0])).abs().max() < 0.1
    assert (torch.cov(z.T) - covariance).abs().max() < 0.15


def test_eight_schools_with_named_draws() -> None:
    guide = AutoIAF(schools, hidden_features=(32, 32))
    losses = _fit(schools, guide, 150, Y.float(), SIGMA.float())
    assert sum(losses[-30:]) < sum(losses[:30])
    assert all(map(math.isfinite, losses))
    draws = guide(Y.float(), SIGMA.float())
    assert draws["tau"] > 0
    assert draws["t"].shape == (8,)
    predictive = infer.Predictive(schools, guide=guide, num_samples=7)
    assert predictive(Y.float(), SIGMA.float())["theta"].shape == (7, 8)


def test_state_is_kept_in_the_parameter_store() -> None:
    guide = AutoIAF(schools)
    _fit(schools, guide, 2, Y.float(), SIGMA.float())
    assert any("flow" in name for name in pyro.get_param_store())


def test_bad_scale() -> None:
    with pytest.raises(ValueError, match="init_scale must be positive, got 0"):
        AutoIAF(schools, init_scale=0)
