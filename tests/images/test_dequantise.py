"""Noise has the density that it says, and a learned one has a better bound."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from invflow import IAF
from invflow.conditioners import Perceptron
from invflow.images import ImageDensity, Uniform, Variational
from tests.helpers import assert_close, generator, perturbed, randn
from tests.images.exact import cube, diagonal, every_image, quadrature

SHAPE = (1, 1, 2)


def variational(
    pixels: int = 2,
    context: int = 2,
    encoder: nn.Module | None = None,
    base: str = "logistic",
    **options: float,
) -> Variational:
    flow = IAF(pixels, context, 2, (8,), base=base, generator=generator(5), **options)
    return Variational(flow, encoder).double()


def test_uniform_noise_fills_the_cube() -> None:
    r, log_q = Uniform().draw(randn(2, 3), 5000, generator(1))
    assert r.shape == (5000, 2, 3)
    assert torch.equal(log_q, torch.zeros(5000, 2).double())
    assert ((r >= 0) & (r < 1)).all()
    for power in range(1, 4):
        assert abs(r.pow(power).mean() - 1 / (power + 1)) < 0.01


def test_variational_noise_has_the_density_that_it_says() -> None:
    q = perturbed(variational(base="normal"), scale=0.3)  # whose density has no poles at the ends
    images = torch.tensor([[-1.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    r, log_q = q.draw(images, 20000, generator(1))
    assert r.shape == (20000, 2, 2)
    assert ((r > 0) & (r < 1)).all()
    assert not torch.allclose(r[:, 0], r[:, 1], atol=0.01)  # it sees the image
    # Weighted by 1 / q, draws are uniform.
    parts = {0.25: (r < 0.5).all(-1), 0.49: (r > 0.3).all(-1), 0.5: r[..., 0] < r[..., 1]}
    for volume, inside in parts.items():
        weight = (-log_q).exp() * inside
        error = weight.std(0) / math.sqrt(len(weight))
        assert (error < 0.02).all()
        assert ((weight.mean(0) - volume).abs() < 4 * error).all()
    points, weights = cube(2, 80)
    density = q.noise(q.encoder(images)).log_prob(points[:, None].expand(-1, 2, -1)).exp()
    assert_close((density * weights[:, None]).sum(0), torch.ones(2).double(), 1e-5)


def test_a_logistic_base_starts_near_uniform_noise() -> None:
    r, log_q = variational(gain=0.3).draw(randn(3, 2), 2000, generator(1))
    assert log_q.abs().max() < 0.15
    assert (r.mean(0) - 0.5).abs().max() < 0.03
    assert (r.var(0) - 1 / 12).abs().max() < 0.01


def test_any_noise_gives_a_bound_that_more_draws_tighten() -> None:
    q = perturbed(variational(), scale=0.1)
    model = ImageDensity(diagonal(2), 2, SHAPE, 0.05, q)
    log_p, _ = quadrature(model, nodes=40)
    x = every_image(model).expand(4000, 4, 2)
    bounds = [model.log_likelihood(x, samples, generator(1)).mean(0) for samples in (1, 8, 64)]
    for fewer, more in zip(bounds, [*bounds[1:], log_p], strict=True):
        assert (fewer < more).all()
    assert_close(bounds[-1], log_p, 2e-2)


def test_learned_noise_has_a_better_bound_than_uniform_noise() -> None:
    q = variational()
    model = ImageDensity(diagonal(2, shift=0.0, log_scale=-1.5), 2, SHAPE, 0.05, q)
    log_p, uniform = quadrature(model, nodes=60)
    x = every_image(model)
    optimizer = torch.optim.Adam(q.parameters(), lr=2e-2)
    source = generator(1)
    for _ in range(150):
        loss = -model(x.expand(32, 4, 2), source).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        bounds = model.bound(x.expand(4000, 4, 2), generator(2))
    error = bounds.std(0) / math.sqrt(len(bounds))
    # Most of the gap is closed, for every image.
    assert (bounds.mean(0) > uniform + 0.8 * (log_p - uniform)).all()
    assert (bounds.mean(0) < log_p + 4 * error).all()


@pytest.mark.parametrize("samples", [1, 4])
def test_gradients_reach_the_noise_and_the_flow_and_are_right(samples: int) -> None:
    encoder = Perceptron(2, (0.0, 0.0, 0.0), (4,), activation="tanh", generator=generator(3))
    q = perturbed(variational(2, 3, encoder), scale=0.3)
    flow = perturbed(IAF(2, 0, 1, (4,)), scale=0.3)
    model = ImageDensity(flow, 3, SHAPE, 0.05, q)
    x = torch.tensor([[0, 2], [1, 1], [2, 0]])

    def loss() -> Tensor:
        return -model(x, generator(4), samples).mean()

    loss().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        direction = randn(*parameter.shape, seed=6)
        slope = (parameter.grad * direction).sum()
        with torch.no_grad():
            ends = []
            for step in (1e-5, -2e-5):
                parameter.add_(step * direction)
                ends.append(loss())
            parameter.add_(1e-5 * direction)
        assert_close(slope, (ends[0] - ends[1]) / 2e-5, 1e-6)
    assert all(bool(parameter.grad.any()) for parameter in encoder.parameters())


def test_one_pixel() -> None:
    q = perturbed(variational(1, 1), scale=0.3)
    model = ImageDensity(diagonal(1), 3, (1, 1, 1), 0.05, q)
    log_p, _ = quadrature(model, nodes=40)
    x = every_image(model)
    assert_close(model.log_likelihood(x, 100000, generator(1)), log_p, 1e-2)


def test_comes_back_from_its_state() -> None:
    models = [
        ImageDensity(diagonal(2), 2, SHAPE, 0.05, perturbed(variational(), seed)) for seed in (1, 2)
    ]
    x = every_image(models[0])
    first, other = (model.bound(x, generator(1)) for model in models)
    assert not torch.allclose(first, other)
    models[1].load_state_dict(models[0].state_dict())
    assert torch.equal(models[1].bound(x, generator(1)), first)
