"""Transforms under torch.func."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, stack_module_state, vmap

from invflow.transforms import Autoregressive
from tests.helpers import (
    AUTOREGRESSIVE,
    DIRECTIONS,
    SMALL,
    Both,
    assert_close,
    context_for,
    directed,
    inverses,
    over,
    perturbed,
    randn,
    values,
)

transforms = pytest.mark.parametrize("name", SMALL)
directions = pytest.mark.parametrize("direction", DIRECTIONS)
NAMES = [
    "made-3-context/gated/random",
    over("lstm-3-two-layers-context"),
    over("attention-3-two-blocks-context"),
]
names = pytest.mark.parametrize("name", NAMES)
inverted = pytest.mark.parametrize(
    ("name", "inverse"), [(name, inverse) for name in NAMES for inverse in inverses(name)]
)


def _scalar(result: tuple[Tensor, Tensor]) -> Tensor:
    """Return a number that depends on all of a transform's result."""
    value, ladj = result
    return value.sin().sum() + ladj.square().sum()


@transforms
@directions
def test_vmap_over_data(name: str, direction: str) -> None:
    transform = SMALL[name]()
    run = directed(transform, direction)
    value, context = values(transform, direction, 4, 2), context_for(transform, 2)
    result = vmap(run, (0, None))(value, context)
    whole = None if context is None else context.expand(4, 2, -1)
    assert_close(result, run(value, whole), 1e-12)


@transforms
@directions
def test_vmap_over_context(name: str, direction: str) -> None:
    transform = SMALL[name]()
    if not transform.context:
        pytest.skip("declares no context")
    run = directed(transform, direction)
    value, context = values(transform, direction), context_for(transform, 4)
    expected = run(value.expand(4, -1), context)
    assert_close(vmap(run, (None, 0))(value, context), expected, 1e-12)
    assert_close(vmap(run, (None, 1))(value, context.t()), expected, 1e-12)


@transforms
@directions
def test_vmap_of_jacrev(name: str, direction: str) -> None:
    transform = SMALL[name]()
    run = directed(transform, direction)
    value, context = values(transform, direction, 2), context_for(transform, 2)
    mapped = vmap(jacrev(run), (0, None if context is None else 0))(value, context)
    for i in range(2):
        one = None if context is None else context[i]
        jacobian = torch.autograd.functional.jacobian(
            lambda value, one=one: run(value, one), value[i]
        )
        assert_close((mapped[0][i], mapped[1][i]), jacobian)


@names
def test_vmap_within_vmap(name: str) -> None:
    transform = AUTOREGRESSIVE[name]()
    x, context = randn(4, 3, 3), context_for(transform, 2)
    twice = vmap(vmap(transform.inverse, (0, None)), (None, 0))
    expected = [transform.inverse(x[:, 0], one.expand(4, -1))[0] for one in context]
    assert_close(twice(x[:, 0], context)[0], torch.stack(expected), 1e-12)


@inverted
def test_vmap_over_data_and_its_gradients(name: str, inverse: str) -> None:
    transform = AUTOREGRESSIVE[name](inverse)
    x, context = randn(4, 3), context_for(transform, 4)
    run = grad(lambda x, context: _scalar(transform.inverse(x, context)), (0, 1))
    looped = [run(x[i], context[i]) for i in range(4)]
    expected = tuple(torch.stack(parts) for parts in zip(*looped, strict=True))
    assert_close(vmap(run)(x, context), expected)


@inverted
@pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])
def test_gradient_through_vmap(name: str, inverse: str, frozen: bool) -> None:
    """The map inside and the gradient outside, by torch.func and by autograd."""
    transform = AUTOREGRESSIVE[name](inverse).requires_grad_(not frozen)
    x, context = randn(4, 3), context_for(transform, 4)

    def mapped(x: Tensor) -> Tensor:
        return vmap(lambda x, context: _scalar(transform.inverse(x, context)))(x, context).sum()

    leaf = x.clone().requires_grad_()
    each = [_scalar(transform.inverse(leaf[i], context[i])) for i in range(4)]
    (expected,) = torch.autograd.grad(torch.stack(each).sum(), leaf)
    assert_close(grad(mapped)(x), expected)
    assert_close(torch.autograd.grad(mapped(leaf), leaf)[0], expected)


