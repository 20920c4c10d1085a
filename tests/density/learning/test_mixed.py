"""Densities of categories and numbers together, by brute force over the first and quadrature."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from invflow.density.learning import conditional, draws
from invflow.density.learning.enumeration import completions, countable
from invflow.density.learning.imputer import Imputer
from invflow.density.learning.model import TableDensity
from invflow.density.table import Column, Columns
from tests.helpers import generator, perturbed, randn

NAN = math.nan
FLOWS: Any = {
    "maf": {"name": "maf", "transforms": 2, "hidden_features": (7,)},
    "nsf": {"name": "nsf", "transforms": 1, "hidden_features": (7,)},
    "gaussian": {"name": "gaussian"},
}
COLOUR = Column("colour", "categorical", "str", categories=(*"rgb",), counts=(500, 300, 100))
SIZE = Column("size", "ordinal", "str", categories=("s", "l"), counts=(4, 5))
MANY = Column("many", "categorical", "int64", categories=tuple(range(50)), counts=(2,) * 50)
NUMBER = Column("x", "continuous", "float64", location=3.0, scale=2.5)
COUNT = Column("n", "integer", "float64", location=2.0, scale=3.0)
AXIS = torch.linspace(-60, 66, 4001, dtype=torch.float64)


def model(*features: Column, flow: str = "maf", context: int = 0, dtype: Any = None) -> Any:
    given = tuple(Column(f"c{i}", "continuous", "float64") for i in range(context))
    names = tuple(each.name for each in features + given)
    columns = Columns(names, features, given, 9, missing=True)
    built = TableDensity(columns, FLOWS[flow], generator=generator(0))
    for part in built.learned:
        part.to(dtype or torch.float64)
    return perturbed(built, scale=0.3).requires_grad_(False)


def none(x: Tensor) -> Tensor:
    return x.new_empty(len(x), 0)


def rows(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def codes(*sizes: int) -> Tensor:
    return rows(list(product(*(range(size + 1) for size in sizes))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("flow", FLOWS)
def test_categories_and_a_number_integrate_to_one(flow: str, dtype: Any) -> None:
    density = model(COLOUR, NUMBER, SIZE, flow=flow, dtype=dtype)
    total = 0.0
    for colour, size in codes(3, 2).tolist():
        x = torch.stack([torch.full_like(AXIS, colour), AXIS, torch.full_like(AXIS, size)], -1)
        total += float(torch.trapezoid(density.log_prob(x, none(x)).exp(), AXIS))
    assert total == pytest.approx(1, abs=1e-3)


def test_categories_and_a_grid_sum_to_one() -> None:
    density = model(COUNT, SIZE, flow="nsf")
    x = rows(list(product(range(-60, 66), range(3))))
    assert float(density.log_prob(x, none(x)).exp().sum()) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("features", [(MANY,), (SIZE,), (COLOUR, SIZE)])
def test_categories_alone_sum_to_one(features: Any) -> None:
    density = model(*features, context=1)
    assert density.flow is None
    x = codes(*(len(each.categories) for each in features))
    for value in (-1.0, 2.0):
        context = torch.full((len(x), 1), value, dtype=torch.float64)
        assert float(density.log_prob(x, context).exp().sum()) == pytest.approx(1, abs=1e-12)
    drawn = density.sample(torch.zeros(7, 1), generator(0))
    assert drawn.shape == (7, len(features))


def test_draws_have_the_density() -> None:
    """The mean of a number for each category, by quadrature and by counting."""
    density, count = model(COLOUR, NUMBER), 20_000
    drawn = density.sample(torch.empty(count, 0), generator(1))
    for colour in range(3):
        x = torch.stack([torch.full_like(AXIS, colour), AXIS], -1)
        p = density.log_prob(x, none(x)).exp()
        mass = float(torch.trapezoid(p, AXIS))
        mean = float(torch.trapezoid(p * AXIS, AXIS)) / mass
        var = float(torch.trapezoid(p * (AXIS - mean) ** 2, AXIS)) / mass
        own = drawn[drawn[:, 0] == colour, 1]
        seen = mass / float(density.categories.seen)
        assert len(own) / count == pytest.approx(seen, abs=5 * math.sqrt(seen / count))
        assert float(own.mean()) == pytest.approx(mean, abs=5 * math.sqrt(var / len(own)))


def test_a_number_alone_is_integrated_out() -> None:
    """What is left is the probability of the categories, a closed form."""
    density = model(COLOUR, NUMBER, SIZE)
    imputer = perturbed(Imputer(density, generator=generator(0)), scale=0.1).requires_grad_(False)
    x = rows([[c, NAN, s] for c, s in codes(3, 2).tolist()])
    found = conditional.log_prob(density, imputer, x, none(x))
    exact = density.categories.log_prob(x[:, [0, 2]])
    torch.testing.assert_close(found, exact, rtol=0, atol=0.2)


def test_missing_categories_are_summed_exactly() -> None:
    density = model(COLOUR, NUMBER, SIZE, context=1)
    imputer = Imputer(density, generator=generator(0))
    context = randn(3, 1, seed=4)
    x = rows([[NAN, 2.0, 1.0], [NAN, -1.0, NAN], [2.0, 4.0, NAN]])
    expected = []
    for row, given in zip(x, context, strict=True):
        every = codes(3, 2)
        whole = row.expand(len(every), 3).clone()
        whole[:, [0, 2]] = every
        fits = (row.isnan() | (whole == row)).all(-1)
        log_p = density.log_prob(whole[fits], given.expand(int(fits.sum()), 1))
        expected.append(log_p.logsumexp(0))
    found = conditional.log_prob(density, imputer, x, context)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_what_can_be_counted() -> None:
    density = model(COLOUR, NUMBER, MANY)
    x = rows([[NAN, 1, 1], [NAN, 1, NAN], [1, NAN, NAN], [1, 1, 1], [1, 1, NAN]])
    assert countable(density, x, 204).tolist() == [True, True, False, False, True]
    assert countable(density, x, 203).tolist() == [True, False, False, False, True]
    assert not countable(model(NUMBER), x[:, :1], 99).any()
    numbers, whole, log_p = next(iter(completions(density, x[1:2], none(x[1:2]))))
    assert (numbers.tolist(), whole.shape, log_p.shape) == ([0], (204, 1, 3), (204, 1))


@pytest.mark.parametrize("row", [[NAN, 2.0], [NAN, -4.0]])
def test_draws_of_a_category_given_a_number(row: list[float]) -> None:
    """By Bayes' rule over its values."""
    density, count = model(COLOUR, NUMBER), 5000
    imputer = Imputer(density, generator=generator(0))
    x = rows([row])
    drawn, effective = conditional.draw(density, imputer, x, none(x), count, generator(2))
    each = rows([[c, row[1]] for c in range(3)])
    p = density.log_prob(each, none(each)).softmax(0)
    counted = torch.bincount(drawn[:, 0, 0].long(), minlength=3) / count
    assert ((counted - p).abs() < 5 * (p * (1 - p) / count).sqrt()).all()
    assert float(effective) == conditional.CANDIDATES
    assert (drawn[..., 1] == row[1]).all()


