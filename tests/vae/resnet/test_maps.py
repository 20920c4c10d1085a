"""Distributions of latent maps, against autodiff and torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.func import jacrev

from invflow.conditioners import raster_order
from invflow.vae.resnet import Gaussian, MapPosterior
from tests.helpers import assert_close, perturbed, randn

SHAPES = [(2, 3, 4), (1, 1, 1), (3, 1, 2), (1, 3, 2)]
CONTEXT = 2


def _posterior(shape: tuple[int, ...], steps: list[tuple[int, ...]], map: str) -> MapPosterior:
    torch.manual_seed(0)
    return perturbed(MapPosterior(shape, CONTEXT if steps else 0, steps, map))


def _inputs(shape: tuple[int, ...], rows: int) -> tuple[Gaussian, Tensor, Tensor]:
    context = randn(rows, CONTEXT, *shape[1:], seed=1)
    normal = Gaussian.of(randn(rows, *shape, seed=2), randn(rows, *shape, seed=3))
    return normal, context, randn(rows, *shape, seed=4)


@pytest.mark.parametrize("map", ["affine", "additive", "gated", "spline"])
@pytest.mark.parametrize("steps", [[], [(4,)], [()], [(4, 3), (4, 3), (4, 3)]])
@pytest.mark.parametrize("shape", SHAPES)
def test_density_of_draws(shape: tuple[int, ...], steps: list[tuple[int, ...]], map: str) -> None:
    """The shares of log q sum to that of the noise less log|det dz / d noise|."""
    posterior = _posterior(shape, steps, map)
    normal, context, noise = _inputs(shape, 2)
    z, log_q = posterior(normal, context if steps else None, noise)
    assert z.shape == log_q.shape == (2, *shape)
    size = math.prod(shape)
    for row in range(2):
        one = slice(row, row + 1)

        def draw(e: Tensor, one: slice = one) -> Tensor:
            q = Gaussian(*(each[one] for each in normal))
            c = context[one] if steps else None
            return posterior(q, c, e.reshape(1, *shape))[0].flatten()

        jacobian = jacrev(draw)(noise[row].flatten())
        assert_close(draw(noise[row]), z[row].flatten())
        ladj = torch.linalg.slogdet(jacobian).logabsdet
        base = Normal(0.0, 1.0).log_prob(noise[row]).sum()
        assert jacobian.shape == (size, size)
        assert_close(log_q[row].sum(), base - ladj)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_causality(shape: tuple[int, ...], count: int) -> None:
    """Each step is triangular in the raster order, every second one in its reverse."""
    posterior = _posterior(shape, [(12,)] * count, "affine")
    before = _posterior(shape, [(12,)] * (count - 1), "affine")
    before.load_state_dict(
        {k: v for k, v in posterior.state_dict().items() if not k.startswith(f"steps.{count - 1}")}
    )
    context, at = randn(1, CONTEXT, *shape[1:]), randn(1, *shape, seed=5)
    unit = Gaussian(torch.zeros(1, *shape).double(), torch.zeros(1, *shape).double())

    def jacobian(module: MapPosterior) -> Tensor:
        c = context if len(module.steps) else None
        return jacrev(lambda e: module(unit, c, e)[0])(at).reshape(math.prod(shape), -1)

    # dz_t / dz_(t-1) = dz_t / de (dz_(t-1) / de)^-1
    last = jacobian(posterior) @ torch.linalg.inv(jacobian(before))
    order = raster_order(shape)
    order = order.flip(0) if count % 2 == 0 else order
    last = last[order][:, order]
    assert_close(last.triu(1), torch.zeros_like(last))
    assert (last.diagonal() > 1e-3).all()
    # The hidden layer and the output reach two rows up and two pixels to either side.
    places = [divmod(int(i) % math.prod(shape[1:]), shape[2]) for i in order]
    channels = [int(i) // math.prod(shape[1:]) for i in order]
    reached = last.abs() > 1e-9
    for i, (row, column) in enumerate(places):
        for j, (other, beside) in enumerate(places[:i]):
            # One straight above, or the pixel before, or an earlier channel here.
            near = column == beside or (row == other and abs(column - beside) == 1)
            if abs(row - other) <= 1 and near:
                assert reached[i, j], (channels[i], row, column, channels[j], other, beside)


def test_context_reaches_every_entry() -> None:
    shape = (2, 3, 4)
    posterior = _posterior(shape, [(6,), (6,)], "affine")
    normal, context, noise = _inputs(shape, 1)
    seen = jacrev(lambda c: posterior(normal, c, noise)[0])(context)
    seen = seen.reshape(2, 12, CONTEXT, 12).abs().sum((0, 2))
    assert (seen.diagonal() > 1e-6).all()


@pytest.mark.parametrize("count", [1, 2])
def test_linear_steps_of_location_keep_a_normal_normal(count: int) -> None:
    """z = A e + b with one A everywhere, whose volume is that of the standard deviations."""
    shape = (2, 2, 3)
    posterior = _posterior(shape, [()] * count, "additive")
    normal, context, noise = _inputs(shape, 1)

    def draw(e: Tensor) -> Tensor:
        return posterior(normal, context, e.reshape(1, *shape))[0].flatten()

    matrix = jacrev(draw)(noise.flatten())
    assert_close(matrix, jacrev(draw)(3 * noise.flatten() + 1))
    offset = draw(torch.zeros(12, dtype=torch.float64))
    z, log_q = posterior(normal, context, noise)
    q = torch.distributions.MultivariateNormal(offset, matrix @ matrix.T)
    assert_close(log_q.sum(), q.log_prob(z.flatten()), tolerance=1e-7)
    assert (matrix - torch.diag(matrix.diagonal())).abs().max() > 0.01


def test_normals_are_those_of_torch() -> None:
    q, p = (Gaussian.of(randn(3, 5, seed=i), 9 * randn(3, 5, seed=i + 1)) for i in (0, 2))
    assert q.log_sd.abs().max() < 6
    ours, theirs = Normal(q.mean, q.log_sd.exp()), Normal(p.mean, p.log_sd.exp())
    noise = randn(3, 5, seed=7)
    assert_close(q.draw(noise), ours.mean + ours.stddev * noise)
    assert_close(p.log_prob(noise), theirs.log_prob(noise))
    assert_close(q.kl_from(p), kl_divergence(ours, theirs), tolerance=1e-7)
    assert_close(q.kl_from(q), torch.zeros(3, 5).double())


def test_closed_divergence_is_the_average_of_the_log_ratio() -> None:
    q, p = (Gaussian.of(randn(4, seed=i), 0.5 * randn(4, seed=i + 1)) for i in (0, 2))
    z = q.draw(randn(100_000, 4, seed=9))
    ratio = q.log_prob(z) - p.log_prob(z)
    error = ratio.std(0) / math.sqrt(len(z))
    assert ((ratio.mean(0) - q.kl_from(p)).abs() < 4 * error).all()
