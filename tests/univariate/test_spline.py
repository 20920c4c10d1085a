from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate

import pytest
import torch
from torch import Tensor
from torch.func import jacrev

from invflow.univariate import CircularSpline, Spline
from tests.helpers import assert_close, randn

SPLINES = {
    "default": Spline(),
    "two-bins": Spline(bins=2),
    "many-bins": Spline(bins=40, low=-3.0, high=1.0),
    "sharp": Spline(bins=5, low=0.5, high=4.0, smallest_bin=1e-3, bound=7.0),
    "wide": Spline(low=-1000.0, high=1000.0),
    "narrow": Spline(low=0.0, high=1e-2),
}
splines = pytest.mark.parametrize("spline", SPLINES.values(), ids=SPLINES)
directions = pytest.mark.parametrize("direction", ["forward", "inverse"])


class Reference:
    """The spline of one feature in plain Python, from the paper's equations for one bin."""

    def __init__(self, spline: Spline, params: list[float]) -> None:
        bins = spline.bins
        self.spline = spline
        self.x = self._knots(params[:bins])
        self.y = self._knots(params[bins : 2 * bins])
        inner = [spline.bound * math.tanh(raw / spline.bound) for raw in params[2 * bins :]]
        self.d = [1.0, *map(math.exp, inner), 1.0]

    def _knots(self, logits: list[float]) -> list[float]:
        spline = self.spline
        powers = [math.exp(logit - max(logits)) for logit in logits]
        least = spline.smallest_bin / spline.bins
        shares = [least + (1 - spline.smallest_bin) * power / sum(powers) for power in powers]
        inner = [spline.low + (spline.high - spline.low) * sum_ for sum_ in accumulate(shares)]
        return [spline.low, *inner[:-1], spline.high]

    def forward(self, z: float) -> tuple[float, float]:
        """Return the value and the slope."""
        if not self.x[0] < z < self.x[-1]:
            return z, 1.0
        k = bisect_right(self.x, z) - 1
        width, height = self.x[k + 1] - self.x[k], self.y[k + 1] - self.y[k]
        xi, s, d0, d1 = (z - self.x[k]) / width, height / width, self.d[k], self.d[k + 1]
        denominator = s + (d1 + d0 - 2 * s) * xi * (1 - xi)
        numerator = s * xi**2 + d0 * xi * (1 - xi)
        rise = d1 * xi**2 + 2 * s * xi * (1 - xi) + d0 * (1 - xi) ** 2
        return self.y[k] + height * numerator / denominator, s**2 * rise / denominator**2

    def inverse(self, x: float) -> float:
        """Bisect until nothing is left between the ends."""
        if not self.x[0] < x < self.x[-1]:
            return x
        low, high = self.x[0], self.x[-1]
        while low < (middle := (low + high) / 2) < high:
            low, high = (middle, high) if self.forward(middle)[0] < x else (low, middle)
        return high


