"""A PyMC model as a target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invflow.vi.targets import graphs
from invflow.vi.targets.external import Array, external
from invflow.vi.targets.pymc_data import model_data
from invflow.vi.targets.target import Target

#: Distributions that have no normalising constant, may lack it, or have a wrong one (LKJ).
UNNORMALISED = ("Flat", "HalfFlat", "LKJ", "CustomDist")

#: Distributions whose latent variables have no density on a real space, and what to use instead.
REFUSED = {
    "Censored": "which has point masses at its bounds: use pymc.Truncated, or make it observed",
    "Wishart": "which PyMC does not keep positive definite: use pymc.LKJCholeskyCov",
}


def from_pymc(model: Any) -> PyMCTarget:
    """Return the posterior of a PyMC model.

    Density, gradient and constrained values are functions of PyTensor, vectorised over draws. They
    run in NumPy at first, without a wait. The density is compiled by Numba once it has taken about
    20 seconds, by the number of its operations, which changes the last digits of its values. Some
    matrices PyTensor cannot vectorise: draws are then evaluated one by one, with a warning.
    Variables that PyMC maps around a circle are angles.

    Args:
        model: a PyMC model with continuous free variables.

    Raises:
        TypeError: if `model` is not a PyMC model.
        ValueError: if a free variable is discrete or censored, there is none, the density has no
            gradient, or it uses a random part of the data.
        ImportError: if PyMC is not installed.
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
            f"model must have continuous variables, got {names}, which is discrete: marginalise it "
            "first (pymc.Mixture, pymc_extras.marginalize)"
        )
    if not model.value_vars:
        raise ValueError("model must have a free variable, got none: all variables are observed")
    for variable in model.free_RVs:
        if (reason := REFUSED.get(_kind(variable))) is not None:
            raise ValueError(f"model must have continuous variables, got {variable.name}, {reason}")
    return PyMCTarget(model)


class PyMCTarget(Target):
    """The free variables of a PyMC model, on its unconstrained scale; made by `from_pymc`."""

    def __init__(self, model: Any) -> None:
        # Untyped, because PyTensor declares only some of its types.
        pt: Any = import_module("pytensor.tensor")
        graph_replace: Any = import_module("pytensor.graph.replace").graph_replace

        point = model.initial_point()
        starts = [np.asarray(point[variable.name]) for variable in model.value_vars]
        self.dim = sum(start.size for start in starts)
        self._names = [str(variable.name) for variable in model.unobserved_RVs]
        self.caveat = _caveat(model)
        self.model_data = model_data(model)

        circular: Any = import_module("pymc.logprob.transforms").CircularTransform
        angles, angular = list[int](), list[str]()
        vector, first, replaced = pt.dvector("z"), 0, dict[Any, Any]()
        for variable, start in zip(model.value_vars, starts, strict=True):
            part = vector[first : first + start.size].reshape(start.shape)
            replaced[variable] = part.astype(variable.dtype)
            drawn = model.values_to_rvs[variable]
            if isinstance(model.rvs_to_transforms[drawn], circular):
                angles.extend(range(first, first + start.size))
                angular.append(str(drawn.name))
            first += start.size
        self.angles, self.angular = tuple(angles), frozenset(angular)
        quantities = model.replace_rvs_by_values(model.unobserved_RVs)
        log_density = model.logp()
        if import_module("pymc.pytensorf").rvs_in_graph([log_density]):
            raise ValueError(
                "model must use all of its data, got a log density that draws random numbers, as "
                "pymc.Minibatch does: to subsample the data, use vi.Subsampled"
            )
        value, *quantities = graph_replace(
            [log_density, *quantities], replace=replaced, strict=False
        )
        start = np.concatenate([start.ravel() for start in starts])
        try:
            self._density = graphs.Density(value, vector, start)
        except NotImplementedError as error:
            line = str(error).partition("\n")[0]
            raise ValueError(f"model must have a gradient, got none: {line}") from error
        self._constrain = graphs.over_rows(quantities, vector, start, graphs.in_numpy())
        self._pointwise = _Pointwise(model, replaced, vector, start)

    def log_density(self, z: Tensor) -> Tensor:
        return external(self._density, z)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        found = self._constrain(z.detach().cpu().double().reshape(-1, self.dim).numpy())
        return _like(z, self._names, found)

    def log_likelihood(self, z: Tensor) -> dict[str, Tensor]:
        """Return that of each observed variable, under the variable's name."""
        found = self._pointwise(z.detach().cpu().double().numpy())
        return _like(z, self._pointwise.names, found)


class _Pointwise:
    """The log likelihoods of observed variables for rows of vectors, built when first needed.

    Args:
        model: a PyMC model.
        replaced: the model's value variables by parts of the vector.
        vector: a vector of all of them.
        start: a value of it.
    """

    def __init__(self, model: Any, replaced: dict[Any, Any], vector: Any, start: Array) -> None:
        self._what = model, replaced, vector, start
        self.names = [str(variable.name) for variable in model.observed_RVs]

    def __call__(self, rows: Array) -> Sequence[Array]:
        with np.errstate(all="ignore"):
            return self._run(rows) if self.names else []

    @cached_property
    def _run(self) -> Callable[[Array], Sequence[Array]]:
        graph_replace: Any = import_module("pytensor.graph.replace").graph_replace
        model, replaced, vector, start = self._what
        values = model.logp(vars=model.observed_RVs, sum=False)
        return graphs.over_rows(
            graph_replace(values, replaced, strict=False), vector, start, graphs.in_numpy()
        )


def _like(z: Tensor, names: Sequence[str], found: Sequence[Array]) -> dict[str, Tensor]:
    """Return results for rows, (rows, *shape) each, as tensors like `z`, (*batch, dim), by name."""
    values: dict[str, Tensor] = {}
    for name, value in zip(names, found, strict=True):
        column = torch.from_numpy(np.array(value)).to(z)
        values[name] = column.reshape(*z.shape[:-1], *column.shape[1:])
    return values


def _caveat(model: Any) -> str:
    """Return a sentence about the terms of a model that may lack normalising constants."""
    ordered: Any = import_module("pymc.distributions.transforms").Ordered
    found = [
        f"{variable.name} ({_kind(variable)})"
        for variable in model.basic_RVs
        if _kind(variable).startswith(UNNORMALISED)
    ]
    found += [
        f"{variable.name} (ordered)"
        for variable in model.free_RVs
        if isinstance(model.rvs_to_transforms[variable], ordered)
    ]
    found += [f"{term.name} (Potential)" for term in model.potentials]
    if not found:
        return ""
    return (
        "The log evidence is that of the density as PyMC defines it, in which these terms need not "
        f"be normalised: {', '.join(found)}."
    )


def _kind(variable: Any) -> str:
    """Return the name of a variable's distribution."""
    return type(variable.owner.op).__name__.removesuffix("RV").strip("_").partition("_")[0]
