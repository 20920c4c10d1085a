"""What every transform promises."""

from __future__ import annotations

import pytest
import torch

from invflow.transforms import Inverse, Rotation
from tests.helpers import (
    BATCHES,
    DIRECTIONS,
    TRANSFORMS,
    assert_close,
    context_for,
    directed,
    perturbed,
    preserves_volume,
    values,
)

transforms = pytest.mark.parametrize("name", TRANSFORMS)
directions = pytest.mark.parametrize("direction", DIRECTIONS)
batches = pytest.mark.parametrize("batch", BATCHES, ids=str)


@transforms
@directions
@batches
def test_round_trip(name: str, direction: str, batch: tuple[int, ...]) -> None:
    transform = TRANSFORMS[name]()
    start, context = values(transform, direction, *batch), context_for(transform, *batch)
    there, back = directed(transform, direction), directed(transform, _other(direction))
    value, ladj = there(start, context)
    again, back_ladj = back(value, context)
    assert value.shape == start.shape
    assert ladj.shape == back_ladj.shape == batch
    assert value.dtype == ladj.dtype == torch.float64
    assert_close(again, start)
    assert_close(back_ladj, -ladj)


@transforms
@pytest.mark.parametrize("batch", [(), (2, 3)], ids=str)
def test_scores_are_gradients_of_the_density_that_is_pushed(
    name: str, batch: tuple[int, ...]
) -> None:
    """Of noise with the density exp(-|z|^2 / 2 + sin(z_1)), up to a constant."""
    transform = TRANSFORMS[name]()

    def log_p(z: torch.Tensor) -> torch.Tensor:
        return -0.5 * z.square().sum(-1) + torch.sin(z[..., 0])

    z, context = values(transform, "forward", *batch), context_for(transform, *batch)
    before = z.clone().requires_grad_()
    (score,) = torch.autograd.grad(log_p(before).sum(), before)
    x, ladj, pushed = transform.push(z, score, context)
    assert_close((x, ladj), transform(z, context))
    point = x.detach().requires_grad_()
    again, back = transform.inverse(point, context)
    (expected,) = torch.autograd.grad((log_p(again) + back).sum(), point)
    assert_close(pushed, expected, 1e-6)
    assert not pushed.requires_grad
    if any(each.requires_grad for each in transform.parameters()):
        assert x.requires_grad


def _other(direction: str) -> str:
    return next(other for other in DIRECTIONS if other != direction)


@transforms
@directions
def test_ladj_against_autodiff(name: str, direction: str) -> None:
    transform = TRANSFORMS[name]()
    value, context = values(transform, direction, seed=2), context_for(transform)
    run = directed(transform, direction)
    jacobian = torch.autograd.functional.jacobian(lambda value: run(value, context)[0], value)
    sign, expected = torch.linalg.slogdet(jacobian)
    assert sign.abs() == 1
    assert_close(run(value, context)[1], expected)


@transforms
@directions
def test_batch_elements_do_not_mix(name: str, direction: str) -> None:
    transform = TRANSFORMS[name]()
    run = directed(transform, direction)
    value, context = values(transform, direction, 2, 3), context_for(transform, 2, 3)
    whole = run(value, context)
    one = run(value[1, 2], None if context is None else context[1, 2])
    assert_close((whole[0][1, 2], whole[1][1, 2]), one)


@transforms
@directions
def test_context_broadcasts(name: str, direction: str) -> None:
    transform = TRANSFORMS[name]()
    if not transform.context:
        pytest.skip("declares no context")
    run = directed(transform, direction)
    value = values(transform, direction, 2, 3)
    for shape in [(), (3,), (1, 3), (2, 1)]:
        context = context_for(transform, *shape)
        whole = context.expand(2, 3, -1).contiguous()
        assert_close(run(value, context), run(value, whole), 1e-12)
        other = run(value, whole + 0.5)[0]
        assert (other - run(value, whole)[0]).abs().max() > 1e-5


