"""Likelihoods of grey levels: they sum to one, and mean and samples agree with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch

from invflow.vae import (
    LIKELIHOODS,
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    Gaussian,
    Likelihood,
    LogisticMixture,
    SharedLogistic,
)
from invflow.vae.config import LikelihoodName
from tests.helpers import generator, perturbed, randn


def _params(count: int, outputs: int) -> torch.Tensor:
    return 1.5 * torch.randn(count, 1, outputs, dtype=torch.float64)


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_discretised_logistic_sums_to_one(levels: int) -> None:
    torch.manual_seed(0)
    likelihood = DiscretisedLogistic(levels)
    x = torch.arange(levels, dtype=torch.float64).reshape(-1, 1, 1)
    p = likelihood.log_prob(x, _params(7, 2)).exp()
    torch.testing.assert_close(p.sum(0), torch.ones(7, dtype=torch.float64))


def test_discretised_logistic_is_a_difference_of_distribution_functions() -> None:
    torch.manual_seed(0)
    likelihood = DiscretisedLogistic(17)
    params = _params(7, 2)
    logistic = torch.distributions.TransformedDistribution(
        torch.distributions.Uniform(torch.tensor(0.0).double(), torch.tensor(1.0).double()),
        [
            torch.distributions.SigmoidTransform().inv,
            torch.distributions.AffineTransform(
                params[..., 0] + 0.5, 0.15 * torch.exp(5 * torch.tanh(params[..., 1] / 5))
            ),
        ],
    )
    at = torch.tensor(5.0, dtype=torch.float64)
    expected = logistic.cdf((at + 1) / 17) - logistic.cdf(at / 17)
    x = at.expand(7, 1)
    torch.testing.assert_close(likelihood.log_prob(x, params).exp(), expected[:, 0])


@pytest.mark.parametrize("offset", [-40.0, 40.0])
def test_discretised_logistic_is_finite_far_away(offset: float) -> None:
    params = torch.tensor([offset, -50.0]).requires_grad_()
    value = DiscretisedLogistic(17).log_prob(torch.full((1,), 8.0), params.reshape(1, 2))
    (gradient,) = torch.autograd.grad(value, params)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


def test_discretised_logistic_mean_and_samples() -> None:
    torch.manual_seed(0)
    likelihood = DiscretisedLogistic(17)
    params = _params(5, 2)
    x = torch.arange(17, dtype=torch.float64).reshape(-1, 1, 1)
    p = likelihood.log_prob(x, params).exp()
    mean = (x[..., 0] * p).sum(0)
    torch.testing.assert_close(likelihood.mean(params)[:, 0], mean)
    draws = likelihood.sample(params.expand(20_000, 5, 1, 2), torch.Generator().manual_seed(1))
    spread = draws.std(0)[:, 0] / 20_000**0.5
    assert ((draws.mean(0)[:, 0] - mean).abs() < 5 * spread + 1e-6).all()


def test_bernoulli_binarises_by_intensity() -> None:
    likelihood = Bernoulli(256)
    levels = torch.tensor([0, 255, 64]).expand(40_000, 3)
    x = likelihood.observe(levels, torch.Generator().manual_seed(0))
    assert set(x.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(x.mean(0), torch.tensor([0.0, 1.0, 64 / 255]), atol=0.01, rtol=0)


def test_bernoulli_is_torchs() -> None:
    torch.manual_seed(0)
    logits, x = torch.randn(5, 9), torch.randint(2, (5, 9)).float()
    expected = torch.distributions.Bernoulli(logits=logits).log_prob(x).sum(-1)
    torch.testing.assert_close(Bernoulli(2).log_prob(x, logits.unsqueeze(-1)), expected)


COUNTED = [name for name in LIKELIHOODS if name != "gaussian"]


def _made(name: str, levels: int) -> Likelihood:
    return perturbed(LIKELIHOODS[name](levels)).double()


def _probabilities(likelihood: Likelihood, params: torch.Tensor, levels: int) -> torch.Tensor:
    x = torch.arange(levels).double().reshape(-1, 1, 1)
    return likelihood.log_prob(x, params).exp()


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
@pytest.mark.parametrize("name", COUNTED)
def test_levels_sum_to_one(name: str, levels: int) -> None:
    likelihood = _made(name, levels)
    values = 2 if name == "bernoulli" else levels
    p = _probabilities(likelihood, 1.5 * randn(7, 1, likelihood.outputs), values)
    torch.testing.assert_close(p.sum(0), torch.ones(7).double())


@pytest.mark.parametrize("name", COUNTED)
def test_mean_and_samples_agree_with_probabilities(name: str) -> None:
    levels = 2 if name == "bernoulli" else 9
    likelihood = _made(name, levels)
    params = 1.5 * randn(3, 1, likelihood.outputs)
    p = _probabilities(likelihood, params, levels)
    mean = (torch.arange(levels).double()[:, None] * p).sum(0)
    torch.testing.assert_close(likelihood.mean(params)[:, 0], mean)
    draws = likelihood.sample(params.expand(40_000, -1, -1, -1), generator(1))[..., 0]
    shares = torch.stack([(draws == level).double().mean(0) for level in range(levels)])
    assert ((shares - p).abs() < 5 * (p * (1 - p) / 40_000).sqrt() + 1e-6).all()


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_pixels_are_independent_and_gradients_finite_far_away(name: str) -> None:
    likelihood = _made(name, 17)
    x = torch.tensor([0.0, 1.0]).double()
    params = (1000 * randn(4, 2, likelihood.outputs)).requires_grad_()
    value = likelihood.log_prob(x, params)
    assert value.shape == (4,)
    (gradient,) = torch.autograd.grad(value.sum(), params)
    assert gradient.isfinite().all()
    alone = [likelihood.log_prob(x[i : i + 1], params[:, i : i + 1]) for i in range(2)]
    torch.testing.assert_close(alone[0] + alone[1], value)


def test_gaussian_is_torchs_in_units_of_levels() -> None:
    likelihood, params = Gaussian(256), randn(5, 3, 2)
    scale = 0.15 * torch.exp(5 * torch.tanh(params[..., 1] / 5))
    normal = torch.distributions.Normal(255 * (params[..., 0] + 0.5), 255 * scale)
    x = 255 * torch.rand(5, 3, generator=generator(0)).double()
    torch.testing.assert_close(likelihood.log_prob(x, params), normal.log_prob(x).sum(-1))
    draws = likelihood.sample(params.expand(50_000, -1, -1, -1), generator(1))
    torch.testing.assert_close(likelihood.mean(params), normal.mean)
    assert ((draws.mean(0) - normal.mean).abs() < 5 * normal.stddev / 50_000**0.5).all()
    torch.testing.assert_close(draws.std(0), normal.stddev, rtol=0.03, atol=0)


def test_one_component_is_one_logistic() -> None:
    params, x = randn(5, 3, 2), torch.tensor([0.0, 4.0, 16.0]).double()
    mixture = torch.cat([randn(5, 3, 1, seed=2), params], -1)
    found = LogisticMixture(17, components=1).log_prob(x, mixture)
    torch.testing.assert_close(found, DiscretisedLogistic(17).log_prob(x, params))


def test_shared_scale_is_one_for_each_channel() -> None:
    likelihood = SharedLogistic(17, channels=3).double()
    with torch.no_grad():
        likelihood.raw_scale.copy_(torch.tensor([-0.5, 0.0, 1.0]))
    mean, x = randn(5, 6, 1), torch.tensor([3.0, 4.0, 9.0, 0.0, 16.0, 8.0]).double()
    raw = torch.tensor([-0.5, -0.5, 0.0, 0.0, 1.0, 1.0]).double().expand(5, 6).unsqueeze(-1)
    expected = DiscretisedLogistic(17).log_prob(x, torch.cat([mean, raw], -1))
    torch.testing.assert_close(likelihood.log_prob(x, mean), expected)
    with pytest.raises(ValueError, match="pixels must be a multiple of 3 channels, got 4"):
        likelihood.log_prob(x[:4], mean[:, :4])


def test_categorical_is_torchs() -> None:
    params, x = randn(5, 3, 4), torch.tensor([0.0, 3.0, 1.0]).double()
    expected = torch.distributions.Categorical(logits=params).log_prob(x).sum(-1)
    torch.testing.assert_close(Categorical(4).log_prob(x, params), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogisticMixture(17, components=0), "components must be at least 1"),
        (lambda: SharedLogistic(17, channels=0), "channels must be at least 1"),
        (lambda: Categorical(1), "levels must be at least 2"),
    ],
)
def test_bad_arguments(make: Callable[[], Likelihood], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_every_likelihood_can_be_asked_for_in_a_run() -> None:
    assert set(get_args(LikelihoodName)) == {"auto", *LIKELIHOODS}
