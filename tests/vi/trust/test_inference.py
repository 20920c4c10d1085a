"""What ArviZ is given: leave-one-out densities against those of a conjugate model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, constraints

from invflow.vi import Flat, Named, Posterior, Subsampled, Target
from invflow.vi.trust import inference
from invflow.vi.trust._arviz import arviz
from tests.helpers import randn
from tests.vi.trust.test_verdict import gaussian

DATA = 0.7 + randn(9)
PRIOR_SD = 2.0


def conjugate(sd: float = 1.0) -> Named:
    """A normal mean, its variance known."""

    def log_likelihood(mu: Tensor) -> dict[str, Tensor]:
        return {"y": Normal(mu[:, None], sd).log_prob(DATA)}

    def log_density(mu: Tensor) -> Tensor:
        return Normal(0.0, PRIOR_SD).log_prob(mu) + log_likelihood(mu)["y"].sum(-1)

    return Named(log_density, {"mu": constraints.real}, log_likelihood=log_likelihood)


def off(target: Target, scale: float = 0.5) -> Posterior:
    """A posterior whose flow is shifted and too wide, so that weights matter."""
    return Posterior(target, gaussian(1, 0.9, scale))


def exact(sd: float = 1.0) -> Tensor:
    """The log density of each observation given all others."""
    terms: list[Tensor] = []
    for i in range(len(DATA)):
        others = torch.cat([DATA[:i], DATA[i + 1 :]])
        precision = len(others) / sd**2 + 1 / PRIOR_SD**2
        mean = others.sum() / sd**2 / precision
        terms.append(Normal(mean, (sd**2 + 1 / precision) ** 0.5).log_prob(DATA[i]))
    return torch.stack(terms)


def elpd(result: Any) -> tuple[float, Any]:
    """The sum and the terms of a leave-one-out density, of ArviZ before 1.0 or since."""
    early = hasattr(result, "loo_i")
    names = ("elpd_loo", "loo_i") if early else ("elpd", "elpd_i")
    return float(getattr(result, names[0])), np.asarray(getattr(result, names[1]))


def test_leave_one_out_is_that_of_a_conjugate_model() -> None:
    total, terms = elpd(arviz().loo(off(conjugate()).to_arviz(4000), pointwise=True))
    np.testing.assert_allclose(terms, exact(), atol=0.03)
    assert total == pytest.approx(float(exact().sum()), abs=0.05)


def test_models_compare_as_their_exact_leave_one_out_densities_do() -> None:
    models = {
        name: off(conjugate(sd), 0.5 * sd).to_arviz(4000) for name, sd in (("a", 1.0), ("b", 3.0))
    }
    table = arviz().compare(models)
    difference = float(exact(1.0).sum() - exact(3.0).sum())
    assert difference > 1
    assert list(table.index) == ["a", "b"]
    # Tables of ArviZ 1.x are rounded.
    assert abs(float(table.loc["b", "elpd_diff"])) == pytest.approx(difference, abs=0.1)


def test_log_likelihoods_are_those_of_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are computed at a time."""
    found, target = off(conjugate()), conjugate()
    expected = target.log_likelihood(found.resample(500))["y"]
    for at_once in (inference.DRAWS_AT_ONCE, 7, 1000):
        monkeypatch.setattr(inference, "DRAWS_AT_ONCE", at_once)
        data = found.to_arviz(500)
        assert data.log_likelihood["y"].shape == (1, 500, 9)
        np.testing.assert_allclose(data.log_likelihood["y"][0], expected, rtol=1e-12)
        np.testing.assert_array_equal(data.posterior["mu"][0], found.draws(500)["mu"])


def test_what_cannot_be_compared_has_no_log_likelihood() -> None:
    """Unweighted draws of a flow, whose leave-one-out densities would be wrong."""
    found = off(conjugate())
    for data in (
        found.to_arviz(50, resampled=False),
        found.to_arviz(50, log_likelihood=False),
        off(Flat(lambda z: -z.square().sum(-1), dim=1)).to_arviz(50),
    ):
        assert not hasattr(data, "log_likelihood")
        assert not hasattr(data, "observed_data")


def test_chains_have_log_likelihoods_too() -> None:
    refined = off(conjugate()).refine(4000, chains=4, warmup=50)
    data = refined.to_arviz()
    assert data.log_likelihood["y"].shape == (4, 1000, 9)
    expected = conjugate().log_likelihood(refined.chains[1])["y"]
    np.testing.assert_allclose(data.log_likelihood["y"][1], expected, rtol=1e-12)
    assert elpd(arviz().loo(data, pointwise=True))[0] == pytest.approx(
        float(exact().sum()), abs=0.05
    )
    assert not hasattr(refined.to_arviz(log_likelihood=False), "log_likelihood")


def test_rows_of_subsampled_data_are_observations() -> None:
    prior = Named(Normal(0.0, PRIOR_SD).log_prob, {"value": constraints.real})
    target = Subsampled(
        prior, lambda y, value: Normal(value[:, None], 1.0).log_prob(y), [DATA], batch_size=2
    )
    found = off(target).to_arviz(4000)
    assert found.log_likelihood["data"].shape == (1, 4000, 9)
    np.testing.assert_allclose(elpd(arviz().loo(found, pointwise=True))[1], exact(), atol=0.03)
