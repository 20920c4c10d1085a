"""Weight normalisation against the formula, and the start from data."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow.vae.networks import starting
from invflow.vae.networks.weightnorm import (
    WeightNorm,
    WeightNormConv2d,
    WeightNormConvTranspose2d,
    WeightNormLinear,
)
from tests.helpers import assert_close, perturbed, randn

#: Each layer with the same one of torch's, the axis of its weights that counts outputs, and the
#: shape of an input.
LAYERS: dict[str, tuple[Callable[..., WeightNorm], Callable[[], nn.Module], int, list[int]]] = {
    "linear": (lambda **o: WeightNormLinear(4, 3, **o), lambda: nn.Linear(4, 3), 0, [4]),
    "convolution": (
        lambda **o: WeightNormConv2d(2, 3, 3, 2, **o),
        lambda: nn.Conv2d(2, 3, 3, 2, 1),
        0,
        [2, 7, 4],
    ),
    "convolution-no-stride": (
        lambda **o: WeightNormConv2d(2, 3, 5, **o),
        lambda: nn.Conv2d(2, 3, 5, padding=2),
        0,
        [2, 5, 4],
    ),
    "transposed": (
        lambda **o: WeightNormConvTranspose2d(2, 3, 3, 2, (8, 9), **o),
        lambda: nn.ConvTranspose2d(2, 3, 3, 2, 1, (1, 0)),
        1,
        [2, 4, 5],
    ),
}


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each column or map, by their definitions."""
    rest = [0, *range(2, values.ndim)]
    mean = values.mean(rest, keepdim=True)
    return mean.flatten(), (values - mean).square().mean(rest).sqrt()


@pytest.mark.parametrize("name", LAYERS)
def test_agrees_with_torch(name: str) -> None:
    build, peer, axis, shape = LAYERS[name]
    ours = perturbed(build())
    theirs = nn.utils.parametrizations.weight_norm(peer().double(), dim=axis)
    with torch.no_grad():
        theirs.parametrizations.weight.original0.copy_(
            ours.g.view_as(theirs.parametrizations.weight.original0)
        )
        theirs.parametrizations.weight.original1.copy_(ours.v)
        theirs.bias.copy_(ours.bias)
    x = randn(5, *shape).requires_grad_()
    assert_close(ours.weight, theirs.weight)
    assert_close(ours(x), theirs(x))
    ours(x).square().sum().backward()
    theirs(x).square().sum().backward()
    original = theirs.parametrizations.weight
    assert_close(ours.g.grad, original.original0.grad.flatten())
    assert_close(ours.v.grad, original.original1.grad)
    assert_close(ours.bias.grad, theirs.bias.grad)


def test_agrees_with_the_formula() -> None:
    x = randn(5, 2, 4, 5)

    def by_hand(layer: WeightNorm, axis: int) -> Tensor:
        units = layer.v.movedim(axis, 0)
        rows = [g * v / v.square().sum().sqrt() for g, v in zip(layer.g, units, strict=True)]
        return torch.stack(rows).movedim(0, axis)

    linear = perturbed(WeightNormLinear(5, 3))
    assert_close(linear(x), F.linear(x, by_hand(linear, 0), linear.bias))
    down = perturbed(WeightNormConv2d(2, 3, 3, 2))
    assert_close(down(x), F.conv2d(x, by_hand(down, 0), down.bias, 2, 1))
    up = perturbed(WeightNormConvTranspose2d(2, 3, 3, 2, (7, 10)))
    assert_close(up(x), F.conv_transpose2d(x, by_hand(up, 1), up.bias, 2, 1, (0, 1)))


@pytest.mark.parametrize("scale", [1.0, 0.1])
@pytest.mark.parametrize("name", ["linear", "convolution", "transposed"])
def test_variance_before_a_start(name: str, scale: float) -> None:
    build, _, _, shape = LAYERS[name]
    layer = build(scale=scale).double()
    sizes = [shape[0], *(10 * size for size in shape[1:])]  # so that borders count for little
    _, std = _moments(layer(randn(2000 if name == "linear" else 20, *sizes)))
    assert_close(std, torch.full_like(std, scale), tolerance=0.1)


