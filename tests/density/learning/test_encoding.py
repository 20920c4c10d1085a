"""The encoding of columns: derivatives, the way back, and the edges."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from invflow.density.learning.encoding import FARTHEST, SHIFTS, Encoding
from invflow.density.table import Column, Columns

BOUNDS: Any = [(None, None), (-2.5, None), (None, 7.0), (-2.5, 7.0), (1e-3, 1.1e-3)]


def encoding(*features: Column) -> Encoding:
    names = tuple(feature.name for feature in features)
    return Encoding(Columns(names, features, (), 2, missing=False))


def column(low: float | None = None, high: float | None = None, **options: Any) -> Column:
    options = {"kind": "continuous", "dtype": "float64", "location": 0.3, "scale": 1.7, **options}
    return Column("a", low=low, high=high, **options)


def between(low: float | None, high: float | None, count: int) -> Tensor:
    """Return numbers inside of bounds, among them some near these."""
    u = torch.linspace(-8, 8, count, dtype=torch.float64)
    if low is not None and high is not None:
        return low + (high - low) * torch.sigmoid(u)
    if low is not None:
        return low + u.exp()
    return u if high is None else high - u.exp()


@pytest.mark.parametrize("bounds", BOUNDS)
def test_the_jacobian_is_that_of_autodiff(bounds: Any) -> None:
    encode = encoding(column(*bounds))
    x = between(*bounds, 41).unsqueeze(-1).requires_grad_()
    y, ladj = encode(x, torch.rand_like(x))
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert (slope > 0).all()
    torch.testing.assert_close(ladj, slope.log(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_there_and_back(bounds: Any) -> None:
    encode = encoding(column(*bounds))
    x = between(*bounds, 41).unsqueeze(-1)
    y, _ = encode(x, torch.rand_like(x))
    torch.testing.assert_close(encode.decode(y), x, rtol=1e-12, atol=1e-12)


def test_formulas() -> None:
    encode = encoding(*(column(*bounds) for bounds in BOUNDS[:4]))
    x = torch.tensor([[1.5, 1.5, 1.5, 1.5]], dtype=torch.float64)
    u = [1.5, math.log(4), -math.log(5.5), math.log(4) - math.log(5.5)]
    y, _ = encode(x, torch.zeros_like(x))
    np.testing.assert_allclose(y[0], (np.array(u) - 0.3) / 1.7, rtol=1e-14)


@pytest.mark.parametrize(("low", "high"), BOUNDS[1:])
def test_on_a_bound_and_beyond_the_density_is_zero(low: float | None, high: float | None) -> None:
    encode = encoding(column(low, high))
    outside = [low, low and low - 1.0, low and -1e300, high, high and high + 1.0, high and 1e300]
    x = torch.tensor([[value] for value in outside if value is not None], dtype=torch.float64)
    y, ladj = encode(x, torch.zeros_like(x))
    assert (ladj == -torch.inf).all()
    assert y.isfinite().all()


def test_what_is_missing_stays_so() -> None:
    encode = encoding(column(), column(0.0, 1.0), column(kind="integer"))
    x = torch.full((2, 3), torch.nan, dtype=torch.float64)
    x[1, 0] = 3.0
    y, ladj = encode(x, torch.rand_like(x))
    assert torch.equal(y.isnan(), x.isnan())
    assert torch.equal(ladj.isnan(), x.isnan())


@given(
    value=st.integers(-(2**40), 2**40),
    noise=st.floats(0, 1 - 1e-6),
    location=st.floats(-1e6, 1e6),
    scale=st.floats(1e-2, 1e6),
)
def test_whole_numbers_are_floored_back(
    value: int, noise: float, location: float, scale: float
) -> None:
    # Rounding must not carry over to the neighbour: 2**40 leaves 2**-13 of float64.
    noise = min(max(noise, 1e-3), 1 - 1e-3)
    encode = encoding(column(kind="integer", location=location, scale=scale))
    x = torch.tensor([[float(value)]], dtype=torch.float64)
    y, ladj = encode(x, torch.full_like(x, noise))
    assert float(encode.decode(y)) == value
    assert float(ladj) == pytest.approx(-math.log(scale), abs=1e-12)


def test_noise_is_for_whole_numbers_alone() -> None:
    encode = encoding(column(), column(kind="integer"))
    x = torch.ones(1, 2, dtype=torch.float64)
    y, _ = encode(x, torch.full_like(x, 0.5))
    assert y[0].tolist() == pytest.approx([0.7 / 1.7, 1.2 / 1.7])


@given(
    x=st.floats(allow_nan=False, allow_infinity=False),
    bounds=st.sampled_from(BOUNDS),
    scale=st.sampled_from([1e-100, 1.0, 1e100]),
)
@example(x=sys.float_info.max, bounds=(None, 7.0), scale=1.0)
@example(x=-sys.float_info.max, bounds=(-2.5, None), scale=1e-100)
def test_extreme_values_are_finite_or_have_no_density(x: float, bounds: Any, scale: float) -> None:
    encode = encoding(column(*bounds, scale=scale))
    value = torch.tensor([[x]], dtype=torch.float64)
    y, ladj = encode(value, torch.zeros_like(value))
    assert float(y.abs()) <= FARTHEST
    assert torch.isfinite(y.float()).all()
    assert float(ladj) < math.inf
    assert not ladj.isnan()


@given(y=st.floats(-1e30, 1e30), bounds=st.sampled_from(BOUNDS))
@example(y=1e5, bounds=(-2.5, 7.0))
@example(y=-1e5, bounds=(-2.5, 7.0))
@example(y=1e5, bounds=(-2.5, None))
@example(y=1e5, bounds=(None, 7.0))
def test_what_is_decoded_lies_between_the_bounds(y: float, bounds: Any) -> None:
    low, high = bounds
    x = float(encoding(column(low, high)).decode(torch.tensor([[y]])))
    assert math.isfinite(x)
    assert low is None or x > low
    assert high is None or x < high


def test_far_away_is_minus_infinity_and_near_is_not() -> None:
    encode = encoding(column(location=0.0, scale=1.0))
    x = torch.tensor([[0.5 * FARTHEST], [2 * FARTHEST], [-2 * FARTHEST]], dtype=torch.float64)
    y, ladj = encode(x, torch.zeros_like(x))
    assert ladj[:, 0].tolist() == [0.0, -math.inf, -math.inf]
    assert y[:, 0].tolist() == [0.5 * FARTHEST, 0.0, 0.0]


@pytest.mark.parametrize(("scale", "points"), [(99.0, SHIFTS), (101.0, 1)])
def test_narrow_cells_take_a_single_point(scale: float, points: int) -> None:
    """The midpoint rule is wrong by a part in h^2 / 24, for h a hundredth of the spread."""
    encode = encoding(column(kind="integer", scale=scale), column())
    assert encode.shifts.shape == (points, 2)
    if points == 1:
        assert encode.shifts.tolist() == [[0.5, 0.0]]
