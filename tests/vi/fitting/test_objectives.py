from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invflow.flows import IAF, Flow, Gaussian
from invflow.vi import Flat
from invflow.vi.fitting.objectives import path_loss
from invflow.vi.targets.density import Density
from tests.helpers import flow, generator, perturbed, randn


def _gradient(model: Flow, target: Flat, noise: Tensor, draws: int) -> Tensor:
    loss, _ = path_loss(model, Density(target, generator(0)), noise, draws)
    parts = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([part.flatten() for part in parts])


def _cubic() -> Flat:
    return Flat(lambda z: -0.25 * (z - 0.5).pow(4).sum(-1), 2)


@pytest.mark.parametrize("draws", [1, 5])
def test_expected_gradient_is_that_of_the_bound(draws: int) -> None:
    """Against automatic differentiation of the bound itself, both averaged over many draws."""
    model, target = perturbed(Gaussian(2, generator=generator(1)), scale=0.4), _cubic()
    noise = randn(1_000_000, 2, seed=3)
    found = _gradient(model, target, noise, draws)
    x, ladj = model.transform(noise)
    log_w = target.log_density(x) - model.base.log_prob(noise) + ladj
    groups = log_w.unflatten(0, (-1, draws)).logsumexp(-1) - math.log(draws)
    parts = torch.autograd.grad(-groups.mean(), list(model.parameters()))
    expected = torch.cat([part.flatten() for part in parts])
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=0.03, atol=0.006)


@pytest.mark.parametrize("draws", [1, 4])
def test_gradient_vanishes_draw_by_draw_at_the_target(draws: int) -> None:
    """Sticking the landing: no noise is left where the flow is the target."""
    model = flow(IAF, 3, 0, 2, (6,))()
    twin = flow(IAF, 3, 0, 2, (6,))()
    target = Flat(twin().log_prob, 3)
    assert _gradient(model, target, randn(8, 3), draws).abs().max() < 1e-12


def test_log_weights_are_returned() -> None:
    model, target, noise = flow(IAF, 2, 0, 2, (6,))(), _cubic(), randn(8, 2)
    _, log_w = path_loss(model, Density(target, generator(0)), noise)
    x, ladj = model.transform(noise)
    torch.testing.assert_close(log_w, target.log_density(x) - model.base.log_prob(noise) + ladj)


def test_draws_without_a_density_are_left_out() -> None:
    """The gradient is that of the others."""
    model, noise = flow(IAF, 2, 0, 2, (6,))(), randn(8, 2)
    x, _ = model.transform(noise)
    edge = float(x[:, 0].detach().median())

    def half(z: Tensor) -> Tensor:
        return torch.where(z[:, 0] > edge, _cubic().log_density(z), torch.nan)

    found = _gradient(model, Flat(half, 2), noise, 1)
    expected = _gradient(model, _cubic(), noise[x[:, 0] > edge], 1)
    kept = float((x[:, 0] > edge).double().mean())
    torch.testing.assert_close(found, expected * kept)


def test_all_draws_without_a_density_leave_the_flow_alone() -> None:
    model = flow(IAF, 2, 0, 2, (6,))()
    nowhere = Flat(lambda z: z.sum(-1) * torch.nan, 2)
    assert torch.equal(
        _gradient(model, nowhere, randn(8, 2), 4),
        torch.zeros(sum(parameter.numel() for parameter in model.parameters())).double(),
    )
