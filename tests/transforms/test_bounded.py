from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    ComposeTransform,
    SigmoidTransform,
    SoftplusTransform,
)
from torch.distributions import transforms as torchs

from invflow.transforms import Sigmoid, Softplus, Transform
from tests.helpers import assert_close, randn

BOUNDS = [(0.0, 1.0), (-2.0, 3.5), (-1.0, 0.0), (0.1, 0.3), (-1e4, 1e4), (1, 2)]
LOWS = [0.0, 2.0, -0.7, 1e4, 1]
DTYPES = [torch.float32, torch.float64]
bounds = pytest.mark.parametrize(("low", "high"), BOUNDS)
lows = pytest.mark.parametrize("low", LOWS)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def check_against(transform: Transform, reference: torchs.Transform, z: Tensor) -> None:
    x, ladj = transform(z)
    expected = reference(z)
    assert_close(x, expected, 1e-10)
    assert_close(ladj, reference.log_abs_det_jacobian(z, expected).sum(-1), 1e-10)
    back, back_ladj = transform.inverse(expected)
    assert_close(back, reference.inv(expected), 1e-7)
    slopes = reference.inv.log_abs_det_jacobian(expected, back)
    assert_close(back_ladj, slopes.sum(-1), 1e-7)


@bounds
def test_sigmoid_is_torchs(low: float, high: float) -> None:
    reference = ComposeTransform([SigmoidTransform(), AffineTransform(low, high - low)])
    check_against(Sigmoid(3, low, high), reference, 3 * randn(50, 3))


@lows
def test_softplus_is_torchs(low: float) -> None:
    reference = ComposeTransform([SoftplusTransform(), AffineTransform(low, 1.0)])
    check_against(Softplus(3, low), reference, (3 * randn(50, 3)).clamp(max=19))


FAR = [0.0, 5.0, 15.0, 19.99, 20.01, 30.0, 36.0, 80.0, 200.0, 700.0, 1e5]


def grid(dtype: torch.dtype) -> Tensor:
    return torch.tensor([-z for z in FAR[1:]] + FAR, dtype=dtype).unsqueeze(-1)


def margin(bound: float, dtype: torch.dtype) -> float:
    return max(abs(bound) * torch.finfo(dtype).eps, torch.finfo(dtype).tiny)


@bounds
@dtypes
def test_sigmoid_far_out(low: float, high: float, dtype: torch.dtype) -> None:
    """Strictly inside, monotone, finite both ways, and back to what the dtype can tell apart."""
    transform, z = Sigmoid(1, low, high), grid(dtype)
    x, ladj = transform(z)
    lowest, highest = (torch.tensor(bound, dtype=dtype) for bound in (low, high))
    assert (x > lowest).all()
    assert (x < highest).all()
    order = z.squeeze(-1).argsort()
    assert (x[order].diff(dim=0) >= 0).all()
    assert transform.codomain.check(x).all()
    exact = -z.squeeze(-1).double().abs() - 2 * torch.log1p(torch.exp(-z.double().abs())).squeeze(
        -1
    )
    assert_close(
        ladj.double(), exact + math.log(high - low), 1e-5 if dtype == torch.float32 else 1e-12
    )
    back, back_ladj = transform.inverse(x)
    assert torch.isfinite(back).all()
    assert torch.isfinite(back_ladj).all()
    # Half a unit of x near the bound, and a few of z, in units of z.
    eps = torch.finfo(dtype).eps
    spacing = 2 * eps * torch.maximum(lowest.abs(), highest.abs())
    kept = ladj.double().exp() > 8 * spacing
    error = (back.double() - z.double()).abs().squeeze(-1)
    allowed = spacing / ladj.double().exp() + 8 * eps * (1 + z.double().abs().squeeze(-1))
    assert (error <= allowed)[kept].all()
    assert kept.sum() >= 3


def test_sigmoid_keeps_the_digits_near_a_bound_that_is_zero() -> None:
    for low, high, sign in ((0.0, 1.0, -1.0), (-1.0, 0.0, 1.0)):
        transform = Sigmoid(1, low, high)
        z = sign * torch.tensor([[20.0], [50.0], [80.0]])
        x, ladj = transform(z)
        assert_close(transform.inverse(x), (z, -ladj), 1e-5)


