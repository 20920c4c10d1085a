"""Densities of images with a context, without a logit, and trained on noisy images."""

from __future__ import annotations

import math

import pytest
import torch

from invflow import MAF
from invflow.flows import Flow, TarFlow, denoised
from invflow.images import ImageDensity, noisy
from invflow.transforms import Permutation
from tests.helpers import assert_close, flow, generator


def _labelled() -> tuple[ImageDensity, torch.Tensor, torch.Tensor]:
    """Return a density given classes, images, and a context for each."""
    whole = flow(TarFlow, (1, 2, 2), 1, 0, 2, (8,), classes=3)()
    assert isinstance(whole, TarFlow)
    x = torch.randint(5, (7, 1, 2, 2), generator=generator(3))
    context = whole.labelled(torch.tensor([0, 1, 2, -1, 0, 1, 2]))
    return ImageDensity(whole, 5, (1, 2, 2), None), x, context


def test_without_a_logit_levels_are_scaled_to_minus_one_and_one() -> None:
    whole = flow(MAF, 4, 0, 2, (6,))()
    model, y = ImageDensity(whole, 5, (1, 2, 2), None), 5 * torch.rand(3, 4).double()
    expected = whole().log_prob(2 * y / 5 - 1) - 4 * math.log(5 / 2)
    assert_close(model.log_density(y), expected, 1e-12)


def test_uniform_density_without_a_logit() -> None:
    """Every image of the range is equally likely: its bits are those of its level."""
    base = {"name": "uniform", "low": -1.0, "high": 1.0}
    model = ImageDensity(Flow(Permutation([0, 1, 2, 3]), base).double(), 8, (1, 2, 2), None)
    x = torch.randint(8, (20, 1, 2, 2), generator=generator(1))
    assert_close(model.bits_per_dim(x), torch.full((20,), 3.0).double(), 1e-12)
    drawn = model.sample(4000, generator(2))
    assert drawn.float().mean((0, 1)).sub(3.5).abs().max() < 0.2


def test_each_image_is_given_its_own_context_in_any_chunks() -> None:
    model, x, context = _labelled()
    alone = [
        model.log_likelihood(x[i], 4000, generator(i), context=context[i]) for i in range(len(x))
    ]
    for chunk in (5, 30_000):
        together = model.log_likelihood(x, 4000, generator(9), context=context, chunk=chunk)
        assert_close(together, torch.stack(alone), 0.1)
    other = model.log_likelihood(x, 4000, generator(9), context=context.flip(0))
    assert (other - torch.stack(alone)).abs().max() > 0.3
    drawn = model.sample(7, generator(1), context=context, chunk=3)
    first = model.sample(3, generator(1), context=context[:3], chunk=3)
    assert torch.equal(drawn[:3], first)
    assert model.sample(4, generator(1), context=context[0]).shape == (4, 1, 2, 2)


def test_a_context_that_is_missing_or_does_not_fit_is_an_error() -> None:
    model, x, context = _labelled()
    for call in (
        lambda: model(x),
        lambda: model.log_likelihood(x),
        lambda: model.sample(3),
        lambda: model.log_likelihood(x, context=context[:4]),
        lambda: model.sample(3, context=context),
        lambda: model.sample(7, context=context[:, :2]),
    ):
        with pytest.raises(ValueError, match="context"):
            call()
    with pytest.raises(TypeError, match="context"):
        model.sample(1, context=[1.0, 0.0, 0.0])  # type: ignore[arg-type]


def test_guided_samples_lose_noise_by_the_density_that_was_trained() -> None:
    model, _, context = _labelled()
    whole = model.flow
    assert isinstance(whole, TarFlow)
    drawn = whole.guided(1.5)(context).sample(generator=generator(5))
    clean = denoised(whole(context), drawn, 0.2)
    levels = ((clean + 1) * 5 / 2).floor().clamp(0, 4).long().reshape(7, 1, 2, 2)
    found = model.sample(7, generator(5), context=context, noise=0.2, guidance=1.5)
    assert torch.equal(found, levels)
    with pytest.raises(ValueError, match="guidance needs a TarFlow with classes, got a MAF"):
        ImageDensity(MAF(4), 5, (1, 2, 2)).sample(2, guidance=1.0)


def test_noisy_images_are_images_with_both_noises() -> None:
    model, x, context = _labelled()
    source = generator(4)
    uniform, normal = (
        draw(7, 4, generator=source, dtype=torch.float64) for draw in (torch.rand, torch.randn)
    )
    y = x.flatten(1) + uniform + 0.3 * 5 / 2 * normal
    expected = model.log_density(y, context=context)
    assert torch.equal(noisy(model, x, 0.3, generator(4), context=context), expected)


def test_noise_is_taken_out_of_samples() -> None:
    model, _, context = _labelled()
    q = model.flow(context)
    clean = denoised(q, q.sample(generator=generator(5)), 0.2)
    levels = ((clean + 1) * 5 / 2).floor().clamp(0, 4).long().reshape(7, 1, 2, 2)
    assert torch.equal(model.sample(7, generator(5), context=context, noise=0.2), levels)


def test_noise_needs_images_without_a_logit() -> None:
    model, x = ImageDensity(MAF(4), 5, (1, 2, 2)), torch.zeros(2, 4)
    for call in (lambda: noisy(model, x, 0.1), lambda: model.sample(2, noise=0.1)):
        with pytest.raises(ValueError, match=r"noise needs images without a logit: .*alpha=None"):
            call()
    plain = ImageDensity(MAF(4), 5, (1, 2, 2), None)
    with pytest.raises(ValueError, match="deviation must be positive"):
        noisy(plain, x, -1.0)
    with pytest.raises(ValueError, match="noise must be positive"):
        plain.sample(2, noise=-1.0)
