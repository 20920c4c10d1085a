"""Posterior means, and images from latents."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from invflow.vae import VAE, ResNetVAE
from invflow.vae.models.base import LatentModel
from tests.helpers import assert_close, generator, perturbed
from tests.vae.linear import linear_vae

X = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def _resnet_vae() -> ResNetVAE:
    torch.manual_seed(0)
    vae = ResNetVAE(
        (1, 1, 5), 17, depths=(1, 1), feature_maps=3, latent_maps=1, flow_hidden_features=(3,)
    )
    return perturbed(vae)


def _models() -> dict[str, LatentModel]:
    return {"diagonal": linear_vae("diagonal"), "iaf": linear_vae("iaf"), "resnet": _resnet_vae()}


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_the_mean_of_a_gaussian_is_exact(posterior: str) -> None:
    vae = linear_vae(posterior, scale=0.5)
    found = vae.embed(X, samples=1)
    q = vae.encode(X)
    assert_close(found, q.mean.detach())
    assert_close(found, q.sample((100_000,), generator=generator(0)).mean(0), 0.02)
    assert not found.requires_grad


@pytest.mark.parametrize("posterior", ["iaf", "spline", "planar"])
def test_the_mean_of_one_latent_is_that_of_quadrature(posterior: str) -> None:
    vae = linear_vae(posterior, latents=1, scale=0.5)
    z = torch.linspace(-30, 30, 60_001, dtype=torch.float64)[:, None, None]
    density = vae.encode(X).log_prob(z.expand(-1, len(X), 1)).exp().detach()
    assert_close(torch.trapezoid(density, z[..., 0], dim=0), torch.ones(len(X)).double(), 1e-4)
    mean = torch.trapezoid(density * z[..., 0], z[..., 0], dim=0)
    found = vae.embed(X, samples=20_000, generator=generator(0))
    assert_close(found[:, 0], mean, 0.05)


@pytest.mark.parametrize("name", ["iaf", "resnet"])
def test_chunks_are_the_whole(name: str) -> None:
    """The mean is that of draws; a chunk holds a part of the images or of the draws."""
    model = _models()[name]
    for chunk in (500, 3000, 10_000):
        found = model.embed(X, 4000, generator(0), chunk=chunk)
        assert_close(found, model.draw(X, 4000, generator(1))[0].mean(0).detach(), 0.15)
    assert torch.equal(model.embed(X, 5, generator(0)), model.embed(X, 5, generator(0)))


@pytest.mark.parametrize("name", ["diagonal", "iaf", "resnet"])
def test_the_expected_image_is_the_mean_of_samples(name: str) -> None:
    model = _models()[name]
    z = model.draw_prior(3, generator(0)).detach()
    params = model.decode(z).detach()
    drawn = model.likelihood.sample(params.expand(20_000, *params.shape), generator(1)).mean(0)
    assert_close(model.expected(z), drawn, 0.2)


@pytest.mark.parametrize("name", ["diagonal", "iaf", "resnet"])
def test_pieces_are_the_whole(name: str) -> None:
    model = _models()[name]
    z = model.draw_prior(15, generator(0)).detach().unflatten(0, (5, 3))
    expected = model.likelihood.mean(model.decode(z)).detach()
    for pieces in (4, 100):
        model.at_once = pieces
        found = model.expected(z)
        assert found.shape == (5, 3, 5)
        assert_close(found, expected)


def test_probabilities_of_levels_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    vae = VAE((1, 1, 5), 17, latents=2, hidden_features=(3,))
    sizes: list[int] = []
    decode = vae.decode

    def counted(z: Tensor, given: Tensor | None) -> Tensor:
        sizes.append(len(z))
        return decode(z, given)

    monkeypatch.setattr(vae, "decode", counted)
    monkeypatch.setattr("invflow.vae.models.base.MAX_NUMBERS", 4 * 5 * 17)
    vae.at_once = 100
    vae.expected(torch.zeros(10, 2))
    assert sizes == [4, 4, 2]


@pytest.mark.parametrize("name", ["diagonal", "iaf", "resnet"])
def test_a_reconstruction_is_the_expected_image_at_a_draw(name: str) -> None:
    model = _models()[name]
    z, _ = model.draw(X, 1, generator(3))
    assert_close(model.reconstruct(X, generator(3)), model.expected(z[0].detach()))
    assert not torch.equal(model.reconstruct(X, generator(3)), model.reconstruct(X, generator(4)))


@pytest.mark.parametrize("name", ["diagonal", "iaf", "resnet"])
def test_interpolations_are_straight_lines_between_draws(name: str) -> None:
    model = _models()[name]
    images = model.interpolate(X[:2], X[2:], 5, generator(3))
    assert images.shape == (2, 5, 5)
    noise = generator(3)
    first, second = (model.draw(x, 1, noise)[0][0].detach() for x in (X[:2], X[2:]))
    for k in range(5):
        at = first + k / 4 * (second - first)
        assert_close(images[:, k], model.expected(at))
    assert (images[:, 0] - images[:, -1]).abs().amax(-1).min() > 1e-4
