"""The path gradient against exact expectations by Gauss-Hermite quadrature, and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from invflow.flows import IAF, MAF, Flow, Gaussian, Planar
from invflow.flows.path_gradient import along_path, path_bound, pushed
from invflow.transforms import Elementwise
from tests.helpers import assert_close, flow, generator, perturbed, randn


def _log_p(x: Tensor) -> Tensor:
    return -0.6 * (x - 0.5).square().sum(-1) + 0.3 * torch.sin(2 * x).prod(-1)


def _gradients(model: Flow, value: Tensor) -> Tensor:
    parts = torch.autograd.grad(value, list(model.parameters()), materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def _grid(dim: int, nodes: int = 40) -> tuple[Tensor, Tensor]:
    """Return nodes, (count, dim), and weights, (count,), of the standard normal distribution."""
    points, weights = (torch.tensor(each) for each in np.polynomial.hermite_e.hermegauss(nodes))
    grid = torch.cartesian_prod(*[points] * dim).reshape(-1, dim)
    factors = torch.cartesian_prod(*[weights / math.sqrt(2 * math.pi)] * dim)
    return grid, factors.reshape(-1, dim).prod(-1)


def _bound(model: Flow, noise: Tensor) -> Tensor:
    """Return the bound with the path gradient of noise, (K, batch, features)."""
    x, log_q, score_q = pushed(model.transform, model.base, noise, None)
    point = x.detach().requires_grad_()
    log_p = _log_p(point)
    (score_p,) = torch.autograd.grad(log_p.sum(), point)
    return path_bound(x, (log_p - log_q).detach(), score_p - score_q)


def _plain(model: Flow, noise: Tensor) -> Tensor:
    """Return the same bound, with the gradient of automatic differentiation."""
    x, ladj = model.transform(noise)
    log_w = _log_p(x) - model.base.log_prob(noise) + ladj
    return log_w.logsumexp(0) - math.log(len(noise))


@pytest.mark.parametrize(
    ("features", "samples"), [(1, 1), (1, 2), (1, 3), (2, 1)], ids=lambda n: str(n)
)
def test_its_expectation_is_the_gradient_of_the_bound(features: int, samples: int) -> None:
    model = perturbed(Gaussian(features), scale=0.4)
    noise, weights = _grid(features * samples)
    noise = noise.unflatten(1, (samples, features)).transpose(0, 1)
    ours, plain = _bound(model, noise), _plain(model, noise)
    assert_close(ours, plain)
    expected = _gradients(model, weights @ plain)
    assert expected.abs().max() > 0.1
    assert_close(_gradients(model, weights @ ours), expected, 1e-5)
    # Draw by draw they differ.
    first = _gradients(model, _bound(model, noise)[0]) - _gradients(model, _plain(model, noise)[0])
    assert first.abs().max() > 0.1


@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("kind", [IAF, MAF])
def test_of_one_draw_it_is_the_whole_gradient_less_the_score(
    kind: type[Flow], features: int
) -> None:
    model = flow(kind, features, 0, 2, (6,))()
    noise = randn(1, 5, features)
    x = model.transform(noise)[0].detach()
    score = _gradients(model, model().log_prob(x).sum())
    whole = _gradients(model, _plain(model, noise).sum())
    assert score.abs().max() > 1e-3
    assert_close(_gradients(model, _bound(model, noise).sum()), whole + score)


def test_it_is_the_closed_form_for_a_normal() -> None:
    """Draws x = m + s u, in which log q has the slope -u / s."""
    m, s = (torch.tensor(value, requires_grad=True, dtype=torch.float64) for value in (0.3, 1.7))
    u = randn(4, 6)
    x = m + s * u
    log_w, slope_w = randn(4, 6, seed=1), -x.detach() + u / s.detach()
    path_bound(x.unsqueeze(-1), log_w, slope_w.unsqueeze(-1)).sum().backward()
    squares = log_w.softmax(0).square()
    assert m.grad is not None
    assert s.grad is not None
    assert_close(m.grad, (squares * slope_w).sum())
    assert_close(s.grad, (squares * slope_w * u).sum())


@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("context", [0, 2])
def test_scores_are_those_of_differences(features: int, context: int) -> None:
    q = flow(IAF, features, context, 2, (6,))()(randn(5, context) if context else None)
    x, log_q, score = q.rsample_and_score((4,), generator=generator(1))
    same, log_same = q.rsample_and_log_prob((4,), generator=generator(1))
    assert_close((x, log_q), (same, log_same))
    assert not score.requires_grad
    x, step = x.detach(), 1e-5
    for i in range(features):
        shift = step * torch.eye(features).double()[i]
        difference = (q.log_prob(x + shift) - q.log_prob(x - shift)).detach() / (2 * step)
        assert_close(score[..., i], difference, 1e-6)


def test_a_flat_base_has_the_score_zero() -> None:
    model = perturbed(Flow(Elementwise(3, univariate="circular"), "uniform"))
    x, _, score = model().rsample_and_score((5,))
    point = x.detach().requires_grad_()
    (expected,) = torch.autograd.grad(model().log_prob(point).sum(), point)
    assert_close(score, expected, 1e-6)


def test_values_keep_their_number_and_lose_their_own_gradient() -> None:
    x = randn(3, 2).requires_grad_()
    value = x.square().sum(-1)
    moved = along_path(value, torch.ones(3, 2).double(), x)
    assert torch.equal(moved, value)
    assert_close(torch.autograd.grad(moved.sum(), x)[0], torch.ones(3, 2).double())


def test_flows_without_an_inverse_in_closed_form() -> None:
    """At its own draws log q of a planar flow is at hand; at given points it has to be inverted."""
    model = perturbed(Planar(2, transforms=2), scale=0.3)
    noise = randn(1, 4, 2)
    assert_close(_bound(model, noise), _plain(model, noise), 1e-6)
