"""The forward sweep: one opaque operator on plain tensors.

One step for `torch.compile`, whatever the number of features, and for `torch.func`, which folds its
own dimension into the batch. Tensors here are feature-major: [features, batch], [units, batch].
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

from invflow import univariate as univariates
from invflow._operator import fake, mapped, operator, reverse_only
from invflow.conditioners import CONDITIONERS, CachedConditioner, Plan
from invflow.conditioners.soft_clip import soft_clip
from invflow.univariate import Univariate

#: z, the parameters and the decoder's hidden state.
Solution = tuple[Tensor, Tensor, Tensor]


@dataclasses.dataclass(frozen=True)
class Method:
    """What the tensors of a sweep mean: the conditioner's name and plan, the univariate map.

    Plan and map also stand here as strings, which is how the operators take them, and by which
    methods are compared. What the conditioner reads of features is bounded: see `soft_clip`.
    """

    kind: str
    plan: Plan = dataclasses.field(compare=False)
    univariate: Univariate = dataclasses.field(compare=False)
    plan_recipe: str
    univariate_recipe: str
    input_bound: float = math.inf

    @property
    def recipes(self) -> tuple[str, str, float]:
        """All but the kind, as the operators take it."""
        return self.plan_recipe, self.univariate_recipe, self.input_bound


def plan_of(kind: str, recipe: str) -> Plan:
    """Return the plan of a conditioner's name and its recipe."""
    return cast(type[CachedConditioner], CONDITIONERS[kind]).plan_from(recipe)


def call(function: type[Function], method: Method, *tensors: Tensor) -> Any:
    """Apply an autograd function; its operator alone where there is no gradient to be taken.

    (`torch.compile` cannot trace an autograd function with a variable number of arguments then.)
    """
    enabled = torch.is_grad_enabled()
    if torch.compiler.is_compiling():
        taken = enabled and any(tensor.requires_grad for tensor in tensors)
    else:  # an operator would give derivatives in forward mode as zero
        taken = enabled or cast(Any, torch.autograd.forward_ad)._current_level >= 0
    if taken:
        return reverse_only(function, method, *tensors)
    return cast(Any, function).forward(method, *tensors)


def unmixed(like: Tensor) -> AbstractContextManager[object]:
    """Leave autocast: a sweep is in the dtype of its tensors, each step rounding the next."""
    return torch.autocast(like.device.type, enabled=False)


@operator
def decode(
    kind: str,
    recipe: str,
    univariate: str,
    input_bound: float,
    x: Tensor,
    offset: Tensor,
    weights: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """The forward sweep: z, parameters, and the decoder's hidden state."""
    decoder = plan_of(kind, recipe).decoder(offset, weights)
    solve = univariates.from_recipe(univariate).solver(x)
    z: list[Tensor] = []
    with unmixed(x):
        for feature, row in enumerate(x.contiguous().unbind(0)):
            z.append(solve(row, decoder.parameters(feature).t()))
            decoder.append(feature, soft_clip(z[-1], input_bound))
    return torch.stack(z), decoder.params, decoder.hidden


@fake(decode)
def _(
    kind: str,
    recipe: str,
    univariate: str,
    input_bound: float,
    x: Tensor,
    offset: Tensor,
    weights: list[Tensor],
) -> Solution:
    features, batch = x.shape
    outputs = univariates.from_recipe(univariate).parameters
    units = plan_of(kind, recipe).hidden_units
    return (
        x.new_empty(features, batch),
        x.new_empty(features * outputs, batch),
        x.new_empty(units, batch),
    )


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

    Where weights, or what has no batch, are mapped over, there is one sweep for each of them.

    Args:
        operator: the sweep: what has no batch, then tensors that have, then the weights.
        names: how many arguments have no batch.
        axes: where the tensors have it, first (0) or last (-1).
        result_axes: where the results have it.
        info: vmap's, with the size of the new dimension.
        in_dims: where each argument has the new dimension, or None.
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
    """Put the new dimension before the batch; return where that is, too."""
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


@mapped(decode)
def _(info: Any, in_dims: Any, *arguments: Any) -> Any:
    return folded(decode, 4, (-1, -1), (-1, -1, -1), info, in_dims, arguments)


def no_second_derivative(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
    """Refuse: the derivative of a gradient."""
    raise RuntimeError(
        "the cached inverse has first derivatives only; "
        'for higher ones build the transform with inverse="passes"'
    )
