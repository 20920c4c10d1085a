from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from arviz_stats.base import array_stats

from invflow.vi.trust.pareto import smoothed, tail_length
from tests.helpers import assert_close


def source() -> np.random.Generator:
    return np.random.default_rng(0)


def pareto(shape: float, count: int = 20_000) -> torch.Tensor:
    """Return logs of draws of a generalised Pareto distribution with scale one."""
    uniform = source().uniform(size=count)
    return torch.from_numpy(np.log(np.expm1(-shape * np.log(uniform)) / shape))


@pytest.mark.parametrize("shape", [0.2, 0.6, 1.2])
@pytest.mark.parametrize("shift", [0.0, 700.0, -1e4])
def test_weights_of_a_generalised_pareto_have_its_shape(shape: float, shift: float) -> None:
    log_weights = pareto(shape) + shift
    smooth, khat = smoothed(log_weights)
    assert khat == pytest.approx(shape, abs=0.25)
    # Only the tail is smoothed, and nothing is normalised.
    body = log_weights < log_weights.quantile(0.97)
    assert_close(smooth[body], log_weights[body], 0)
    assert smooth.max() <= log_weights.max()
    if shape < 0.5:  # whose mean, 1 / (1 - k), has a variance
        evidence = float(smooth.logsumexp(0)) - math.log(len(smooth)) - shift
        assert evidence == pytest.approx(-math.log(1 - shape), abs=0.03)


# ArviZ 1.3 fits tails of six and more, which 30 weights have.
@pytest.mark.parametrize("count", [30, 100, 224, 226, 1001, 30_000])
@pytest.mark.parametrize("spread", [1e-4, 0.5, 3.0])
def test_they_are_those_of_arviz(count: int, spread: float) -> None:
    log_weights = 700 + spread * source().normal(size=count)
    smooth, khat = smoothed(torch.from_numpy(log_weights))
    # It takes log likelihoods, whose leave-one-out weights are the inverse, and normalises.
    expected, shape = array_stats.psislw(-log_weights)
    assert khat == pytest.approx(float(shape), abs=1e-8)
    assert_close(smooth.log_softmax(0), torch.from_numpy(expected), 1e-8)


def test_smoothed_weights_keep_their_order_and_their_places() -> None:
    log_weights = pareto(0.8, 999)
    smooth, _ = smoothed(log_weights)
    order = log_weights.argsort()
    assert bool((smooth[order].diff() >= 0).all())
    changed = (smooth != log_weights).nonzero().flatten()
    assert {*changed.tolist()} <= {*order[-tail_length(999) :].tolist()}
    assert len(changed) > tail_length(999) / 2


def test_no_weight_stays_none() -> None:
    log_weights = torch.from_numpy(source().normal(size=1000))
    with_none = torch.stack([log_weights, torch.full_like(log_weights, -math.inf)], 1).flatten()
    smooth, khat = smoothed(with_none)
    assert bool((smooth[1::2] == -math.inf).all())
    expected, same = smoothed(log_weights)
    assert_close(smooth[::2], expected, 0)
    assert khat == same


@pytest.mark.parametrize(
    "log_weights",
    [
        np.zeros(0),
        np.arange(3.0),
        np.full(100, -math.inf),
        np.where(np.arange(100) < 10, np.arange(100.0), -math.inf),
        np.where(np.arange(1000) % 2, 9.0, np.arange(1000) / 1000),
        np.where(np.arange(1000) < 990, 0.0, np.arange(1000.0)),
    ],
    ids=["none", "few", "no weight", "little weight", "equal in the tail", "equal below the tail"],
)
def test_where_there_is_no_tail_all_stays(log_weights: np.ndarray) -> None:
    given = torch.from_numpy(log_weights)
    smooth, khat = smoothed(given)
    assert_close(smooth, given, 0)
    assert khat == math.inf


def test_weights_of_equal_size_at_the_largest_are_no_worse_than_finite() -> None:
    log_weights = torch.cat([torch.linspace(-2, 0, 900), torch.zeros(50)]).double()
    smooth, khat = smoothed(log_weights)
    assert bool(smooth.isfinite().all())
    assert khat == math.inf or khat < 0.7


def test_a_fit_with_its_verdict_waits_for_no_other_package() -> None:
    script = """
import sys
from torch.distributions import constraints
from invflow import vi
def log_density(scale, fraction, mean, pair):
    beta = 0.5 * (scale * fraction * (1 - fraction)).log()
    return -pair.square().sum(-1) - scale + beta - 0.5 * mean.square()
supports = {
    "scale": constraints.positive,
    "fraction": constraints.unit_interval,
    "mean": constraints.real,
    "pair": vi.Parameter(constraints.independent(constraints.positive, 1), (2,)),
}
verdict = vi.fit(vi.Named(log_density, supports)).diagnose()
print(verdict.level, {"arviz", "arviz_stats", "pandas", "scipy", "sympy"} & {*sys.modules})
"""
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found == "good set()\n"
