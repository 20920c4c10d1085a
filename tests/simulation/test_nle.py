from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, constraints

from invflow.simulation import NLE, NPE, Prior, Settings, fit
from tests.simulation import known

X = torch.tensor([0.5, -0.3, 0.2], dtype=torch.float64)


def test_the_likelihood_is_the_density_of_the_data(likelihood: NLE) -> None:
    theta = known.gaussian_prior().sample(50, seed=3)
    found = likelihood.log_likelihood(X)(theta)
    exact = Normal(theta @ known.A.T, known.NOISE).log_prob(X).sum(-1)
    near = exact > -8  # where the simulations are
    assert near.sum() > 20
    assert float((found - exact)[near].abs().mean()) < 0.1


def test_the_evidence_is_the_closed_form(likelihood: NLE) -> None:
    posterior = likelihood.posterior(X)
    verdict = posterior.weighted().diagnose()
    assert verdict.level == "good"
    assert verdict.log_evidence == pytest.approx(float(known.gaussian_evidence(X)), abs=0.1)
    exact = known.gaussian_posterior(X)
    draws = posterior.sample(10_000)
    torch.testing.assert_close(draws.mean(0), exact.mean, atol=0.04, rtol=0)
    torch.testing.assert_close(draws.T.cov(), exact.covariance_matrix, atol=0.01, rtol=0.1)
    assert "learned" in str(verdict)


def test_several_observations_multiply(likelihood: NLE) -> None:
    x = torch.stack([X, X + 0.2, X - 0.4, X + 0.1])
    theta = known.gaussian_prior().sample(6, seed=3)
    each = torch.stack([likelihood.log_likelihood(one)(theta) for one in x])
    torch.testing.assert_close(likelihood.log_likelihood(x)(theta), each.sum(0))
    precision = torch.eye(2).double() + 4 * known.A.T @ known.A / known.NOISE**2
    mean = torch.linalg.solve(precision, known.A.T @ x.sum(0) / known.NOISE**2)
    exact = MultivariateNormal(mean, precision_matrix=precision)
    draws = likelihood.posterior(x).sample(10_000)
    torch.testing.assert_close(draws.mean(0), exact.mean, atol=0.04, rtol=0)
    torch.testing.assert_close(draws.std(0), exact.variance.sqrt(), atol=0, rtol=0.1)


def test_the_likelihood_judges_another_posterior(likelihood: NLE, linear: NPE) -> None:
    verdict = linear.posterior(X).weighted(likelihood.log_likelihood(X)).diagnose()
    assert verdict.log_evidence == pytest.approx(float(known.gaussian_evidence(X)), abs=0.1)


def test_data_far_from_the_simulations_are_named(likelihood: NLE) -> None:
    with pytest.warns(UserWarning, match="The likelihood is an extrapolation"):
        likelihood.posterior(20 * X)


def test_many_observations_far_away_are_named(likelihood: NLE) -> None:
    x = 1e6 * torch.ones(40, 3).double() + known.noise(40, 3, 0)
    assert likelihood.distance(x).is_far
    assert not likelihood.distance(known.gaussian(40, 8).data).is_far


def test_the_likelihood_is_judged_by_data(likelihood: NLE) -> None:
    found = likelihood.assess(known.gaussian(500, 31), draws=99)
    assert list(found.calibration.ranks.columns) == ["x[0]", "x[1]", "x[2]", "(density)"]
    assert found.calibration.rejected == []
    assert found.coverage[0.9] == pytest.approx(0.9, abs=4 * found.coverage_error[0.9])
    settings = Settings("gaussian", steps=3, ensemble=2)
    poor = fit(known.gaussian(200, 0), known.gaussian_prior(), method="nle", settings=settings)
    assert poor.assess(known.gaussian(500, 31), draws=99).calibration.rejected


def test_simulations_near_a_posterior(likelihood: NLE, linear: NPE) -> None:
    some, x = known.gaussian(500, 32), X.reshape(-1, 3)[0]
    near = likelihood.nearest(some, linear.posterior(x), 50)
    exact = known.gaussian_posterior(x).log_prob(some.parameters)
    best = some[exact.argsort(descending=True)[:50]]
    found, expected = (set(map(tuple, each.data.tolist())) for each in (near, best))
    assert len(found & expected) > 44
    with pytest.raises(TypeError, match=r"posterior must be a Posterior, got list: call posterior"):
        likelihood.nearest(some, x.tolist())  # pyright: ignore[reportArgumentType]
    judged = likelihood.assess(near, draws=99)
    assert judged.coverage[0.9] == pytest.approx(0.9, abs=4 * judged.coverage_error[0.9])


def test_the_likelihood_is_an_emulator(likelihood: NLE) -> None:
    theta = known.gaussian_prior().sample(3, seed=5)
    drawn = likelihood.sample(theta, 4000)
    torch.testing.assert_close(drawn.mean(0), theta @ known.A.T, atol=0.1, rtol=0)
    assert torch.equal(drawn, likelihood.sample(theta, 4000))
    found = likelihood.log_prob(drawn[:5], theta)
    expected = [
        [likelihood.log_likelihood(x)(t[None]) for x, t in zip(row, theta, strict=True)]
        for row in drawn[:5]
    ]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-4, rtol=1e-4)


def test_saved_and_loaded(likelihood: NLE, tmp_path: Path) -> None:
    likelihood.save(tmp_path)
    again = NLE.load(tmp_path, known.gaussian_prior())
    theta = known.gaussian_prior().sample(5)
    assert torch.equal(again.log_likelihood(X)(theta), likelihood.log_likelihood(X)(theta))
    with pytest.raises(ValueError, match="holds 'nle', expected 'npe'"):
        NPE.load(tmp_path, known.gaussian_prior())


def test_a_prior_without_a_density_is_refused() -> None:
    settings = Settings("gaussian", steps=30, ensemble=1)
    prior = Prior({"a": constraints.unit_interval, "b": constraints.interval(10.0, 12.0)})
    found = fit(known.boxed(50, 0), prior, method="nle", settings=settings)
    with pytest.raises(ValueError, match="is only a constraint, without a density"):
        found.posterior({"x": 0.5, "y": 11.0})
