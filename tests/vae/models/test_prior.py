"""Priors: their densities against quadrature, and the equivalence of flow posterior and prior."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily
from torch.distributions import Normal as TorchNormal

from invflow import IAF, Flow
from invflow.transforms import Compose, Elementwise, Inverse, Transform
from invflow.vae import PRIORS, VAE
from invflow.vae.models.prior import Autoregressive, Prior, Vamp
from tests.helpers import assert_close, generator, perturbed, randn
from tests.vae.linear import NormalPixels, linear_vae

#: Half the width of the square of quadrature, and how many points along each side.
EDGE, POINTS = 14.0, 450


def _vae(prior: str, posterior: str = "diagonal", latents: int = 2) -> VAE:
    if prior == "vamp":
        torch.manual_seed(0)
        return linear_vae(posterior, Vamp(latents, 5, components=3), latents, scale=0.4)
    return linear_vae(posterior, prior, latents, scale=0.4)


def _grid(features: int) -> Tensor:
    side = torch.linspace(-EDGE, EDGE, POINTS, dtype=torch.float64)
    return torch.cartesian_prod(*[side] * features).reshape(-1, features)


def _volume(features: int) -> float:
    return (2 * EDGE / (POINTS - 1)) ** features


@pytest.mark.parametrize("latents", [1, 2])
@pytest.mark.parametrize(
    ("prior", "posterior"),
    [("normal", "diagonal"), ("vamp", "diagonal"), ("vamp", "iaf"), ("autoregressive", "diagonal")],
)
@torch.no_grad()
def test_densities_and_draws(prior: str, posterior: str, latents: int) -> None:
    """Densities integrate to one, and draws follow them, each latent and two of them together."""
    vae = _vae(prior, posterior, latents)
    grid = _grid(latents)
    mass = vae.log_prior(grid).exp() * _volume(latents)
    assert_close(float(mass.sum()), 1.0, tolerance=1e-5)
    draws = vae.draw_prior(20_000, generator(3))
    assert draws.shape == (20_000, latents)
    assert draws.dtype == torch.float64
    directions = [torch.eye(latents)[i].double() for i in range(latents)]
    for direction in [*directions, torch.ones(latents).double()]:
        places, which = (grid @ direction).mul(1e6).round().unique(return_inverse=True)
        slices = torch.zeros_like(places).index_add(0, which, mass)
        below = slices.cumsum(0) - 0.5 * slices
        found = scipy.stats.kstest(
            (draws @ direction).numpy(),
            partial(np.interp, xp=places.numpy() / 1e6, fp=below.numpy()),
        )
        assert found.statistic < 0.012


@pytest.mark.parametrize("batch", [(), (4,), (3, 2)])
@pytest.mark.parametrize("prior", PRIORS)
def test_batch_shapes(prior: str, batch: tuple[int, ...]) -> None:
    vae = _vae(prior, "iaf", latents=3)
    z = randn(*batch, 3)
    rows = torch.stack([vae.log_prior(row) for row in z.reshape(-1, 3)])
    assert_close(vae.log_prior(z), rows.reshape(batch))


def test_vamp_is_a_mixture_of_posteriors() -> None:
    vae = _vae("vamp")
    assert isinstance(vae.prior, Vamp)
    images = torch.tanh(vae.prior.raw)
    layer = vae.encoder[0]
    context = images @ layer.weight.T + layer.bias
    zeros, ones = torch.zeros(3, 2).double(), torch.ones(3, 2).double()
    means = vae.posterior.transform(zeros, context)[0]
    sds = vae.posterior.transform(ones, context)[0] - means
    mixture = MixtureSameFamily(
        Categorical(logits=torch.zeros(3, dtype=torch.float64)),
        Independent(TorchNormal(means, sds), 1),
    )
    z = 2 * randn(6, 2)
    assert_close(vae.log_prior(z), mixture.log_prob(z))
    (gradient,) = torch.autograd.grad(vae.elbo(randn(3, 5)).bound.sum(), vae.prior.raw)
    assert (gradient != 0).all()


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("posterior", ["diagonal", "iaf"])
def test_bounds_rise_to_the_exact_likelihood(prior: str, posterior: str) -> None:
    vae = _vae(prior, posterior)
    x = randn(4, 5)
    grid = _grid(2)[None]

    @torch.no_grad()
    def exact() -> Tensor:
        fit = vae.likelihood.log_prob(x[:, None], vae.decode(grid))
        return (fit + vae.log_prior(grid)).logsumexp(1) + math.log(_volume(2))

    inference = [*vae.encoder.parameters(), *vae.posterior.parameters()]
    optimizer = torch.optim.Adam(inference, 0.02)
    noise = generator(2)
    for _ in range(60):
        optimizer.zero_grad()
        (-vae.elbo(x.expand(32, 4, 5), noise).bound.logsumexp(0).mean()).backward()
        optimizer.step()
    # The Vamp prior has moved with its encoder.
    with torch.no_grad():
        bound = vae.elbo(x.expand(2000, 4, 5), noise).bound.mean(0)
    many = vae.log_likelihood(x, 20_000, noise, chunk=20_000)
    assert (bound < exact()).all()
    assert_close(many, exact(), tolerance=0.04)


class After(nn.Module):
    """A decoder that reads what a transform makes of latents."""

    def __init__(self, transform: Transform, decoder: nn.Module) -> None:
        super().__init__()
        self.transform = transform
        self.decoder = decoder

    def forward(self, z: Tensor) -> Tensor:
        return self.decoder(self.transform(z)[0])


def _equivalent(latents: int, univariate: str) -> tuple[VAE, VAE]:
    """Return a VAE with an IAF in its posterior, and one with its inverse as prior."""
    torch.manual_seed(0)
    flow = perturbed(IAF(latents, 0, 2, (6,), univariate=univariate)).transform
    normal = perturbed(Elementwise(latents, "affine", context=3))
    encoder = perturbed(nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)))
    decoder = perturbed(nn.Sequential(nn.Linear(latents, 10), nn.Unflatten(1, (5, 2))))

    def build(transform: Transform, prior: str | Prior, decoder: nn.Module) -> VAE:
        return VAE(
            (1, 1, 5),
            17,
            NormalPixels(17),
            Flow(transform),
            prior,
            (encoder, decoder),
        )

    prior = Autoregressive(latents)
    prior.flow = Flow(Inverse(flow))
    first = build(Compose([normal, flow]), "normal", decoder)
    return first.double(), build(normal, prior, After(flow, decoder)).double()


@pytest.mark.parametrize("univariate", ["affine", "gated", "spline"])
@pytest.mark.parametrize("latents", [1, 3])
def test_flow_posterior_and_flow_prior_are_the_same_model(latents: int, univariate: str) -> None:
    """Kingma et al. 2016, appendix D; Chen et al. 2017, section 3.2: for each image and noise."""
    first, second = _equivalent(latents, univariate)
    x = randn(7, 5)
    parameters = dict(first.named_parameters())
    assert {id(p) for p in parameters.values()} == {id(p) for p in second.parameters()}
    ours, theirs = first.elbo(x, generator(1)), second.elbo(x, generator(1))
    assert_close(ours, theirs)
    weights = randn(7, seed=5)
    for a, b in zip(
        torch.autograd.grad((ours.bound * weights).sum(), list(parameters.values())),
        torch.autograd.grad((theirs.bound * weights).sum(), list(parameters.values())),
        strict=True,
    ):
        assert_close(a, b)
        assert latents == 1 or (a != 0).any()
    assert_close(
        first.log_likelihood(x, 9, generator(2)), second.log_likelihood(x, 9, generator(2))
    )
    z = first.draw_prior(5, generator(3))
    assert_close(first.decode(z), second.decode(second.draw_prior(5, generator(3))))
    # The doubly reparameterised gradient of the shared parts, too.
    shared = [*first.encoder.parameters(), *first.decoder.parameters()]
    bounds = [model.importance_bound(x, 4, generator(4)) for model in (first, second)]
    assert_close(*bounds)
    assert_close(*[torch.autograd.grad((bound * weights).sum(), shared) for bound in bounds])


def test_bad_arguments() -> None:
    for kind in (lambda n: Vamp(n, 5), Autoregressive):
        with pytest.raises(ValueError, match="latents must be at least 1"):
            kind(0)
    with pytest.raises(ValueError, match="components must be at least 1"):
        Vamp(2, 5, 0)