@transforms
@directions
def test_strides_do_not_matter(name: str, direction: str) -> None:
    transform = TRANSFORMS[name]()
    run = directed(transform, direction)
    value, context = values(transform, direction, 3), context_for(transform, 3)
    strided = value.t().contiguous().t()
    if context is not None:
        context = context.repeat_interleave(2, -1)[:, ::2]
    assert_close(run(strided, context), run(value, context), 1e-13)


@transforms
@directions
@pytest.mark.parametrize("batch", [(0,), (2, 0)], ids=str)
def test_empty_batch(name: str, direction: str, batch: tuple[int, ...]) -> None:
    transform = TRANSFORMS[name]()
    value, context = values(transform, direction, *batch), context_for(transform, *batch)
    with torch.no_grad():
        result, ladj = directed(transform, direction)(value, context)
    assert (result.shape, ladj.shape) == (value.shape, batch)


@transforms
@directions
@pytest.mark.parametrize("batch", [(0,), (2, 0)], ids=str)
def test_gradient_of_an_empty_batch(name: str, direction: str, batch: tuple[int, ...]) -> None:
    transform = TRANSFORMS[name]()
    value = values(transform, direction, *batch).requires_grad_()
    result, ladj = directed(transform, direction)(value, context_for(transform, *batch))
    (result.sum() + ladj.sum()).backward()
    assert value.grad is not None
    assert value.grad.shape == value.shape
    for parameter in transform.parameters():
        assert parameter.grad is None or not parameter.grad.any()


@transforms
@directions
def test_neither_input_nor_parameters_are_changed(name: str, direction: str) -> None:
    transform = TRANSFORMS[name]()
    value, context = values(transform, direction, 5), context_for(transform, 5)
    before = {key: tensor.clone() for key, tensor in transform.state_dict().items()}
    kept = value.clone()
    first = directed(transform, direction)(value, context)
    second = directed(transform, direction)(value, context)
    assert torch.equal(value, kept)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    for key, tensor in transform.state_dict().items():
        assert torch.equal(tensor, before[key])


@transforms
@directions
def test_float32_agrees_with_float64(name: str, direction: str) -> None:
    transform = TRANSFORMS[name]()
    value, context = values(transform, direction, 5), context_for(transform, 5)
    # The same numbers in both, rounded to float32 beforehand.
    transform = transform.float().double()
    value = value.float().double()
    context = None if context is None else context.float().double()
    expected = directed(transform, direction)(value, context)
    transform = transform.float()
    actual = directed(transform, direction)(
        value.float(), None if context is None else context.float()
    )
    assert actual[0].dtype == actual[1].dtype == torch.float32
    assert_close(actual[0].double(), expected[0], 2e-5)
    assert_close(actual[1].double(), expected[1], 2e-5 * max(1, transform.features / 8))


@transforms
@directions
def test_no_tensor_is_made_on_another_device(name: str, direction: str) -> None:
    transform = TRANSFORMS[name]().to("meta")
    if transform.features > 16 and (direction == "inverse") != isinstance(transform, Inverse):
        pytest.skip("the fixed point looks at values, which meta tensors do not have")
    value, context = values(transform, direction, 5), context_for(transform, 5)
    result = directed(transform, direction)(
        value.to("meta"), None if context is None else context.to("meta")
    )
    assert result[0].device.type == result[1].device.type == "meta"
    assert (result[0].shape, result[1].shape) == (value.shape, (5,))


def test_perturbation_moves_every_transform_off_the_identity() -> None:
    for name, build in TRANSFORMS.items():
        transform = build()
        on_a_line = isinstance(transform, Rotation) and transform.features == 1
        if any(parameter.numel() for parameter in transform.parameters()) and not on_a_line:
            z = values(transform, "forward", 5)
            x, ladj = transform(z, context_for(transform, 5))
            assert (x - z).abs().max() > 0.05, name
            assert ladj.abs().max() > 0.05 or preserves_volume(transform), name
    module = torch.nn.Linear(3, 3)
    before = module.weight.clone()
    assert (perturbed(module).weight - before).abs().max() > 0.05
