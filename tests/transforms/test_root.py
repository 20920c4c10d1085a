"""The scalar equation a + s tanh a = t."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from invflow.transforms import root
from tests.helpers import assert_close


def _residual(a: Tensor, positive: Tensor, target: Tensor) -> Tensor:
    """Return by how much the equation is missed, relative to its terms, in units of rounding."""
    dtype = a.dtype
    a, positive, target = a.double(), positive.double(), target.double()
    bend = (positive - 1) * torch.tanh(a)
    size = a.abs() + bend.abs() + target.abs() + torch.finfo(dtype).tiny
    return (a + bend - target).abs() / size / torch.finfo(dtype).eps


# Where 1 + s is tinier than the square root of rounding, the equation is flat at its root: what
# rounding does to its residual decides, and nothing else can.
FLAT = {torch.float64: -8.0, torch.float32: -4.0}


@pytest.mark.parametrize("dtype", FLAT, ids=str)
def test_rounding_is_reached_for_all_parameters_and_targets(dtype: torch.dtype) -> None:
    powers = torch.cat([torch.linspace(FLAT[dtype], 0, 81), torch.linspace(0, 15, 151)])
    positive = 10 ** powers.double().unsqueeze(-1)
    targets = 10 ** torch.linspace(-20, 15, 701, dtype=torch.float64)
    targets = torch.cat([torch.zeros(1), targets]).expand(len(powers), -1)
    # Where s is large the root moves from tiny to large as the target passes s.
    about = 10 ** torch.linspace(-6, 6, 100, dtype=torch.float64)
    about = torch.cat([positive - 1 + about, positive - 1 - about, (positive - 1) * (1 - about)], 1)
    for target in (targets, -targets, about, -about):
        p, t = positive.to(dtype), target.to(dtype)
        a = root.solve(p, t)
        assert a.dtype == dtype
        assert _residual(a, p, t).max() < 4


def test_what_is_flat_stays_close() -> None:
    positive = torch.tensor([[1e-10], [1e-14], [1e-300]], dtype=torch.float64)
    target = 10 ** torch.linspace(-300, 3, 607, dtype=torch.float64)
    a = root.solve(positive, target)
    assert torch.isfinite(a).all()
    assert (a + (positive - 1) * torch.tanh(a) - target).abs().max() < 1e-12


@pytest.mark.parametrize("positive", [1e-3, 0.4, 1.0, 7.0, 1e4])
@pytest.mark.parametrize("target", [-30.0, -0.4, 0.0, 1e-3, 2.0])
def test_derivatives_up_to_the_third(positive: float, target: float) -> None:
    """Against those of the equation, which gives the target from the root."""
    p = torch.tensor(positive, dtype=torch.float64)
    a = root.solve(p, torch.tensor(target, dtype=torch.float64))

    def equation(a: Tensor) -> Tensor:
        return a + (p - 1) * torch.tanh(a)

    def after(run: object) -> list[object]:
        chain = [run]
        for _ in range(3):
            chain.append(torch.func.jacrev(chain[-1]))
        return chain[1:]

    f1, f2, f3 = (f(a) for f in after(equation))
    expected = [1 / f1, -f2 / f1**3, 3 * f2**2 / f1**5 - f3 / f1**4]
    t = torch.tensor(target, dtype=torch.float64)
    actual = [f(t) for f in after(lambda t: root.solve(p, t))]
    for found, wanted in zip(actual, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)
    assert_close(torch.func.jacrev(root.solve)(p, t), -torch.tanh(a) / f1, 1e-8)


def test_second_derivatives_to_everything() -> None:
    positive = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[0.3], [-2.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(root.solve, (positive, target))
    assert torch.autograd.gradgradcheck(root.solve, (positive, target))
