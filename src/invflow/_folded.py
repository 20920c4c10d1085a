"""Sweeps under `torch.func.vmap`: the mapped dimension becomes part of the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def folded(
    operator: Callable[..., tuple[Tensor, ...]],
    names: int,
    axes: Sequence[int],
    result_axes: Sequence[int],
    info: Any,
    in_dims: Any,
    arguments: Any,
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Run a sweep under vmap: fold the new dimension into the batch.

    If weights, or arguments without a batch, are mapped over, there is one sweep for each element.

    Args:
        operator: the sweep; takes arguments without a batch, then tensors with one, then weights.
        names: number of arguments without a batch.
        axes: the batch dimension of each tensor, first (0) or last (-1).
        result_axes: the batch dimension of each result.
        info: from vmap, with the size of the new dimension.
        in_dims: the new dimension of each argument, or None.
        arguments: of the operator.
    """
    size = info.batch_size
    shared, tensors, weights = arguments[:names], arguments[names:-1], arguments[-1]
    shared_dims, tensor_dims, weight_dims = in_dims[:names], in_dims[names:-1], in_dims[-1]
    spread = [
        _spread(tensor, dim, axis, size)
        for tensor, dim, axis in zip(tensors, tensor_dims, axes, strict=True)
    ]
    places = [0 if axis == 0 else 1 for axis in result_axes]
    if any(dim is not None for dim in (*shared_dims, *weight_dims)):
        runs = [
            operator(
                *_selected(shared, shared_dims, i),
                *(tensor.select(place, i) for tensor, place in spread),
                _selected(weights, weight_dims, i),
            )
            for i in range(size)
        ]
        stacked = tuple(torch.stack(results) for results in zip(*runs, strict=True))
        return stacked, (0,) * len(stacked)
    flat = (tensor.flatten(place, place + 1) for tensor, place in spread)
    results = operator(*shared, *flat, weights)
    first, place = spread[0]
    shape = first.shape[place : place + 2]
    unfolded = (
        result.unflatten(place, shape) for result, place in zip(results, places, strict=True)
    )
    return tuple(unfolded), tuple(places)


def _spread(tensor: Tensor, dim: int | None, axis: int, size: int) -> tuple[Tensor, int]:
    """Move the new dimension before the batch; also return its place."""
    own = tensor.ndim - (dim is not None)
    place = 0 if axis == 0 else own - 1
    if dim is not None:
        return tensor.movedim(dim, place), place
    shape = [*tensor.shape[:place], size, *tensor.shape[place:]]
    return tensor.unsqueeze(place).expand(shape), place


def _selected(arguments: Sequence[Any], dims: Sequence[int | None], i: int) -> list[Any]:
    return [selected(argument, dim, i) for argument, dim in zip(arguments, dims, strict=True)]


def selected(tensor: Tensor, dim: int | None, i: int) -> Tensor:
    """Return element i of a tensor that is mapped over, or the tensor if it is not."""
    return tensor if dim is None else tensor.select(dim, i)