Stacked = tuple[Callable[..., Tensor], dict[str, Tensor], dict[str, Tensor], list[Both]]


def _stacked(name: str, inverse: str, direction: str) -> Stacked:
    modules = [Both(_member(name, inverse, seed)) for seed in range(3)]
    parameters, buffers = stack_module_state(modules)

    def run(parameters: dict[str, Tensor], buffers: dict[str, Tensor], *args: Tensor) -> Tensor:
        return _scalar(functional_call(modules[0], (parameters, buffers), (direction, *args)))

    return run, parameters, buffers, modules


def _member(name: str, inverse: str, seed: int) -> Autoregressive:
    return perturbed(AUTOREGRESSIVE[name](inverse), seed=seed)


@inverted
@directions
def test_vmap_over_stacked_parameters(name: str, direction: str, inverse: str) -> None:
    run, parameters, buffers, modules = _stacked(name, inverse, direction)
    x, context = randn(5, 3), context_for(modules[0].transform, 5)
    results = vmap(run, (0, 0, None, None))(parameters, buffers, x, context)
    expected = [_scalar(module(direction, x, context)) for module in modules]
    assert_close(results, torch.stack(expected))


@inverted
@directions
def test_gradients_of_an_ensemble(name: str, direction: str, inverse: str) -> None:
    run, parameters, buffers, modules = _stacked(name, inverse, direction)
    x, context = randn(3, 5, 3), context_for(modules[0].transform, 3, 5)
    found = vmap(grad(run))(parameters, buffers, x, context)
    for i, module in enumerate(modules):
        names, tensors = zip(*module.named_parameters(), strict=True)
        loss = _scalar(module(direction, x[i], context[i]))
        expected = torch.autograd.grad(loss, tensors)
        assert_close([found[name][i] for name in names], list(expected))


@inverted
@directions
def test_gradients_per_sample(name: str, direction: str, inverse: str) -> None:
    module = Both(AUTOREGRESSIVE[name](inverse))
    x, context = randn(4, 3), context_for(module.transform, 4)

    def run(parameters: dict[str, Tensor], x: Tensor, context: Tensor) -> Tensor:
        return _scalar(functional_call(module, parameters, (direction, x, context)))

    parameters = {key: value.detach() for key, value in module.named_parameters()}
    found = vmap(grad(run), (None, 0, 0))(parameters, x, context)
    for i in range(4):
        loss = _scalar(module(direction, x[i], context[i]))
        expected = torch.autograd.grad(loss, list(module.parameters()))
        assert_close([value[i] for value in found.values()], list(expected))


@inverted
def test_jacobian_to_the_parameters(name: str, inverse: str) -> None:
    module = Both(AUTOREGRESSIVE[name](inverse))
    x, context = randn(3), context_for(module.transform)
    parameters = {key: value.detach() for key, value in module.named_parameters()}
    found = jacrev(lambda p: functional_call(module, p, ("inverse", x, context))[0])(parameters)
    z, _ = module("inverse", x, context)
    for i in range(3):
        expected = torch.autograd.grad(z[i], list(module.parameters()), retain_graph=True)
        assert_close([value[i] for value in found.values()], list(expected))


@pytest.mark.parametrize("inverse", ["compiled", "cached"])
def test_vmap_over_nothing(inverse: str) -> None:
    transform = AUTOREGRESSIVE["made-3-context/gated/random"](inverse)
    context = randn(0, 2)
    z, ladj = torch.func.vmap(transform.inverse)(randn(0, 3), context)
    assert (z.shape, ladj.shape) == ((0, 3), (0,))
