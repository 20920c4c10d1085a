"""Objectives against numbers by hand, and the bounds of a model that can be solved."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invflow.vae import Elbo, Objective
from tests.helpers import assert_close, generator, randn
from tests.vae.linear import exact, linear_vae

FIT = torch.tensor([-3.0, -5.0, -10.0], dtype=torch.float64)
#: Means over the images: 2, -1/3 (an estimate may be negative) and 0.5.
KLS = torch.tensor([[1.0, -2.0, 0.5], [2.0, 0.5, 0.25], [3.0, 0.5, 0.75]], dtype=torch.float64)


def _loss(objective: Objective, step: int = 1) -> tuple[float, Tensor, Tensor]:
    fit, kls = FIT.clone().requires_grad_(), KLS.clone().requires_grad_()
    loss = objective.amended(Elbo(fit, kls), step)
    assert loss.shape == ()
    return loss.item(), *torch.autograd.grad(loss, [fit, kls])


@pytest.mark.parametrize(
    ("objective", "step", "weight", "groups"),
    [
        # The bound itself, whatever the signs of the estimates.
        (Objective(), 1, 1.0, [2.0, -1 / 3, 0.5]),
        (Objective(beta=0.25), 9, 0.25, [2.0, -1 / 3, 0.5]),
        (Objective(warmup=10), 1, 0.1, [2.0, -1 / 3, 0.5]),
        (Objective(beta=0.5, warmup=10), 10, 0.5, [2.0, -1 / 3, 0.5]),
        (Objective(beta=0.5, warmup=10), 11, 0.5, [2.0, -1 / 3, 0.5]),
        (Objective(free_bits=0.75), 1, 1.0, [2.0, 0.75, 0.75]),
        (Objective(free_bits=0.3), 1, 1.0, [2.0, 0.3, 0.5]),
        (Objective(beta=2.0, warmup=4, free_bits=0.75), 3, 1.5, [2.0, 0.75, 0.75]),
    ],
)
def test_values_and_gradients(
    objective: Objective, step: int, weight: float, groups: list[float]
) -> None:
    value, fit, kls = _loss(objective, step)
    assert value == pytest.approx(6.0 + weight * sum(groups), rel=1e-12)
    assert_close(fit, torch.full((3,), -1 / 3, dtype=torch.float64))
    # A group has a gradient where it costs what it costs, and none below its free bits.
    paid = [weight / 3 * (group != objective.free_bits) for group in groups]
    assert_close(kls, torch.tensor([paid] * 3, dtype=torch.float64))


@pytest.mark.parametrize("posterior", ["diagonal", "iaf"])
def test_loss_of_a_model(posterior: str) -> None:
    """Without amendments the loss is minus the bound; batches have any shape."""
    vae = linear_vae(posterior, scale=0.3)
    x = randn(6, 5)
    for shape in [(6, 5), (2, 3, 5), (1, 5), (5,)]:
        rows = x.flatten()[: math.prod(shape)].reshape(shape)
        loss = Objective().loss(vae, rows, 1, generator(1))
        assert_close(loss, -vae.elbo(rows, generator(1)).bound.mean())
    loss = Objective(train_samples=7).loss(vae, x, 1, generator(1))
    assert_close(loss, -vae.importance_bound(x, 7, generator(1)).mean())


def test_bounds_rise_with_the_number_of_samples() -> None:
    vae = linear_vae("iaf", scale=0.3)
    x = randn(3, 5)
    solved = exact(vae, x).mean()

    @torch.no_grad()
    def bound(samples: int) -> Tensor:
        objective = Objective(train_samples=samples)
        return -objective.loss(vae, x.repeat(50_000 // samples, 1), 1, generator(samples))

    bounds = [bound(samples) for samples in (1, 4, 16, 256)]
    # Differences are many times the errors of these averages.
    assert all(b > a + 0.02 for a, b in zip(bounds, [*bounds[1:], solved], strict=True)), bounds
    assert solved - bounds[-1] < 0.2 * (solved - bounds[0])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"beta": -0.1}, ValueError, "beta must be at least 0 and finite, got -0.1"),
        ({"beta": math.inf}, ValueError, "beta must be at least 0 and finite"),
        ({"beta": "1"}, TypeError, "beta must be a number"),
        ({"free_bits": math.nan}, ValueError, "free_bits must be"),
        ({"free_bits": -1}, ValueError, "free_bits must be at least 0"),
        ({"warmup": -1}, ValueError, "warmup must be at least 0"),
        ({"warmup": 1.5}, TypeError, "warmup must be an integer"),
        ({"train_samples": 0}, ValueError, "train_samples must be at least 1"),
        ({"train_samples": 2, "beta": 0.5}, ValueError, "train_samples must be 1 with beta"),
        ({"train_samples": 2, "warmup": 5}, ValueError, "train_samples must be 1 with beta"),
        ({"train_samples": 2, "free_bits": 0.1}, ValueError, "train_samples must be 1 with beta"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Objective(**arguments)  # type: ignore[arg-type]
