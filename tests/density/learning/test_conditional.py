"""Rows with gaps, against a Gaussian whose marginals and conditionals are known."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from invflow.density.learning import conditional
from invflow.density.learning.imputer import Imputer, hide
from invflow.density.learning.model import TableDensity
from invflow.density.table import Column, Columns
from tests.helpers import generator, perturbed, randn

LOCATION, SCALE = np.array([10.0, -2.0, 0.0]), np.array([3.0, 1.5, 0.5])
NAN = math.nan
PATTERNS = [[1.0, NAN, 0.4], [NAN, -1.0, 0.1], [8.0, NAN, NAN], [NAN, NAN, 0.3], [12.0, -3.0, NAN]]


def density(kind: str = "continuous") -> TableDensity:
    """Return a Gaussian with a correlation."""
    features = tuple(
        Column(name, kind, "float64", location=float(location), scale=float(scale))
        for name, location, scale in zip("abc", LOCATION, SCALE, strict=True)
    )
    columns = Columns(("a", "b", "c"), features, (), 100, missing=True)
    return perturbed(TableDensity(columns, {"name": "gaussian"}), scale=1.0).requires_grad_(False)


@pytest.fixture(scope="module")
def model() -> TableDensity:
    return density()


def moments(model: TableDensity) -> tuple[Any, Any]:
    """Return the mean and the covariance in the units of the table, read off the flow's map."""
    zero = torch.zeros(1, 3, dtype=torch.float64)
    shift = model.flow.transform(zero)[0]
    matrix = (model.flow.transform(torch.eye(3).double())[0] - shift).T.numpy()
    covariance = SCALE[:, None] * (matrix @ matrix.T) * SCALE
    return LOCATION + SCALE * shift[0].numpy(), covariance


def imputer(model: TableDensity, scale: float = 0.2) -> Imputer:
    built = Imputer(model, generator=generator(0))
    return perturbed(built, scale=scale).requires_grad_(False)


def none(x: Tensor) -> Tensor:
    return x.new_empty(len(x), 0)


def marginal(model: TableDensity, row: Any) -> float:
    mean, covariance = moments(model)
    there = ~np.isnan(row)
    if not there.any():
        return 0.0
    part = covariance[np.ix_(there, there)]
    return float(stats.multivariate_normal(mean[there], part).logpdf(row[there]))


