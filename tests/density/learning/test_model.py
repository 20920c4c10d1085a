"""Densities of rows in the units of the table: their integrals and sums are one."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from invflow.density.learning.encoding import SHIFTS
from invflow.density.learning.model import TableDensity
from invflow.density.learning.spread import spread
from invflow.density.table import Column, Columns
from tests.helpers import perturbed

FLOWS: Any = {
    "maf": {"name": "maf", "transforms": 2, "hidden_features": (7,)},
    "iaf": {"name": "iaf", "transforms": 2, "hidden_features": (7,)},
    "nsf": {"name": "nsf", "transforms": 1, "hidden_features": (7,)},
    "gaussian": {"name": "gaussian"},
    "realnvp": {"name": "realnvp", "transforms": 2, "hidden_features": (7,)},
}


def column(name: str, kind: str = "continuous", **options: Any) -> Column:
    return Column(name, kind, "float64", **{"location": 3.0, "scale": 2.5, **options})


def model(flow: str, *features: Column, context: int = 0) -> TableDensity:
    given = tuple(column(f"c{i}") for i in range(context))
    columns = Columns(
        tuple(each.name for each in features + given), features, given, 9, missing=False
    )
    built = TableDensity(columns, FLOWS[flow], generator=torch.Generator().manual_seed(0))
    built.flow.double()
    return perturbed(built, scale=0.3)


def none(x: Tensor) -> Tensor:
    return x.new_empty(len(x), 0)


@torch.no_grad()
def integral(density: TableDensity, axes: list[Tensor], context: Tensor | None = None) -> float:
    """Return the trapezoid rule's integral over a grid."""
    x = torch.cartesian_prod(*axes).reshape(-1, len(axes))
    given = none(x) if context is None else context.expand(len(x), -1)
    p = density.log_prob(x, given).exp().reshape([len(axis) for axis in axes])
    for axis in reversed(axes):
        p = torch.trapezoid(p, axis)
    return float(p)


def line(low: float, high: float, count: int) -> Tensor:
    return torch.linspace(low, high, count, dtype=torch.float64)


def inside(low: float, high: float, count: int) -> Tensor:
    """Return numbers between bounds that crowd towards both."""
    return low + (high - low) * torch.sigmoid(line(-35, 35, count))


@pytest.mark.parametrize("flow", ["maf", "iaf", "nsf", "gaussian"])
def test_one_column_integrates_to_one(flow: str) -> None:
    assert integral(model(flow, column("a")), [line(-150, 150, 20001)]) == pytest.approx(
        1, abs=1e-4
    )


@pytest.mark.parametrize("flow", list(FLOWS))
def test_two_columns_integrate_to_one(flow: str) -> None:
    density = model(flow, column("a"), column("b", location=-40.0, scale=0.5))
    axes = [line(-60, 66, 250), line(-52, -28, 250)]
    assert integral(density, axes) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("flow", ["maf", "nsf"])
def test_bounded_columns_integrate_to_one(flow: str) -> None:
    both = column("a", low=-1.0, high=4.0, location=0.2, scale=1.5)
    lower = column("b", low=2.0, location=0.1, scale=0.8)
    assert integral(model(flow, both), [inside(-1, 4, 4001)]) == pytest.approx(1, abs=1e-3)
    axes = [inside(-1, 4, 300), 2 + line(-14, 12, 300).exp()]
    assert integral(model(flow, both, lower), axes) == pytest.approx(1, abs=3e-3)


def test_a_context_gives_a_density_each() -> None:
    density = model("nsf", column("a"), context=2)
    axis = line(-150, 150, 20001)
    contexts = torch.randn(3, 2, dtype=torch.float64)
    for context in contexts:
        assert integral(density, [axis], context) == pytest.approx(1, abs=1e-4)
    x = torch.ones(3, 1, dtype=torch.float64)
    assert len(density.log_prob(x, contexts).unique()) == 3


@pytest.mark.parametrize("flow", ["maf", "nsf", "gaussian"])
def test_probabilities_of_whole_numbers_sum_to_one(flow: str) -> None:
    """With every shift the sum is a quadrature of the density."""
    density = model(flow, column("n", "integer", location=2.0, scale=3.0))
    numbers = line(-200, 200, 401).unsqueeze(-1)
    with torch.no_grad():
        total = float(density.log_prob(numbers, none(numbers)).exp().sum())
    assert total == pytest.approx(1, abs=2e-3)


def test_probabilities_of_two_columns_of_whole_numbers() -> None:
    features = [column(name, "integer", location=2.0, scale=2.0) for name in "ab"]
    density = model("maf", *features)
    x = torch.cartesian_prod(*[line(-40, 44, 85)] * 2)
    with torch.no_grad():
        assert float(density.log_prob(x, none(x)).exp().sum()) == pytest.approx(1, abs=1e-2)


def test_whole_numbers_beside_a_continuous_column() -> None:
    density = model("nsf", column("n", "integer", scale=2.0), column("a"))
    numbers, axis = line(-15, 22, 38), line(-40, 46, 100)
    x = torch.cartesian_prod(numbers, axis)
    with torch.no_grad():
        p = density.log_prob(x, none(x)).exp().reshape(38, 100)
    assert float(torch.trapezoid(p, axis).sum()) == pytest.approx(1, abs=1e-3)


