"""What is changed in place between a call and its gradient: PyTorch's error, or the right result.

Never the gradient of something else. The reference is plain autograd on a copy of everything.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor

from invflow import IAF, MAF, Flow
from invflow.conditioners import MADE
from invflow.transforms import Autoregressive, Compose, Transform
from tests.helpers import (
    AUTOREGRESSIVE,
    DIRECTIONS,
    INVERSES,
    TRANSFORMS,
    assert_close,
    context_for,
    directed,
    flow,
    generator,
    inverses,
    over,
    perturbed,
    randn,
    values,
)

#: One of each kind, and each inverse of the autoregressive ones.
BUILDS: dict[str, Callable[[], Transform]] = {
    **{
        f"{name}/{inverse}": partial(AUTOREGRESSIVE[name], inverse)
        for name in map(over, ("made-3-context", "made-8-skip", "lstm-3", "attention-3"))
        for inverse in inverses(name)
    },
    **{
        f"chain-{inverse}": lambda inverse=inverse: (
            flow(IAF, 3, 2, 3, (6,), order="random", inverse=inverse)().transform
        )
        for inverse in ("auto", *INVERSES)
    },
    "checkpoint": lambda: flow(IAF, 3, 2, 3, (6,), order="random", checkpoint=True)().transform,
    **{
        name: TRANSFORMS[name]
        for name in TRANSFORMS
        if "/" not in name and "65" not in name and not name.startswith(("actnorm", "batchnorm"))
    },
}


def _changes(transform: Transform, value: Tensor) -> dict[str, Tensor]:
    """Return what may be changed: the first order, the last weight, what went in."""
    orders = [each for name, each in transform.named_buffers() if name.endswith("order")]
    weights = [each for each in transform.parameters() if each.numel()]
    found = {"order": orders[:1], "weight": weights[-1:], "input": [value]}
    return {name: each[0] for name, each in found.items() if each}


@torch.no_grad()
def _spoil(tensor: Tensor) -> None:
    if tensor.is_floating_point():
        tensor.mul_(1.5)
    else:
        tensor.copy_(tensor.roll(1))


def _loss(transform: Transform, direction: str, value: Tensor) -> tuple[Tensor, list[Tensor]]:
    held = value.detach().requires_grad_()
    given = held * 1.0  # not a leaf, so that it may be changed in place
    result, ladj = directed(transform, direction)(given, context_for(transform, 5))
    return (result * randn(*result.shape, seed=3)).sum() + ladj.square().sum(), [held, given]


@pytest.mark.parametrize("what", ["order", "weight", "input"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", BUILDS)
def test_change_between_call_and_gradient(name: str, direction: str, what: str) -> None:
    transform = BUILDS[name]()
    twin, value = copy.deepcopy(transform), values(transform, direction, 5)
    expected, inputs = _loss(twin, direction, value)
    wanted = [inputs[0], *twin.parameters()]
    gradients = torch.autograd.grad(expected, wanted, allow_unused=True)
    loss, (held, given) = _loss(transform, direction, value)
    changes = _changes(transform, given)
    if what not in changes:
        pytest.skip("there is none")
    _spoil(changes[what])
    found = _gradients(loss, [held, *transform.parameters()])
    for mine, theirs in zip(found or gradients, gradients, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert_close(mine, theirs, 1e-8)


def _gradients(loss: Tensor, inputs: Sequence[Tensor]) -> Sequence[Tensor] | None:
    """Return gradients, None where PyTorch says that something was changed."""
    try:
        return torch.autograd.grad(loss, inputs, allow_unused=True)
    except RuntimeError as error:
        if "inplace" in str(error) or "in place" in str(error):
            return None
        raise


@pytest.mark.parametrize("inverse", ["auto", *INVERSES])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_order_is_seen_to_change(direction: str, inverse: str) -> None:
    made = perturbed(MADE(8, (0.0, 0.0), (9,), generator=generator(1)))
    transform = Autoregressive(made, order=list(range(8))[::-1], inverse=inverse)
    value = randn(5, 8).requires_grad_()
    result, ladj = directed(transform, direction)(value)
    transform.order.copy_(transform.order.roll(1))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (result.sum() + ladj.sum()).backward()


@pytest.mark.parametrize("kind", [IAF, MAF])
def test_results_may_be_changed_in_place(kind: type[Flow]) -> None:
    """What comes out belongs to the caller; a gradient needs nothing of it, or says so."""
    model = flow(kind, 3, 0, 3, (6,), order="random")()
    for direction in DIRECTIONS:
        plain, _ = _loss(model.transform, direction, randn(5, 3))
        wanted = torch.autograd.grad(plain, list(model.parameters()))
        value, ladj = directed(model.transform, direction)(randn(5, 3))
        loss = (value * randn(5, 3, seed=3)).sum() + ladj.square().sum()
        value.detach().mul_(7.0)
        found = _gradients(loss, list(model.parameters()))
        for mine, theirs in zip(found or wanted, wanted, strict=True):
            assert_close(mine, theirs, 1e-10)


def test_an_optimizer_between_a_checkpointed_call_and_its_gradient() -> None:
    transform = flow(IAF, 3, 0, 3, (6,), checkpoint=True)().transform
    assert isinstance(transform, Compose)
    value, ladj = transform(randn(5, 3).requires_grad_())
    with torch.no_grad():
        for parameter in transform.parameters():
            parameter.mul_(0.9)
    with pytest.raises(RuntimeError, match=r"changed in place.*checkpoint=True"):
        (value.sum() + ladj.sum()).backward()
