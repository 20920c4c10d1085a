from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invflow.univariate import CircularSpline, Spline
from tests.helpers import assert_close, randn

CIRCLES = {
    "radians": CircularSpline(),
    "two-bins": CircularSpline(bins=2),
    "degrees": CircularSpline(bins=5, low=0.0, high=360.0),
    "off-centre": CircularSpline(bins=3, low=0.1, high=0.7),
}
circles = pytest.mark.parametrize("circle", CIRCLES.values(), ids=CIRCLES)
directions = pytest.mark.parametrize("direction", ["forward", "inverse"])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def _angles(circle: CircularSpline, count: int) -> Tensor:
    """Return the midpoints of equal arcs."""
    length = circle.high - circle.low
    return circle.low + length * (torch.arange(count, dtype=torch.float64) + 0.5) / count


def _turns(circle: CircularSpline, difference: Tensor) -> Tensor:
    """Return how far apart two angles are, in units of the circumference."""
    turns = difference / (circle.high - circle.low)
    return (turns - turns.round()).abs()


@circles
@directions
def test_round_trip(circle: CircularSpline, direction: str) -> None:
    value = _angles(circle, 500)
    params = randn(500, circle.parameters, seed=1)
    other = {"forward": "inverse", "inverse": "forward"}[direction]
    there, ladj = getattr(circle, direction)(value, params)
    back, back_ladj = getattr(circle, other)(there, params)
    assert_close(back, value, 1e-10 * (circle.high - circle.low))
    assert_close(back_ladj, -ladj)


@circles
@directions
def test_any_number_is_the_angle_that_it_is(circle: CircularSpline, direction: str) -> None:
    value, params = _angles(circle, 100), randn(100, circle.parameters, seed=1)
    result, ladj = getattr(circle, direction)(value, params)
    for rounds in (-3, 1, 2):
        shifted = value + rounds * (circle.high - circle.low)
        again, again_ladj = getattr(circle, direction)(shifted, params)
        assert _turns(circle, again - result).max() < 1e-12
        assert_close(again_ladj, ladj)


@directions
@dtypes
def test_results_are_on_the_circle(direction: str, dtype: torch.dtype) -> None:
    """At the cut itself too, and next to it."""
    circle = CircularSpline()
    cut = torch.tensor([-math.pi, math.pi, 3 * math.pi], dtype=dtype)
    up, down = (cut.nextafter(torch.full_like(cut, end)) for end in (math.inf, -math.inf))
    value = torch.cat([cut, up, down, randn(1000).to(dtype) * 5])
    for phase in (0.0, 1.0, math.pi, -math.pi, 2 * math.pi, 1e4):
        params = randn(circle.parameters, seed=1).to(dtype)
        params[-1] = phase
        result, ladj = getattr(circle, direction)(value, params)
        assert ((result >= -math.pi) & (result < math.pi)).all()
        assert torch.isfinite(ladj).all()
    assert torch.equal(circle.forward(cut[:2], torch.zeros_like(params))[0], cut[:1].expand(2))


@pytest.mark.parametrize("bins", [2, 8])
def test_is_a_spline_where_the_slope_at_the_cut_is_one(bins: int) -> None:
    circle, line = CircularSpline(bins), Spline(bins, -math.pi, math.pi)
    z, params = _angles(circle, 200), randn(200, circle.parameters, seed=1)
    params[:, [2 * bins, -1]] = 0
    without = torch.cat([params[:, : 2 * bins], params[:, 2 * bins + 1 : -1]], -1)
    assert_close(circle.forward(z, params), line.forward(z, without), 1e-12)
    assert_close(circle.inverse(z, params), line.inverse(z, without), 1e-12)


@circles
def test_phase_turns_the_circle(circle: CircularSpline) -> None:
    z, params = _angles(circle, 100), randn(circle.parameters, seed=1)
    turned, whole = params.clone(), params.clone()
    turned[-1] += 0.5
    whole[-1] += 2 * math.pi
    x, ladj = circle.forward(z, params)
    x_turned, ladj_turned = circle.forward(z, turned)
    shares = _turns(circle, x_turned - x)
    assert_close(shares, torch.full_like(shares, 0.5 / (2 * math.pi)))
    assert torch.equal(ladj_turned, ladj)
    assert _turns(circle, circle.forward(z, whole)[0] - x).max() < 1e-12
    slope = torch.func.jacrev(lambda params: circle.forward(z[3], params)[0])(params)[-1]
    assert_close(slope.item(), (circle.high - circle.low) / (2 * math.pi))


@circles
def test_the_cut_is_no_fixed_point_and_nothing_happens_there(circle: CircularSpline) -> None:
    """Value, slope and density are continuous where z or x crosses the cut."""
    params, length = randn(circle.parameters, seed=1), circle.high - circle.low
    ends = torch.tensor([circle.low, circle.high], dtype=torch.float64)
    inside = ends + length * torch.tensor([1e-9, -1e-9], dtype=torch.float64)
    for run in (circle.forward, circle.inverse):
        value, ladj = run(inside, params)
        assert _turns(circle, value - ends).min() > 0.01
        assert _turns(circle, value[1] - value[0]) < 1e-7
        assert ladj.abs().min() > 0.01
        assert_close(ladj[0], ladj[1], 1e-6)


@circles
def test_density_integrates_to_one(circle: CircularSpline) -> None:
    """That of x for uniform z; and the histogram of x has its shape."""
    count, params = 100_000, randn(circle.parameters, seed=1)
    x = _angles(circle, count)
    _, ladj = circle.inverse(x, params)
    assert_close(ladj.exp().mean().item(), 1.0, 1e-7)
    samples, _ = circle.forward(x, params)
    counts = torch.histc(samples, 20, circle.low, circle.high) / count
    assert_close(counts, ladj.exp().reshape(20, -1).mean(1) / 20, 1e-4)
    assert counts.max() > 2 * counts.min()


@directions
def test_first_and_second_derivatives(direction: str) -> None:
    circle = CircularSpline(bins=3)
    value, params = randn(6, seed=2).requires_grad_(), randn(6, 10, seed=3).requires_grad_()
    run = getattr(circle, direction)
    assert torch.autograd.gradcheck(run, (value, params))
    assert torch.autograd.gradgradcheck(run, (value, params))


@circles
@directions
def test_slope_at_the_cut(circle: CircularSpline, direction: str) -> None:
    cut = torch.tensor(circle.low, dtype=torch.float64)
    params = randn(circle.parameters, seed=1)
    if direction == "inverse":
        cut, _ = circle.forward(cut, params)
    value = cut.requires_grad_()
    result, ladj = getattr(circle, direction)(value, params)
    (slope,) = torch.autograd.grad(result, value)
    assert_close(slope, ladj.exp(), 1e-9)


@pytest.mark.parametrize("size", [10.0, 1e4, 1e8])
@dtypes
def test_finite_whatever_the_parameters(size: float, dtype: torch.dtype) -> None:
    circle = CircularSpline()
    value = _angles(circle, 500).to(dtype).requires_grad_()
    params = (size * randn(500, circle.parameters)).to(dtype).requires_grad_()
    for run in (circle.forward, circle.inverse):
        result, ladj = run(value, params)
        found = torch.autograd.grad((result.sum(), ladj.sum()), (value, params))
        assert all(tensor.isfinite().all() for tensor in (result, ladj, *found))