@lows
@dtypes
def test_softplus_far_out(low: float, dtype: torch.dtype) -> None:
    transform, z = Softplus(1, low), grid(dtype)
    x, ladj = transform(z)
    assert (x > torch.tensor(low, dtype=dtype)).all()
    assert torch.isfinite(x).all()
    assert (x[z.squeeze(-1).argsort()].diff(dim=0) >= 0).all()
    assert transform.codomain.check(x).all()
    wide = z.squeeze(-1).double()
    exact = torch.clamp(wide, max=0) - torch.log1p(torch.exp(-wide.abs()))
    assert_close(ladj.double(), exact, 1e-5 if dtype == torch.float32 else 1e-12)
    back, back_ladj = transform.inverse(x)
    assert torch.isfinite(back).all()
    assert torch.isfinite(back_ladj).all()
    above = torch.exp(torch.clamp(wide, max=0))
    eps = torch.finfo(dtype).eps
    spacing = 2 * eps * x.double().abs().squeeze(-1)
    kept = above > 8 * margin(low, dtype)
    error = (back.double() - z.double()).abs().squeeze(-1)
    allowed = spacing / ladj.double().exp() + 8 * eps * (1 + wide.abs())
    assert (error <= allowed)[kept].all()
    assert kept.sum() >= len(FAR)


def test_softplus_is_exact_beyond_twenty() -> None:
    """Where torch's own softplus has become the identity."""
    z = torch.tensor([[21.0], [25.0], [30.0]], dtype=torch.float64)
    expected = z + torch.log1p(torch.exp(-z))
    assert (expected > z).all()
    assert torch.equal(Softplus(1)(z)[0], expected)


@bounds
@dtypes
def test_bound_stands_for_the_nearest_number_inside(
    low: float, high: float, dtype: torch.dtype
) -> None:
    edges = torch.tensor([[low], [high]], dtype=dtype)
    for transform in (Sigmoid(1, low, high), Softplus(1, low)):
        ends = edges if isinstance(transform, Sigmoid) else edges[:1]
        z, ladj = transform.inverse(ends)
        assert torch.isfinite(z).all()
        assert torch.isfinite(ladj).all()
        assert (transform(z)[0] - ends).abs().max() <= 4 * max(
            margin(bound, dtype) for bound in (low, high)
        )


@bounds
def test_outside_is_not_a_number(low: float, high: float) -> None:
    x = torch.tensor([[low - 1.0], [high + 1.0]])
    assert Sigmoid(1, low, high).inverse(x)[0].isnan().all()
    assert Softplus(1, low).inverse(x[:1])[0].isnan().all()


@pytest.mark.parametrize(
    "transform", [Sigmoid(3), Sigmoid(3, -2.0, 3.5), Softplus(3), Softplus(3, 2.0)], ids=str
)
def test_gradients(transform: Transform) -> None:
    z = (2 * randn(4, 3)).requires_grad_()
    assert torch.autograd.gradcheck(transform, (z,))
    assert torch.autograd.gradgradcheck(transform, (z,))
    x = transform(z)[0].detach().requires_grad_()
    assert torch.autograd.gradcheck(transform.inverse, (x,))


def test_gradients_are_finite_far_out_and_at_the_bounds() -> None:
    for transform in (Sigmoid(1), Softplus(1)):
        z = grid(torch.float64).requires_grad_()
        value, ladj = transform(z)
        (gradient,) = torch.autograd.grad(value.sum() + ladj.sum(), z)
        assert torch.isfinite(gradient).all()
        x = torch.tensor([[0.0], [1.0]], dtype=torch.float64).requires_grad_()
        value, ladj = transform.inverse(x)
        (gradient,) = torch.autograd.grad(value.sum() + ladj.sum(), x)
        assert torch.isfinite(gradient).all()


def test_gradient_at_zero() -> None:
    """Where the two branches of the sigmoid meet."""
    z = torch.zeros(1, requires_grad=True)
    assert torch.autograd.grad(Sigmoid(1, -1.0, 3.0)(z)[0], z)[0].item() == 1.0


@dtypes
def test_bounds_do_not_change_the_dtype(dtype: torch.dtype) -> None:
    z = randn(5, 2, dtype=dtype)
    for transform in (Sigmoid(2, 0.1, 0.7), Softplus(2, 0.1)):
        x, ladj = transform(z)
        back, back_ladj = transform.inverse(x)
        assert {tensor.dtype for tensor in (x, ladj, back, back_ladj)} == {dtype}
