"""Grids are found in numbers that lie on them, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invflow.density.table.grids import Grid, Search

SOURCE = np.random.default_rng(0)


def found(*blocks: Any, dtype: Any = np.float64) -> Grid | None:
    search = Search()
    for block in blocks:
        search.add(np.asarray(block, dtype).astype(np.float64), dtype)
    return search.grid()


@given(
    digits=st.integers(0, 4),
    step=st.integers(1, 60),
    first=st.integers(-10_000, 10_000),
    seed=st.integers(0, 99),
)
def test_any_decimal_step_is_found(digits: int, step: int, first: int, seed: int) -> None:
    source = np.random.default_rng(seed)
    places = np.concatenate([[0, 1], source.integers(-300, 300, 40)])
    values = (first + step * places) / 10**digits
    grid = found(values[:7], values[7:])
    assert grid is not None
    assert grid.step == pytest.approx(step / 10**digits, rel=1e-12)
    assert 0 <= grid.origin < grid.step
    k = grid.places(values)
    assert (k % 1 == 0).all()
    np.testing.assert_array_equal(grid.values(k), values)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e5])
def test_measurements_lie_on_none(dtype: Any, scale: float) -> None:
    assert found(scale * SOURCE.normal(size=300), dtype=dtype) is None


def test_values_between() -> None:
    assert found(np.arange(90), [1 / 3]) is None
    assert found(np.arange(90), [0.5]) == Grid(0.5, 0.0, 1)
    tenths = np.arange(200) / 10
    assert found(tenths, [7 / 3, 2.00001]) == Grid(0.1, 0.0, 1)
    assert found(tenths, [7 / 3] * 19) is None
    assert found(tenths, [2.00001] * 19) == Grid(1e-5, 0.0, 5)
    ages = np.arange(200) % 80
    assert found(ages, [0.5, 0.75, 0.83]) == Grid(1.0)
    assert found(ages, [0.5] * 5) == Grid(0.5, 0.0, 1)
    zeros = np.zeros(990)
    assert found(zeros, np.arange(1, 10) / 8) == Grid(0.125, 0.0, 3)
    assert found(zeros, SOURCE.normal(size=9)) is None
    search = Search()
    search.add(np.arange(200.0))
    assert search.is_exact
    search.add(np.array([1 / 3]))
    assert search.grid() == Grid(1.0)
    assert not search.is_exact


def test_few_values_show_whole_numbers_only() -> None:
    assert found([2, 4, 8]) == Grid(1.0)
    assert found([0.5, 1.5]) is None
    assert found(np.arange(0, 40, 2)) == Grid(2.0)
    assert found([7.0] * 30) == Grid(1.0)
    assert found() is None


@pytest.mark.parametrize(("value", "place"), [(0.3, 3), (0.35, 3), (-0.35, -4), (np.nan, np.nan)])
def test_between_two_numbers_the_lower_one_counts(value: float, place: float) -> None:
    np.testing.assert_array_equal(Grid(0.1, 0.0, 1).places(np.array([value])), [place])


def test_floats_of_few_digits() -> None:
    values = np.round(SOURCE.normal(0, 3, 200), 2).astype(np.float32)
    grid = found(values, dtype=np.float32)
    assert grid == Grid(0.01, 0.0, 2)
    assert grid is not None
    back = grid.values(grid.places(values.astype(np.float64), np.float32)).astype(np.float32)
    np.testing.assert_array_equal(back, values)