def rest(model: TableDensity, row: Any) -> tuple[Any, Any]:
    """Return the mean and the covariance of what is missing, given what is there."""
    mean, covariance = moments(model)
    m, o = np.isnan(row), ~np.isnan(row)
    gain = covariance[np.ix_(m, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
    return (
        mean[m] + gain @ (row[o] - mean[o]),
        covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(o, m)],
    )


@pytest.mark.parametrize("row", [*PATTERNS, [9.0, -1.5, 0.2], [NAN, NAN, NAN]])
def test_weights_average_to_the_marginal_density(model: TableDensity, row: list[float]) -> None:
    """Without bias, for an imputer that has learned nothing and was thrown off."""
    count = 20_000
    x = torch.tensor(row, dtype=torch.float64).expand(count, 3)
    y, ladj = model.encoding(x, torch.zeros_like(x))
    with torch.no_grad():
        whole, drawn = imputer(model).complete(y, none(x), randn(count, 3, seed=1))
        log_w = model.encoded_log_prob(whole, none(x)) - drawn.sum(0)
    there = ~y.isnan()
    assert torch.equal(whole[there], y[there])
    expected = marginal(model, np.array(row)) - float(ladj[0].nansum())
    w = (log_w - expected).exp()
    assert float(w.mean()) == pytest.approx(1, abs=5 * float(w.std()) / math.sqrt(count))
    assert float(w.std()) / math.sqrt(count) < 0.1


@pytest.mark.parametrize("row", PATTERNS)
def test_log_densities_of_rows_with_gaps(model: TableDensity, row: list[float]) -> None:
    x = torch.tensor([row], dtype=torch.float64)
    found = conditional.log_prob(model, trained(model), x, none(x))
    assert float(found) == pytest.approx(marginal(model, np.array(row)), abs=0.1)


@cache
def trained(model: TableDensity) -> Imputer:
    """Return an imputer that has learned a little of the density's own draws."""
    built = Imputer(model, generator=generator(0)).double()
    optimizer = torch.optim.Adam(built.parameters(), 5e-3)
    noise = generator(1)
    for _ in range(100):
        with torch.no_grad():
            y = model.sample_encoded(torch.empty(256, 0, dtype=torch.float64), noise)
        normal = torch.randn(y.shape, generator=noise, dtype=y.dtype)
        loss = -built.log_prob(y, hide(y, noise), none(y), normal).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return built.requires_grad_(False)


@pytest.mark.parametrize("row", PATTERNS)
def test_draws_are_those_of_the_conditional(model: TableDensity, row: list[float]) -> None:
    """Many times the same row, each with candidates of its own."""
    copies = 400
    x = torch.tensor(row, dtype=torch.float64).expand(copies, 3)
    drawn, worth = conditional.draw(model, trained(model), x, none(x), 3, generator(2))
    assert drawn.shape == (3, copies, 3)
    assert (worth > 0.2 * conditional.CANDIDATES).all()
    there = ~x[0].isnan()
    assert (drawn[..., there] == x[0, there]).all()
    mean, covariance = rest(model, np.array(row))
    values = drawn[0][:, ~there].numpy()  # independent of each other
    deviation = np.sqrt(np.diag(covariance))
    standard = (values - mean) / deviation
    np.testing.assert_allclose(standard.mean(0), 0, atol=5 / math.sqrt(copies))
    correlation = covariance / np.outer(deviation, deviation)
    np.testing.assert_allclose(
        standard.T @ standard / copies, correlation, atol=5 * math.sqrt(2 / copies)
    )
    for i in range(standard.shape[1]):
        assert stats.kstest(standard[:, i], "norm").pvalue > 1e-4


def test_draws_of_nothing_and_of_everything(model: TableDensity) -> None:
    copies = 500
    x = torch.full((copies, 3), NAN, dtype=torch.float64)
    x[0] = torch.tensor([9.0, -1.5, 0.2])
    drawn, worth = conditional.draw(model, trained(model), x, none(x), 1, generator(2))
    assert torch.equal(drawn[0, 0], x[0])
    assert worth[0] == conditional.CANDIDATES
    mean, covariance = moments(model)
    values = (drawn[0, 1:].numpy() - mean) / np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(values.mean(0), 0, atol=5 / math.sqrt(copies))
    np.testing.assert_allclose(values.std(0), 1, atol=5 / math.sqrt(2 * copies))


def test_many_draws_are_not_the_same_few(model: TableDensity) -> None:
    x = torch.tensor([[9.0, NAN, NAN]], dtype=torch.float64)
    drawn, _ = conditional.draw(model, trained(model), x, none(x), 1000, generator(2))
    assert drawn.shape == (1000, 1, 3)
    assert len(drawn[:, 0, 1].unique()) > 800
    mean, covariance = rest(model, x[0].numpy())
    standard = (drawn[:, 0, 1].numpy() - mean[0]) / math.sqrt(covariance[0, 0])
    assert standard.mean() == pytest.approx(0, abs=5 / math.sqrt(1000 / 2))


def test_a_row_with_a_value_of_density_zero(model: TableDensity) -> None:
    x = torch.tensor([[1e300, NAN, NAN]], dtype=torch.float64)
    assert float(conditional.log_prob(model, imputer(model), x, none(x))) == -math.inf


def test_nothing_is_drawn_given_the_impossible(model: TableDensity) -> None:
    x = torch.tensor([[9.0, NAN, NAN], [1e300, NAN, NAN]], dtype=torch.float64)
    with pytest.raises(
        ValueError, match=r"missing values cannot be drawn given \[1e\+300, nan, nan\]"
    ):
        conditional.draw(model, imputer(model), x, none(x), 1, generator(2))
    whole = torch.tensor([[1e300, 0.0, 0.0]], dtype=torch.float64)
    drawn, _ = conditional.draw(model, imputer(model), whole, none(whole), 2, generator(2))
    assert torch.equal(drawn, whole.expand(2, 1, 3))


def test_a_row_does_not_depend_on_the_others(model: TableDensity) -> None:
    x = torch.tensor(PATTERNS * 40, dtype=torch.float64)
    assert len(x) > conditional.ROWS_AT_ONCE
    found = conditional.log_prob(model, imputer(model), x, none(x))
    alone = conditional.log_prob(model, imputer(model), x[2:3], none(x[2:3]))
    torch.testing.assert_close(found[2::5], alone.expand(40), rtol=1e-10, atol=1e-10)


def test_no_rows(model: TableDensity) -> None:
    x = torch.empty(0, 3, dtype=torch.float64)
    assert conditional.log_prob(model, imputer(model), x, none(x)).shape == (0,)
    drawn, worth = conditional.draw(model, imputer(model), x, none(x), 2, generator(0))
    assert drawn.shape == (2, 0, 3)
    assert worth.shape == (0,)


def test_whole_numbers_with_gaps(model: TableDensity) -> None:
    """The probability of what is there is an integral over unit intervals; draws are whole."""
    filler = trained(model)  # of the same density, as the flow sees it
    model = density("integer")
    mean, covariance = moments(model)
    x = torch.tensor([[9.0, NAN, NAN], [12.0, -3.0, NAN]], dtype=torch.float64)
    found = conditional.log_prob(model, filler, x, none(x))
    first = stats.norm(mean[0], math.sqrt(covariance[0, 0]))
    pair = stats.multivariate_normal(mean[:2], covariance[:2, :2])
    box = pair.cdf([13, -2]) - pair.cdf([12, -2]) - pair.cdf([13, -3]) + pair.cdf([12, -3])
    assert float(found[0]) == pytest.approx(math.log(first.cdf(10) - first.cdf(9)), abs=0.1)
    assert float(found[1]) == pytest.approx(math.log(box), abs=0.15)
    drawn, _ = conditional.draw(model, filler, x, none(x), 5, generator(0))
    assert torch.equal(drawn, drawn.floor())


def test_bounded_gaps_stay_between_bounds() -> None:
    features = (
        Column("a", "continuous", "float64", low=0.0, high=1.0),
        Column("b", "continuous", "float64", low=2.0, scale=0.5),
    )
    columns = Columns(("a", "b"), features, (), 9, missing=True)
    model = TableDensity(columns, {"name": "gaussian"}).double()
    x = torch.tensor([[0.5, NAN], [NAN, 3.0], [1.5, NAN]], dtype=torch.float64)
    found = conditional.log_prob(model, imputer(model, 0.05), x, none(x))
    logit = math.log(0.5 / 0.5)
    assert float(found[0]) == pytest.approx(stats.norm.logpdf(logit) + math.log(4), abs=0.15)
    # log(3 - 2) = 0 stands 0 deviations of 1/2 from the mean, and its derivative is 1.
    assert float(found[1]) == pytest.approx(stats.norm.logpdf(0, scale=0.5), abs=0.15)
    assert float(found[2]) == -math.inf
    drawn, _ = conditional.draw(model, imputer(model, 0.05), x[:2], none(x[:2]), 50, generator(0))
    assert ((drawn[..., 0] > 0) & (drawn[..., 0] < 1)).all()
    assert (drawn[..., 1] > 2).all()


@pytest.mark.parametrize("features", [1, 2, 3])
def test_hide_hides_one_at_least_and_every_pattern_comes(features: int) -> None:
    there = hide(torch.zeros(4000, features), generator(0))
    assert there.dtype == torch.bool
    assert not there.all(1).any()
    patterns, counts = np.unique(there.numpy(), axis=0, return_counts=True)
    assert len(patterns) == 2**features - 1
    assert counts.min() > 4000 / 2 ** (features + 2)
    assert torch.equal(there, hide(torch.zeros(4000, features), generator(0)))


def test_the_imputer_s_density_is_that_of_its_draws(model: TableDensity) -> None:
    """q by `log_prob` is the q that `complete` divides by."""
    built = imputer(model)
    x = torch.tensor(PATTERNS, dtype=torch.float64)
    y, _ = model.encoding(x, torch.zeros_like(x))
    noise = randn(5, 3, seed=4)
    with torch.no_grad():
        _, drawn = built.complete(y, none(x), noise)
        there = ~y.isnan()
        given = built._given(y.nan_to_num(0.0), there, none(x), none(x))
        v = built.flow.transform(noise, given)[0]
        log_q = built.log_prob(torch.where(there, y, v), there, none(x), v)
        useless = torch.distributions.Normal(0.0, 1.0).log_prob(v).where(there, 0.0).sum(-1)
    torch.testing.assert_close(drawn.sum(0), log_q - useless, rtol=1e-8, atol=1e-8)
