"""Draws of a target as ArviZ's data: parameters, log likelihoods and the model's own data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invflow._version import __version__
from invflow.vi.targets.target import Target
from invflow.vi.trust._arviz import inference_data

Array = np.ndarray[Any, Any]
#: Draws whose log likelihoods are computed in one call, which bounds the memory of what comes
#: between.
DRAWS_AT_ONCE = 250


@torch.no_grad()
def inference(
    target: Target,
    z: Tensor,
    stats: Mapping[str, Tensor],
    attributes: Mapping[str, Any],
    *,
    log_likelihood: bool,
) -> Any:
    """Return ArviZ's InferenceData, or DataTree since ArviZ 1.0.

    Args:
        target: what the draws are of.
        z: unconstrained draws, (chains, draws, dim).
        stats: numbers about each draw, (chains, draws).
        attributes: of the whole, besides the name and the version of this library.
        log_likelihood: include the log likelihood of each observation, if the target gives it.

    Raises:
        ImportError: if ArviZ is not installed.
    """
    named = target.model_data
    samples = {"posterior": _arrays(target.constrain(z))}
    if log_likelihood:
        samples["log_likelihood"] = _pointwise(target, z)
    data = {"observed_data": named.observed, "constant_data": named.constant}
    shapes = {name: value.shape for group in data.values() for name, value in group.items()}
    for group in samples.values():
        shapes |= {name: value.shape[2:] for name, value in group.items() if name not in shapes}
    axes = {name: named.axes(name, shape) for name, shape in shapes.items() if name in named.dims}
    used = {axis for each in axes.values() for axis in each if axis is not None}
    return inference_data(
        {name: group for name, group in {**samples, **data}.items() if group}
        | {"sample_stats": _arrays(stats)},
        {"inference_library": "invflow", "inference_library_version": __version__, **attributes},
        axes,
        {axis: labels for axis, labels in named.coords.items() if axis in used},
    )


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    return {name: value.detach().cpu().numpy() for name, value in tensors.items()}


def _pointwise(target: Target, z: Tensor) -> dict[str, Array]:
    """Return the log likelihoods of observations, (chains, draws, *shape)."""
    rows = z.reshape(-1, z.shape[-1]).split(DRAWS_AT_ONCE)
    parts = [_arrays(target.log_likelihood(part)) for part in rows]
    return {
        name: np.concatenate([part[name] for part in parts]).reshape(
            *z.shape[:-1], *first.shape[1:]
        )
        for name, first in parts[0].items()
    }
