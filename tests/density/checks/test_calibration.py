from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from invflow._uniformity import uniformity
from invflow.density.checks.calibration import anomaly, calibrate, pit, radial_pit, ranks

NAN, INF = math.nan, math.inf


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def uniform(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random(shape)


def test_pit_is_the_normal_distribution_function() -> None:
    z = normal(7, 3)
    z[2, 1] = NAN
    u = pit(z)
    np.testing.assert_allclose(u, 0.5 * (1 + special.erf(z / math.sqrt(2))), rtol=1e-12)
    assert np.isnan(u[2, 1])


def test_radial_pit_of_two_features_is_exponential() -> None:
    """The chi-square distribution function of two degrees is 1 - exp(-r^2 / 2)."""
    z = normal(9, 2)
    z[4, 0] = NAN
    expected = 1 - np.exp(-0.5 * (z**2).sum(1))
    np.testing.assert_allclose(radial_pit(z), expected, rtol=1e-12)


def test_ranks_without_ties_count_the_draws_below() -> None:
    x, draws = normal(50, 3), normal(21, 3, seed=1)
    below = (draws[None] < x[:, None]).sum(1)
    np.testing.assert_array_equal(np.floor(ranks(x, draws) * 22), below)


def test_ranks_with_ties_are_uniform_among_them() -> None:
    """Value 1 ties with two of four draws, and one draw is below it: uniform on [1/5, 4/5]."""
    u = ranks(np.ones((4000, 1)), [[0.0], [1.0], [1.0], [2.0]])[:, 0]
    assert stats.kstest(u, stats.uniform(0.2, 0.6).cdf).pvalue > 1e-3


def test_ranks_keep_what_is_missing_and_the_seed() -> None:
    x, draws = np.array([[NAN, 1.0], [0.5, NAN]]), normal(9, 2)
    u = ranks(x, draws, seed=3)
    np.testing.assert_array_equal(np.isnan(u), np.isnan(x))
    np.testing.assert_array_equal(u, ranks(x, draws, seed=3))
    assert not np.allclose(u, ranks(x, draws, seed=4), equal_nan=True)


def test_ranks_stay_inside_the_unit_interval() -> None:
    u = ranks([[-100.0], [100.0]], normal(9, 1))
    assert 0 < u[0, 0] < 0.1
    assert 0.9 < u[1, 0] < 1


def test_discrete_columns_of_a_right_model_are_calibrated() -> None:
    source = np.random.default_rng(0)
    x, draws = source.poisson(1.5, (800, 1)), source.poisson(1.5, (8000, 1))
    assert calibrate(ranks(x, draws), draws=8000).rejected == []
    wrong = source.poisson(2.0, (8000, 1))
    assert calibrate(ranks(x, wrong), draws=8000).rejected == ["x0"]


def test_a_right_model_is_called_wrong_as_often_as_the_level_says() -> None:
    level, runs = 0.2, 300
    wrong = 0
    for seed in range(runs):
        z = normal(60, 4, seed=seed)
        wrong += bool(calibrate(pit(z), joint=radial_pit(z), level=level).rejected)
    # Five independent tests by Holm: 1 - (1 - level / 5)^5; the joint one is nearly independent.
    expected = 1 - (1 - level / 5) ** 5
    assert wrong / runs == pytest.approx(expected, abs=4 * math.sqrt(0.15 / runs))


@pytest.mark.parametrize("draws", [60, 240])
def test_ranks_among_few_draws_keep_the_level(draws: int) -> None:
    """Rows share the draws' noise: as if the ranks were independent, 120 draws reject too often."""
    runs, right, naive = 300, 0, 0
    for seed in range(runs):
        pooled = normal(120 + draws, 1, seed=seed)
        u = ranks(pooled[:120], pooled[120:], seed=seed)
        right += bool(calibrate(u, draws=draws, level=0.1).rejected)
        naive += bool(calibrate(u, level=0.1).rejected)
    tolerance = 4 * math.sqrt(0.09 / runs)
    assert right / runs == pytest.approx(0.1, abs=tolerance)
    assert naive / runs > 0.1 + tolerance / 2


@pytest.mark.parametrize(
    ("scale", "shift", "word"),
    [(2.0, 0.0, "narrow"), (0.5, 0.0, "wide"), (1.0, 0.5, "low"), (1.0, -0.5, "high")],
)
def test_a_wrong_model_is_named(scale: float, shift: float, word: str) -> None:
    z = normal(400, 3)
    z[:, 1] = scale * z[:, 1] + shift
    found = calibrate(pit(z), names=["a", "b", "c"])
    assert found.rejected == ["b"]
    assert f"b (model too {word}, p " in str(found)


def test_only_the_whole_rows_show_a_common_scale() -> None:
    """A multivariate t scaled to normal margins: right columns, too long and too short rows."""
    common = stats.chi2.rvs(3, size=(500, 1), random_state=1) / 3
    z = stats.norm.ppf(stats.t.cdf(normal(500, 5) / np.sqrt(common), 3))
    found = calibrate(pit(z), joint=radial_pit(z))
    assert found.rejected == ["whole rows"]
    assert str(found).startswith("not calibrated: 1 of 6")


def test_missing_values_are_left_out() -> None:
    u = uniform(90, 2)
    u[::3, 1] = NAN
    found = calibrate(u)
    assert [each.rows for each in found.columns] == [90, 60]
    assert found.columns[1].statistic == uniformity("x1", u[~np.isnan(u[:, 1]), 1]).statistic


def test_the_table_in_words() -> None:
    found = calibrate(uniform(400, 2), names=["age", "a long name"])
    lines = str(found).splitlines()
    assert lines[0].startswith("calibrated, judging by 400 rows")
    assert [line.split("  ")[0] for line in lines[2:]] == ["column", "age", "a long name"]
    assert "± 2.5 %" in lines[3]  # of 50 %: sqrt(0.25 / 400)
    assert len({len(line) for line in lines[2:]}) == 1


def test_anomaly_counts_the_reference() -> None:
    scores, reference = normal(40), normal(30, seed=1)
    reference[3] = scores[5]
    expected = [(1 + sum(r <= s for r in reference)) / 31 for s in scores]
    np.testing.assert_allclose(anomaly(scores, reference), expected)
    np.testing.assert_array_equal(anomaly([-INF], reference), [1 / 31])


def test_anomaly_is_exact_for_exchangeable_rows() -> None:
    """With 19 references the p-value is uniform on 1/20, ..., 1, whatever the density."""
    p = [anomaly([s[0]], s[1:])[0] for s in np.exp(normal(4000, 20))]
    counts = np.bincount(np.round(np.multiply(p, 20)).astype(int), minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 1e-3


BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: pit(normal(5)), ValueError, r"z must have shape \(rows, columns\)"),
    (lambda: pit([["a", "b"]] * 3), TypeError, "z must be an array of numbers"),
    (lambda: pit([[1.0], [INF]]), ValueError, "z must contain finite numbers, got 1 infinite"),
    (lambda: pit(normal(1, 3)), ValueError, "at least two rows"),
    (lambda: radial_pit(normal(4, 0)), ValueError, "z must have shape"),
    (lambda: radial_pit([[1j], [2j]]), TypeError, "got dtype complex"),
    (lambda: ranks(normal(5, 2), normal(9, 3)), ValueError, "draws must have as many columns"),
    (lambda: ranks([[INF], [1.0]], normal(9, 1)), ValueError, "x must contain finite numbers"),
    (lambda: ranks(normal(5, 1), normal(9, 1), seed=-1), ValueError, "seed"),
    (lambda: calibrate(uniform(5, 2) + 0.5), ValueError, r"u, column 'x0', must lie in \[0, 1\]"),
    (
        lambda: calibrate([[NAN], [0.5]]),
        ValueError,
        "u, column 'x0', must have at least two values",
    ),
    (lambda: calibrate(uniform(5, 2), names=["a"]), ValueError, "names must be 2 different"),
    (lambda: calibrate(uniform(5, 2), names=["a", "a"]), ValueError, "2 different names, got"),
    (
        lambda: calibrate(uniform(5, 2), names="ab"),
        TypeError,
        "a sequence of labels, got",
    ),
    (lambda: calibrate(uniform(5, 1), draws=0), ValueError, "draws must be at least"),
    (lambda: calibrate(uniform(5, 1), draws=2.5), TypeError, "draws must be an integer"),
    (lambda: calibrate(uniform(5, 1), level=1.0), ValueError, "level must be between"),
    (lambda: calibrate(uniform(5, 1), joint=uniform(4)), ValueError, r"joint must have shape \(5,"),
    (
        lambda: calibrate(uniform(5, 1), joint=-uniform(5)),
        ValueError,
        r"joint must lie in \[0, 1\], got values from -0\.\d+ to",
    ),
    (lambda: anomaly([[1.0]], [1.0]), ValueError, r"log_density must have shape \(rows,\), got"),
    (lambda: anomaly([NAN], [1.0]), ValueError, "log_density must contain log densities, got nan"),
    (lambda: anomaly([1.0], [INF]), ValueError, "reference must contain log densities, got inf"),
    (lambda: anomaly([1.0], []), ValueError, "reference must have at least one"),
    (lambda: anomaly(["a"], [1.0]), TypeError, "log_density must be an array of numbers"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input_is_named(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(ImportError, match=r"needs scipy: pip install \"invflow\[density\]\""):
        pit(normal(5, 2))


def test_missing_draws_are_left_out() -> None:
    random = np.random.default_rng(0)
    observed, drawn = random.normal(size=(50, 2)), random.normal(size=(200, 2))
    drawn[:, 1] = np.nan
    drawn[::2, 1] = random.normal(size=100)
    found = ranks(observed, drawn, seed=3)
    first = ranks(observed, drawn[:, :1].repeat(2, 1), seed=3)[:, 0]
    np.testing.assert_array_equal(found[:, 0], first)
    few = np.column_stack([drawn[::2, 1], drawn[::2, 1]])
    np.testing.assert_array_equal(found[:, 1], ranks(observed, few, seed=3)[:, 1])
