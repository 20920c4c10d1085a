from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import HalfCauchy, Normal, constraints

from invflow.vi import Flat, Named, Parameter, Settings, fit, from_pyro
from tests.helpers import assert_close, randn

pyro = pytest.importorskip("pyro", reason="needs Pyro")
dist = pyro.distributions

Y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0], dtype=torch.float64)
SIGMA = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0], dtype=torch.float64)


def schools(y: Tensor, sigma: Tensor) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("schools", len(y)):
        t = pyro.sample("t", dist.Normal(0.0, 1.0))
        theta = pyro.deterministic("theta", mu + tau * t)
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def named() -> Named:
    def log_density(mu: Tensor, tau: Tensor, t: Tensor) -> Tensor:
        theta = mu.unsqueeze(-1) + tau.unsqueeze(-1) * t
        prior = Normal(0.0, 5.0).log_prob(mu) + HalfCauchy(5.0).log_prob(tau)
        return (
            prior + Normal(0.0, 1.0).log_prob(t).sum(-1) + Normal(theta, SIGMA).log_prob(Y).sum(-1)
        )

    parameters = {
        "mu": constraints.real,
        "tau": constraints.positive,
        "t": Parameter(constraints.real, (8,)),
    }
    return Named(log_density, parameters)


def flat() -> Flat:
    def log_density(z: Tensor) -> Tensor:
        mu, log_tau, t = z[:, 0], z[:, 1], z[:, 2:]
        theta = mu.unsqueeze(-1) + log_tau.exp().unsqueeze(-1) * t
        prior = Normal(0.0, 5.0).log_prob(mu) + HalfCauchy(5.0).log_prob(log_tau.exp()) + log_tau
        return (
            prior + Normal(0.0, 1.0).log_prob(t).sum(-1) + Normal(theta, SIGMA).log_prob(Y).sum(-1)
        )

    return Flat(log_density, 10)


def test_three_ways_to_bring_a_model_are_one_density() -> None:
    z = randn(6, 10).requires_grad_()
    values = [each.log_density(z) for each in (flat(), named(), from_pyro(schools, Y, SIGMA))]
    slopes = [torch.autograd.grad(value.sum(), z)[0] for value in values]
    for value, slope in zip(values[1:], slopes[1:], strict=True):
        assert_close(value, values[0], 1e-10)
        assert_close(slope, slopes[0], 1e-10)


def test_sites_by_name() -> None:
    target = from_pyro(schools, Y, SIGMA)
    z = randn(4, 10)
    values = target.constrain(z)
    assert {name: tuple(value.shape) for name, value in values.items()} == {
        "mu": (4,),
        "tau": (4,),
        "t": (4, 8),
        "theta": (4, 8),
    }
    expected = values["mu"][:, None] + values["tau"][:, None] * values["t"]
    assert_close(values["theta"], expected, 1e-12)
    assert target.constrain(z[0])["theta"].shape == (8,)


def test_posterior_of_a_conjugate_model() -> None:
    data = 1.0 + randn(20)

    def model() -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
        pyro.sample("data", dist.Normal(mean, 1.0).expand([20]).to_event(1), obs=data)

    settings = Settings(batch=64, round=20, check=512, drops=0, most_steps=60)
    posterior = fit(from_pyro(model), settings=settings)
    precision = 20 + 0.25
    draws = posterior.draws(4000)["mean"]
    assert abs(float(draws.mean() - data.sum() / precision)) < 0.02
    assert abs(float(draws.std()) * precision**0.5 - 1) < 0.05


def test_a_model_that_decides_by_values() -> None:
    def model() -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        scale = 1.0 if z > 0 else 2.0
        pyro.sample("y", dist.Normal(z, scale), obs=torch.tensor(0.3))

    z = torch.tensor([[0.5], [-0.5]], dtype=torch.float64)
    scale = torch.tensor([1.0, 2.0], dtype=torch.float64)
    expected = Normal(0.0, 1.0).log_prob(z[:, 0])
    expected = expected + Normal(z[:, 0], scale).log_prob(torch.tensor(0.3))
    assert_close(from_pyro(model).log_density(z), expected, 1e-7)


def test_random_numbers_are_left_alone() -> None:
    before = torch.get_rng_state()
    from_pyro(schools, Y, SIGMA).log_density(randn(3, 10))
    assert torch.equal(torch.get_rng_state(), before)
    assert pyro.distributions.Normal(0.0, 1.0)._validate_args is not False


def _discrete() -> None:
    pyro.sample("k", dist.Bernoulli(0.5))


def _observed() -> None:
    pyro.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0))


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (_discrete, ValueError, "'k', which is discrete"),
        (_observed, ValueError, "must have a latent site"),
        (3, TypeError, "model must be a Pyro model, got int"),
    ],
)
def test_models_that_are_refused(model: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        from_pyro(model)


def test_sites_that_come_and_go_are_refused() -> None:
    def model(y: Tensor) -> None:
        n = pyro.sample("n", dist.Normal(0.0, 1.0))
        if n > 0:
            pyro.sample("e", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(n, 1.0), obs=y)

    target = from_pyro(model, torch.tensor(0.3))
    values = torch.tensor([[-1.0], [1.0]]).double().expand(2, target.dim)
    with pytest.raises(ValueError, match="the same latent sites whatever their values, got 'e'"):
        target.log_density(values)


def test_plates_that_subsample_are_refused() -> None:
    def model(y: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", len(y), subsample_size=2) as i:
            pyro.sample("y", dist.Normal(mu, 1.0), obs=y[i])

    with pytest.raises(ValueError, match="plate 'rows' with a subsample"):
        from_pyro(model, torch.zeros(5))
