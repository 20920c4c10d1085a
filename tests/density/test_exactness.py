"""Known densities are recovered.

The maximum of the likelihood with p parameters is expected p / (2n) nats short of the truth on new
rows (Akaike 1974); a flow with more parameters than it needs, stopped early, stays below a small
multiple of that of a Gaussian. Scores of test rows are compared with the true log density row by
row, so that what the rows themselves vary by cancels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from invflow.density import FlowDensity

COUNT = 4000
#: Points in each direction of a fine grid in the unit square, or on the unit interval.
SIDE = {1: 250, 2: 20}
CORRELATED = stats.multivariate_normal([100.0, -3.0], [[4.0, 0.9], [0.9, 0.25]], seed=0)


def excess(density: FlowDensity, test: Any, true: Any) -> tuple[float, float]:
    """Return the mean of log p - log q on test rows, and its standard error."""
    difference = true - density.score_samples(test)
    return float(difference.mean()), float(difference.std() / math.sqrt(len(test)))


@pytest.fixture(scope="module")
def gaussian() -> FlowDensity:
    return FlowDensity(
        "gaussian", steps=800, learning_rate=0.02, batch_size=512, patience=0, random_state=0
    ).fit(CORRELATED.rvs(COUNT, random_state=1))


def test_a_gaussian_is_as_near_as_its_parameters_allow(gaussian: FlowDensity) -> None:
    """Five parameters, of which n times the divergence is half a chi-square."""
    test = CORRELATED.rvs(COUNT, random_state=2)
    found, error = excess(gaussian, test, CORRELATED.logpdf(test))
    most = stats.chi2(5).ppf(0.9999) / (2 * 0.9 * COUNT)
    assert -4 * error < found < most + 4 * error


@pytest.fixture(scope="module")
def two_moods() -> tuple[Any, Any]:
    """Return rows of two Gaussians, and the log density."""

    def draw(count: int, seed: int) -> Any:
        source = np.random.default_rng(seed)
        which = source.integers(0, 2, count)[:, None]
        centre = np.where(which, [2.0, 30.0], [-2.0, 10.0])
        return centre + source.normal(size=(count, 2)) * [0.7, 5.0]

    def log_density(x: Any) -> Any:
        parts = [
            stats.norm.logpdf(x, centre, [0.7, 5.0]).sum(1)
            for centre in ([2.0, 30.0], [-2.0, 10.0])
        ]
        return np.logaddexp(*parts) - math.log(2)

    return draw, log_density


@pytest.fixture(scope="module")
def mixture(two_moods: Any) -> FlowDensity:
    draw, _ = two_moods
    return FlowDensity(
        "nsf",
        transforms=1,
        hidden_features=(32,),
        steps=250,
        batch_size=128,
        learning_rate=1e-2,
        missing="marginalise",
        random_state=0,
    ).fit(_with_gaps(draw(COUNT, 1)))


def _with_gaps(x: Any) -> Any:
    hidden = np.random.default_rng(5).random(x.shape) < 0.05
    return np.where(hidden, np.nan, x)


def test_a_mixture(mixture: FlowDensity, two_moods: Any) -> None:
    draw, log_density = two_moods
    test = draw(COUNT, 2)
    found, error = excess(mixture, test, log_density(test))
    assert -4 * error < found < 0.08
    # A Gaussian of the same moments is much further away.
    moments = stats.multivariate_normal(test.mean(0), np.cov(test.T))
    assert (log_density(test) - moments.logpdf(test)).mean() > 0.4


@pytest.mark.parametrize("column", [0, 1])
def test_marginals_integrate_to_one_and_are_right(mixture: FlowDensity, column: int) -> None:
    axis = [np.linspace(-8, 8, 129), np.linspace(-25, 65, 129)][column]
    rows = np.full((129, 2), np.nan)
    rows[:, column] = axis
    p = np.exp(mixture.score_samples(rows))
    assert np.trapezoid(p, axis) == pytest.approx(1, abs=0.01)
    centres, scale = [((2.0, -2.0), 0.7), ((30.0, 10.0), 5.0)][column]
    true = sum(stats.norm.pdf(axis, centre, scale) for centre in centres) / 2
    # Total variation; by Pinsker's inequality of a divergence of 0.08 no more than 0.2.
    assert 0.5 * np.trapezoid(np.abs(p - true), axis) < 0.1


def test_conditional_draws_know_which_mood(mixture: FlowDensity) -> None:
    """Given the first column, the second is one Gaussian or the other; at zero it is both."""
    given = np.array([[2.0, np.nan], [-2.0, np.nan], [0.0, np.nan]])
    drawn = mixture.sample_conditional(np.repeat(given, 300, 0), random_state=0)
    high, low, both = drawn[:, 1].reshape(3, 300)
    error = 5.0 / math.sqrt(300)
    assert high.mean() == pytest.approx(30, abs=5 * error)
    assert low.mean() == pytest.approx(10, abs=5 * error)
    assert high.std() == pytest.approx(5, rel=0.25)
    assert low.std() == pytest.approx(5, rel=0.25)
    assert 0.15 < (both > 20).mean() < 0.85


def test_a_bounded_column() -> None:
    true = stats.beta(2, 5, loc=10, scale=4)
    rows = true.rvs((COUNT, 1), random_state=1)
    density = FlowDensity(
        "nsf",
        transforms=1,
        hidden_features=(16,),
        kinds={0: (10, 14)},
        steps=500,
        learning_rate=5e-3,
        random_state=0,
    ).fit(rows)
    test = true.rvs((COUNT, 1), random_state=2)
    found, error = excess(density, test, true.logpdf(test)[:, 0])
    assert -4 * error < found < 0.02
    axis = np.linspace(10, 14, 4001)[1:-1]
    p = np.exp(density.score_samples(axis[:, None]))
    assert np.trapezoid(p, axis) == pytest.approx(1, abs=0.01)


def test_whole_numbers() -> None:
    """The probabilities of two columns of counts, of which one depends on the other.

    That they are so far off is for want of rows: the frequencies of as many rows in the same cells
    have an expected total variation of 0.040 from the truth.
    """
    source = np.random.default_rng(1)
    rows = pd.DataFrame({"n": source.poisson(3, COUNT)})
    rows["m"] = source.binomial(rows["n"] + 2, 0.5)
    density = FlowDensity(
        "nsf", transforms=1, hidden_features=(32,), steps=500, learning_rate=5e-3, random_state=0
    ).fit(rows)
    n, m = (axis.ravel() for axis in np.meshgrid(np.arange(-2, 16), np.arange(-2, 19)))
    inside = pd.DataFrame({"n": n, "m": m})
    p = np.exp(density.score_samples(inside))
    assert p.sum() == pytest.approx(1, abs=0.005)
    assert 0.5 * np.abs(p - _finely(density, inside.to_numpy(float))).sum() < 0.005
    true = stats.poisson(3).pmf(n) * stats.binom(np.maximum(n, 0) + 2, 0.5).pmf(m)
    assert true.sum() == pytest.approx(1, abs=1e-4)
    assert 0.5 * np.abs(p - true).sum() < 0.08
    test = source.poisson(3, COUNT)
    drawn = density.sample(COUNT, random_state=0)
    assert drawn["n"].mean() == pytest.approx(test.mean(), abs=0.2)


def _finely(density: FlowDensity, x: Any) -> Any:
    """Return probabilities by the midpoint rule on a fine grid."""
    model, size = density.model_, x.shape[1]
    points = (torch.arange(SIDE[size], dtype=torch.float64) + 0.5) / SIDE[size]
    grid = torch.cartesian_prod(*[points] * size).reshape(-1, size)
    x, context = torch.tensor(x), torch.empty(len(x), 0)
    with torch.no_grad():
        parts = [model.bound(x, context, each.expand_as(x)).exp() for each in grid]
    return torch.stack(parts).mean(0).numpy()


def test_a_density_conditional_on_a_category_and_a_number() -> None:
    """y is N(2 t, 1) in one group and N(-2 t, 1/4) in the other."""

    def draw(seed: int) -> tuple[pd.DataFrame, Any]:
        source = np.random.default_rng(seed)
        up, t = source.random(COUNT) < 0.5, source.uniform(0, 2, COUNT)
        mean, scale = np.where(up, 2 * t, -2 * t), np.where(up, 1.0, 0.5)
        y = source.normal(mean, scale)
        table = pd.DataFrame({"y": y, "t": t, "group": np.where(up, "up", "down")})
        return table, stats.norm.logpdf(y, mean, scale)

    density = FlowDensity(
        "maf",
        transforms=1,
        hidden_features=(32,),
        conditional_on=["t", "group"],
        steps=600,
        learning_rate=5e-3,
        random_state=0,
    ).fit(draw(1)[0])
    test, true = draw(2)
    found, error = excess(density, test, true)
    assert -4 * error < found < 0.05
    drawn = density.sample(2000, given={"t": 1.5, "group": "down"}, random_state=0)["y"]
    assert drawn.mean() == pytest.approx(-3, abs=0.15)
    # A deviation r times too large is log r + 1 / (2 r^2) - 1/2 nats away: 0.03 at r = 1.25.
    assert drawn.std() == pytest.approx(0.5, rel=0.25)


def test_counts_from_zero_on() -> None:
    """The probabilities of a Poisson column whose bound is known sum to one, and are right."""
    rows = np.random.default_rng(1).poisson(1, (COUNT, 1))
    density = FlowDensity(
        "nsf",
        transforms=1,
        hidden_features=(16,),
        kinds={0: ("integer", 0, None)},
        steps=400,
        learning_rate=5e-3,
        random_state=0,
    ).fit(rows)
    values = np.arange(30)
    p = np.exp(density.score_samples(values[:, None]))
    assert p.sum() == pytest.approx(1, abs=0.01)
    assert 0.5 * np.abs(p - _finely(density, values[:, None].astype(float))).sum() < 0.005
    assert 0.5 * np.abs(p - stats.poisson(1).pmf(values)).sum() < 0.08
    assert np.isneginf(density.score_samples([[-1]])[0])
    drawn = density.sample(2000, random_state=0)
    assert drawn.min() == 0
    assert (drawn % 1 == 0).all()


def test_fares_are_not_drawn_negative() -> None:
    """The smallest of these is far from zero beside the largest, but not beside their spread."""
    fares = np.round(np.random.default_rng(1).gamma(1, 30, (400, 1)) + 7, 2)
    density = FlowDensity("gaussian", steps=50, random_state=0).fit(fares)
    assert density.sample(2000, random_state=0).min() >= 0
