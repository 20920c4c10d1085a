"""The data, the axes and the pointwise likelihoods of PyMC's models, and PyMC's own use of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from invflow.flows import Gaussian
from invflow.vi import Posterior, from_pymc
from invflow.vi.targets.model_data import ModelData
from tests.helpers import randn
from tests.vi.trust.test_verdict import gaussian

pymc = pytest.importorskip("pymc", reason="needs PyMC")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
SCHOOLS, ITEMS = list("ABCDEFGH"), ["x", "y"]
Y = randn(8).numpy()


def two_likelihoods() -> Any:
    """A missing value, an observed vector, one that depends on no parameter, and a potential."""
    missing = np.where(np.arange(8) == 2, np.nan, Y)
    with pymc.Model(coords={"school": SCHOOLS, "item": ITEMS}) as model:
        scale = pymc.Data("scale", np.ones(8), dims="school")
        mu = pymc.Normal("mu", 0.0, 5.0)
        t = pymc.Normal("t", 0.0, scale, dims="school")
        theta = pymc.Deterministic("theta", mu + t, dims="school")
        pymc.Normal("y", theta, 1.0, observed=missing, dims="school")
        pairs = np.stack([Y, Y], 1)
        pymc.MvNormal("w", mu * np.ones(2), np.eye(2), observed=pairs, dims=("school", "item"))
        pymc.Normal("fixed", 0.0, 1.0, observed=np.ones(3))
        pymc.Potential("p", -(mu**2))
    return model


def test_pointwise_likelihoods_are_those_of_pymc() -> None:
    model = two_likelihoods()
    target = from_pymc(model)
    z = randn(3, target.dim)
    found = target.log_likelihood(z)
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    assert shapes == {"y_observed": (3, 7), "w": (3, 8), "fixed": (3, 3)}
    terms = model.logp(vars=model.observed_RVs, sum=False)
    rows = model.compile_fn(terms, inputs=model.value_vars, on_unused_input="ignore")
    named = target.constrain(z)
    for i in range(3):
        point = {name: named[name][i].numpy() for name in ("mu", "t", "y_unobserved")}
        for value, expected in zip(found.values(), rows(point), strict=True):
            np.testing.assert_allclose(value[i], np.broadcast_to(expected, value[i].shape))


def test_data_and_axes_are_those_of_the_model() -> None:
    target = from_pymc(two_likelihoods())
    data = Posterior(target, Gaussian(target.dim).double()).to_arviz(20)
    assert data.posterior["theta"].dims == ("chain", "draw", "school")
    assert data.posterior["theta"].coords["school"].values.tolist() == SCHOOLS
    assert data.posterior["y"].dims == ("chain", "draw", "school")
    np.testing.assert_array_equal(data.posterior["y"][0, :, 3], np.full(20, Y[3]))
    assert data.log_likelihood["w"].dims == ("chain", "draw", "school")
    assert data.observed_data["w"].dims == ("school", "item")
    np.testing.assert_array_equal(data.observed_data["y_observed"], np.delete(Y, 2))
    np.testing.assert_array_equal(data.constant_data["scale"], np.ones(8))


def test_an_axis_of_another_length_than_its_labels_has_no_name() -> None:
    dims = {"a": ["t", None], "c": ["draw", "t"]}
    data = ModelData(dims=dims, coords={"t": [1, 2, 3], "draw": [1, 2]})
    assert data.axes("a", (3, 5)) == ["t", None]
    assert data.axes("a", (2, 5)) == [None, None]
    assert data.axes("a", (3,)) == ["t"]
    assert data.axes("b", (3,)) == []
    assert data.axes("c", (2, 3)) == [None, "t"]  # "draw" is ArviZ's


def regression() -> Any:
    """A normal mean in a model with data that can be set, and a prior that depends on them."""
    with pymc.Model(coords={"row": range(8)}) as model:
        x = pymc.Data("x", np.ones(8), dims="row")
        slope = pymc.Normal("slope", 0.0, 2.0 * x[0])
        pymc.Deterministic("twice", 2 * slope)
        pymc.Normal("y", slope * x, 1.0, observed=Y, dims="row")
    return model


def test_posterior_predictive_draws_are_of_the_posterior() -> None:
    """Nothing is drawn from its prior instead: PyMC does so where it misses data or labels."""
    model = regression()
    precision = 8 + 0.25
    mean, variance = Y.sum() / precision, 1 / precision
    data = Posterior(from_pymc(model), gaussian(1, mean + 0.2, 0.5)).to_arviz(4000)
    with model:
        again = pymc.sample_posterior_predictive(
            data, var_names=["y", "twice"], random_seed=1, progressbar=False
        )
    drawn = again.posterior_predictive
    np.testing.assert_array_equal(drawn["twice"], data.posterior["twice"])
    assert drawn["y"].dims == ("chain", "draw", "row")
    assert float(drawn["y"].mean()) == pytest.approx(mean, abs=0.03)
    assert float(drawn["y"].std()) == pytest.approx(np.sqrt(1 + variance), abs=0.02)
    with model:
        pymc.set_data({"x": np.full(3, 2.0)}, coords={"row": range(3)})
        new = pymc.sample_posterior_predictive(
            data, var_names=["y"], predictions=True, random_seed=1, progressbar=False
        )
    assert new.predictions["y"].dims == ("chain", "draw", "row")


def test_dimensions_are_labelled_as_they_can_be() -> None:
    """By tuples, which NumPy would take for a matrix; by numbers where there is only a length."""
    with pymc.Model(coords={"pair": [("a", 1), ("b", 2)]}) as model:
        model.add_coord("time", length=3)
        pymc.Normal("x", 0.0, 1.0, dims=("pair", "time"))
    coords = from_pymc(model).model_data.coords
    assert list(coords["pair"]) == [("a", 1), ("b", 2)]
    assert list(coords["time"]) == [0, 1, 2]


def test_data_and_likelihoods_have_one_name_and_order() -> None:
    target = from_pymc(regression())
    data = Posterior(target, gaussian(1)).to_arviz(10)
    slope = torch.as_tensor(data.posterior["slope"].values[0])
    expected = torch.distributions.Normal(slope[:, None], 1.0).log_prob(torch.from_numpy(Y))
    np.testing.assert_allclose(data.log_likelihood["y"][0], expected)
    np.testing.assert_array_equal(data.observed_data["y"], Y)
