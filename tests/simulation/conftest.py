"""Estimators that are trained once."""

from __future__ import annotations

import pytest

from invflow.simulation import NLE, NPE, Settings, fit
from tests.simulation import known


@pytest.fixture(scope="session")
def linear() -> NPE:
    """The posterior of the linear model, by a flow that can be exact."""
    settings = Settings("gaussian", steps=1500, learning_rate=1e-2, ensemble=1)
    found = fit(known.gaussian(4000, 0), known.gaussian_prior(), settings=settings)
    assert isinstance(found, NPE)
    return found


@pytest.fixture(scope="session")
def box() -> NPE:
    """The posterior of a location in a box, by an ensemble."""
    settings = Settings("maf", transforms=2, ensemble=2, steps=400, hidden_features=(32,))
    found = fit(known.boxed(2000, 0), known.boxed_prior(), settings=settings)
    assert isinstance(found, NPE)
    return found


@pytest.fixture(scope="session")
def likelihood() -> NLE:
    """The likelihood of the linear model, by a flow that can be exact."""
    settings = Settings("gaussian", steps=1500, learning_rate=1e-2, ensemble=1)
    found = fit(known.gaussian(4000, 0), known.gaussian_prior(), method="nle", settings=settings)
    assert isinstance(found, NLE)
    return found
