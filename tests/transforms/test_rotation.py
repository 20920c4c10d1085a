from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, jacrev

from invflow.transforms import Rotation
from tests.helpers import DIRECTIONS, Both, assert_close, perturbed, randn


def matrix_of(transform: Rotation) -> Tensor:
    """Return Q, read off the images of the basis vectors."""
    eye = torch.eye(transform.features, dtype=transform.weight.dtype)
    return transform(eye)[0].detach().t()


@pytest.mark.parametrize("features", [1, 2, 3, 8, 33])
@pytest.mark.parametrize("scale", [0.7, 5.0])
def test_is_a_rotation(features: int, scale: float) -> None:
    transform = perturbed(Rotation(features), scale=scale)
    matrix, eye = matrix_of(transform), torch.eye(features, dtype=torch.float64)
    assert_close(matrix @ matrix.t(), eye, 1e-11)
    assert_close(torch.linalg.det(matrix), torch.tensor(1.0, dtype=torch.float64))
    back, _ = transform.inverse(eye)
    assert_close(back.t(), matrix.t(), 1e-12)
    assert features == 1 or (matrix - eye).abs().max() > 0.1


def test_keeps_lengths_and_volume() -> None:
    transform, z = perturbed(Rotation(5)), randn(2, 3, 5)
    for run in (transform, transform.inverse):
        value, ladj = run(z)
        assert_close(value.norm(dim=-1), z.norm(dim=-1))
        assert torch.equal(ladj, torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("angle", [0.0, 0.3, -2.0, math.pi, 7.0])
def test_angle_in_the_plane(angle: float) -> None:
    """Half turns too, which the Cayley transform does not reach."""
    transform = Rotation(2).double()
    with torch.no_grad():
        transform.weight[1, 0] = angle
    cos, sin = math.cos(angle), math.sin(angle)
    expected = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    assert_close(matrix_of(transform), expected, 1e-12)


def test_is_the_power_series() -> None:
    transform = perturbed(Rotation(4))
    skew = (transform.weight - transform.weight.t()).detach()
    term = total = torch.eye(4, dtype=torch.float64)
    for k in range(1, 60):
        term = term @ skew / k
        total = total + term
    assert_close(matrix_of(transform), total)


def test_starts_at_the_identity_with_a_gradient() -> None:
    transform, z = Rotation(3), torch.tensor([1.0, 2.0, 3.0])
    x, _ = transform(z)
    assert torch.equal(x, z)
    (gradient,) = torch.autograd.grad(x[0], transform.weight)
    assert gradient.tolist() == [[0, 2, 3], [-2, 0, 0], [-3, 0, 0]]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("features", [1, 3])
def test_gradients(direction: str, features: int) -> None:
    module = Both(perturbed(Rotation(features)))

    def run(value: Tensor, weight: Tensor) -> Tensor:
        return functional_call(module, {"transform.weight": weight}, (direction, value))[0]

    inputs = (randn(2, features), module.transform.weight)
    inputs = tuple(tensor.detach().clone().requires_grad_() for tensor in inputs)
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)
    jacobian = jacrev(run, 1)(*inputs)
    assert_close(
        jacobian, torch.autograd.functional.jacobian(lambda w: run(inputs[0], w), inputs[1])
    )
