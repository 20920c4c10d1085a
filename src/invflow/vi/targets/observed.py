"""The observed sites of a Pyro model: their data, and the plates of all sites.

Imports Pyro: import this module only where Pyro is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import ExpandedDistribution, MaskedDistribution
from torch import Size, Tensor

from invflow._broadcast import broadcast
from invflow.vi.targets.model_data import ModelData
from invflow.vi.targets.sites import point


@dataclass(frozen=True)
class Observed:
    """An observed site, as found in the first run of the model.

    Args:
        value: its data, (*batch, *event).
        shape: of its log likelihoods, (*batch).
        kept: indices of the log likelihoods that are not masked, flat; None for all of them.
    """

    value: Tensor
    shape: Size
    kept: Tensor | None

    @property
    def data(self) -> Tensor:
        """The data that are not masked."""
        event = self.value.shape[len(self.shape) :]
        return self.value if self.kept is None else self.value.reshape(-1, *event)[self.kept]

    def picked(self, log_prob: Tensor) -> Tensor:
        """Return the log likelihoods that are not masked."""
        full = log_prob.expand(self.shape)
        return full if self.kept is None else full.reshape(-1)[self.kept.to(full.device)]


def observed(nodes: Mapping[str, Any]) -> dict[str, Observed]:
    """Return the observed sites of a trace that have data: not factors, and not deterministic."""
    found: dict[str, Observed] = {}
    for name, site in nodes.items():
        if site["type"] != "sample" or not site["is_observed"]:
            continue
        fn, value = site["fn"], torch.as_tensor(site["value"]).detach()
        if isinstance(fn, dist.Unit) or point(fn) is not None or type(fn).__name__ == "_Subsample":
            continue
        ndim = value.ndim - fn.event_dim
        shape = broadcast(value.shape[:ndim], fn.batch_shape)
        counted = _counted(site, shape)
        if counted.any():
            kept = None if counted.all() else counted.reshape(-1).nonzero().flatten()
            found[name] = Observed(value.expand(shape + value.shape[ndim:]), shape, kept)
    return found


def model_data(
    nodes: Mapping[str, Any], sites: Mapping[str, Observed], names: Sequence[str]
) -> ModelData:
    """Return the data of a model, with its plates as the names of axes.

    Args:
        nodes: of a trace.
        sites: the observed sites.
        names: of the other quantities.
    """
    dims: dict[str, list[str | None]] = {}
    coords: dict[str, Any] = {}
    whole = [name for name, site in sites.items() if site.kept is None]
    for name in [*names, *whole]:
        site = nodes[name]
        ndim = torch.as_tensor(site["value"]).ndim - site["fn"].event_dim
        frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
        plates = {ndim + frame.dim: frame.name for frame in frames}
        dims[name] = [plates.get(i) for i in range(ndim)]
        coords |= {frame.name: np.arange(frame.size) for frame in frames}
    data = {name: site.data.cpu().numpy() for name, site in sites.items()}
    return ModelData(observed=data, dims=dims, coords=coords)


def _counted(site: Mapping[str, Any], shape: Size) -> Tensor:
    """Return which entries of a site, (*batch), are not masked."""
    counted = torch.ones(shape, dtype=torch.bool)
    for mask in (site["mask"], *_masks(site["fn"])):
        if mask is not None:
            counted = counted & torch.as_tensor(mask).cpu()
    return counted


def _masks(fn: Any) -> list[Any]:
    """Return the masks of a distribution over its batch."""
    if not isinstance(fn, ExpandedDistribution | MaskedDistribution):
        return []
    own = [vars(fn)["_mask"]] if isinstance(fn, MaskedDistribution) else []
    return own + _masks(fn.base_dist)
