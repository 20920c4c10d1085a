from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from invflow.density.checks import two_sample

NAN, INF = math.nan, math.inf


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def _energy(x: Any, y: Any) -> float:
    """The energy distance as it is defined, pair by pair."""

    def mean(a: Any, b: Any) -> float:
        return float(np.mean([math.dist(p, q) for p in a for q in b]))

    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


def _standardised(x: Any, y: Any) -> tuple[Any, Any]:
    pooled = np.concatenate([x, y])
    return tuple((each - pooled.mean(0)) / pooled.std(0) for each in (x, y))


def test_the_statistic_against_its_definition() -> None:
    x, y = 3 * normal(9, 3) + 5, normal(13, 3, seed=1)
    found = two_sample(x, y, names=["a", "b", "c"], permutations=19)
    a, b = _standardised(x, y)
    assert found.statistic == pytest.approx(9 * 13 / 22 * _energy(a, b), rel=1e-12)
    between = np.mean([math.dist(p, q) for p in a for q in b])
    assert found.effect == pytest.approx(_energy(a, b) / (2 * between), rel=1e-12)
    for i, name in enumerate("abc"):
        expected = 9 * 13 / 22 * _energy(a[:, [i]], b[:, [i]])
        assert found.columns[name] == pytest.approx(expected, rel=1e-12)
        # SciPy's is the root.
        root = stats.energy_distance(a[:, i], b[:, i])
        assert found.columns[name] == pytest.approx(9 * 13 / 22 * root**2, rel=1e-10)


def test_the_p_value_counts_permutations() -> None:
    """All ten memberships of 3 + 2 rows are equally likely, which gives the exact p-value."""
    x, y = np.array([[0.0], [0.7], [1.0]]), np.array([[2.5], [4.0]])
    found = two_sample(x, y, permutations=4999)
    # The observed one is the most extreme of ten; ten are all there are.
    assert found.p_value == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / 4999))
    assert found.column_p_values["x0"] == found.p_value


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(31, 2), normal(17, 2, seed=1)
    whole = two_sample(x, y, permutations=49)
    monkeypatch.setattr(sys.modules[two_sample.__module__], "DISTANCES", 48 * 5)
    parts = two_sample(x, y, permutations=49)
    assert parts.statistic == pytest.approx(whole.statistic, rel=1e-12)
    assert parts.p_value == whole.p_value


def test_type_one_error() -> None:
    runs = 300
    found = [
        two_sample(*normal(2, 20, 3, seed=seed), permutations=99, seed=seed) for seed in range(runs)
    ]
    for p in (
        np.array([each.p_value for each in found]),
        np.array([min(each.column_p_values.values()) for each in found]),
    ):
        for level in (0.05, 0.2, 0.5):
            tolerance = 4 * math.sqrt(level * (1 - level) / runs)
            assert np.mean(p <= level) == pytest.approx(level, abs=tolerance)


def test_type_one_error_with_ties_and_unequal_sizes() -> None:
    runs, source = 200, np.random.default_rng(0)
    p = np.array(
        [
            two_sample(
                source.poisson(1.0, (12, 2)), source.poisson(1.0, (31, 2)), permutations=99, seed=i
            ).p_value
            for i in range(runs)
        ]
    )
    assert np.mean(p <= 0.2) == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / runs))


def test_a_shift_of_one_column_is_found_and_named() -> None:
    x, y = normal(2, 200, 4)
    y[:, 2] += 0.6
    found = two_sample(1000 * x, 1000 * y, names=list("abcd"))
    assert found.p_value <= 0.002
    assert found.rejected == ["c"]
    assert str(found).endswith("columns that differ: c (p 0.001)")


def test_a_change_of_scale_is_found() -> None:
    x, y = normal(2, 300, 2)
    y[:, 0] *= 2.0
    found = two_sample(x, y)
    assert found.p_value <= 0.005
    assert found.rejected == ["x0"]


def test_a_change_of_dependence_is_found_with_no_column_blamed() -> None:
    x, y = normal(2, 400, 2)
    y[:, 1] = 0.9 * y[:, 0] + math.sqrt(1 - 0.81) * y[:, 1]
    found = two_sample(x, y)
    assert found.p_value <= 0.002
    assert found.rejected == []
    assert str(found).endswith("look at the dependence between columns")


def test_no_difference_in_words() -> None:
    found = two_sample(*normal(2, 60, 2))
    assert not found.differs
    assert str(found).startswith("no difference found (energy test, p 0.")


def test_larger_samples_are_cut_down_the_same_way_each_time() -> None:
    x, y = normal(90, 2), normal(40, 2, seed=1)
    found = two_sample(x, y, rows=50, permutations=49, seed=3)
    assert found.rows == (50, 40)
    assert found == two_sample(x, y, rows=50, permutations=49, seed=3)
    assert found.statistic != two_sample(x, y, rows=50, permutations=49, seed=4).statistic


def test_constant_columns_say_nothing() -> None:
    x, y = np.ones((30, 2)), np.ones((20, 2))
    found = two_sample(x, y, permutations=49)
    assert (found.statistic, found.effect, found.p_value) == (0.0, 0.0, 1.0)


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"x": normal(9)}, ValueError, r"x must have shape \(rows, columns\)"),
    ({"y": normal(1, 2)}, ValueError, r"y must have shape .* at least two rows, got \(1, 2\)"),
    ({"y": normal(9, 3)}, ValueError, "y must have as many columns as x, 2, got 3"),
    (
        {"x": [[NAN, 1.0], [0.0, NAN]]},
        ValueError,
        r"x must contain .* 2 missing \(NaN\), the first",
    ),
    ({"y": [[INF, 1.0], [0.0, 1.0]]}, ValueError, "y must contain finite .* row 0, column 0"),
    ({"x": [["a", "b"], ["c", "d"]]}, TypeError, "x must be an array of numbers"),
    ({"x": [[1.0, 2.0], [3.0]]}, TypeError, "x must be an array of numbers"),
    ({"permutations": 3}, ValueError, "permutations must be at least 19"),
    ({"rows": 1}, ValueError, "rows must be at least 2"),
    ({"rows": 9.5}, TypeError, "rows must be an integer"),
    ({"seed": -1}, ValueError, "seed must be at least 0"),
    ({"names": ["a"]}, ValueError, "names must be 2 different names"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_input_is_named(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"x": normal(9, 2), "y": normal(8, 2), **change}
    call: Callable[..., Any] = two_sample
    with pytest.raises(error, match=message):
        call(arguments.pop("x"), arguments.pop("y"), **arguments)
