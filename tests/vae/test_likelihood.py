"""Likelihoods of grey levels: they sum to one, and mean and samples agree with them."""

from __future__ import annotations

import pytest
import torch

from invflow.vae import Bernoulli, DiscretisedLogistic


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
