"""A Pyro model as a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from invflow.vi.target import Named, Parameter


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
        self._batched = self._can_be_batched()

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """Return latent and deterministic sites, (*batch, *shape) each."""
        values = super().constrain(z)
        rows = z.shape[:-1].numel()
        flat = {name: v.reshape(rows, *self.parameters[name].shape) for name, v in values.items()}
        traces = [self._trace({name: v[i] for name, v in flat.items()}) for i in range(rows)]
        for name in (
            [n for n, site in traces[0].nodes.items() if _deterministic(site)] if rows else []
        ):
            column = torch.stack([trace.nodes[name]["value"] for trace in traces])
            values[name] = column.reshape(*z.shape[:-1], *column.shape[1:])
        return values

    def _joint(self, **values: Tensor) -> Tensor:
        with self._pyro.validation_enabled(False):
            if self._batched:
                return torch.func.vmap(self._one)(values)
            count = len(next(iter(values.values())))
            return torch.stack(
                [self._one({name: v[i] for name, v in values.items()}) for i in range(count)]
            )

    def _one(self, values: dict[str, Tensor]) -> Tensor:
        return self._trace(values).log_prob_sum()

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
    return site["type"] == "sample" and not site["is_observed"] and not subsample


def _deterministic(site: dict[str, Any]) -> bool:
    return site["type"] == "sample" and bool(site["infer"].get("_deterministic"))
