"""Ensembles: the mean of several densities."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from invflow.density import FlowDensity
from invflow.density.learning.maximum_likelihood import Trained, first_rows, mean_losses
from invflow.density.learning.model import TableDensity
from invflow.density.table import Frame, Rows, survey
from tests.density.estimators import small
from tests.helpers import generator, perturbed

COUNT, MEMBERS = 60, 3


def table() -> pd.DataFrame:
    source = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "x": source.normal(size=COUNT),
            "colour": source.choice(["red", "blue", "green"], COUNT),
            "y": source.normal(size=COUNT),
            "size": source.choice(["s", "l"], COUNT),
        }
    )


@pytest.fixture(scope="module")
def density() -> TableDensity:
    flow = {"name": "maf", "transforms": 1, "hidden_features": (4,)}
    built = TableDensity(
        survey(Frame(table())), flow, members=MEMBERS, networks=MEMBERS, generator=generator(0)
    ).double()
    perturbed(built, scale=0.5).requires_grad_(False)
    built.flow.logits.zero_()  # the weights are equal, and stay so in training
    return built


def encoded(density: TableDensity) -> tuple[Tensor, Tensor]:
    x, context = Rows(Frame(table()), density.columns).block(0)
    return density.encoding(x, torch.zeros_like(x))[0], context


def test_the_density_of_the_numbers_is_the_mean_over_flows(density: TableDensity) -> None:
    y, context = encoded(density)
    each, _ = density(y, context)
    assert each.shape == (MEMBERS, COUNT)
    assert each.std(0).min() > 0
    assert density.categories is not None
    codes = density.places.split(y)[1]
    numbers = density.encoded_log_prob(y, context) - density.categories.log_prob(codes)
    torch.testing.assert_close(numbers, each.logsumexp(0) - math.log(MEMBERS))


def test_probabilities_of_all_categories_add_up_to_one(density: TableDensity) -> None:
    categories = density.categories
    assert categories is not None
    every = torch.cartesian_prod(torch.arange(4.0), torch.arange(3.0)).double()
    total = categories.log_prob(every).logsumexp(0)
    assert float(total) == pytest.approx(0, abs=1e-12)
    alone = categories.each_log_prob(every)
    torch.testing.assert_close(alone.logsumexp(1), torch.zeros(MEMBERS, dtype=torch.float64))


def test_the_first_category_s_probability_is_the_mean_over_networks(density: TableDensity) -> None:
    categories = density.categories
    assert categories is not None
    codes = torch.tensor([[0.0, 1.0], [2.0, 0.0], [3.0, 1.0]], dtype=torch.float64)
    found = categories.log_probs(codes)[:, 0].exp()
    every = torch.arange(3.0).double()
    first = [
        categories.each_log_prob(
            torch.stack([code[0].expand(3), every], -1)
        ).exp().sum(1).mean()
        for code in codes
    ]  # fmt: skip
    torch.testing.assert_close(found, torch.stack(first))


def test_each_member_and_the_imputer_have_losses(density: TableDensity) -> None:
    rows = Rows(Frame(table()), density.columns)
    losses = mean_losses(Trained(density, None), first_rows(rows), 0)
    paths = [path for group in density.paths for path in group]
    assert len(paths) == 2 * MEMBERS
    assert losses.keys() == {"loss", *(f"model.{path}.loss" for path in paths)}
    assert {path: density.get_submodule(path) for path in paths}  # all exist
    parts = sum(loss for name, loss in losses.items() if name != "loss") / MEMBERS
    assert losses["loss"] == pytest.approx(parts)


def test_members_differ_and_are_saved(tmp_path: Path) -> None:
    fitted = small(ensemble=3, steps=20).fit(table())
    weights = [flow.state_dict() for flow in fitted.model_.flows]
    first, second = (torch.cat([each.flatten() for each in one.values()]) for one in weights[:2])
    assert not torch.equal(first, second)
    fitted.save(tmp_path)
    again = FlowDensity.load(tmp_path)
    np.testing.assert_array_equal(again.score_samples(table()), fitted.score_samples(table()))
    assert again.settings_ == fitted.settings_
    drawn = again.sample(50, random_state=1)
    pd.testing.assert_frame_equal(drawn, fitted.sample(50, random_state=1))


def test_few_rows_are_learned_by_an_ensemble() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 2))
    fitted = FlowDensity("maf", steps=2, random_state=0).fit(rows)
    assert len(list(fitted.model_.flows)) == fitted.settings_.ensemble == 5
    with pytest.raises(ValueError, match="train with an ensemble of 1"):
        fitted.noise(rows)


def test_gaps_are_filled_by_an_ensemble() -> None:
    holes = table()
    holes.loc[::3, "x"] = np.nan
    holes.loc[1::4, "colour"] = None
    fitted = small(ensemble=2, missing="marginalise", steps=20).fit(holes)
    filled = fitted.expected(holes, random_state=0)
    assert not filled.isna().any().any()
    whole = holes.notna().all(axis=1)
    pd.testing.assert_frame_equal(filled[whole], holes[whole])


def test_gaps_are_filled_by_the_member_that_fits() -> None:
    """Of narrow members at (2, 2) and (-2, -2), given that one number is 2, the other is 2."""
    rows = np.random.default_rng(0).normal(size=(500, 2))
    options = {"missing": "marginalise", "steps": 1, "random_state": 0}
    fitted = FlowDensity("gaussian", ensemble=2, **options).fit(rows)
    features = fitted.model_.columns.features
    for centre, flow in zip((2.0, -2.0), fitted.model_.flows, strict=True):
        bias = [((centre - c.location) / c.scale, math.log(0.3 / c.scale)) for c in features]
        flow.transform.transforms[1].given.bias.data = torch.tensor(bias).flatten()
    x = np.array([[2.0, math.nan], [-2.0, math.nan], [math.nan, 2.0], [math.nan, -2.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the imputer has learned nothing: its draws are rough
        filled = np.mean([fitted.expected(x, random_state=seed) for seed in range(20)], 0)
    np.testing.assert_allclose(filled, [[2, 2], [-2, -2], [2, 2], [-2, -2]], atol=0.2)
    scores = fitted.score_samples([[2.0, 2.0], [-2.0, -2.0], [2.0, -2.0]])
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)
    assert scores[2] < scores[0] - 50
