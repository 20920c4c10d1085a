from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from invflow.transforms import LULinear
from tests.helpers import DIRECTIONS, Both, assert_close, generator, perturbed, randn

ORDERS = {"same": "same", "reverse": "reverse", "random": "random", "given": [2, 4, 0, 1, 3]}
orders = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)


def linear(features: int, order: str | list[int]) -> LULinear:
    return perturbed(LULinear(features, order, generator=generator(3)))


def matrix_of(transform: LULinear) -> Tensor:
    """Return P L U, entry by entry from the definition."""
    features, weight = transform.features, transform.weight
    lower = torch.zeros(features, features, dtype=torch.float64)
    upper, order = torch.zeros_like(lower), torch.zeros_like(lower)
    for i in range(features):
        order[i, transform.order[i]] = 1
        for j in range(features):
            if i == j:
                lower[i, i] = 1
                upper[i, i] = torch.exp(5 * torch.tanh(weight[i, i] / 5))
            else:
                (lower if i > j else upper)[i, j] = weight[i, j]
    return order @ lower @ upper


@orders
def test_is_the_matrix(order: str | list[int]) -> None:
    transform = linear(5, order)
    z, matrix = randn(4, 5), matrix_of(transform)
    x, ladj = transform(z)
    assert_close(x, torch.stack([matrix @ row + transform.bias for row in z]))
    assert_close(ladj, torch.linalg.slogdet(matrix).logabsdet.expand(4))


@orders
def test_inverse_is_the_inverse_matrix(order: str | list[int]) -> None:
    transform = linear(5, order)
    x, matrix = randn(4, 5), matrix_of(transform)
    z, ladj = transform.inverse(x)
    assert_close(z, torch.linalg.solve(matrix, (x - transform.bias).t()).t())
    assert_close(ladj, -torch.linalg.slogdet(matrix).logabsdet.expand(4))


@pytest.mark.parametrize(
    ("order", "expected"),
    [("same", [0, 1, 2, 3]), ("reverse", [3, 2, 1, 0]), (torch.tensor([1, 0, 3, 2]), [1, 0, 3, 2])],
    ids=["same", "reverse", "given"],
)
def test_starts_as_a_permutation(order: str | Tensor, expected: list[int]) -> None:
    x, ladj = LULinear(4, order)(torch.arange(4.0))
    assert x.tolist() == expected
    assert ladj == 0


def test_random_order_comes_from_the_generator() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, second, other = (
        LULinear(30, "random", generator=generator(seed)).order for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.sort().values.tolist() == list(range(30))


def test_order_is_saved() -> None:
    ours, theirs = linear(5, "random"), LULinear(5).double()
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(randn(3, 5))[0], theirs(randn(3, 5))[0])


def test_extreme_parameters_do_not_overflow() -> None:
    transform = LULinear(3)
    with torch.no_grad():
        transform.weight.diagonal().copy_(torch.tensor([1e6, -1e6, 0.0]))
    z = torch.tensor([1.0, -2.0, 3.0])
    x, ladj = transform(z)
    assert_close(transform.inverse(x)[0], z, 1e-5)
    assert_close(ladj, torch.tensor(0.0), 1e-5)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("features", [1, 3])
def test_gradients(direction: str, features: int) -> None:
    module = Both(linear(features, "reverse"))

    def run(value: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        state = {"transform.weight": weight, "transform.bias": bias}
        return functional_call(module, state, (direction, value))

    inputs = (randn(2, features), module.transform.weight, module.transform.bias)
    inputs = tuple(tensor.detach().clone().requires_grad_() for tensor in inputs)
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)
