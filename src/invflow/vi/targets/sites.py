"""The latent sites of a Pyro model, and the supports of their values in one run of it.

Imports Pyro: import this module only where Pyro is needed.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import ExpandedDistribution, MaskedDistribution
from pyro.poutine.messenger import Messenger
from torch import Size, Tensor
from torch.distributions import Independent

from invflow._log_density import BadTarget
from invflow.vi.targets import supports
from invflow.vi.targets.distributions import support

#: Suffix of the name that Pyro gives to the entries of a site that are missing by `obs_mask`.
UNOBSERVED = "_unobserved"


@dataclass(frozen=True)
class Site:
    """A latent site, as found in the first run of the model.

    Args:
        shape: of its unconstrained numbers.
        kept: indices of those that are free, flat; None for all. Entries observed by `obs_mask` are
            not free.
        circular: which of the free ones are angles, flat.
        angle: whether every entry of its values is an angle.
        value: one value of it.
    """

    shape: Size
    kept: Tensor | None
    circular: Tensor
    angle: bool
    value: Tensor

    @property
    def size(self) -> int:
        """The number of free numbers."""
        return len(self.circular)

    def filled(self, free: Tensor) -> Tensor:
        """Return all unconstrained numbers, (*shape), with `free`, (size,), for the free ones."""
        if self.kept is None:
            return free.reshape(self.shape)
        place = torch.full((self.shape.numel(),), self.size, device=free.device)
        place[self.kept.to(free.device)] = torch.arange(self.size, device=free.device)
        return torch.cat([free, free.new_zeros(1)])[place].reshape(self.shape)

    def picked(self, full: Tensor) -> Tensor:
        """Return the free numbers, (size,), among all unconstrained numbers, (*shape)."""
        flat = full.reshape(-1)
        return flat if self.kept is None else flat[self.kept.to(flat.device)]


class Sites(Messenger, ABC):
    """Gives latent sites values in their supports, which may depend on earlier sites.

    A site with Pyro's Delta always has its only value.
    """

    def _pyro_sample(self, msg: Any) -> None:
        msg["fn"] = _batchable(msg["fn"])
        subsample = type(msg["fn"]).__name__ == "_Subsample"
        if msg["is_observed"] or msg["done"] or subsample:
            return
        only = point(msg["fn"])
        msg["value"] = self.value(msg["name"], msg["fn"], msg["mask"]) if only is None else only
        msg["done"] = True

    @abstractmethod
    def value(self, name: str, fn: Any, mask: Any) -> Tensor:
        """Return a value for a latent site.

        Args:
            name: of the site.
            fn: its distribution.
            mask: which of its entries count, True or None for all.

        Raises:
            BadTarget: if a target cannot have such a site.
        """


class Look(Sites):
    """Finds the latent sites and gives them values in their supports, without random numbers.

    Args:
        phase: selects the values.
    """

    def __init__(self, phase: float) -> None:
        super().__init__()
        self.phase = phase
        self.found: dict[str, Site] = {}

    def value(self, name: str, fn: Any, mask: Any) -> Tensor:
        try:
            discrete = fn.support.is_discrete
        except (NotImplementedError, AttributeError):
            discrete = False
        if discrete:
            raise BadTarget(
                f"model must have continuous latent sites, got {name!r}, which is discrete: "
                "marginalise it first"
            )
        onto = _bijection(name, fn)
        try:
            size = supports.inverse_shape(onto, fn.batch_shape + fn.event_shape)
            free = 0.5 * torch.sin(self.phase + torch.arange(size.numel(), dtype=torch.float64))
            value = onto(free.reshape(size))
        except (ValueError, IndexError, AssertionError) as error:
            raise _without(name, fn, str(error)) from error
        if not bool(torch.isfinite(value).all()):
            raise _without(name, fn, "its bounds are not finite")
        kept, which = None, circular(fn, size).reshape(-1)
        if name.endswith(UNOBSERVED) and isinstance(mask, Tensor):
            entries = mask.expand(fn.batch_shape).reshape(fn.batch_shape + (1,) * 9)
            entries = entries.flatten(len(fn.batch_shape))
            kept = entries.expand(*fn.batch_shape, size[len(fn.batch_shape) :].numel())
            kept = kept.reshape(-1).nonzero().flatten()
            which = which[kept]
        self.found[name] = Site(size, kept, which, is_angle(fn), value)
        return value


class Place(Sites):
    """Maps unconstrained numbers to values, and adds up the log-Jacobians.

    Args:
        sites: found in the first run.
        z: the free numbers of all sites, shape (dim,).
    """

    def __init__(self, sites: Mapping[str, Site], z: Tensor) -> None:
        super().__init__()
        self.sites = sites
        parts = z.split([site.size for site in sites.values()])
        self.free = dict(zip(sites, parts, strict=True))
        self.ladj = z.new_zeros(())

    def value(self, name: str, fn: Any, mask: Any) -> Tensor:
        site, onto = known(self.sites, name, fn)
        free = site.filled(self.free.pop(name))
        value = onto(free)
        ladj = onto.log_abs_det_jacobian(free, value)
        if site.kept is not None:
            ladj = ladj.reshape(*fn.batch_shape, -1).sum(-1)
            ladj = torch.where(mask.expand(ladj.shape), ladj, 0.0)
        self.ladj = self.ladj + ladj.sum()
        return value

    def done(self) -> Tensor:
        """Return the log-Jacobian of all sites.

        Raises:
            BadTarget: if a site did not occur.
        """
        if self.free:
            raise _comes_and_goes(next(iter(self.free)))
        return self.ladj


class Lift(Sites):
    """Maps values to unconstrained numbers.

    Args:
        sites: found in the first run.
        values: of each site, by name; of a site with missing entries, by the whole site's name.
    """

    def __init__(self, sites: Mapping[str, Site], values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.sites, self.values = sites, values
        self.free: dict[str, Tensor] = {}

    def value(self, name: str, fn: Any, mask: Any) -> Tensor:
        site, onto = known(self.sites, name, fn)
        value = self.values[name.removesuffix(UNOBSERVED) if site.kept is not None else name]
        self.free[name] = site.picked(onto.inv(value))
        return value

    def done(self) -> Tensor:
        """Return the numbers of all sites, shape (dim,)."""
        return torch.cat([self.free[name] for name in self.sites])


def known(sites: Mapping[str, Site], name: str, fn: Any) -> tuple[Site, Any]:
    """Return a site of the first run, and the bijection onto its values in this run.

    Raises:
        BadTarget: if the first run did not have this site, or in another size.
    """
    if name not in sites:
        raise _comes_and_goes(name)
    site, onto = sites[name], _bijection(name, fn)
    size = supports.inverse_shape(onto, fn.batch_shape + fn.event_shape)
    if size != site.shape:
        raise BadTarget(
            "model must have latent sites of constant size, got site "
            f"{name!r} with {tuple(site.shape)} unconstrained numbers and then {tuple(size)}"
        )
    return site, onto


def bijection(fn: Any) -> Any:
    """Return a bijection from unconstrained numbers onto the values of a distribution.

    Raises:
        NotImplementedError: if there is none.
    """
    return supports.bijection(support(fn))


def circular(fn: Any, shape: Size) -> Tensor:
    """Return which unconstrained numbers of a value, of this shape, are angles."""
    return supports.circular(support(fn), shape)


def is_angle(fn: Any) -> bool:
    """Whether every entry of a distribution's values is an angle."""
    return supports.is_angle(support(fn))


