from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from invflow.transforms import Compose, Coupling, masks
from invflow.univariate import Affine, Gated
from tests.helpers import (
    DIRECTIONS,
    UNIVARIATES,
    Both,
    assert_close,
    context_for,
    coupling,
    directed,
    generator,
    randn,
)

MASKS: dict[str, tuple[str | Sequence[bool] | Tensor | np.ndarray, list[int]]] = {
    "alternating": ("alternating", [0, 2, 4]),
    "halves": ("halves", [0, 1, 2]),
    "list": ([False, True, True, False, True], [1, 2, 4]),
    "one-stays": ([False, False, False, True, False], [3]),
    "one-moves": (torch.tensor([True, True, False, True, True]), [0, 1, 3, 4]),
    "numpy": (np.array([True, False, False, False, True]), [0, 4]),
}
each_mask = pytest.mark.parametrize(("mask", "kept"), MASKS.values(), ids=MASKS)
directions = pytest.mark.parametrize("direction", DIRECTIONS)


@each_mask
@directions
@pytest.mark.parametrize("context", [0, 2])
def test_jacobian_is_that_of_the_mask(
    mask: str | Sequence[bool], kept: list[int], direction: str, context: int
) -> None:
    """What stays, stays; what moves depends on itself and on all that stays, and only on that."""
    transform = coupling(5, mask=mask, context=context)
    value, given = randn(5), context_for(transform)
    run = directed(transform, direction)
    jacobian = torch.autograd.functional.jacobian(lambda value: run(value, given)[0], value)
    moved = [i for i in range(5) if i not in kept]
    eye = torch.eye(5, dtype=torch.float64)
    assert torch.equal(jacobian[kept], eye[kept])
    inner = jacobian[moved][:, moved]
    assert torch.equal(inner, torch.diag(inner.diagonal()))
    assert (jacobian[moved][:, kept] != 0).all()
    assert_close(run(value, given)[1], torch.linalg.slogdet(jacobian).logabsdet)


@each_mask
def test_is_the_univariate_map_of_the_perceptrons_numbers(
    mask: str | Sequence[bool], kept: list[int]
) -> None:
    transform = coupling(5, "gated", mask=mask, context=2)
    z, context = randn(4, 5), randn(4, 2, seed=7)
    params = transform.perceptron(z[:, kept], context)
    x, ladj = z.clone(), torch.zeros(4, dtype=torch.float64)
    for k, i in enumerate(i for i in range(5) if i not in kept):
        x[:, i], part = Gated().forward(z[:, i], params[:, 2 * k : 2 * k + 2])
        ladj = ladj + part
    assert_close(transform(z, context), (x, ladj), 1e-12)


@pytest.mark.parametrize("name", UNIVARIATES)
@directions
def test_any_univariate_map(name: str, direction: str) -> None:
    transform = coupling(5, name, context=2)
    start, context = randn(4, 5), context_for(transform, 4)
    value, ladj = directed(transform, direction)(start, context)
    other = next(other for other in DIRECTIONS if other != direction)
    assert_close(directed(transform, other)(value, context), (start, -ladj))


@pytest.mark.parametrize("univariate", ["affine", {"name": "affine", "bound": 2.0}, Affine(2.0)])
def test_starts_near_the_identity(univariate: object) -> None:
    transform = Coupling(7, univariate, context=2, generator=generator(1)).double()
    z = randn(20, 7)
    x, ladj = transform(z, randn(20, 2, seed=7))
    assert 0 < (x - z).abs().max() < 0.1
    assert ladj.abs().max() < 0.1


def test_start_of_a_map_that_starts_elsewhere() -> None:
    transform = Coupling(4, Gated(gate=0.5), generator=generator(1)).double()
    _, ladj = transform(torch.zeros(4, dtype=torch.float64))
    expected = 2 * torch.nn.functional.logsigmoid(torch.tensor(0.5, dtype=torch.float64))
    assert_close(ladj, expected, 1e-7)  # the start is a float32 number


def test_generator_decides() -> None:
    state = torch.get_rng_state()
    first, second, other = (Coupling(4, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    z = torch.ones(4)
    assert torch.equal(first(z)[0], second(z)[0])
    assert not torch.equal(first(z)[0], other(z)[0])


def test_masks_take_turns() -> None:
    assert [mask.tolist() for mask in masks("alternating", 3, 3)] == [
        [True, False, True],
        [False, True, False],
        [True, False, True],
    ]
    assert [mask.tolist() for mask in masks("halves", 5, 2)] == [
        [True, True, True, False, False],
        [False, False, False, True, True],
    ]


@pytest.mark.parametrize("how", ["alternating", "halves"])
@pytest.mark.parametrize("features", [2, 5])
def test_three_couplings_mix_everything(how: str, features: int) -> None:
    transform = Compose([coupling(features, mask=mask) for mask in masks(how, features, 3)])
    z = randn(features)
    jacobian = torch.autograd.functional.jacobian(lambda z: transform(z)[0], z)
    assert (jacobian != 0).all()


def test_given_mask_is_not_shared_and_is_saved() -> None:
    mask = torch.tensor([True, False, True, False])
    transform, other = coupling(4, mask=mask), coupling(4, mask=~mask)
    z = randn(4)
    before = transform(z)[0]
    mask.fill_(True)
    assert torch.equal(transform(z)[0], before)
    other.load_state_dict(transform.state_dict())
    assert torch.equal(other(z)[0], before)


@directions
@pytest.mark.parametrize("features", [2, 3])
def test_gradients(direction: str, features: int) -> None:
    module = Both(coupling(features, context=1, hidden_features=(3,)))
    names = [name for name, _ in module.named_parameters()]

    def run(value: Tensor, context: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        state = dict(zip(names, tensors, strict=True))
        return functional_call(module, state, (direction, value, context))

    inputs = [randn(2, features), randn(2, 1, seed=7), *module.parameters()]
    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(run, inputs)
