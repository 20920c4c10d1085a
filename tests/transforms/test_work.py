"""What the cached inverse costs: arithmetic and memory, not time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from invflow.conditioners import LSTM, MADE, Attention, CachedConditioner
from invflow.transforms import Autoregressive
from tests.helpers import assert_close, context_for, perturbed, randn
from tests.transforms.memory import kept_bytes

BATCH = 16
SIZES: list[tuple[int, tuple[int, ...], Any]] = [
    (64, (128,), 1),
    (64, (128, 128), 1),
    (100, (37, 37), 1),
    (65, (520, 512), 1),
    (8, (32,), 1),
    (64, (128, 128), 2),
    (64, (128, 128), 8),
    (64, (128, 128), 32),
    (64, (128, 128), 64),
    (65, (520, 512), 16),
    (100, (64, 64), (50, 1, 20, 29)),
]
sizes = pytest.mark.parametrize(("features", "hidden", "group"), SIZES, ids=str)


class MultiplyAdds(TorchDispatchMode):
    """Counts the multiply-adds of all matrix products that come by."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.rstrip("_")
        if name in ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv"):
            left, right = [a for a in args if isinstance(a, Tensor)][-2:]
            self.count += left.numel() * (right.shape[-1] if right.ndim > 1 else 1)
        return func(*args, **(kwargs or {}))


def counted(run: Callable[[], Any]) -> tuple[Any, int]:
    with MultiplyAdds() as mode, torch.no_grad():
        result = run()
    return result, mode.count


def _made(features: int, hidden: tuple[int, ...], group: Any = 1) -> MADE:
    return perturbed(MADE(features, (0.0, 0.0), hidden, activation="tanh", group=group))


def _bounds(made: MADE) -> tuple[int, int]:
    """Return the multiply-adds of the visible weights alone, and of all of them."""
    masks = [made.layout.mask(*block) for block in made.layout.blocks]
    visible = int(sum(mask.sum() for mask in masks))
    return visible * BATCH, sum(mask.numel() for mask in masks) * BATCH


@sizes
def test_sweeps_cost_about_one_pass_each(
    features: int, hidden: tuple[int, ...], group: Any
) -> None:
    made = _made(features, hidden, group)
    visible, dense = _bounds(made)
    offset, weights = made.pack((BATCH,), None)
    z = randn(features, BATCH)

    def forwards() -> Any:
        decoder = made.plan.decoder(offset, weights)
        for step, values in enumerate(z.split(made.groups)):
            decoder.parameters(step)
            decoder.append(step, values)
        return decoder

    decoder, count = counted(forwards)
    assert visible <= count <= 1.1 * dense

    cotangents = randn(features * made.outputs, BATCH).split(
        [size * made.outputs for size in made.groups]
    )

    def backwards() -> Any:
        pullback = made.plan.pullback(decoder.hidden, weights)
        for step in reversed(range(len(made.groups))):
            pullback.cotangent(step)
            pullback.append(step, cotangents[step])
        return pullback

    pullback, count = counted(backwards)
    assert visible <= count <= 1.1 * dense

    def weight_gradients() -> Any:
        arguments = (weights, z, decoder.hidden, pullback.hidden, pullback.params)
        return made.plan.gradients(*arguments)

    _, count = counted(weight_gradients)
    assert visible <= count <= 1.1 * dense


@pytest.mark.parametrize(("features", "hidden", "group"), [*SIZES[:2], *SIZES[5:7]], ids=str)
def test_sweep_skips_most_of_what_masks_hide(
    features: int, hidden: tuple[int, ...], group: Any
) -> None:
    """Half is visible; the rest of what is done is the panels' overhead."""
    made = _made(features, hidden, group)
    _, dense = _bounds(made)
    offset, weights = made.pack((BATCH,), None)

    def run() -> None:
        decoder = made.plan.decoder(offset, weights)
        for step in range(len(made.groups)):
            decoder.parameters(step)

    assert counted(run)[1] <= 0.9 * dense


def test_parallel_pass_is_at_most_dense() -> None:
    made = _made(65, (520, 512))
    visible, dense = _bounds(made)
    _, count = counted(lambda: made(randn(BATCH, 65)))
    assert visible <= count <= 0.8 * dense


@pytest.mark.parametrize("batch", [16, 256])
@pytest.mark.parametrize("hidden", [(128,), (128, 128)], ids=str)
def test_inverse_saves_at_most_twice_what_forward_saves(
    batch: int, hidden: tuple[int, ...]
) -> None:
    transform = Autoregressive(_made(64, hidden), inverse="cached")
    value = randn(batch, 64).requires_grad_()
    forward, inverse = (
        kept_bytes(lambda: transform(value)),
        kept_bytes(lambda: transform.inverse(value)),
    )
    activations = batch * (64 + sum(hidden)) * 8
    assert activations <= inverse <= 2 * forward