def point(fn: Any) -> Tensor | None:
    """Return the only value of a distribution if it is Pyro's Delta, otherwise None."""
    if isinstance(fn, _WRAPPERS):
        found = point(fn.base_dist)
        return None if found is None else found.expand(fn.batch_shape + fn.event_shape)
    return fn.v if isinstance(fn, dist.Delta) else None


_WRAPPERS = (Independent, ExpandedDistribution, MaskedDistribution)


class _Multinomial(dist.Multinomial):
    """Pyro's Multinomial, with a log density that vmap can handle."""

    def log_prob(self, value: Tensor) -> Tensor:
        # A count of zero adds nothing even if its log probability is infinite.
        logs = torch.where(value == 0, 0.0, self.logits) * value
        ways = torch.lgamma(value.sum(-1) + 1) - torch.lgamma(value + 1).sum(-1)
        return ways + logs.sum(-1)


def _batchable(fn: Any) -> Any:
    """Return a distribution as one that vmap can handle, if there is a way."""
    if type(fn) is dist.Multinomial:
        fn = copy.copy(fn)
        fn.__class__ = _Multinomial
    elif isinstance(fn, _WRAPPERS) and _batchable(fn.base_dist) is not fn.base_dist:
        fn = copy.copy(fn)
        fn.base_dist = _batchable(fn.base_dist)
    return fn


def _bijection(name: str, fn: Any) -> Any:
    try:
        return bijection(fn)
    except NotImplementedError as error:
        raise _without(name, fn, str(error)) from error


def _without(name: str, fn: Any, why: str) -> BadTarget:
    return BadTarget(
        "model must have latent sites whose support has a bijection from unconstrained numbers, "
        f"got {name!r} with {type(fn).__name__}: {why}; sample real, positive or bounded numbers "
        "instead, and compute it from those"
    )


def _comes_and_goes(name: str) -> BadTarget:
    return BadTarget(
        f"model must have the same latent sites in every run, got {name!r}, which does not always "
        "occur"
    )
