"""Every inverse solves for z and gives the parameters there, with the derivatives of both."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from invflow.conditioners import MADE, Conditioner
from invflow.inverses import cached, fixed_point, passes
from invflow.inverses.pair import Pair
from invflow.transforms import Autoregressive
from invflow.univariate import Affine
from tests.helpers import AUTOREGRESSIVE, assert_close, context_for, over, perturbed, randn

Solve = Callable[[Pair, Tensor, Tensor | None], tuple[Tensor, Tensor]]


def _cached(pair: Pair, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    method = cached.method(pair)
    assert method is not None
    return cached.solve(method, pair, x, context)


def _fixed_point(pair: Pair, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    return fixed_point.solve(pair, x, context, None)


def _pair(transform: Autoregressive) -> Pair:
    return Pair(transform.conditioner, transform.univariate, transform.input_bound)


def _gradients(
    pair: Pair, solve: Solve, cotangents: list[list[Tensor]], batch: int
) -> list[list[Tensor]]:
    """Return z, the parameters, and gradients of all that goes in, for cotangents of both."""
    features = pair.conditioner.features
    x = randn(batch, features, seed=7).requires_grad_()
    context = context_for(pair.conditioner, batch)
    inputs = [x, *pair.conditioner.parameters()]
    if context is not None:
        inputs.append(context.requires_grad_())
    z, params = solve(pair, x, context)
    all_found = [[z.detach(), params.detach()]]
    for each in cotangents:
        pairs = [(r, c) for r, c in zip((z, params), each, strict=True) if r.requires_grad]
        results, bars = zip(*pairs, strict=True)
        gradients = torch.autograd.grad(
            results, inputs, bars, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        all_found.append(list(gradients))
    return all_found


@pytest.mark.parametrize("name", [name for name in AUTOREGRESSIVE if "65" not in name])
def test_parameters_are_those_at_the_solution(name: str) -> None:
    """And their gradients those of all passes, for cotangents of either or of both."""
    pair = _pair(AUTOREGRESSIVE[name]())
    batch, features, outputs = 5, pair.conditioner.features, pair.conditioner.outputs
    by_z, by_params = randn(batch, features, seed=1), randn(batch, features, outputs, seed=2)
    cotangents = [
        [by_z, by_params],
        [by_z, torch.zeros_like(by_params)],
        [torch.zeros_like(by_z), by_params],
    ]
    wanted = _gradients(pair, passes.solve, cotangents, batch)
    context = context_for(pair.conditioner, batch)
    z, params = wanted[0]
    assert_close(params, pair.params(z, context).detach(), 1e-12)
    for solve in (_cached, _fixed_point):
        found = _gradients(pair, solve, cotangents, batch)
        assert_close(found, wanted, 1e-8)
        z, params = found[0]
        assert_close(params, pair.params(z, context).detach(), 1e-10)


@pytest.mark.parametrize("tolerance", [0.3, 1e-2, 1e-4])
def test_parameters_are_those_at_the_solution_however_rough(tolerance: float) -> None:
    """z is then only near the solution; parameters and log-determinants are exact at that z."""
    made = perturbed(MADE(65, (0.0, 0.0), (80,), activation="tanh"), scale=0.2)
    pair, x = Pair(made, Affine(), math.inf), randn(5, 65)
    with torch.no_grad():
        exact, _ = passes.solve(pair, x, None)
        z, params = fixed_point.solve(pair, x, None, tolerance)
        assert (z - exact).abs().max() > 1e-12
        assert_close(params, pair.params(z, None), 1e-13)


@pytest.mark.parametrize("tolerance", [0.3, 1e-3, None])
def test_gradients_are_those_of_the_implicit_function_theorem(tolerance: float | None) -> None:
    """With whole Jacobians, solved directly, at the z that came out, however rough."""
    made, size = perturbed(MADE(9, (0.0, 0.0), (20,), activation="tanh"), scale=0.2), 9
    pair, x = Pair(made, Affine(), 1.5), randn(size).requires_grad_()
    g, h, inputs = randn(size, seed=1), randn(size, 2, seed=2), [x, *made.parameters()]
    z, params = fixed_point.solve(pair, x, None, tolerance)
    found = torch.autograd.grad((z, params), inputs, (g, h))

    def solved(z: Tensor) -> Tensor:
        return pair.univariate.inverse(x, pair.params(z, None))[0]

    z = z.detach()
    a = torch.autograd.functional.jacobian(solved, z)
    b = torch.autograd.functional.jacobian(lambda z: pair.params(z, None), z).flatten(0, 1)
    assert a.triu().abs().max() == 0
    w = torch.linalg.solve(torch.eye(size).double() - a.T, g + b.T @ h.flatten())
    expected = torch.autograd.grad((solved(z), pair.params(z, None)), inputs, (w, h))
    assert_close(found, expected, 1e-12 if tolerance is None else tolerance / 10)
    if tolerance is not None:
        assert (solved(z) - z).abs().max() > 1e-12


class Counted(Conditioner):
    """Counts how often it is called."""

    def __init__(self, inner: Conditioner) -> None:
        super().__init__(inner.features, inner.outputs, inner.context, inner.group)
        self.inner, self.calls = inner, 0

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        self.calls += 1
        return self.inner(z, context)


@pytest.mark.parametrize("inverse", ["passes", "fixed_point"])
@pytest.mark.parametrize(
    "name",
    ["made-1/affine/random", "made-3-context/gated/random", over("made-8-groups-context")],
)
def test_no_call_more_than_there_are_groups(name: str, inverse: str) -> None:
    inner = AUTOREGRESSIVE[name]()
    counted = Counted(inner.conditioner)
    transform = Autoregressive(counted, inner.univariate, inverse=inverse)
    features = transform.features
    z, ladj = transform.inverse(randn(5, features), context_for(transform, 5))
    assert counted.calls == len(inner.conditioner.groups)
    (z.sum() + ladj.sum()).backward()


def test_passes_have_higher_derivatives_of_the_log_determinant() -> None:
    transform = AUTOREGRESSIVE["made-3-context/gated/random"]("passes")
    x, context = randn(2, 3).requires_grad_(), randn(2, transform.context, seed=4).requires_grad_()

    def both(x: Tensor, context: Tensor) -> Tensor:
        z, ladj = transform.inverse(x, context)
        return z.square().sum(-1) + ladj

    assert torch.autograd.gradgradcheck(both, (x, context))
