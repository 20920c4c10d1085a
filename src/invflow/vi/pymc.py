"""A PyMC model as a target."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invflow.vi.external import Array, external
from invflow.vi.target import Target


def from_pymc(model: Any) -> PyMCTarget:
    """Return the posterior of a PyMC model.

    Density, gradient and constrained values are compiled by PyTensor, vectorised over draws.

    Args:
        model: with continuous free variables.

    Raises:
        TypeError: `model` is no PyMC model.
        ValueError: a discrete variable, or none that is free.
        ImportError: PyMC is not installed.
    """
    try:
        import pymc
    except ImportError as error:
        raise ImportError('from_pymc needs PyMC: pip install "invflow[pymc]"') from error
    if not isinstance(model, pymc.Model):
        raise TypeError(f"model must be a PyMC model, got {type(model).__name__}")
    if model.discrete_value_vars:
        names = ", ".join(str(variable.name) for variable in model.discrete_value_vars)
        raise ValueError(
            f"model must have continuous variables, got {names}, which is discrete: sum it out "
            "first (pymc.Mixture, pymc_extras.marginalize)"
        )
    if not model.value_vars:
        raise ValueError("model must have a free variable, got none: everything is observed")
    return PyMCTarget(model)


class PyMCTarget(Target):
    """The free variables of a PyMC model, on its unconstrained scale; made by `from_pymc`."""

    def __init__(self, model: Any) -> None:
        # Without types, which PyTensor declares in part.
        pytensor: Any = import_module("pytensor")
        pt: Any = import_module("pytensor.tensor")
        vectorize_graph: Any = import_module("pytensor.graph.replace").vectorize_graph

        start = model.initial_point()
        shapes = [np.shape(start[variable.name]) for variable in model.value_vars]
        sizes = [math.prod(shape) for shape in shapes]
        self.dim = sum(sizes)
        circular = import_module("pymc.logprob.transforms").CircularTransform
        angles = list[int]()
        rows, first, replaced = pt.dmatrix("z"), 0, dict[Any, Any]()
        for variable, shape, size in zip(model.value_vars, shapes, sizes, strict=True):
            part = rows[:, first : first + size].reshape((rows.shape[0], *shape))
            replaced[variable] = part.astype(variable.dtype)
            if isinstance(_transform(model, variable), circular):
                angles.extend(range(first, first + size))
            first += size
        self.angles = tuple(angles)
        self.angular = frozenset(
            str(model.values_to_rvs[variable].name)
            for variable in model.value_vars
            if isinstance(_transform(model, variable), circular)
        )
        value = vectorize_graph(model.logp(), replace=replaced)
        gradient = pt.grad(value.sum(), rows)
        self._density = pytensor.function([rows], [value, gradient])
        self._names = [str(variable.name) for variable in model.unobserved_RVs]
        quantities = model.replace_rvs_by_values(model.unobserved_RVs)
        self._constrain = pytensor.function(
            [rows], vectorize_graph(quantities, replace=replaced), on_unused_input="ignore"
        )

    def log_density(self, z: Tensor) -> Tensor:
        return external(self._value_and_gradient, z)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        batch = z.shape[:-1]
        found = self._constrain(z.detach().cpu().double().reshape(-1, self.dim).numpy())
        values: dict[str, Tensor] = {}
        for name, value in zip(self._names, found, strict=True):
            column = torch.from_numpy(np.array(value)).to(z)
            values[name] = column.reshape(*batch, *column.shape[1:])
        return values

    def _value_and_gradient(self, rows: Array) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):  # what is not finite is the caller's to count
            value, gradient = self._density(rows)
        return value, gradient


def _transform(model: Any, variable: Any) -> Any:
    """Return what takes a variable's values to the unconstrained scale; None for nothing."""
    return model.rvs_to_transforms[model.values_to_rvs[variable]]
