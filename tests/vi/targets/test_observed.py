"""The data, plates and pointwise likelihoods of Pyro models, and what Pyro does with the draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from invflow.flows import Gaussian
from invflow.vi import Posterior, from_pyro
from tests.helpers import assert_close, randn
from tests.vi.targets.test_pyro import SIGMA, Y, named, schools
from tests.vi.trust.test_verdict import gaussian

pyro = pytest.importorskip("pyro", reason="needs Pyro")
dist = pyro.distributions


def draws(target: Any, n: int = 20) -> Any:
    return Posterior(target, Gaussian(target.dim).double()).to_arviz(n)


def test_pointwise_likelihoods_are_those_of_the_other_way_to_bring_the_model() -> None:
    target = from_pyro(schools, Y, SIGMA)
    z = randn(5, 10)
    theta = target.constrain(z)["theta"]
    expected = Normal(theta, SIGMA).log_prob(Y)
    assert_close(target.log_likelihood(z)["y"], expected, 1e-7)
    prior = named().log_density(z) - expected.sum(-1)
    assert_close(target.log_density(z) - target.log_likelihood(z)["y"].sum(-1), prior, 1e-6)
    empty = target.log_likelihood(z[:0])
    assert {name: tuple(value.shape) for name, value in empty.items()} == {"y": (0, 8)}


def test_plates_are_axes() -> None:
    def model() -> None:
        with pyro.plate("rows", 3):
            mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
            at = pyro.sample("at", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            with pyro.plate("columns", 4):
                pyro.sample("y", dist.Normal(mu, 1.0), obs=torch.ones(4, 3))
            pyro.sample("x", dist.Normal(at, 1.0).to_event(1), obs=torch.zeros(3, 2))
        pyro.sample("alone", dist.Normal(0.0, 1.0), obs=0.5)

    data = draws(from_pyro(model))
    assert data.posterior["mu"].dims == ("chain", "draw", "rows")
    assert data.posterior["at"].dims[:3] == ("chain", "draw", "rows")
    assert data.posterior["at"].shape == (1, 20, 3, 2)
    assert data.log_likelihood["y"].dims == ("chain", "draw", "columns", "rows")
    assert data.log_likelihood["x"].dims == ("chain", "draw", "rows")
    assert data.log_likelihood["alone"].dims == ("chain", "draw")
    assert data.observed_data["y"].dims == ("columns", "rows")
    assert data.observed_data["x"].shape == (3, 2)
    assert data.observed_data["alone"].item() == 0.5  # ArviZ makes it a vector, or not


def test_a_plate_may_have_a_name_of_arviz() -> None:
    def model() -> None:
        with pyro.plate("draw", 2):
            pyro.sample("x", dist.Normal(0.0, 1.0))

    assert draws(from_pyro(model)).posterior["x"].dims == ("chain", "draw", "x_dim_0")


def test_masked_observations_are_none() -> None:
    """Nor are factors, deterministic sites, and sites that are masked as a whole."""
    y, seen = torch.tensor([1.0, -0.5, 2.0]), torch.tensor([True, False, True])

    def model() -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", 3):
            pyro.sample("x", dist.Normal(mu, 1.0), obs=y, obs_mask=seen)
            with pyro.poutine.mask(mask=seen):
                pyro.sample("p", dist.Normal(mu, 1.0), obs=y)
            pyro.sample("q", dist.Normal(mu, 1.0).mask(~seen), obs=y)
            pyro.sample("none", dist.Normal(mu, 1.0).mask(False), obs=y)
        pyro.factor("f", -(mu**2))
        pyro.deterministic("twice", 2 * mu)

    target = from_pyro(model)
    z = randn(4, target.dim)
    mu = target.constrain(z)["mu"][:, None]
    found = target.log_likelihood(z)
    assert list(found) == ["x_observed", "p", "q"]
    for name, kept in (("x_observed", seen), ("p", seen), ("q", ~seen)):
        assert_close(found[name], Normal(mu, 1.0).log_prob(y[kept]), 1e-7)
    data = draws(target)
    assert set(data.observed_data) == set(data.log_likelihood) == {"x_observed", "p", "q"}
    np.testing.assert_array_equal(data.observed_data["p"], [1.0, 2.0])
    assert data.log_likelihood["p"].dims == ("chain", "draw", "p_dim_0")
    assert data.posterior["x"].dims == ("chain", "draw", "rows")


def test_a_model_run_draw_by_draw_has_them_too() -> None:
    def model() -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", 3):
            pyro.sample("y", dist.Normal(z, 1.0 if z > 0 else 2.0), obs=torch.ones(3))

    with pytest.warns(UserWarning, match="run draw by draw"):
        target = from_pyro(model)
    z = torch.tensor([[0.5], [-0.5]], dtype=torch.float64)
    expected = Normal(z, torch.tensor([[1.0], [2.0]])).log_prob(torch.ones(3))
    assert_close(target.log_likelihood(z)["y"], expected, 1e-7)


def test_a_model_without_data_has_none() -> None:
    target = from_pyro(lambda: pyro.sample("x", dist.Normal(0.0, 1.0)))
    assert target.log_likelihood(randn(3, 1)) == {}
    assert not hasattr(draws(target), "log_likelihood")


def test_predictive_draws_are_of_the_posterior() -> None:
    """Also what depends on missing entries, which draws hold within the whole site."""
    y, seen = torch.tensor([1.0, 0.4, 2.0]).double(), torch.tensor([True, False, True])

    def model(new: Tensor | None = None) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 2.0))
        with pyro.plate("rows", 3):
            x = pyro.sample("x", dist.Normal(mu, 1.0), obs=y, obs_mask=seen)
        pyro.sample("new", dist.Normal(x.sum(), 0.5), obs=new)

    posterior = Posterior(from_pyro(model, torch.tensor(3.0).double()), gaussian(2, 0.3, 1.4))
    named = posterior.draws(2000)
    with torch.random.fork_rng():
        pyro.set_rng_seed(0)
        drawn = pyro.infer.Predictive(model, posterior_samples=named)()["new"]
    rest = drawn[:, 0] - named["x"].sum(-1)  # Pyro adds an axis for the plate
    assert abs(float(rest.mean())) < 0.05
    assert float(rest.std()) == pytest.approx(0.5, abs=0.03)
