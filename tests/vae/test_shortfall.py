"""The shortfall of a log-likelihood from importance samples, where the log-likelihood is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from invflow.vae.evaluation import score
from invflow.vae.shortfall import nested, shortfall
from tests.helpers import assert_close, generator
from tests.vae.linear import decoder, exact, linear_vae


def test_parts_by_brute_force() -> None:
    log_w = torch.randn(35, 3, generator=generator(0), dtype=torch.float64)
    w = log_w.exp()
    whole, fourths, sixteenths = nested(log_w)
    assert_close(whole, w.mean(0).log())
    for found, parts in ((fourths, 4), (sixteenths, 16)):
        places = np.array_split(np.arange(35), parts)
        each = [len(place) / 35 * w[place].mean(0).log() for place in places]
        assert_close(found, torch.stack(each).sum(0))


@pytest.mark.parametrize("samples", [1, 15])
def test_too_few_samples(samples: int) -> None:
    found = nested(torch.zeros(samples, 2))
    assert found.tolist() == [[0, 0]]
    assert math.isnan(shortfall(found[0], found[1:]))


def _levels(*values: float) -> float:
    whole, *fewer = (torch.tensor([value, value + 2]) for value in values)
    return shortfall(whole, torch.stack(fewer))


def test_extrapolation() -> None:
    # A bias of 1/S: -1/64, -1/16 and -1/4.
    assert _levels(-1 / 64, -1 / 16, -1 / 4) == pytest.approx(1 / 64)
    # A bias of 1/sqrt(S).
    assert _levels(-1 / 8, -1 / 4, -1 / 2) == pytest.approx(1 / 8)
    # Faster than 1/S is luck, and not believed.
    assert _levels(-1.0, -1.1, -4.0) == pytest.approx(0.1 / 3, rel=1e-5)
    assert _levels(-1.0, -2.0, -3.0) == math.inf
    assert _levels(-1.0, -2.0, -1.5) == math.inf
    assert _levels(-1.0, -1.0, -1.5) == 0.0


@pytest.mark.parametrize("size", [-90.0, -3000.0])
@pytest.mark.parametrize("spread", [1e-3, 1e-2, 0.1])
@pytest.mark.parametrize("samples", [64, 500])
def test_a_nearly_exact_posterior(samples: int, spread: float, size: float) -> None:
    """Neither rounding nor the noise of single samples is a rise that does not slow down."""
    log_w = size + spread * torch.randn(samples, 200, generator=generator(3))
    whole, *fewer = nested(log_w)
    assert 0 <= shortfall(whole, torch.stack(fewer)) < 2 * spread**2 / samples + 1e-6


def _mean_field(correlation: float, features: int) -> tuple[Tensor, Tensor]:
    """Return covariance of a posterior, and standard deviations of its best diagonal Gaussian."""
    covariance = torch.full((features, features), correlation, dtype=torch.float64)
    covariance.fill_diagonal_(1.0)
    return covariance, covariance.inverse().diagonal() ** -0.5


@pytest.mark.parametrize(("correlation", "features"), [(0.9, 2), (0.5, 8), (0.8, 8)])
def test_a_posterior_that_is_too_narrow(correlation: float, features: int) -> None:
    """Its size is right, where effective sample sizes and halves say far too little."""
    covariance, sd = _mean_field(correlation, features)
    exactly = MultivariateNormal(torch.zeros(features).double(), covariance)
    z = sd * torch.randn(100, 2000, features, generator=generator(1), dtype=torch.float64)
    log_w = exactly.log_prob(z) - Normal(0.0, sd).log_prob(z).sum(-1)
    whole, *fewer = nested(log_w)
    truth = -float(whole.mean())
    assert truth > 0.15
    assert 0.5 * truth < shortfall(whole, torch.stack(fewer)) < 1.5 * truth
    halves = log_w.unflatten(0, (2, 50)).logsumexp(1).mean(0) - math.log(50)
    assert float((whole - halves).mean()) < 0.3 * truth
    effective = 1 / log_w.softmax(0).square().sum(0)
    assert float((0.5 / effective).mean()) < 0.3 * truth


@torch.no_grad()
def test_a_linear_vae() -> None:
    """A diagonal posterior with the right means: the best that there is, and too narrow."""
    vae = linear_vae("diagonal", latents=2, scale=0.5)
    weight, bias = decoder(vae)
    weight[:, 0] = torch.tensor([1.0, -0.5, 0.3, 0.8, -1.0])
    weight[:, 1] = weight[:, 0] + torch.tensor([0.0, 0.2, -0.3, 0.0, 0.2])
    precision = torch.eye(2, dtype=torch.float64) + 4 * weight.T @ weight
    gain = 4 * precision.inverse() @ weight.T
    # The encoder sees (x - 8) / 8, and two of its outputs are the exact posterior's mean.
    encoder, given = vae.encoder[0], vae.posterior.transform.transforms[0].given
    encoder.weight.zero_()[:2] = 8 * gain
    encoder.bias.zero_()[:2] = gain @ (8 - bias)
    given.weight.zero_()
    given.weight[0, 0] = given.weight[2, 1] = 1.0
    log_scale = -0.5 * precision.diagonal().log()
    given.bias[0::2] = 0.0
    given.bias[1::2] = 5 * (log_scale / 5).atanh()
    levels = torch.randint(17, (400, 5), generator=generator(2), dtype=torch.uint8)
    found = score(vae, levels, samples=16, bound_samples=50)
    # What the bound misses is known: half the logarithm of |precision| over its diagonal's product.
    truth = exact(vae, vae.observe(levels))
    gap = 0.5 * (precision.diagonal().log().sum() - precision.logdet())
    assert_close((truth - found.bound).mean(), gap, tolerance=0.05)
    missing = float((truth - found.log_likelihood).mean())
    assert 0.1 < missing < float(gap)
    assert shortfall(found.log_likelihood, found.fewer) == pytest.approx(missing, rel=0.5)
