"""What every transform promises."""

from __future__ import annotations

import pytest
import torch

from invflow.testing import check_transform
from invflow.transforms import Inverse, Rotation
from tests.helpers import (
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


@transforms
def test_keeps_the_laws(name: str) -> None:
    """Round trips, log-determinants, contexts, gradients, batch shapes, saving."""
    check_transform(TRANSFORMS[name]())


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