def test_a_probability_is_the_integral_over_a_unit_interval() -> None:
    density = model("gaussian", column("n", "integer", location=0.0, scale=1.0))
    gaussian = density.flow()
    sample = gaussian.sample((200_000,))[:, 0].detach()
    normal = torch.distributions.Normal(sample.mean(), sample.std())
    numbers = line(-4, 3, 8)
    exact = normal.cdf(numbers + 1) - normal.cdf(numbers)
    found = density.log_prob(numbers.unsqueeze(-1), none(numbers)).exp().detach()
    # The mean and the deviation of the sample are known to 1 / sqrt(200 000).
    torch.testing.assert_close(found, exact, rtol=0, atol=3e-3)


def test_only_whole_numbers_are_shifted() -> None:
    kinds = ("continuous", "integer", "continuous", "integer")
    density = model("gaussian", *(column(kind + str(i), kind) for i, kind in enumerate(kinds)))
    assert torch.equal(density.shifts[:, [1, 3]], spread(SHIFTS, 2))
    assert not density.shifts[:, [0, 2]].any()


def test_a_state_makes_an_empty_model_whole() -> None:
    """What columns say is not in the state, and is not lost: it was whatever the memory held."""
    features = column("a", low=0.0), column("n", "integer", scale=0.7)
    density = model("iaf", *features)
    x = torch.tensor([[1.3, 2.0], [0.2, 5.0]], dtype=torch.float64)
    expected, state = density.log_prob(x, none(x)), copy.deepcopy(density.state_dict())
    with torch.device("meta"):
        built = TableDensity(density.columns, FLOWS["iaf"])
    built.flow.double()
    for emptied in (density.to("meta"), built):
        emptied.to_empty(device="cpu").load_state_dict(state)
        assert torch.equal(emptied.log_prob(x, none(x)), expected)


def test_what_is_trained_on_is_a_lower_bound() -> None:
    """By Jensen, for the very shifts that `log_prob` averages over."""
    density = model("maf", column("n", "integer", scale=0.7), column("m", "integer", scale=0.7))
    x = torch.tensor(list(product([2.0, 3.0, 5.0], [1.0, 4.0])), dtype=torch.float64)
    with torch.no_grad():
        bounds = torch.stack([density.bound(x, none(x), s.expand_as(x)) for s in density.shifts])
        log_prob = density.log_prob(x, none(x))
    assert len(bounds) == SHIFTS
    assert (bounds.mean(0) < log_prob).all()
    assert (bounds.max(0).values >= log_prob).all()


def test_without_whole_numbers_the_bound_is_exact() -> None:
    density = model("maf", column("a"), column("b"))
    x = torch.randn(5, 2, dtype=torch.float64)
    torch.testing.assert_close(
        density.bound(x, none(x), torch.rand_like(x)), density.log_prob(x, none(x)), rtol=0, atol=0
    )


@pytest.mark.parametrize("flow", list(FLOWS))
def test_a_row_is_scored_by_itself(flow: str) -> None:
    density = model(flow, column("a"), column("n", "integer"), column("b", low=0.0), context=1)
    x = torch.rand(9, 3, dtype=torch.float64) * 5
    x[:, 1] = x[:, 1].floor()
    context = torch.randn(9, 1, dtype=torch.float64)
    with torch.no_grad():
        whole = density.log_prob(x, context)
        some = density.log_prob(x[[7, 2, 2]], context[[7, 2, 2]])
    torch.testing.assert_close(some, whole[[7, 2, 2]], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("flow", list(FLOWS))
def test_no_rows_are_no_error(flow: str) -> None:
    density = model(flow, column("a"), column("n", "integer"))
    x = torch.empty(0, 2, dtype=torch.float64)
    assert density.log_prob(x, none(x)).shape == (0,)


def test_the_units_are_those_of_the_table() -> None:
    """The density of 1000 x is that of x, over 1000."""
    one = model("maf", column("a", location=3.0, scale=2.0))
    other = model("maf", column("a", location=3000.0, scale=2000.0))
    x = torch.randn(6, 1, dtype=torch.float64)
    difference = one.log_prob(x, none(x)) - other.log_prob(1000 * x, none(x))
    torch.testing.assert_close(difference, torch.full_like(difference, np.log(1000.0)))


def test_draws_have_the_density() -> None:
    """The probability of a box, by quadrature and by counting."""
    density = model("nsf", column("a"), column("b", low=0.0, location=0.0, scale=1.0))
    with torch.no_grad():
        draws = density.sample(torch.empty(20_000, 0, dtype=torch.float64), torch.Generator())
    low, high = draws.quantile(torch.tensor([0.2, 0.6], dtype=torch.float64), 0)
    counted = ((draws > low) & (draws < high)).all(1).double().mean()
    axes = [line(float(a), float(b), 120) for a, b in zip(low, high, strict=True)]
    error = float((counted * (1 - counted) / len(draws)).sqrt())
    assert integral(density, axes) == pytest.approx(float(counted), abs=5 * error)


def test_far_away_nothing_is_nan() -> None:
    density = model("maf", column("a"), column("b")).float()
    x = torch.tensor([[1e300, 0], [1e30, -1e30], [0, -1e38], [1e14, 1e14]], dtype=torch.float64)
    found = density.log_prob(x, none(x))
    assert not found.isnan().any()
    assert (found < -1e6).all()


def test_unknown_flows_and_arguments() -> None:
    columns = Columns(("a",), (column("a"),), (), 9, missing=False)
    with pytest.raises(ValueError, match=r"flow must be one of .* got 'none'"):
        TableDensity(columns, {"name": "none"})
    with pytest.raises(ValueError, match=r"flow must be one of .* got 'mixture'"):
        TableDensity(columns, {"name": "mixture"})
    with pytest.raises(TypeError, match="depth"):
        TableDensity(columns, {"name": "maf", "depth": 3})
