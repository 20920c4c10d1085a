from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from invflow.univariate.bracketing import increasing_root
from tests.helpers import assert_close, randn

Curve = Callable[[Tensor], Tensor]

#: Increasing functions that lead Newton's method astray, each in its way.
CURVES: dict[str, Curve] = {
    "line": lambda z: 3 * z - 1,
    "flat at zero": lambda z: z**3,
    "steep at zero": lambda z: torch.asinh(1e6 * z),
    "oscillates": torch.atan,
    "exponential": torch.exp,
    "flat, then steep": lambda z: 1e-3 * z + 5 * torch.tanh(40 * (z - 2)),
    "stairs": lambda z: z + 0.999 * torch.sin(z),
    "corner": lambda z: torch.where(z > 1, 50 * (z - 1), 0.01 * (z - 1)),
}


def _with_slope(curve: Curve) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    slopes = torch.func.vmap(torch.func.grad(curve))
    return lambda z: (curve(z), slopes(z))


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
@given(root=st.floats(-9, 9), start=st.floats(-10, 12), width=st.floats(0, 20))
def test_gets_there(curve: Curve, root: float, start: float, width: float) -> None:
    z = torch.tensor([root], dtype=torch.float64)
    low, high = z - width / 3, z + width
    guess = torch.full_like(z, start).clamp(low, high)
    found = increasing_root(_with_slope(curve), curve(z), low, high, guess)
    assert (low <= found).all()
    assert (found <= high).all()
    # In the value where the curve is flat: there many points have the same.
    off = torch.minimum((found - z).abs(), (curve(found) - curve(z)).abs())
    assert off <= 1e-14 * (1 + z.abs() + curve(z).abs())


def test_each_element_has_a_bracket_of_its_own() -> None:
    roots = randn(3, 4) * 5
    found = increasing_root(
        lambda z: (torch.sinh(z), torch.cosh(z)),
        torch.sinh(roots),
        roots - 1,
        roots + torch.arange(4),
        roots - 1,
    )
    assert_close(found, roots, 1e-14)


def test_few_steps_from_a_narrow_bracket() -> None:
    calls = 0

    def curve(z: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        return torch.exp(z), torch.exp(z)

    z = randn(50)
    increasing_root(curve, torch.exp(z), z - 2, z + 2, z + 0.5)
    assert calls <= 8


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_ends_and_harms_no_other(bad: float) -> None:
    calls = 0

    def curve(z: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        return z**3 + z, 3 * z**2 + 1

    target = torch.tensor([bad, 10.0], dtype=torch.float64)
    found = increasing_root(curve, target, -target.abs(), target.abs(), torch.zeros_like(target))
    assert found[1] == 2
    assert not torch.isfinite(found[0])
    assert calls < 100


def test_no_elements() -> None:
    none = torch.empty(0)
    assert increasing_root(lambda z: (z, z), none, none, none, none).shape == (0,)
