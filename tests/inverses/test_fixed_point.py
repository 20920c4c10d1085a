from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from invflow.conditioners import MADE
from invflow.transforms import Autoregressive
from tests.helpers import AUTOREGRESSIVE, assert_close, context_for, perturbed, randn


@contextmanager
def counted(transform: Autoregressive) -> Iterator[list[None]]:
    """Give a list that grows by one with each call of the conditioner."""
    calls: list[None] = []
    hook = transform.conditioner.register_forward_hook(lambda *_: calls.append(None))
    try:
        yield calls
    finally:
        hook.remove()


@pytest.mark.parametrize("name", AUTOREGRESSIVE)
def test_at_most_one_round_per_group(name: str) -> None:
    transform = AUTOREGRESSIVE[name]("fixed_point")
    x, context = randn(5, transform.features), context_for(transform, 5)
    with counted(transform) as calls:
        transform.inverse(x, context)
    groups = len(transform.conditioner.groups)
    assert min(2, groups) <= len(calls) <= groups


def test_strong_coupling_takes_all_rounds() -> None:
    """A chain in which every round sets one feature right: the count above can reach its limit."""
    transform = _chain(torch.tensor([0.5] * 6, dtype=torch.float64))
    x = transform(randn(4, 6))[0]
    with counted(transform) as calls:
        transform.inverse(x)
    assert len(calls) == 6


def _chain(shifts: torch.Tensor) -> Autoregressive:
    """Feature i is shifted by a multiple of feature i - 1."""
    features = len(shifts)
    made = MADE(features, (0.0, 0.0), ()).double()
    with torch.no_grad():
        made.weights[0].zero_()
        for i in range(1, features):
            made.weights[0][2 * i, i - 1] = shifts[i]
    return Autoregressive(made, inverse="fixed_point")


def test_weak_coupling_stops_early() -> None:
    made = perturbed(MADE(65, (0.0, 0.0), (80,), activation="tanh"), scale=0.05)
    transform = Autoregressive(made, inverse="fixed_point")
    x = randn(5, 65)
    with counted(transform) as calls, torch.no_grad():
        z, _ = transform.inverse(x)
    assert len(calls) < 20
    assert_close(transform(z)[0], x, 1e-12)


def test_no_coupling_takes_two_rounds() -> None:
    transform = _chain(torch.zeros(8, dtype=torch.float64))
    with counted(transform) as calls:
        transform.inverse(randn(5, 8))
    assert len(calls) == 2


def test_tolerance_trades_rounds_for_accuracy() -> None:
    made = perturbed(MADE(65, (0.0, 0.0), (80,), activation="tanh"), scale=0.2)
    x, rounds, errors = randn(5, 65), [], []
    exact = Autoregressive(made, inverse="passes").inverse(x)[0]
    for tolerance in (1e-2, 1e-5, None):
        transform = Autoregressive(made, inverse="fixed_point", tolerance=tolerance)
        with counted(transform) as calls, torch.no_grad():
            errors.append((transform.inverse(x)[0] - exact).abs().max().item())
        rounds.append(len(calls))
    assert rounds == sorted(set(rounds))
    assert errors == sorted(set(errors), reverse=True)
    assert errors[1] < 1e-4
    assert errors[2] < 1e-12


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_gradients_are_as_exact_for_cotangents_of_any_size(size: float) -> None:
    made = perturbed(MADE(8, (0.0, 0.0), (16,), activation="tanh"))
    x, found = randn(5, 8).requires_grad_(), {}
    for inverse in ("passes", "fixed_point"):
        z, ladj = Autoregressive(made, inverse=inverse).inverse(x)
        loss = size * (z.sin().sum() + ladj.sum())
        found[inverse] = [g / size for g in torch.autograd.grad(loss, [x, *made.parameters()])]
    assert_close(found["fixed_point"], found["passes"], 1e-11)


def test_exact_where_iterates_on_the_way_are_huge() -> None:
    """The garbage in features not yet right reaches 1e160; the solution itself is harmless."""
    transform = _chain(torch.tensor([1e40] * 4, dtype=torch.float64))
    z = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0]], dtype=torch.float64)
    x = transform(z)[0]
    assert torch.equal(transform.inverse(x)[0], z)


@pytest.mark.parametrize("inverse", ["cached", "passes", "fixed_point"])
def test_exact_where_iterates_on_the_way_overflow_in_a_hidden_layer(inverse: str) -> None:
    """At the solution z = -1 no unit is active, so that x = z. The start, z = 0, is shifted to
    z = 1e160 after the first feature, which a hidden unit multiplies by 1e150: infinite, and of
    no concern to the features before it."""
    features = 4
    made = MADE(features, (0.0, 0.0), (features - 1,), activation="relu").double()
    with torch.no_grad():
        made.weights[0].fill_(1e150)
        made.biases[0].fill_(1.0)
        made.weights[1].zero_()
        made.weights[1][::2].fill_(-1e160)
        made.biases[1].zero_()
    z = -torch.ones(2, features, dtype=torch.float64)
    transform = Autoregressive(made, inverse=inverse)
    x, _ = transform(z)
    assert torch.equal(x, z)
    back, ladj = transform.inverse(x)
    assert torch.equal(back, z)
    assert torch.equal(ladj, torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("inverse", ["cached", "passes", "fixed_point"])
def test_exact_where_the_solution_itself_is_large(inverse: str) -> None:
    """Data need not be near one: stopping early must not mistake a bound on guesses for rest."""
    coupling = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.5, 0.25, 0.0, 0.125], dtype=torch.float64)
    chain = _chain(coupling)
    transform = Autoregressive(chain.conditioner, inverse=inverse)
    for size in (1e3, 1e5, 1e8):
        z = torch.tensor([1.0, 0, 0, 3 * size, -size, 2, 5 * size, 1], dtype=torch.float64)
        back, ladj = transform.inverse(transform(z)[0])
        assert_close(back / size, z / size, 1e-14)
        assert ladj == 0
