from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from invflow.simulation import NPE, Prior, Settings, fit, simulate
from invflow.simulation.truncated import Truncated
from tests.simulation import known

SD = 0.05


def _simulator(parameters: dict[str, Any], random: np.random.Generator) -> Any:
    return [parameters["mu"] + SD * random.normal()]


def test_rounds_come_nearer_to_the_closed_form() -> None:
    prior = Prior({"mu": Normal(0.0, 1.0)})
    exact = Normal(0.8 / (1 + SD**2), SD / (1 + SD**2) ** 0.5)
    settings = Settings("gaussian", steps=400, learning_rate=5e-2, ensemble=1)
    simulations = simulate(_simulator, prior, 200, seed=0)
    proposal = None
    for seed in (1, 2):
        posterior = fit(simulations, prior, settings=settings).posterior([0.8])
        proposal = posterior.truncated(within=proposal)
        new = simulate(_simulator, proposal, 200, seed=seed)
        simulations = proposal.kept(simulations) + new
        assert proposal.contains(simulations.parameters).all()
    draws = fit(simulations, prior, settings=settings).posterior([0.8]).sample(4000)
    assert float(draws.std()) == pytest.approx(float(exact.stddev), rel=0.2)
    assert float(draws.mean()) == pytest.approx(float(exact.mean), abs=0.5 * SD)
    assert float(new.parameters.std()) < 0.3  # of the prior: 1


def test_a_truncated_prior_is_the_prior_where_there_is_mass(box: NPE) -> None:
    posterior = box.posterior({"x": 0.5, "y": 11.0})
    truncated = posterior.truncated(0.3)
    draws = truncated.sample(5000, seed=1)
    assert truncated.contains(draws).all()
    assert torch.equal(draws, truncated.sample(5000, seed=1))
    kept = truncated.contains(posterior.sample(20_000, seed=9)).double().mean()
    assert float(kept) == pytest.approx(0.7, abs=0.03)
    # Of a uniform prior: the draws are spread evenly over the region.
    whole = known.boxed_prior().sample(50_000, seed=3)
    inside = whole[truncated.contains(whole)]
    torch.testing.assert_close(draws.mean(0), inside.mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(draws.std(0), inside.std(0), atol=0.02, rtol=0)


def test_a_later_region_lies_within_an_earlier_one(box: NPE) -> None:
    first = box.posterior({"x": 0.3, "y": 11.0}).truncated(0.3)
    posterior = box.posterior({"x": 0.7, "y": 11.0})
    theta = known.boxed_prior().sample(2000)
    both = first.contains(theta) & posterior.truncated(0.3).contains(theta)
    assert torch.equal(posterior.truncated(0.3, within=first).contains(theta), both)
    assert 0 < int(both.sum()) < int(first.contains(theta).sum())


def test_a_prior_that_never_falls_there_is_named() -> None:
    prior = Prior({"mu": Normal(0.0, 1.0)})
    nowhere = Truncated(prior, lambda theta: -theta[:, 0].abs(), 0.5)
    with pytest.raises(
        ValueError, match=r"only 0 of .* draws of the prior lie where the posterior"
    ):
        nowhere.sample(1)


def test_the_mass_left_out_is_checked(box: NPE) -> None:
    with pytest.raises(ValueError, match="mass must be between 0 and 1"):
        box.posterior({"x": 0.5, "y": 11.0}).truncated(2.0)