@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("name", LAYERS)
def test_start(name: str, scale: float) -> None:
    build, _, _, shape = LAYERS[name]
    layer = perturbed(build(scale=scale))
    x = randn(20, *shape) * 3 + 1
    v = layer.v.clone()
    with starting(layer):
        passed_on = layer(x)
    assert not passed_on.requires_grad
    assert torch.equal(layer.v, v)
    assert_close(passed_on, layer(x).detach())
    mean, std = _moments(layer(x))
    assert_close(mean, torch.zeros_like(mean))
    assert_close(std, torch.full_like(std, scale))


def test_start_follows_the_data() -> None:
    """Later layers, registered first, start from what the earlier ones give after their start."""

    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = WeightNormLinear(6, 2, scale=0.1)
            self.first = WeightNormLinear(3, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(F.elu(self.first(x)))

    module = perturbed(Backwards())
    x = randn(30, 3) * 5 - 2
    with starting(module):
        module(x)
    hidden = module.first(x)
    for values, scale in [(hidden, 1.0), (module(x), 0.1)]:
        mean, std = _moments(values)
        assert_close(mean, torch.zeros_like(mean))
        assert_close(std, torch.full_like(std, scale))


def test_outside_a_start_layers_do_not_look_at_data() -> None:
    layer = perturbed(WeightNormLinear(3, 2))
    with starting(layer):
        layer(randn(10, 3))
    before = copy.deepcopy(layer.state_dict())
    assert layer(randn(10, 3, seed=1) * 9).requires_grad
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_start_ends_with_an_error() -> None:
    layer = WeightNormLinear(3, 2)
    with pytest.raises(RuntimeError), starting(layer):
        layer(torch.zeros(2, 4))
    before = copy.deepcopy(layer.state_dict())
    assert layer(torch.randn(10, 3)).requires_grad
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_a_second_start_on_the_same_data_changes_nothing() -> None:
    layer = perturbed(WeightNormConv2d(2, 3, 3))
    x = randn(5, 2, 4, 4)
    with starting(layer):
        layer(x)
    before = copy.deepcopy(layer.state_dict())
    with starting(layer):
        layer(x)
    assert_close(layer.state_dict(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_outputs_keep_their_scale(dtype: torch.dtype) -> None:
    layer = WeightNormLinear(50, 4).to(dtype)
    g = layer.g.clone()
    row = torch.randn(50, dtype=dtype)
    with starting(layer):
        values = layer(row.expand(37, 50))
    assert torch.equal(layer.g, g)
    assert_close(values, torch.zeros_like(values), tolerance=1e-5)
    # One unit that is constant among others that are not.
    x = torch.randn(40, 50, dtype=dtype)
    x[:, 0] = 2.0
    with torch.no_grad():
        layer.v[2] = 0.0
        layer.v[2, 0] = 1.0
    with starting(layer):
        values = layer(x)
    assert layer.g[2] == g[2]
    assert_close(values[:, 2], torch.zeros_like(values[:, 2]), tolerance=1e-5)
    assert_close(
        values[:, [0, 1, 3]].std(0, correction=0), torch.ones(3, dtype=dtype), tolerance=1e-4
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_data_that_are_not_finite_leave_parameters_as_they_are(bad: float) -> None:
    layer = perturbed(WeightNormLinear(3, 2))
    before = copy.deepcopy(layer.state_dict())
    x = randn(10, 3)
    x[4] = bad
    with starting(layer):
        layer(x)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_start_in_half_precision() -> None:
    layer = WeightNormConv2d(2, 3, 3).to(torch.bfloat16)
    x = randn(50, 2, 5, 5).to(torch.bfloat16) * 3
    with starting(layer):
        values = layer(x)
    assert values.dtype == layer.g.dtype == torch.bfloat16
    mean, std = _moments(values.double())
    assert_close(mean, torch.zeros_like(mean), tolerance=0.02)
    assert_close(std, torch.ones_like(std), tolerance=0.02)
