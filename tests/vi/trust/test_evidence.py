"""One model through all front ends has one evidence, that of the closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Cauchy, Exponential, Gamma, Normal, constraints

from invflow.vi import (
    Flat,
    Named,
    Posterior,
    Settings,
    Target,
    fit,
    from_pymc,
    from_pyro,
    from_stan,
)
from invflow.vi.targets.stan.bridgestan import Model
from invflow.vi.targets.stan.target import StanTarget
from tests.vi.targets.test_pyro import SIGMA, Y

SETTINGS = Settings(
    accuracy="high",
    batch_size=256,
    steps_per_round=100,
    evaluation_draws=1024,
    learning_rate_drops=0,
    max_steps=300,
)
WAITS = torch.tensor([0.3, 1.2, 0.1, 0.7], dtype=torch.float64)
HEIGHTS = torch.tensor([0.5, 2.5], dtype=torch.float64)


def closed_form() -> float:
    """Return the log evidence of rate ~ Gamma(2, 3), mean ~ N(0, 2) and the data given each."""
    n, shape, rate = len(WAITS), 2.0, 3.0
    waits = (
        shape * math.log(rate)
        - math.lgamma(shape)
        + math.lgamma(shape + n)
        - (shape + n) * math.log(rate + float(WAITS.sum()))
    )
    covariance = torch.eye(len(HEIGHTS)).double() + 4.0
    normal = torch.distributions.MultivariateNormal(torch.zeros_like(HEIGHTS), covariance)
    return waits + float(normal.log_prob(HEIGHTS))


def _joint(mean: Tensor, rate: Tensor) -> Tensor:
    return (
        Normal(0.0, 2.0).log_prob(mean)
        + Gamma(2.0, 3.0).log_prob(rate)
        + Normal(mean[:, None], 1.0).log_prob(HEIGHTS).sum(-1)
        + Exponential(rate[:, None]).log_prob(WAITS).sum(-1)
    )


def function() -> Target:
    return Flat(lambda z: _joint(z[:, 0], z[:, 1].exp()) + z[:, 1], 2)


def named() -> Target:
    return Named(_joint, {"mean": constraints.real, "rate": constraints.positive})


def pyro() -> Target:
    library = pytest.importorskip("pyro", reason="needs Pyro")
    dist = library.distributions

    def model() -> None:
        mean = library.sample("mean", dist.Normal(0.0, 2.0))
        rate = library.sample("rate", dist.Gamma(2.0, 3.0))
        library.sample("heights", dist.Normal(mean, 1.0).expand([2]).to_event(1), obs=HEIGHTS)
        library.sample("waits", dist.Exponential(rate).expand([4]).to_event(1), obs=WAITS)

    return from_pyro(model)


def pymc() -> Target:
    library = pytest.importorskip("pymc", reason="needs PyMC")
    with library.Model() as model:
        mean = library.Normal("mean", 0.0, 2.0)
        rate = library.Gamma("rate", 2.0, 3.0)
        library.Normal("heights", mean, 1.0, observed=HEIGHTS.numpy())
        library.Exponential("waits", rate, observed=WAITS.numpy())
    return from_pymc(model)


PROGRAM = """
data { vector[2] heights; vector[4] waits; }
parameters { real mean_; real<lower=0> rate; }
model {
  mean_ ~ normal(0, 2);
  rate ~ gamma(2, 3);
  heights ~ normal(mean_, 1);
  waits ~ exponential(rate);
}
"""


class Program:
    """A model of BridgeStan over two numbers, the second positive.

    Args:
        log_density: of vectors, without the log-Jacobian.
        constants: what is left out of it unless `propto` is false.
    """

    def __init__(self, log_density: Callable[[Tensor, Tensor], Tensor], constants: float) -> None:
        self.log_density, self.constants = log_density, constants

    def param_unc_num(self) -> int:
        return 2

    def param_names(self, *, include_tp: bool = False, include_gq: bool = False) -> list[str]:
        return ["mean_", "rate"]

    def param_constrain(self, row: Any, *, include_tp: bool = False) -> Any:
        return np.array([row[0], math.exp(row[1])])

    def log_density_gradient(
        self, row: Any, *, propto: bool = True, jacobian: bool = True
    ) -> tuple[float, Any]:
        z = torch.from_numpy(row.copy())[None].requires_grad_()
        with torch.enable_grad():
            value = self.log_density(z[:, 0], z[:, 1].exp()) + jacobian * z[:, 1]
            (slope,) = torch.autograd.grad(value.sum(), z)
        return float(value.detach()) - propto * self.constants, slope[0].numpy()


def stan() -> Target:
    constants = 2 * math.log(3) - 1.5 * math.log(2 * math.pi) - math.log(2)
    return StanTarget(Model(Program(_joint, constants)))


def _schools(mu: Tensor, tau: Tensor) -> Tensor:
    """Eight schools, their own effects integrated out; as in Stan, tau's prior lacks log 2."""
    spread = (tau[:, None].square() + SIGMA.square()).sqrt()
    prior = Normal(0.0, 5.0).log_prob(mu) + Cauchy(0.0, 5.0).log_prob(tau)
    return prior + Normal(mu[:, None], spread).log_prob(Y).sum(-1)


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return fit(function(), settings=SETTINGS, starting_points=torch.tensor([[0.0, 0.0]]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("front_end", [function, named, pyro, pymc, stan])
def test_every_front_end_has_the_evidence_of_the_closed_form(
    front_end: Any, posterior: Posterior
) -> None:
    found = Posterior(front_end(), posterior.flow).diagnose(2000)
    assert found.level == "good"
    assert found.log_evidence_error < 0.001
    assert found.log_evidence == pytest.approx(closed_form(), abs=0.005)


@pytest.mark.slow
def test_eight_schools_in_stan() -> None:
    flow = fit(
        Flat(lambda z: _schools(z[:, 0], z[:, 1].exp()) + z[:, 1], 2),
        settings=SETTINGS,
        starting_points=torch.tensor([[0.0, 0.0]]),
    ).flow
    found = Posterior(StanTarget(Model(Program(_schools, -39.955))), flow).diagnose(1000)
    assert found.log_evidence == pytest.approx(-32.005, abs=0.02)


def test_the_verdict_says_what_an_evidence_is_of(posterior: Posterior) -> None:
    said = {
        front_end: str(Posterior(front_end(), posterior.flow).diagnose(100))
        for front_end in (function, named, stan)
    }
    assert "integral of the density as given" in said[function]
    assert "integral of the density as given" in said[named]
    assert "as Stan defines it: priors on parameters with bounds are not normalised" in said[stan]


@pytest.mark.slow
def test_a_real_stan_model(posterior: Posterior) -> None:
    try:
        target = from_stan(PROGRAM, {"heights": HEIGHTS, "waits": WAITS})
    except (ValueError, OSError, ImportError) as error:
        pytest.skip(f"BridgeStan cannot build here: {error}")
    found = Posterior(target, posterior.flow).diagnose()
    assert found.log_evidence == pytest.approx(closed_form(), abs=0.01)
