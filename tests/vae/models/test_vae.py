"""The bound and the importance-sampled likelihood, against a model that can be solved."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invflow.vae import POSTERIORS, VAE, DiscretisedLogistic
from invflow.vae.evaluation import score
from invflow.vae.models.gaussian import kl_from_normal
from invflow.vae.models.prior import Normal
from tests.vae.linear import exact, linear_vae


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_bounds_rise_to_the_exact_likelihood(posterior: str) -> None:
    vae = linear_vae(posterior)
    x = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    solved = exact(vae, x)
    noise = torch.Generator().manual_seed(2)
    # From anywhere, importance sampling would take more draws than there is time for; its own bound
    # makes the posterior wide enough.
    optimizer = torch.optim.Adam([*vae.encoder.parameters(), *vae.posterior.parameters()], 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        (-vae.elbo(x.expand(32, 6, 5), noise).bound.logsumexp(0).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        bound = vae.elbo(x.expand(2000, 6, 5), noise).bound.mean(0)
    few = vae.log_likelihood(x.repeat(200, 1), 5, noise, chunk=20_000).reshape(200, 6).mean(0)
    many = vae.log_likelihood(x, 50_000, noise, chunk=50_000)
    assert (bound < few).all()
    assert (few < solved).all()
    torch.testing.assert_close(many, solved, atol=0.05, rtol=0)


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_divergence_of_gaussian_posteriors_is_the_closed_form(posterior: str) -> None:
    vae = linear_vae(posterior)
    x = torch.randn(3, 5, dtype=torch.float64)
    q = vae.encode(x)
    origin, ones = torch.zeros(3, 2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    mean = q.transform(origin, q.context)[0]
    matrix = torch.stack([q.transform(e.expand(3, 2), q.context)[0] - mean for e in ones], -1)
    normal = torch.distributions.MultivariateNormal(mean, matrix @ matrix.mT)
    standard = torch.distributions.MultivariateNormal(origin, ones)
    closed = torch.distributions.kl_divergence(normal, standard)
    torch.testing.assert_close(vae.elbo(x).kl, closed)
    found = kl_from_normal(q)
    assert found is not None
    torch.testing.assert_close(found, closed)


@pytest.mark.parametrize("posterior", ["iaf", "planar", "spline"])
def test_divergence_of_flows_has_no_closed_form(posterior: str) -> None:
    vae = linear_vae(posterior)
    assert kl_from_normal(vae.encode(torch.randn(3, 5, dtype=torch.float64))) is None


def test_context_reaches_every_latent_of_the_posterior() -> None:
    vae = linear_vae("iaf")
    x = torch.randn(5, dtype=torch.float64)

    def drawn(x: Tensor) -> Tensor:
        return vae.encode(x).rsample(generator=torch.Generator().manual_seed(0))

    assert (torch.autograd.functional.jacobian(drawn, x) != 0).all()


def test_score_repeats_itself() -> None:
    torch.manual_seed(0)
    vae = VAE((1, 8, 8), 17, posterior="iaf", latents=3)
    levels = torch.randint(17, (4, 1, 8, 8))
    first, second = (score(vae, levels, samples=10, seed=3) for _ in range(2))
    assert torch.equal(first.bound, second.bound)
    assert torch.equal(first.log_likelihood, second.log_likelihood)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"shape": (1, 8)}, ValueError, r"shape must be \(channels, height, width\)"),
        ({"shape": (1, 8, 0)}, ValueError, r"shape\[2\] must be at least 1"),
        ({"prior": "flat"}, ValueError, "prior must be one of"),
        (
            {"prior": Normal(3)},
            ValueError,
            "prior must have 16 latents, got 3",
        ),
        ({"network": "deep"}, ValueError, "network must be one of"),
        ({"likelihood": DiscretisedLogistic(16)}, ValueError, "likelihood must have 17 levels"),
        ({"levels": 1}, ValueError, "levels must be at least 2"),
        ({"levels": 17.0}, TypeError, "levels must be an integer"),
        ({"likelihood": "poisson"}, ValueError, "likelihood must be one of"),
        ({"posterior": "fancy"}, ValueError, "posterior must be one of"),
        ({"latents": 0}, ValueError, "latents must be at least 1"),
        ({"context": 0}, ValueError, "context must be at least 1"),
        ({"context": 8.0}, TypeError, "context must be an integer"),
        ({"flow_transforms": 0}, ValueError, "flow_transforms must be at least 1"),
        ({"flow_transforms": True}, TypeError, "flow_transforms must be an integer"),
        ({"hidden_features": (0,)}, ValueError, r"hidden_features\[0\] must be at least 1"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        VAE(**{"shape": (1, 8, 8), "levels": 17, **arguments})  # type: ignore[arg-type]


def test_log_likelihood_of_one_draw_is_the_bound() -> None:
    vae = linear_vae("iaf")
    x = torch.randn(3, 5, dtype=torch.float64)
    bound = vae.elbo(x, torch.Generator().manual_seed(5)).bound.detach()
    single = vae.log_likelihood(x, 1, torch.Generator().manual_seed(5))
    torch.testing.assert_close(single, bound)
    assert math.isfinite(float(single.sum()))


def _gradients(vae: VAE, bound: Tensor, part: str) -> Tensor:
    parameters = [value for name, value in vae.named_parameters() if name.startswith(part)]
    found = torch.autograd.grad(bound.mean(), parameters)
    return torch.cat([gradient.flatten() for gradient in found])


@pytest.mark.parametrize(
    ("posterior", "prior"),
    # Under "vamp" the prior is made of the posterior, and its gradients go through both.
    [("full", "normal"), ("iaf", "normal"), ("planar", "normal"), ("diagonal", "vamp")],
)
@pytest.mark.parametrize("samples", [1, 4])
def test_importance_bound_and_its_gradients(posterior: str, prior: str, samples: int) -> None:
    vae = linear_vae(posterior, prior)
    x = torch.randn(1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def plain(seed: int, rows: int) -> Tensor:
        noise = torch.Generator().manual_seed(seed)
        log_w = vae.draw(x.expand(rows, 5), samples, noise)[1]
        return log_w.logsumexp(0) - math.log(samples)

    def ours(seed: int, rows: int) -> Tensor:
        return vae.importance_bound(x.expand(rows, 5), samples, torch.Generator().manual_seed(seed))

    torch.testing.assert_close(ours(0, 3), plain(0, 3))
    torch.testing.assert_close(
        _gradients(vae, ours(0, 3), "decoder"), _gradients(vae, plain(0, 3), "decoder")
    )
    # The posterior's gradients agree on average.
    for part in ("encoder", "posterior"):
        pairs = [
            (_gradients(vae, ours(seed, 400), part), _gradients(vae, plain(seed, 400), part))
            for seed in range(30)
        ]
        first, second = (torch.stack(each) for each in zip(*pairs, strict=True))
        error = (first - second).std(0) / math.sqrt(len(pairs))
        assert ((first - second).mean(0).abs() < 5 * error + 1e-9).all()


def test_importance_gradients_vanish_where_the_posterior_is_exact() -> None:
    """A model that ignores its latents: the prior is the posterior."""
    vae = VAE((1, 1, 5), 17, posterior="full", latents=2, hidden_features=(), context=3).double()
    with torch.no_grad():
        vae.decoder[0].weight.zero_()
        for name, parameter in vae.posterior.named_parameters():
            if name.endswith("weight"):
                parameter.zero_()
    x = vae.likelihood.observe(torch.randint(17, (6, 5))).double()
    bound = vae.importance_bound(x, 4)
    assert _gradients(vae, bound, "posterior").abs().max() < 1e-12