def _values(spline: Spline, count: int, beyond: float = 0.1) -> Tensor:
    """Return numbers all over the interval and a little beyond its ends."""
    shares = torch.rand(count, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    length = spline.high - spline.low
    return spline.low + length * ((1 + 2 * beyond) * shares - beyond)


@splines
def test_equals_the_papers_equations(spline: Spline) -> None:
    z, params = _values(spline, 40), randn(40, spline.parameters, seed=1)
    x, ladj = spline.forward(z, params)
    for i in range(len(z)):
        value, slope = Reference(spline, params[i].tolist()).forward(z[i].item())
        assert math.isclose(x[i], value, rel_tol=1e-11, abs_tol=1e-13)
        assert math.isclose(ladj[i], math.log(slope), rel_tol=1e-9, abs_tol=1e-9)


@splines
def test_inverse_equals_bisection(spline: Spline) -> None:
    x, params = _values(spline, 40), randn(40, spline.parameters, seed=1)
    z, ladj = spline.inverse(x, params)
    for i in range(len(x)):
        reference = Reference(spline, params[i].tolist())
        root = reference.inverse(x[i].item())
        assert math.isclose(z[i], root, rel_tol=1e-10, abs_tol=1e-10 * (spline.high - spline.low))
        assert math.isclose(ladj[i], -math.log(reference.forward(root)[1]), abs_tol=1e-7)


@splines
def test_knots_are_met_and_slopes_are_continuous_there(spline: Spline) -> None:
    params = randn(spline.parameters, seed=2)
    reference = Reference(spline, params.tolist())
    x, y, d = (
        torch.tensor(numbers, dtype=torch.float64)
        for numbers in (reference.x, reference.y, reference.d)
    )
    rows = params.expand(len(x), -1)
    # As far to both sides as a knot's position is uncertain by rounding, and further.
    for step in (0.0, 1e-13, -1e-13):
        shift = step * (spline.high - spline.low)
        value, ladj = spline.forward(x + shift, rows)
        assert_close(value / spline.half, y / spline.half, 1e-9)
        assert_close(ladj, d.log(), 1e-7)
        value, ladj = spline.inverse(y + shift, rows)
        assert_close(value / spline.half, x / spline.half, 1e-9)
        assert_close(ladj, -d.log(), 1e-7)


@splines
@directions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_identity_at_the_ends_and_beyond(
    spline: Spline, direction: str, dtype: torch.dtype
) -> None:
    low, high = spline.low, spline.high
    beyond = [-math.inf, -1e30, 2 * low - high, low, high, 2 * high - low, 1e30, math.inf]
    value = torch.tensor(beyond, dtype=dtype, requires_grad=True)
    params = randn(len(value), spline.parameters).to(dtype).requires_grad_()
    result, ladj = getattr(spline, direction)(value, params)
    assert torch.equal(result, value)
    assert not ladj.any()
    by_value, by_params = torch.autograd.grad((result + ladj).sum(), (value, params))
    assert torch.equal(by_value, torch.ones_like(value))
    assert not by_params.any()


@directions
def test_not_a_number_stays_so(direction: str) -> None:
    value = torch.tensor([math.nan, 1.0])
    result, _ = getattr(Spline(), direction)(value, torch.zeros(2, 23))
    assert result.isnan().tolist() == [True, False]


@pytest.mark.parametrize("map", [*SPLINES.values(), CircularSpline()], ids=str)
@directions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_starts_as_the_identity(
    map: Spline | CircularSpline, direction: str, dtype: torch.dtype
) -> None:
    z = _values(map, 200, 0.0).to(dtype)
    result, ladj = getattr(map, direction)(z, torch.tensor(map.start, dtype=dtype).expand(200, -1))
    rounding = 4 * torch.finfo(dtype).eps
    assert_close(result / map.half, z / map.half, rounding)
    assert_close(ladj, torch.zeros_like(z), rounding)


@splines
@pytest.mark.parametrize("size", [10.0, 1e4, 1e8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_monotone_and_finite_whatever_the_parameters(
    spline: Spline, size: float, dtype: torch.dtype
) -> None:
    z = _values(spline, 500).sort()[0].to(dtype).requires_grad_()
    for seed in range(5):
        row = (size * randn(spline.parameters, seed=seed)).to(dtype)
        params = row.repeat(len(z), 1).requires_grad_()
        for run in (spline.forward, spline.inverse):
            value, ladj = run(z, params)
            # No step down but by the rounding of the value itself.
            step = value.diff().min() / value.abs().max()
            assert step >= -2 * torch.finfo(dtype).eps
            by_z, by_params = torch.autograd.grad((value.sum(), ladj.sum()), (z, params))
            assert all(tensor.isfinite().all() for tensor in (value, ladj, by_z, by_params))
            slope = torch.autograd.grad(run(z, params)[0].sum(), z)[0]
            assert (slope > 0).all()


@pytest.mark.parametrize(
    "spline", [Spline(bins=3), Spline(bins=4, low=0.0, high=1e-2), Spline(bins=2, low=-80, high=70)]
)
@directions
def test_first_and_second_derivatives(spline: Spline, direction: str) -> None:
    """In units of the interval, for the finite differences' sake."""
    params = randn(6, spline.parameters, seed=3).requires_grad_()
    shares = torch.tensor([-1.2, -0.93, -0.31, 0.14, 0.77, 1.1], dtype=torch.float64)

    def run(shares: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        value, ladj = getattr(spline, direction)(spline.middle + spline.half * shares, params)
        return (value - spline.middle) / spline.half, ladj

    inputs = (shares.requires_grad_(), params)
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@directions
def test_second_derivatives_by_torch_func(direction: str) -> None:
    spline, params = Spline(bins=3), randn(8, seed=3)
    inputs = torch.cat([torch.tensor([0.4], dtype=torch.float64), params])

    def run(inputs: Tensor) -> Tensor:
        value, ladj = getattr(spline, direction)(inputs[0], inputs[1:])
        return value.sin() + ladj

    expected = torch.autograd.functional.hessian(run, inputs)
    assert expected.abs().min(0)[0].max() > 1e-3
    assert_close(jacrev(jacrev(run))(inputs), expected)


@pytest.mark.parametrize("bounds", [(-5.0, 5.0), (-1000.0, 1000.0), (0.0, 1e-2)], ids=str)
@pytest.mark.parametrize("kind", [Spline, CircularSpline])
def test_single_precision(kind: type[Spline | CircularSpline], bounds: tuple[float, float]) -> None:
    map = kind(low=bounds[0], high=bounds[1])
    z = _values(map, 5000, 0.0).float().requires_grad_()
    params = randn(5000, map.parameters, seed=5).float()
    if kind is CircularSpline:
        params[:, -1] = 0  # or a value just below high may be one just above low
    x, ladj = map.forward(z, params)
    exact, exact_ladj = map.forward(z.double(), params.double())
    length, rounding = map.high - map.low, torch.finfo(torch.float32).eps
    # A knot's own rounding error, times the steepest slope around it.
    assert ((x - exact).abs().max() / length) < 500 * rounding
    assert (ladj - exact_ladj).abs().max() < 1e-3
    (slope,) = torch.autograd.grad(x.sum(), z)
    assert_close(slope.log(), ladj, 1e-5)
    # The inverse, of the spline as it is in this precision: within rounding of x.
    back, _ = map.inverse(x.detach(), params)
    again, _ = map.forward(back, params)
    at = ladj.exp().clamp(min=1)
    assert (((again - x).abs() / at).max() / length) < 4 * rounding


def test_a_small_slope_is_exact_in_single_precision() -> None:
    """By the quotient rule it would be the difference of numbers a million times as large."""
    spline = Spline(bins=2, bound=14.0)
    row = torch.tensor([-6.0, 0.0, 6.0, 0.0, -50.0])
    knot = spline.middle + spline.knot_positions(row[:2])[1]
    z = (knot - torch.logspace(-6, -2, 200)).requires_grad_()
    x, ladj = spline.forward(z, row.expand(len(z), -1))
    (slope,) = torch.autograd.grad(x.sum(), z)
    assert slope.min() < 1e-4 * (x.max() - spline.low) / (knot - spline.low)
    assert_close(slope.log(), ladj, 1e-5)


@directions
def test_gradients_in_the_middle_of_a_bin(direction: str) -> None:
    """There the two forms of the inverse's root meet."""
    spline = Spline(bins=2)
    value = torch.tensor([-2.5, 2.5], dtype=torch.float64, requires_grad=True)
    params = torch.zeros(2, spline.parameters, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(getattr(spline, direction), (value, params))


@directions
def test_half_precision_is_widened_inside(direction: str) -> None:
    spline = Spline(bins=30)
    z = randn(100).bfloat16()
    params = randn(100, spline.parameters, seed=1).bfloat16()
    result = getattr(spline, direction)(z, params)
    exact = getattr(spline, direction)(z.float(), params.float())
    assert result[0].dtype == result[1].dtype == torch.bfloat16
    assert torch.equal(result[0], exact[0].bfloat16())
    assert torch.equal(result[1], exact[1].bfloat16())


def test_nothing_cancels_in_forward_mode_either() -> None:
    """In single precision, where slopes are far below the mean of their bins."""
    spline = Spline(bins=2, bound=12.0)
    z = torch.linspace(-4.9, 4.9, 81)
    params = torch.tensor([0.0, 0.0, 0.0, 0.0, -11.0]).expand(len(z), -1)

    def slope(z: Tensor, params: Tensor) -> Tensor:
        return torch.func.jvp(lambda z: spline.forward(z, params)[0], (z,), (torch.ones_like(z),))[
            1
        ]

    found, exact = slope(z, params), slope(z.double(), params.double())
    assert exact.min() < 1e-3
    assert (found > 0).all()
    torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=0)
