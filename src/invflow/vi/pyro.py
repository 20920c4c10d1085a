"""A Pyro model as a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from invflow.vi.target import BadTarget, Named, Parameter


def from_pyro(model: Callable[..., Any], *args: Any, **kwargs: Any) -> PyroTarget:
    """Return the posterior of a Pyro model's latent sites, given its observed ones.

    Draws are taken through the model all at once, by `torch.func.vmap`; a model that decides by
    the values of its sites is taken through one draw after the other.

    Args:
        model: with observed sites, through `obs=` or `pyro.condition`.
        *args: of the model.
        **kwargs: of the model.

    Raises:
        TypeError: `model` cannot be called.
        ValueError: no latent site, or one that is discrete.
        ImportError: Pyro is not installed.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> def model(y):
        ...     tau = pyro.sample("tau", dist.HalfCauchy(5.0))
        ...     pyro.sample("y", dist.Normal(0.0, tau).expand([3]).to_event(1), obs=y)
        >>> target = from_pyro(model, torch.tensor([1.0, -2.0, 0.5]))
        >>> target.constrain(torch.zeros(2, 1))["tau"]
        tensor([1., 1.])
    """
    if not callable(model):
        raise TypeError(f"model must be a Pyro model, got {type(model).__name__}")
    return PyroTarget(model, args, kwargs)


class PyroTarget(Named):
    """The latent sites of a Pyro model; made by `from_pyro`."""

    caveat = ""  # Pyro's densities have all of their constants.

    def __init__(
        self, model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        try:
            import pyro
            from pyro import poutine
        except ImportError as error:
            raise ImportError('from_pyro needs Pyro: pip install "invflow[pyro]"') from error
        self._pyro, self._poutine = pyro, poutine
        self._model, self._args, self._kwargs = model, args, kwargs
        with torch.random.fork_rng(devices=[]):  # looking at a model is no reason to draw numbers
            trace = self._trace({})
        for name, site in trace.nodes.items():
            if _subsamples(site):
                raise ValueError(
                    f"model must take all of its data, got plate {name!r} with a subsample: for "
                    "part of it at a time, use vi.Subsampled"
                )
        sites = {name: site for name, site in trace.nodes.items() if _latent(site)}
        for name, site in sites.items():
            if site["fn"].support.is_discrete:
                raise ValueError(
                    f"model must have continuous latent sites, got {name!r}, which is discrete: "
                    "sum it out first"
                )
        if not sites:
            raise ValueError("model must have a latent site, got none: everything is observed")
        parameters = {
            name: Parameter(site["fn"].support, tuple(site["value"].shape))
            for name, site in sites.items()
        }
        super().__init__(self._joint, parameters)
        self._deterministic = [n for n, site in trace.nodes.items() if _deterministic(site)]
        self._batched = self._can_be_batched()

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """Return latent and deterministic sites, (*batch, *shape) each."""
        values = super().constrain(z)
        if self._deterministic and len(z):
            rows = z.shape[:-1].numel()
            flat = {
                name: v.reshape(rows, *self.parameters[name].shape) for name, v in values.items()
            }
            for name, column in self._over_rows(self._derived, flat).items():
                values[name] = column.reshape(*z.shape[:-1], *column.shape[1:])
        return values

    def _joint(self, **values: Tensor) -> Tensor:
        return self._over_rows(lambda row: {"": self._one(row)}, values)[""]

    def _over_rows(
        self, run: Callable[[dict[str, Tensor]], dict[str, Tensor]], values: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return what `run` gives for each row of the values, stacked."""
        with self._pyro.validation_enabled(False):
            if self._batched:
                return torch.func.vmap(run)(values)
            count = len(next(iter(values.values())))
            rows = [run({name: v[i] for name, v in values.items()}) for i in range(count)]
            return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _one(self, values: dict[str, Tensor]) -> Tensor:
        trace = self._trace(values)
        # Those that values were given for are observed now.
        odd = {name for name, site in trace.nodes.items() if _latent(site)}
        if odd := odd | (self.parameters.keys() - trace.nodes.keys()):
            raise BadTarget(
                "model must have the same latent sites whatever their values, got "
                f"{sorted(odd)[0]!r}, which is not always there"
            )
        return trace.log_prob_sum()

    def _derived(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        nodes = self._trace(values).nodes
        return {name: nodes[name]["value"] for name in self._deterministic}

    def _trace(self, values: dict[str, Tensor]) -> Any:
        conditioned = self._poutine.condition(self._model, data=values)
        return self._poutine.trace(conditioned).get_trace(*self._args, **self._kwargs)

    def _can_be_batched(self) -> bool:
        self._batched = True
        z = torch.zeros(2, self.dim, dtype=torch.float64)
        try:
            self.log_density(z)
        except RuntimeError:  # vmap's, where values decide
            return False
        return True


def _latent(site: dict[str, Any]) -> bool:
    subsample = type(site.get("fn")).__name__ == "_Subsample"
    derived = _deterministic(site) if site["type"] == "sample" else False
    return site["type"] == "sample" and not site["is_observed"] and not subsample and not derived


def _subsamples(site: dict[str, Any]) -> bool:
    fn: Any = site.get("fn")
    taken = getattr(fn, "subsample_size", None)
    return type(fn).__name__ == "_Subsample" and taken is not None and taken < fn.size


def _deterministic(site: dict[str, Any]) -> bool:
    return site["type"] == "sample" and bool(site["infer"].get("_deterministic"))
