"""The moments of Gaussians in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from invflow import IAF
from invflow.flows import Flow, Gaussian
from invflow.transforms import (
    Compose,
    Elementwise,
    Householder,
    LULinear,
    Permutation,
    Planar,
    Rotation,
    Transform,
    UnitTriangular,
)
from invflow.univariate import Affine
from invflow.vae.models.gaussian import kl_from_normal
from tests.helpers import assert_close, generator, perturbed, randn

SHAPES = [(), (4,), (2, 3)]
FLOWS: dict[str, Callable[[], Flow]] = {
    "one": lambda: Gaussian(1, context=2),
    "diagonal": lambda: Gaussian(3, context=2, kind="diagonal"),
    "full": lambda: Gaussian(3, context=2),
    "additive": lambda: Flow(Elementwise(3, "additive", context=2)),
    "composed": lambda: Flow(
        Compose(
            [
                Elementwise(3, context=2),
                Permutation([2, 0, 1]),
                Compose([LULinear(3), Rotation(3)]),
                UnitTriangular(3, context=2),
                Householder(3, 2, context=2),
            ]
        )
    ),
}


@dataclass(frozen=True)
class Cubed(Affine):
    """A subclass of an affine map that is not affine."""

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        x, ladj = super().forward(z, params)
        return x**3, ladj + (3 * x.square()).log()


class Cubes(Permutation):
    """A subclass of a linear transform that is not linear."""

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return z**3, (3 * z.square()).log().sum(-1)


NOT_GAUSSIAN: dict[str, Callable[[], Transform]] = {
    "iaf": lambda: IAF(3, 2).transform,
    "planar": lambda: Planar(3, context=2),
    "spline": lambda: Elementwise(3, "spline", context=2),
    "of-a-subclass": lambda: Elementwise(3, Cubed(), context=2),
    "subclass": lambda: Compose([Elementwise(3, context=2), Cubes([2, 0, 1])]),
    "within": lambda: Compose([Elementwise(3, context=2), Planar(3, context=2)]),
}


def _moments(flow: Flow, context: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variances from the Jacobian of the transform."""

    def transformed(z: Tensor) -> Tensor:
        return flow.transform(z, context)[0]

    origin = torch.zeros(flow.features, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(transformed, origin)
    return transformed(origin), (jacobian @ jacobian.mT).diagonal()


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_moments_are_those_of_the_jacobian(name: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    flow = perturbed(FLOWS[name](), scale=0.5)
    context = randn(*shape, flow.context)
    q = flow(context)
    assert q.mean.shape == q.variance.shape == (*shape, flow.features)
    assert q.mean.dtype == torch.float64
    assert_close(q.stddev, q.variance.sqrt())
    rows = context.reshape(-1, flow.context)
    means, variances = (each.reshape(len(rows), -1) for each in (q.mean, q.variance))
    for row, mean, variance in zip(rows, means, variances, strict=True):
        expected = _moments(flow, row)
        assert_close(mean, expected[0])
        assert_close(variance, expected[1])


def test_moments_are_those_of_draws() -> None:
    flow = perturbed(FLOWS["full"](), scale=0.5)
    q = flow(randn(2, 2))
    x = q.sample((200_000,), generator=generator(0))
    assert_close(q.mean.detach(), x.mean(0), 0.02)
    assert_close(q.variance.detach(), x.var(0), 0.05)


def test_moments_carry_gradients() -> None:
    flow = perturbed(FLOWS["full"](), scale=0.5)
    context = randn(3, 2).requires_grad_()
    q = flow(context)
    for moment in (q.mean, q.variance):
        (gradient,) = torch.autograd.grad(moment.sum(), context, retain_graph=True)
        assert gradient.abs().min() > 0


def test_moments_are_those_of_the_parameters_at_the_call() -> None:
    flow = perturbed(FLOWS["diagonal"](), scale=0.5)
    state = {name: tensor.detach() + 0.1 for name, tensor in flow.state_dict().items()}
    context = randn(4, 2)
    q = torch.func.functional_call(flow, state, (context,))
    found = q.mean, q.variance, kl_from_normal(q)
    flow.load_state_dict(state)
    expected = flow(context)
    assert_close(found[0], expected.mean)
    assert_close(found[1], expected.variance)
    assert_close(found[2], kl_from_normal(expected))


@pytest.mark.parametrize("name", NOT_GAUSSIAN)
def test_other_flows_have_none(name: str) -> None:
    q = Flow(NOT_GAUSSIAN[name]())(torch.zeros(4, 2))
    with pytest.raises(NotImplementedError, match="the mean of a FlowDistribution has no closed"):
        q.mean  # noqa: B018
    with pytest.raises(NotImplementedError, match="the variance of a FlowDistribution has no"):
        q.variance  # noqa: B018
    with pytest.raises(NotImplementedError, match="the standard deviation of a FlowDistribution"):
        q.stddev  # noqa: B018


def test_other_noise_has_none() -> None:
    q = Gaussian(3, base="logistic")()
    with pytest.raises(NotImplementedError, match=r"call estimate_mean\(samples\)"):
        q.mean  # noqa: B018
