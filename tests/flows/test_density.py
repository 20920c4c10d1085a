from __future__ import annotations

import pytest
import torch
from torch import Tensor

from invflow import IAF, MAF, Flow
from tests.helpers import BATCHES, FLOWS, assert_close, context_for, flow, generator, perturbed

flows = pytest.mark.parametrize("name", FLOWS)

PLANE = {
    "iaf": flow(IAF, 2, 0, 4, (8, 8), activation="tanh"),
    "maf": flow(MAF, 2, 0, 4, (8, 8), activation="tanh"),
    "iaf-gated-context": flow(IAF, 2, 2, 2, (6,), univariate="gated", activation="silu"),
    "maf-tight-random": flow(MAF, 2, 0, 3, (5,), univariate={"name": "affine", "bound": 0.5}),
}


def _grid(half_width: float = 15, points: int = 400) -> tuple[Tensor, float]:
    """Return the points of a square grid, and the area that each stands for.

    Sums over it converge fast, as the densities and all their derivatives vanish at its border.
    """
    axis = torch.linspace(-half_width, half_width, points, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), float(axis[1] - axis[0]) ** 2


@flows
@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_density_of_own_samples(name: str, batch: tuple[int, ...]) -> None:
    flow = FLOWS[name]()
    q = flow(context_for(flow, *batch)) if flow.context else flow().expand(batch)
    x, log_q = q.rsample_and_log_prob((4,), generator=generator(1))
    assert x.shape == (4, *batch, flow.features)
    assert log_q.shape == (4, *batch)
    assert_close(q.log_prob(x), log_q, 1e-8)


@flows
def test_density_is_the_change_of_variables(name: str) -> None:
    flow = FLOWS[name]()
    q = flow(context_for(flow))
    x = q.sample(generator=generator(1))
    run = flow.transform.inverse
    z, _ = run(x, q.context)
    jacobian = torch.autograd.functional.jacobian(lambda x: run(x, q.context)[0], x)
    expected = flow.base.log_prob(z) + torch.linalg.slogdet(jacobian)[1]
    assert_close(q.log_prob(x), expected)


@pytest.mark.parametrize("name", PLANE)
def test_density_integrates_to_one(name: str) -> None:
    flow = PLANE[name]()
    points, area = _grid()
    with torch.no_grad():
        density = flow(context_for(flow)).log_prob(points).exp()
    assert_close(density.sum() * area, torch.tensor(1.0, dtype=torch.float64), 1e-6)


@pytest.mark.parametrize("name", PLANE)
def test_moments_by_noise_by_density_and_by_samples(name: str) -> None:
    """E f(x(z)) over the noise, and the integral of f(x) q(x), are the same numbers; so is the
    mean over samples, within its error."""
    flow = PLANE[name]()
    q = flow(context_for(flow))
    points, area = _grid()

    def f(x: Tensor) -> Tensor:
        return torch.cat([x, x.square(), x[..., :1] * x[..., 1:]], -1)

    with torch.no_grad():
        noise = torch.exp(-0.5 * points.square().sum(-1)) / (2 * torch.pi)
        x, _ = flow.transform(points, None if q.context is None else q.context)
        by_noise = (noise[:, None] * f(x)).sum(0) * area
        by_density = (q.log_prob(points).exp()[:, None] * f(points)).sum(0) * area
        samples = f(q.rsample((20_000,), generator=generator(3)))
    assert_close(by_noise, by_density, 1e-6)
    error = samples.std(0) / len(samples) ** 0.5
    assert ((samples.mean(0) - by_noise).abs() < 4.5 * error).all()
    assert not torch.allclose(by_noise[:2], torch.zeros(2, dtype=torch.float64), atol=0.01)


@pytest.mark.parametrize("name", ["iaf", "maf"])
def test_pathwise_gradient_is_the_gradient_of_the_expectation(name: str) -> None:
    """d/dtheta of E f(x): through samples x(z), and through the density q(x)."""
    flow = PLANE[name]()
    points, area = _grid(points=300)
    parameters = list(flow.parameters())
    noise = torch.exp(-0.5 * points.square().sum(-1)) / (2 * torch.pi)
    by_noise = (noise * flow.transform(points)[0].sin().sum(-1)).sum() * area
    by_density = (flow().log_prob(points).exp() * points.sin().sum(-1)).sum() * area
    first = torch.autograd.grad(by_noise, parameters)
    second = torch.autograd.grad(by_density, parameters)
    assert_close(list(first), list(second), 1e-6)


SETTINGS = {
    "plain": {"features": 3, "transforms": 4, "hidden_features": (8,)},
    "context": {"features": 3, "context": 2, "transforms": 2, "order": "random"},
    "one": {"features": 1, "transforms": 1, "univariate": "gated"},
}


def _pair(settings: dict[str, object]) -> tuple[Flow, Flow]:
    iaf, maf = (
        perturbed(kind(**settings, generator=generator(4)), scale=0.3) for kind in (IAF, MAF)
    )
    return iaf, maf


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_maf_is_the_inverse_of_iaf(settings: dict[str, object]) -> None:
    iaf, maf = _pair(settings)
    for ours, theirs in zip(iaf.state_dict().values(), maf.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    context = context_for(iaf, 5)
    value = iaf(context).sample() if iaf.context else iaf().sample((5,))
    assert_close(maf.transform(value, context), iaf.transform.inverse(value, context), 1e-12)
    assert_close(maf.transform.inverse(value, context), iaf.transform(value, context), 1e-12)


def test_maf_takes_the_state_of_an_iaf() -> None:
    iaf, maf = _pair(SETTINGS["plain"])
    perturbed(iaf, seed=9, scale=0.3)
    maf.transform.transform.load_state_dict(iaf.transform.state_dict())
    x = iaf().sample((5,))
    assert_close(maf.transform(x), iaf.transform.inverse(x), 1e-12)