@pytest.mark.parametrize("row", [[NAN, NAN, 1.0], [1.0, NAN, NAN], [NAN, NAN, NAN]])
def test_weights_average_to_the_marginal_density(row: list[float]) -> None:
    """Without bias, for an imputer that has learned nothing."""
    density, count = model(COLOUR, NUMBER, SIZE), 20_000
    imputer = perturbed(Imputer(density, generator=generator(0)), scale=0.1).requires_grad_(False)
    x = rows(row).expand(count, 3)
    whole, drawn = imputer.complete(x, none(x), randn(count, 3, seed=1))
    log_w = density.encoded_log_prob(whole, none(x)) - drawn.sum(0)
    assert torch.equal(whole[~x.isnan()], x[~x.isnan()])
    every = codes(3, 2)
    fits = ((every == rows(row)[[0, 2]]) | rows(row)[[0, 2]].isnan()).all(-1)
    exact = density.categories.log_prob(every[fits]).logsumexp(0)
    w = (log_w - exact).exp()
    assert float(w.mean()) == pytest.approx(1, abs=5 * float(w.std()) / math.sqrt(count))
    assert float(w.std()) / math.sqrt(count) < 0.1


def test_the_imputer_s_density_is_that_of_its_draws() -> None:
    density = model(COLOUR, NUMBER, SIZE)
    imputer = perturbed(Imputer(density, generator=generator(0)), scale=0.2).requires_grad_(False)
    x = rows([[NAN, NAN, 1.0], [1.0, NAN, NAN], [NAN, 0.5, 0.0], [2.0, 1.0, 1.0]])
    noise = randn(4, 3, seed=4)
    whole, drawn = imputer.complete(x, none(x), noise)
    there = ~x.isnan()
    given = imputer._given(x[:, 1:2], there[:, 1:2], whole[:, [0, 2]], none(x))
    v = imputer.flow.transform(noise[:, 1:2], given)[0]
    complete = whole.clone()
    complete[:, 1:2] = torch.where(there[:, 1:2], whole[:, 1:2], v)
    log_q = imputer.log_prob(complete, there, none(x), v.expand(4, 3))
    unused = torch.distributions.Normal(0.0, 1.0).log_prob(v).where(there[:, 1:2], 0.0)[:, 0]
    torch.testing.assert_close(drawn.sum(0), log_q - unused, rtol=1e-8, atol=1e-8)


def test_noise_is_normal() -> None:
    density, count = model(COLOUR, NUMBER, COUNT), 5000
    x = density.sample(torch.empty(count, 0), generator(1))
    z = draws.noise(density, x, torch.empty(count, 0), generator(2))
    # Whole numbers are uniform within their cells in `noise` and nearly so in the density.
    np.testing.assert_allclose(z.mean(0), 0, atol=0.1)
    np.testing.assert_allclose(z.std(0), 1, atol=0.1)


def test_values_beyond_a_bound_that_was_found() -> None:
    """The cells beyond share the probability that the bound's own cell gives up."""
    bounded = Column(
        "n", "integer", "float64", low=0.0, high=4.0, location=0.0, scale=1.5, beyond=0.02
    )
    density = model(bounded, flow="nsf")
    axis = torch.arange(-400.0, 400.0, dtype=torch.float64)[:, None]
    p = density.log_prob(axis, none(axis)).exp()
    # Beyond j cells there are 1 / (j + 1) of each share left.
    assert float(p.sum()) == pytest.approx(1, abs=3e-3)
    at = dict(zip(axis[:, 0].tolist(), p.tolist(), strict=True))
    assert at[-1.0] == pytest.approx(0.02 / 0.98 / 2 * at[0.0])
    assert at[6.0] == pytest.approx(0.02 / 0.98 / 6 * at[4.0])
    drawn = density.sample(torch.empty(500, 0), generator(0))
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) <= 4
