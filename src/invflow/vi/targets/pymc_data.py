"""The data, dimensions and coordinates of a PyMC model, as PyMC gives them to ArviZ.

`pymc.sample_posterior_predictive` compares them with the model's, and draws a variable from its
prior if anything that it depends on is missing or has changed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from invflow.vi.targets.model_data import Array, ModelData


def model_data(model: Any) -> ModelData:
    """Return what a PyMC model knows of its data.

    Args:
        model: a `pymc.Model`.
    """
    arviz: Any = import_module("pymc.backends.arviz")
    _, dims = arviz.coords_and_dims_for_inferencedata(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of data that are computed from random numbers
        observed = arviz.find_observations(model)
    return ModelData(
        observed=observed,
        constant=arviz.find_constants(model),
        dims=dims,
        coords={
            name: _labels(model.coords[name], size) for name, size in model.dim_lengths.items()
        },
    )


def _labels(given: Sequence[Any] | None, size: Any) -> Array:
    """Return the labels of a dimension, one for each entry even if they are tuples."""
    if given is None:
        return np.arange(int(size.eval()))
    labels = np.array(given)
    if labels.ndim > 1:
        labels = np.empty(len(given), object)
        labels[:] = given
    return labels
