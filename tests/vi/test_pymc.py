from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from invflow.vi import Settings, fit, from_pymc
from tests.helpers import assert_close, randn
from tests.vi.test_pyro import SIGMA, Y, flat

pymc = pytest.importorskip("pymc", reason="needs PyMC")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def schools() -> object:
    with pymc.Model() as model:
        mu = pymc.Normal("mu", 0.0, 5.0)
        tau = pymc.HalfCauchy("tau", 5.0)
        t = pymc.Normal("t", 0.0, 1.0, shape=8)
        theta = pymc.Deterministic("theta", mu + tau * t)
        pymc.Normal("y", theta, SIGMA.numpy(), observed=Y.numpy())
    return from_pymc(model)


def test_is_the_density_of_the_other_ways_to_bring_it(schools: object) -> None:
    z = randn(6, 10).requires_grad_()
    values = [each.log_density(z) for each in (flat(), schools)]
    slopes = [torch.autograd.grad(value.sum(), z)[0] for value in values]
    # torch's distributions take the logarithms of their scales in single precision.
    assert_close(values[1], values[0], 1e-7)
    assert_close(slopes[1], slopes[0], 1e-7)


def test_variables_by_name(schools: object) -> None:
    z = randn(2, 3, 10)
    values = schools.constrain(z)
    assert {name: tuple(value.shape) for name, value in values.items()} == {
        "mu": (2, 3),
        "tau": (2, 3),
        "t": (2, 3, 8),
        "theta": (2, 3, 8),
    }
    assert_close(values["tau"], z[..., 1].exp(), 1e-12)
    expected = values["mu"].unsqueeze(-1) + values["tau"].unsqueeze(-1) * values["t"]
    assert_close(values["theta"], expected, 1e-12)


def test_posterior_of_a_conjugate_model() -> None:
    data = 1.0 + randn(20)
    with pymc.Model() as model:
        mean = pymc.Normal("mean", 0.0, 2.0)
        pymc.Normal("y", mean, 1.0, observed=data.numpy())
    settings = Settings(batch=64, round=20, check=512, drops=0, most_steps=60)
    posterior = fit(from_pymc(model), settings=settings)
    precision = 20 + 0.25
    draws = posterior.draws(4000)["mean"]
    assert abs(float(draws.mean() - data.sum() / precision)) < 0.02
    assert abs(float(draws.std()) * math.sqrt(precision) - 1) < 0.05
    exact = Normal(0.0, math.sqrt(4 + 1 / 20)).log_prob(data.mean())
    spread = Normal(0.0, 1.0).log_prob(data - data.mean()).sum() + 0.5 * math.log(2 * math.pi / 20)
    assert abs(posterior.diagnose().log_evidence - float(exact + spread)) < 0.02


def test_refused_models() -> None:
    with pymc.Model() as discrete:
        pymc.Bernoulli("k", 0.5)
    with pymc.Model() as empty:
        pymc.Normal("y", 0.0, 1.0, observed=np.zeros(3))
    with pytest.raises(ValueError, match="got k, which is discrete"):
        from_pymc(discrete)
    with pytest.raises(ValueError, match="must have a free variable"):
        from_pymc(empty)
    with pytest.raises(TypeError, match="model must be a PyMC model, got int"):
        from_pymc(3)


def test_von_mises_variables_are_angles() -> None:
    with pymc.Model() as model:
        pymc.HalfNormal("s", 1.0)
        t = pymc.VonMises("t", 0.0, 2.0, shape=2)
        pymc.VonMises("y", t[0], 3.0, observed=0.8)
    target = from_pymc(model)
    assert target.angles == (1, 2)
    assert target.angular == {"t"}
    z = randn(3, 3)
    turned = z + 2 * torch.pi * torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64)
    assert_close(target.log_density(turned), target.log_density(z), 1e-9)
