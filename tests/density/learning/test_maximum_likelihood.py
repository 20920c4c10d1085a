"""The loss of training: its gradients, its bounds, and IAFs by the cached inverse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from invflow.density.learning.imputer import Imputer
from invflow.density.learning.maximum_likelihood import Trained, first_rows, mean_losses
from invflow.density.learning.model import TableDensity
from invflow.density.table import Columns, Frame, Rows, survey
from tests.helpers import generator, perturbed

COUNT = 40


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    source = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "x": source.normal(5, 2, COUNT),
            "rate": source.beta(2, 3, COUNT),
            "n": source.poisson(4, COUNT),
            "y": source.normal(0, 0.1, COUNT),
            "group": source.choice(["u", "v"], COUNT),
        }
    )


@pytest.fixture(scope="module")
def columns(frame: pd.DataFrame) -> Columns:
    return survey(Frame(frame), {"rate": (0, 1)}, ["group"], "marginalise")


@pytest.fixture(scope="module")
def rows(frame: pd.DataFrame, columns: Columns) -> Rows:
    return Rows(Frame(frame), columns)


@pytest.fixture(scope="module")
def gaps(frame: pd.DataFrame, columns: Columns) -> Rows:
    holes = frame.copy()
    holes.loc[::3, "x"] = np.nan
    holes.loc[::4, "rate"] = np.nan
    return Rows(Frame(holes), columns)


def model(columns: Columns, **flow: Any) -> TableDensity:
    built = TableDensity(columns, flow, generator=generator(0))
    built.flow.double()
    return perturbed(built, scale=0.3)


def loss_and_gradients(trained: Trained, rows: Rows) -> tuple[Tensor, list[Tensor]]:
    loss = trained(lambda: rows.block(0), generator(7))
    return loss, list(torch.autograd.grad(loss, list(trained.parameters())))


def test_the_gradient_of_an_iaf_is_that_of_differences(columns: Columns, rows: Rows) -> None:
    trained = Trained(model(columns, name="iaf", transforms=1, hidden_features=(5,)), None)
    _, gradients = loss_and_gradients(trained, rows)
    step = 1e-5
    with torch.no_grad():
        for parameter, gradient in zip(trained.parameters(), gradients, strict=True):
            direction = torch.randn_like(parameter)
            values = []
            for sign in (1, -1):
                parameter.add_(sign * step * direction)
                values.append(float(trained(lambda: rows.block(0), generator(7))))
                parameter.sub_(sign * step * direction)
            slope = (values[0] - values[1]) / (2 * step)
            assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-5, abs=1e-7)


def test_the_loss_of_whole_rows_is_minus_the_bound(columns: Columns, rows: Rows) -> None:
    density = model(columns, name="maf", hidden_features=(8,))
    x, context = rows.block(0)
    uniform = torch.rand(x.shape, generator=generator(7), dtype=x.dtype)
    expected = -density.bound(x, context, uniform).mean()
    torch.testing.assert_close(Trained(density, None)(lambda: (x, context), generator(7)), expected)


def test_whole_rows_among_gaps_have_their_own_bound(
    columns: Columns, rows: Rows, gaps: Rows
) -> None:
    density = model(columns, name="maf", hidden_features=(8,))
    trained = Trained(density, perturbed(Imputer(density, generator=generator(1)), scale=0.1))
    x, context = gaps.block(0)
    uniform = torch.rand(x.shape, generator=generator(7), dtype=x.dtype)
    each, filled = trained.bounds(x, context, uniform, generator(8))
    bounds = sum(part.mean(0) for part in each)
    whole = ~x.isnan().any(1)
    assert 0 < whole.sum() < COUNT
    expected = density.bound(x, context, uniform)
    torch.testing.assert_close(bounds[whole], expected[whole])
    y, _ = density.encoding(x, uniform)
    assert torch.equal(filled[~x.isnan()], y[~x.isnan()])
    assert filled.isfinite().all()


def test_a_bound_for_gaps_is_below_the_density_on_average(columns: Columns, gaps: Rows) -> None:
    density = model(columns, name="maf", hidden_features=(8,))
    trained = Trained(density, perturbed(Imputer(density, generator=generator(1)), scale=0.1))
    x, context = (part[:1] for part in gaps.block(0))  # x and rate are missing
    assert x.isnan().sum() == 2
    many = x.expand(20_000, -1), context.expand(20_000, -1)
    uniform = torch.full_like(many[0], 0.5)
    with torch.no_grad():
        each, _ = trained.bounds(*many, uniform, generator(3))
        bounds = each[0][0] + each[1][0]
    assert float(bounds.mean()) < float(bounds.logsumexp(0)) - np.log(20_000)


def test_both_parts_learn_from_gaps(columns: Columns, gaps: Rows) -> None:
    density = model(columns, name="maf", hidden_features=(8,))
    trained = Trained(density, perturbed(Imputer(density, generator=generator(1)), scale=0.1))
    _, gradients = loss_and_gradients(trained, gaps)
    for (name, _), gradient in zip(trained.named_parameters(), gradients, strict=True):
        assert gradient.isfinite().all(), name
    by_part = {
        part: sum(
            float(gradient.abs().sum())
            for (name, _), gradient in zip(trained.named_parameters(), gradients, strict=True)
            if name.startswith(part)
        )
        for part in ("model", "imputer")
    }
    assert min(by_part.values()) > 1e-2


def test_the_mean_loss_is_minus_the_mean_of_bounds(
    columns: Columns, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    density = model(columns, name="maf", hidden_features=(8,))
    x, context = rows.block(0)
    uniform = density.shifts[torch.arange(COUNT) % len(density.shifts)]
    with torch.no_grad():
        expected = -float(density.bound(x, context, uniform).mean())
        found = mean_losses(Trained(density, None), first_rows(rows), 0)
        assert found["loss"] == pytest.approx(expected, rel=1e-12)
        # In parts, each of which starts with the first shift.
        monkeypatch.setattr(
            "invflow.density.learning.maximum_likelihood.EVALUATED_AT_ONCE", len(density.shifts)
        )
        found = mean_losses(Trained(density, None), first_rows(rows), 0)
        assert found["loss"] == pytest.approx(expected, rel=1e-12)
