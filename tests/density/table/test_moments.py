from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from invflow.density.table.moments import Correlations, Moments


@given(
    rows=arrays.arrays(
        np.float64, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(-10, 10)
    ),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    offset=st.sampled_from([0.0, 1.0, -1e6, 1e9]),
)
def test_parts_are_as_good_as_the_whole(rows: np.ndarray, cuts: list[int], offset: float) -> None:
    moments = Moments(3)
    for part in np.split(rows + offset, sorted(cuts)):
        moments.add(part)
    centred = rows + offset - offset  # what is left of the digits
    np.testing.assert_allclose(
        moments.mean - offset, centred.mean(0), atol=1e-15 * abs(offset) + 1e-14
    )
    # Means are known to the last digit of the offset, which enters squared.
    noise = (1e-15 * abs(offset)) * 40 + 1e-12
    np.testing.assert_allclose(
        moments.covariance, np.cov(centred.T, bias=True).reshape(3, 3), rtol=1e-10, atol=noise
    )
    assert moments.count == len(rows)


def test_rows_with_gaps_are_left_out() -> None:
    moments = Moments(2)
    moments.add(np.array([[np.nan, 1.0], [2.0, np.nan]]))
    assert moments.count == 0
    assert not moments.covariance.any()
    moments.add(np.array([[1.0, 5.0], [np.nan, 7.0], [3.0, 9.0]]))
    np.testing.assert_array_equal(moments.mean, [2.0, 7.0])
    np.testing.assert_array_equal(moments.covariance, [[1.0, 2.0], [2.0, 4.0]])


def test_correlations_come_in_parts_and_with_gaps() -> None:
    source = np.random.default_rng(0)
    rows = source.normal(size=(50, 3)) @ np.array([[1.0, 0.5, 0], [0, 2, 0.3], [0, 0, 3]])
    rows += [1e6, 0, -1e3]
    rows[source.random(rows.shape) < 0.2] = np.nan
    found = Correlations(3)
    for part in np.split(rows, [7, 30]):
        found.add(part)
    assert found.has_gaps
    for i in range(3):
        for j in range(3):
            both = rows[~np.isnan(rows[:, [i, j]]).any(1)][:, [i, j]]
            assert found.counts[i, j] == len(both)
            expected = np.corrcoef(both.T)[0, 1]
            assert found.correlation[i, j] == pytest.approx(expected, abs=1e-9)


def test_a_constant_column_has_no_correlation() -> None:
    found = Correlations(2)
    found.add(np.array([[1.0, 4.0], [1.0, 5.0]]))
    np.testing.assert_array_equal(found.correlation, np.eye(2))
    assert not found.has_gaps


def test_a_column_whose_values_come_late() -> None:
    found = Correlations(2)
    found.add(np.array([[1.0, np.nan], [2.0, np.nan]]))
    found.add(np.array([[3.0, -30.0], [4.0, -40.0], [6.0, -60.0]]))
    assert found.correlation[0, 1] == pytest.approx(-1.0, abs=1e-12)
    assert found.counts.tolist() == [[5, 3], [3, 3]]


def test_naive_sums_would_lose_the_digits() -> None:
    rows = 1e9 + np.array([[0.0], [1.0], [2.0], [3.0]])
    moments = Moments(1)
    moments.add(rows[:1])
    moments.add(rows[1:])
    assert moments.covariance[0, 0] == pytest.approx(1.25, rel=1e-12)
    assert (rows**2).mean() - rows.mean() ** 2 != pytest.approx(1.25, rel=0.1)
