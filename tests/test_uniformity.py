"""The test of uniform values, against SciPy, quadrature and definitions."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from invflow._uniformity import holm, uniformity


def uniform(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random(shape)


def test_distances_against_quadrature_and_scipy() -> None:
    u = uniform(13) ** 2
    found = uniformity("a", u)
    expected = stats.kstest(u, "uniform")
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-12)
    spread = math.sqrt(180 * len(u)) * (np.mean((u - 0.5) ** 2) - 1 / 12)
    tails = 2 * stats.norm.sf(abs(spread))
    assert found.p_value == pytest.approx(min(1, 2 * min(expected.pvalue, tails)), rel=1e-9)
    edges = [0.0, *np.sort(u), 1.0]
    pieces = [
        # The diagonal may cross the step within a piece, which quadrature is told of.
        integrate.quad(lambda t, i=i: abs(i / 13 - t), a, b, points=[np.clip(i / 13, a, b)])[0]
        for i, (a, b) in enumerate(pairwise(edges))
    ]
    assert found.error == pytest.approx(sum(pieces), abs=1e-12)


def test_the_error_of_uniform_values_is_the_noise_that_is_named() -> None:
    found = [uniformity("a", uniform(200, seed=seed)) for seed in range(300)]
    mean = np.mean([each.error for each in found])
    # The integral of |B| has a standard deviation of about 0.14.
    assert mean == pytest.approx(found[0].noise, abs=4 * 0.14 / math.sqrt(200 * 300))


def test_coverage_counts_central_intervals() -> None:
    u = np.array([0.01, 0.03, 0.07, 0.2, 0.3, 0.5, 0.6, 0.9, 0.96, 0.98])
    found = uniformity("a", u)
    assert found.coverage == {0.5: 0.3, 0.8: 0.5, 0.9: 0.6, 0.95: 0.8}
    assert found.coverage_error[0.8] == pytest.approx(math.sqrt(0.16 / 10))


def test_holm_against_its_definition() -> None:
    p = np.array([0.03, 0.001, 0.5, 0.02, 0.4])
    # In order: 5 * 0.001, 4 * 0.02, 3 * 0.03, 2 * 0.4, and 0.5, which may not fall below 0.8.
    np.testing.assert_allclose(holm(p.tolist()), [0.09, 0.005, 0.8, 0.08, 0.8])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])


@pytest.mark.parametrize(
    ("u", "flaw"),
    [
        (uniform(400) ** 0.7, "too low"),
        (1 - uniform(400) ** 0.7, "too high"),
        (stats.beta.ppf(uniform(400), 3, 3), "too wide"),
        (stats.beta.ppf(uniform(400), 0.5, 0.5), "too narrow"),
        (np.repeat([0.211, 0.789], 200), "wrong shape"),  # the mean and variance of uniform values
    ],
)
def test_the_flaw_of_a_model(u: Any, flaw: str) -> None:
    found = uniformity("a", u)
    assert found.flaw == flaw
    assert found.p_value < 1e-3
