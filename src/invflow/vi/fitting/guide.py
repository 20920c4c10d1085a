"""An inverse autoregressive flow as a guide for Pyro's own SVI.

Imports Pyro: `invflow.vi` imports this module only when `AutoIAF` is used.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import biject_to
from torch.distributions.constraints import Constraint

from invflow import _checks
from invflow.flows import IAF, Flow, Preconditioned, Wrapped, to_pyro
from invflow.transforms import AsTorch
from invflow.vi.targets import sites

# Untyped, because Pyro declares only some of its types.
_autoguide: Any = import_module("pyro.infer.autoguide")

#: Draws from which quantiles are computed.
QUANTILE_DRAWS = 4000


class AutoIAF(_autoguide.AutoContinuous):
    """A guide for Pyro's `SVI`, a drop-in replacement for `AutoIAFNormal`.

    The flow is centred at Pyro's initial location, in unconstrained space. The support of a site
    may depend on the values of earlier sites; angles, of von Mises and related distributions, are
    on the circle. For a fit that finds scales and modes by itself, and reports whether to trust it,
    use `fit(from_pyro(model, ...))`.

    Args:
        model: a Pyro model.
        init_scale: initial standard deviation.
        init_loc_fn: initial location, as for Pyro's guides; by default the median of the prior.
        seed: random seed of the flow's initial weights.
        **flow: arguments of `invflow.IAF`, such as `transforms` and `hidden_features`;
            `input_bound` is None by default, because conditioners read the flow's own noise.

    Raises:
        TypeError: if an option is not one of the flow's.
        ValueError: if the scale is not positive; on the first call, if a site has Pyro's Delta, or
            missing entries.

    Example:
        >>> import pyro
        >>> from pyro.infer import SVI, Trace_ELBO
        >>> def model():
        ...     z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        >>> guide = AutoIAF(model, transforms=2)
        >>> svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())
        >>> loss = svi.step()
        >>> guide()["z"].shape
        torch.Size([3])
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        init_scale: float = 0.1,
        init_loc_fn: Callable[..., Any] | None = None,
        seed: int = 0,
        **flow: Any,
    ) -> None:
        if not init_scale > 0:
            raise ValueError(f"init_scale must be positive, got {init_scale!r}")
        super().__init__(model, init_loc_fn=init_loc_fn or _autoguide.init_to_median)
        # In a tuple, so that it does not become a submodule of the guide.
        self._bare: tuple[Callable[..., Any]] | None = (model,)
        self._init_scale, self._seed = init_scale, _checks.integer("seed", seed)
        self._config: dict[str, Any] = {"input_bound": None, **flow}
        self._arguments: tuple[tuple[Any, ...], dict[str, Any]] = (), {}

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        self._arguments = args, kwargs
        prototype: Any = self.prototype_trace
        nodes = dict(prototype.iter_stochastic_nodes())
        try:
            for name, node in nodes.items():
                _check_free(name, node)
        except ValueError:
            self.prototype_trace = None  # so that the next call raises again
            raise
        found = {name: node["fn"] for name, node in nodes.items()}
        self._dependent = any(_varies(fn.support) for fn in found.values())
        location = self._init_loc()
        generator = torch.Generator().manual_seed(self._seed)
        which = torch.cat(
            [
                sites.circular(fn, self._unconstrained_shapes[name]).reshape(-1)
                for name, fn in found.items()
            ]
        ).to(location.device)
        inner = Preconditioned(IAF(self.latent_dim, generator=generator, **self._config))
        inner.to(location)
        centre = location.masked_fill(~which, 0.0)
        scale = self._init_scale * torch.eye(self.latent_dim).to(location)
        inner.set(location - centre, scale)
        self.flow: Flow = inner
        if angles := which.nonzero().flatten().tolist():
            wrapped = Wrapped(inner, angles).to(location)
            wrapped.set(centre[which], torch.zeros_like(centre[which]))
            self.flow = wrapped

    def get_base_dist(self) -> Any:
        zeros = self.flow.like.new_zeros(self.latent_dim)
        return dist.Normal(zeros, torch.ones_like(zeros)).to_event(1)

    def get_transform(self, *args: Any, **kwargs: Any) -> AsTorch:
        return self.flow.transform.as_torch()

    def get_posterior(self, *args: Any, **kwargs: Any) -> Any:
        return to_pyro(self.flow())

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        self._arguments = args, kwargs
        return super().forward(*args, **kwargs)

    def median(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Return the elementwise median of each latent site, from draws of the guide."""
        return {name: value[0] for name, value in self.quantiles([0.5], *args, **kwargs).items()}

    @torch.no_grad()
    def quantiles(
        self, quantiles: Sequence[float] | Tensor, *args: Any, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Return elementwise quantiles of each latent site, from draws of the guide.

        Args:
            quantiles: between 0 and 1.
            *args: arguments of the model.
            **kwargs: keyword arguments of the model.

        Returns:
            By name, (quantiles, *shape) each.
        """
        if self.prototype_trace is None:
            self._setup_prototype(*args, **kwargs)
        if args or kwargs:
            self._arguments = args, kwargs
        generator = torch.Generator(self.flow.like.device).manual_seed(self._seed)
        draws = self.flow().sample((QUANTILE_DRAWS,), generator=generator)
        frames = [f for stack in self._cond_indep_stacks.values() for f in stack if f.dim]
        plates = max((-frame.dim for frame in frames), default=0)
        latent = draws.reshape(QUANTILE_DRAWS, *(1,) * plates, self.latent_dim)
        at = torch.as_tensor(quantiles).to(draws)
        prototype: Any = self.prototype_trace
        nodes = prototype.iter_stochastic_nodes()
        shapes = {name: node["value"].shape for name, node in nodes}
        found: dict[str, Tensor] = {}
        for site, free in self._unpack_latent(latent):
            value = biject_to(site["fn"].support)(free)
            shape = shapes[site["name"]]
            found[site["name"]] = torch.quantile(value.reshape(QUANTILE_DRAWS, *shape), at, dim=0)
        return found

    def _unpack_latent(self, latent: Tensor) -> Iterator[tuple[Any, Tensor]]:
        """Yield sites, with supports at the values of earlier ones, and their numbers."""
        parts: list[tuple[Any, Tensor]] = list(super()._unpack_latent(latent))
        if not self._dependent:
            yield from parts
            return
        if self._bare is None:
            raise RuntimeError(
                "the guide needs its model, because supports depend on the values of sites, but "
                "a model that is not a function of a module was not pickled with it: make a new "
                "guide of the model, call it once, and load the state_dict() of this one"
            )
        follow = _Follow({site["name"]: free for site, free in parts})
        args, kwargs = self._arguments
        with torch.random.fork_rng(devices=[]), poutine.block(), follow:
            self._bare[0](*args, **kwargs)
        for site, free in parts:
            yield {**site, "fn": follow.fns[site["name"]]}, free

    def __getstate__(self) -> dict[str, Any]:
        model, master = self._model, self.master
        try:
            state = dict(super().__getstate__())  # Pyro's removes the model from the guide itself
        finally:
            self._model, self.master = model, master
        state["_model"] = state["master"] = None
        function = self._bare and self._bare[0]
        if "<" in getattr(function, "__qualname__", "<"):  # not a module-level function
            state["_bare"] = None
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> AutoIAF:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        twin._model, twin._bare = self._model, self._bare
        return twin


class _Follow(Messenger):
    """Sets the sites of a model from unconstrained numbers, and records their distributions.

    Args:
        free: unconstrained numbers of each latent site.
    """

    def __init__(self, free: dict[str, Tensor]) -> None:
        super().__init__()
        self.free = free
        self.fns: dict[str, Any] = {}

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.free and not msg["is_observed"]:
            self.fns[msg["name"]] = msg["fn"]
            msg["value"] = biject_to(msg["fn"].support)(self.free[msg["name"]])
            msg["done"] = True


def _check_free(name: str, node: dict[str, Any]) -> None:
    """Check that the density can be integrated over the values of a site.

    Raises:
        ValueError: if it cannot.
    """
    if sites.point(node["fn"]) is not None:
        raise ValueError(
            f"model must have latent sites that can vary, got {name!r} with Delta: make it "
            "pyro.deterministic, or use fit(from_pyro(model))"
        )
    mask = node["mask"]
    if name.endswith(sites.UNOBSERVED) and isinstance(mask, Tensor) and not bool(mask.all()):
        raise ValueError(
            f"model must have complete latent sites, got {name!r}, of which obs_mask excludes "
            "some entries: sample the observed entries at a separate site, or use "
            "fit(from_pyro(model))"
        )


def _varies(constraint: Any) -> bool:
    """Whether a constraint has tensors as bounds, which may depend on the values of sites."""
    if isinstance(constraint, Tensor):
        return True
    if isinstance(constraint, list | tuple):
        return any(_varies(part) for part in constraint)
    return isinstance(constraint, Constraint) and any(map(_varies, vars(constraint).values()))
