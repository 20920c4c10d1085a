from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from invflow.conditioners import ACTIVATIONS

names = pytest.mark.parametrize("name", ACTIVATIONS)


@names
@given(value=st.floats(-60, 60))
def test_derivative_against_autodiff(name: str, value: float) -> None:
    function, derivative = ACTIVATIONS[name]
    a = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(function(a), a)
    # torch takes softplus as the identity above 20.
    tolerance = 3e-9 if name == "softplus" and value > 20 else 1e-14
    torch.testing.assert_close(derivative(a), expected, rtol=1e-12, atol=tolerance)


@names
@pytest.mark.parametrize("value", [-1e30, -1e3, 0.0, 1e3, 1e30])
def test_derivative_is_finite_far_out(name: str, value: float) -> None:
    function, derivative = ACTIVATIONS[name]
    a = torch.tensor(value, requires_grad=True)
    (expected,) = torch.autograd.grad(function(a), a)
    torch.testing.assert_close(derivative(a), expected)


@names
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_stays(name: str, dtype: torch.dtype) -> None:
    function, derivative = ACTIVATIONS[name]
    a = torch.linspace(-2, 2, 5, dtype=dtype)
    assert function(a).dtype == derivative(a).dtype == dtype
