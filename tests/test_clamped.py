"""The derivative of clamping, which is that of the inside at the ends too."""

from __future__ import annotations

import math

import torch

from invflow._clamped import clamped

VALUES = torch.tensor([-math.inf, -2.0, -1.0, 0.3, 1.5, 1.6, math.inf], dtype=torch.float64)


def test_values_are_those_of_clamp() -> None:
    assert torch.equal(clamped(VALUES, -1.0, 1.5), VALUES.clamp(-1.0, 1.5))
    assert clamped(torch.tensor(math.nan), -1.0, 1.5).isnan()


def test_derivative_is_one_up_to_the_ends() -> None:
    value, ones = VALUES.clone().requires_grad_(), torch.ones_like(VALUES)
    expected = torch.tensor([0.0, 0, 1, 1, 1, 0, 0], dtype=torch.float64)
    (slope,) = torch.autograd.grad(clamped(value, -1.0, 1.5).sum(), value)
    assert torch.equal(slope, expected)
    _, tangent = torch.func.jvp(lambda each: clamped(each, -1.0, 1.5), (VALUES,), (ones,))
    assert torch.equal(tangent, expected)
