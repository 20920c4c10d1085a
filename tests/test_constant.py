"""Constants that are kept: the right ones, and only those that anything else may use later."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from invflow import _constant
from invflow._constant import constant

NUMBERS = (0.1, -2.0, 3.5)


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_constant, "_kept", {})


def test_one_for_each_precision() -> None:
    for dtype in (torch.float32, torch.float64):
        like = torch.ones(2, dtype=dtype)
        found = constant(NUMBERS, like)
        assert torch.equal(found, torch.tensor(NUMBERS, dtype=dtype))
        assert constant(NUMBERS, like) is found
        assert not torch.equal(constant((1.0,), like), found)


def test_in_inference_mode_and_then_with_gradients() -> None:
    x = torch.ones(3, requires_grad=True)
    with torch.inference_mode():
        constant(NUMBERS, x)
    (x * x * constant(NUMBERS, x)).sum().backward()
    assert torch.equal(x.grad, 2 * torch.tensor(NUMBERS))


def test_in_transforms_of_functions_and_then_outside() -> None:
    def scaled(x: Tensor) -> Tensor:
        return (x * x * constant(NUMBERS, x)).sum()

    rows, expected = torch.ones(2, 3), 2 * torch.tensor([NUMBERS, NUMBERS])
    for _ in range(2):
        assert torch.equal(torch.func.vmap(torch.func.grad(scaled))(rows), expected)
        assert torch.equal(torch.func.grad(scaled)(rows[0]), expected[0])
        assert scaled(rows[0]) == sum(NUMBERS)


def test_fake_tensors_get_fake_ones_before_and_after() -> None:
    with FakeTensorMode() as mode:
        fake = torch.ones(3, dtype=torch.float64)
        assert constant(NUMBERS, fake).fake_mode is mode
    real = constant(NUMBERS, torch.ones(3, dtype=torch.float64))
    assert type(real) is Tensor
    with mode:
        assert constant(NUMBERS, fake).fake_mode is mode