#: Conditioners whose sweep is differentiated by `replay`, with the multiply-adds for each event
#: that a sweep saves: the parameters that a last, smaller group does not have.
PLAYED: dict[str, tuple[Callable[[], CachedConditioner], int]] = {
    "lstm-context": (lambda: LSTM(64, (0.0, 0.0), (32,), 1), 0),
    "lstm-layers-context": (lambda: LSTM(33, (0.0, 0.0), (16, 24, 8), 3), 0),
    "lstm-groups": (lambda: LSTM(64, (0.0, 0.0), (32,), group=8), 0),
    # The last group has five of seven features.
    "lstm-rest": (lambda: LSTM(33, (0.0, 0.0), (16, 24), 3, group=7), 2 * 2 * 24),
}
played = pytest.mark.parametrize("name", PLAYED)


def _two_modes(name: str) -> tuple[list[Tensor], Callable[[], Tensor], Callable[[], Tensor]]:
    """Return z and all parameters, and both ways to the parameters of all features."""
    conditioner = perturbed(PLAYED[name][0]())
    z, context = randn(BATCH, conditioner.features), context_for(conditioner, BATCH)
    z.requires_grad_()

    def parallel() -> Tensor:
        return conditioner(z, context)

    def sweep() -> Tensor:
        decoder = conditioner.plan.decoder(*conditioner.pack((BATCH,), context))
        for group, values in enumerate(z.t().split(conditioner.groups)):
            decoder.parameters(group)
            decoder.append(group, values)
        rows = decoder.params.unflatten(0, (conditioner.features, conditioner.outputs))
        return rows.movedim(-1, 0)

    return [z, *conditioner.parameters()], parallel, sweep


@played
def test_played_sweep_does_the_work_of_one_pass(name: str) -> None:
    _, parallel, sweep = _two_modes(name)
    (params, whole), (swept, count) = counted(parallel), counted(sweep)
    assert_close(swept, params, 1e-12)
    assert count == whole - BATCH * PLAYED[name][1] > 0.5 * whole


@played
def test_gradient_of_a_played_sweep_does_the_work_of_one(name: str) -> None:
    inputs, parallel, sweep = _two_modes(name)
    cotangents = randn(*parallel().shape, seed=1)

    def with_gradient(run: Callable[[], Tensor]) -> tuple[int, tuple[Tensor, ...]]:
        with MultiplyAdds() as mode:
            gradients = torch.autograd.grad(run(), inputs, cotangents)
        return mode.count, gradients

    (whole, expected), (count, found) = with_gradient(parallel), with_gradient(sweep)
    assert_close(found, expected, 1e-10)
    assert 0.5 * whole < count <= whole


@played
def test_played_sweep_keeps_at_most_twice_what_a_pass_keeps(name: str) -> None:
    _, parallel, sweep = _two_modes(name)
    assert kept_bytes(sweep) <= 2 * kept_bytes(parallel)


#: Transformers, with the number of tokens, width and depth.
TRANSFORMERS: dict[str, tuple[Callable[[], Attention], int, int, int]] = {
    "features": (lambda: Attention(64, (0.0, 0.0), (32,)), 64, 32, 1),
    "blocks-context": (
        lambda: Attention(33, (0.0, 0.0), (24, 24, 24), 3, heads=2),
        33,
        24,
        3,
    ),
    "groups": (lambda: Attention(60, (0.0, 0.0), (24, 24), group=4), 15, 24, 2),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_sweeps_of_a_transformer_cost_one_pass_and_its_gradient(name: str) -> None:
    """Forward one pass; in reverse one to make activations again, and the gradient of one."""
    build, tokens, width, depth = TRANSFORMERS[name]
    attention = perturbed(build())
    z, context = randn(BATCH, attention.features), context_for(attention, BATCH)
    params, whole = counted(lambda: attention(z, context))
    _, weights = attention.pack((BATCH,), context)
    columns, outputs = z.t(), attention.outputs

    def forwards() -> Any:
        decoder = attention.plan.decoder(*attention.pack((BATCH,), context))
        for group, values in enumerate(columns.split(attention.groups)):
            decoder.parameters(group)
            decoder.append(group, values)
        return decoder

    decoder, count = counted(forwards)
    rows = decoder.params.unflatten(0, (attention.features, outputs)).movedim(-1, 0)
    assert_close(rows, params, 1e-12)
    # The sweep is spared the tokens that the parallel pass masks, and the empty first group.
    masked = depth * tokens * (tokens - 1) + max(attention.groups)
    assert count == whole - BATCH * masked * width
    bars = randn(attention.features * outputs, BATCH).split(
        [size * outputs for size in attention.groups]
    )

    def backwards() -> Any:
        pullback = attention.plan.pullback(decoder.hidden, weights)
        for group in reversed(range(len(attention.groups))):
            pullback.cotangent(group)
            pullback.append(group, bars[group])
        return pullback

    pullback, count = counted(backwards)
    assert whole < count <= 2.3 * whole
    arguments = (weights, columns, decoder.hidden, pullback.hidden, pullback.params)
    _, count = counted(lambda: attention.plan.gradients(*arguments))
    assert 0.5 * whole < count <= whole
