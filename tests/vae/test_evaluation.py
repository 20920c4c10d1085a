"""Scores against closed forms, and in pieces."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invflow.images.pixels import bits_per_dim
from invflow.vae import VAE, ResNetVAE
from invflow.vae.evaluation import bounds, score
from invflow.vae.models.base import LatentModel
from tests.helpers import assert_close, generator
from tests.vae.linear import decoder, linear_vae

LEVELS = torch.randint(17, (9, 1, 1, 5), generator=generator(4))


def _vae(posterior: str = "diagonal") -> VAE:
    vae = linear_vae(posterior, latents=3, flow_transforms=1, scale=0.8)
    with torch.no_grad():
        vae.decoder[0].bias.add_(8.0)
        vae.encoder[0].weight.mul_(3.0)
    return vae


def _normals(vae: VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and standard deviations of the latents of images."""
    q = vae.encode(x)
    mean = q.transform(torch.zeros(len(x), 3).double(), q.context)[0]
    return mean, q.transform(torch.ones(len(x), 3).double(), q.context)[0] - mean


@torch.no_grad()
def test_score_of_a_linear_model() -> None:
    """The expected squared error of a linear decoder under a normal posterior is known."""
    vae = _vae()
    x = vae.observe(LEVELS.flatten(1))
    mean, sd = _normals(vae, x)
    weight, bias = decoder(vae)
    squares = (x - mean @ weight.T - bias).square().sum(-1)
    spread = (weight.square() @ sd.square().T).sum(0)
    fit = -2 * (squares + spread) - 5 * math.log(0.5 * math.sqrt(2 * math.pi))
    kl = 0.5 * (sd.square() + mean.square() - 1).sum(-1) - sd.log().sum(-1)
    found = score(vae, LEVELS, samples=10, bound_samples=3000, chunk=30_000)
    assert found.kls.shape == (9, 1)
    assert_close(found.kl, kl)
    assert_close(found.bound, fit - kl, tolerance=0.03)
    assert_close(found.distortion, -fit, tolerance=0.03)
    assert_close(found.variances, mean.var(0, correction=0), tolerance=0.03)
    assert found.active == 3


@torch.no_grad()
def test_a_dead_latent_is_not_active() -> None:
    vae = _vae()
    elementwise = vae.posterior.transform.transforms[0]
    before, _ = _normals(vae, vae.observe(LEVELS.flatten(1)))
    assert (before.var(0, correction=0) > 0.02).all()
    # Latent 1 does not see the image.
    for parameter in elementwise.parameters():
        if parameter.ndim > 1:
            parameter.unflatten(0, (3, 2))[1] = 0.0
    mean, _ = _normals(vae, vae.observe(LEVELS.flatten(1)))
    assert (mean.var(0, correction=0) > 0.02).tolist() == [True, False, True]
    assert score(vae, LEVELS, samples=2, bound_samples=300).active == 2


@pytest.mark.parametrize("images", [1, 2, 9])
@torch.no_grad()
def test_variances_are_unbiased(images: int) -> None:
    vae = _vae()
    levels = LEVELS[:images]
    mean, _ = _normals(vae, vae.observe(levels.flatten(1)))
    found = torch.stack(
        [score(vae, levels, samples=1, bound_samples=2, seed=seed).variances for seed in range(150)]
    )
    error = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) - mean.var(0, correction=0)).abs() < 4 * error + 1e-9).all()


class Spy:
    """Remembers how many latents are decoded at once."""

    def __init__(self, model: LatentModel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        name = "_params" if isinstance(model, ResNetVAE) else "decode"
        real = getattr(model, name)

        def spied(values: Tensor, *given: Tensor | None) -> Tensor:
            rows = values.shape[0] if name == "_params" else math.prod(values.shape[:-1])
            self.rows.append(rows)
            return real(values, *given)

        monkeypatch.setattr(model, name, spied)


@pytest.mark.parametrize("kind", ["vae", "resnet-vae"])
@pytest.mark.parametrize("chunk", [1, 3, 7, 20])
def test_memory_is_bounded(kind: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model: LatentModel = _vae("iaf")
    if kind == "resnet-vae":
        model = ResNetVAE(
            (1, 1, 5), 17, depths=(2,), feature_maps=3, latent_maps=1, flow_hidden_features=(3,)
        )
    spy = Spy(model, monkeypatch)
    score(model, LEVELS, samples=8, bound_samples=12, chunk=chunk)
    assert max(spy.rows) <= chunk


@pytest.mark.parametrize("chunk", [7, 61])
def test_pieces_do_not_change_what_is_expected(chunk: int) -> None:
    vae = _vae("iaf")
    x = vae.observe(LEVELS.flatten(1))
    few, many = (
        vae.log_likelihood(x.repeat(100, 1), 20, generator(chunk), chunk=size).reshape(100, 9)
        for size in (chunk, 50_000)
    )
    error = ((few.var(0) + many.var(0)) / 100).sqrt()
    assert ((few.mean(0) - many.mean(0)).abs() < 4 * error).all()


def test_bits_per_dim() -> None:
    assert bits_per_dim(-math.log(256) * 3072, 3072) == pytest.approx(8.0)


def test_bounds_alone() -> None:
    """The same as those of `score`, from the same random numbers."""
    vae = _vae("iaf")
    alone = bounds(vae, LEVELS, seed=3, samples=4)
    assert_close(alone, score(vae, LEVELS, samples=1, seed=3, bound_samples=4).bound, tolerance=0)
    assert not torch.equal(alone, bounds(vae, LEVELS, seed=4, samples=4))
    vae.train()
    bounds(vae, LEVELS, samples=1)
    assert vae.training
