from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    ExpTransform,
    Independent,
    LogNormal,
    MixtureSameFamily,
    Normal,
    StickBreakingTransform,
    TransformedDistribution,
    Uniform,
    VonMises,
    constraints,
)

from invflow.vi import Named, Parameter, angle
from invflow.vi.targets.distributions import support
from invflow.vi.targets.matrices import (
    CholeskyFactor,
    PositiveDefinite,
    Symmetric,
    Triangle,
    UnitTriangle,
)
from invflow.vi.targets.sphere import Sphere, Wrap, wrapped
from tests.helpers import assert_close, randn


def _lower(diagonal: int) -> Any:
    return lambda y: y[..., *torch.tril_indices(y.shape[-1], y.shape[-1], diagonal)]


@pytest.mark.parametrize("size", [1, 3, 4])
@pytest.mark.parametrize(
    "kind", [Triangle, UnitTriangle, Symmetric, CholeskyFactor, PositiveDefinite]
)
def test_matrices_against_autodiff(kind: type[Triangle], size: int) -> None:
    onto = kind()
    z = randn(5, *onto.inverse_shape(torch.Size((size, size))))
    y = onto(z)
    assert y.shape == (5, *onto.forward_shape(z.shape[1:])) == (5, size, size)
    assert_close(onto.inv(y), z, 1e-9)
    if kind is not UnitTriangle:
        assert kind.codomain.check(y).all()
    free = _lower(kind.diagonal)
    for row, ladj in zip(z, onto.log_abs_det_jacobian(z, y), strict=True):
        if not len(row):  # a matrix without free entries
            assert float(ladj) == 0
            continue
        jacobian = torch.autograd.functional.jacobian(lambda z: free(onto(z)), row)
        assert_close(ladj, jacobian.reshape(len(row), len(row)).slogdet()[1], 1e-10)


@pytest.mark.parametrize("size", [2, 3, 6])
def test_spheres_against_autodiff(size: int) -> None:
    onto = Sphere()
    z = randn(5, size - 1)
    y = onto(z)
    assert y.shape == (5, size) == (5, *onto.forward_shape(z.shape[1:]))
    assert onto.inverse_shape(y.shape) == z.shape
    assert_close(y.norm(dim=-1), torch.ones(5, dtype=z.dtype), 1e-12)
    assert_close(onto(onto.inv(y)), y, 1e-12)
    for row, ladj in zip(z, onto.log_abs_det_jacobian(z, y), strict=True):
        jacobian = torch.autograd.functional.jacobian(onto, row)
        assert_close(ladj, 0.5 * (jacobian.mT @ jacobian).slogdet()[1], 1e-10)


def test_angles_are_wrapped() -> None:
    turns = torch.tensor([0.0, math.pi, -math.pi, 4.0, -7.0, 100.0], dtype=torch.float64)
    found = wrapped(turns)
    assert ((found > -math.pi) & (found <= math.pi)).all()
    assert angle.check(found).all()
    assert_close(torch.cos(found), torch.cos(turns), 1e-12)
    assert_close(torch.sin(found), torch.sin(turns), 1e-12)
    assert torch.equal(Wrap()(turns), found)


def test_named_targets_know_their_angles() -> None:
    parameters = {
        "mu": Parameter(),
        "phase": Parameter(angle, (2,)),
        "turn": angle,
        "place": Parameter(constraints.independent(angle, 1), (3,)),
    }

    def log_density(mu: Tensor, phase: Tensor, turn: Tensor, place: Tensor) -> Tensor:
        assert angle.check(phase).all()
        total = Normal(0.0, 1.0).log_prob(mu) + VonMises(0.0, 1.0).log_prob(turn)
        return total + VonMises(0.0, 1.0).log_prob(torch.cat([phase, place], -1)).sum(-1)

    target = Named(log_density, parameters)
    assert target.angles == (1, 2, 3, 4, 5, 6)
    assert target.angular == {"phase", "turn", "place"}
    z = 5 * randn(4, 7)
    further = z + 2 * math.pi * torch.tensor([0.0, 1, -1, 2, 0, 3, -2], dtype=torch.float64)
    assert_close(target.log_density(further), target.log_density(z), 1e-10)
    assert_close(target.constrain(further)["place"], target.constrain(z)["place"], 1e-10)


def test_named_matrices() -> None:
    parameters = {"cov": Parameter(constraints.positive_definite, (3, 3))}
    target = Named(lambda cov: -cov.diagonal(dim1=-2, dim2=-1).sum(-1), parameters)
    assert target.dim == 6
    z = randn(4, 6)
    assert_close(target.unconstrain(target.constrain(z)), z, 1e-9)


def test_a_parameter_with_the_support_of_a_mixture() -> None:
    components = LogNormal(torch.tensor([0.0, 1.0]), 0.5)
    mixture = MixtureSameFamily(Categorical(torch.ones(2)), components)
    target = Named(lambda a: mixture.log_prob(a), {"a": mixture.support})
    z = torch.tensor([[-1.0], [0.5]])
    assert_close(target.constrain(z)["a"], z[:, 0].exp())
    different = Uniform(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0]))
    mixture = MixtureSameFamily(Categorical(torch.ones(2)), different)
    with pytest.raises(ValueError, match=r"constraint must have a bijection .* may have different"):
        Parameter(mixture.support)


@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3)])
def test_the_image_of_a_support(batch: tuple[int, ...]) -> None:
    base = Normal(torch.zeros(2), 1.0)
    fn = TransformedDistribution(base, [StickBreakingTransform()])
    found = support(fn)
    assert found.event_dim == 1
    value = torch.softmax(randn(*batch, 3), -1)
    assert found.check(value).shape == batch
    assert found.check(value).all()
    assert not found.check(value + 0.1).any()
    wide = support(Independent(TransformedDistribution(base, ExpTransform()), 1))
    assert wide.check(randn(*batch, 2).exp()).shape == batch
