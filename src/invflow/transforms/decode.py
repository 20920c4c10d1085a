"""The forward sweep: one opaque operator on plain tensors.

One step for `torch.compile`, whatever the number of features, and for `torch.func`, which folds its
own dimension into the batch. Tensors here are feature-major: [features, batch], [units, batch].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

from invflow import univariate as univariates
from invflow.conditioners import CONDITIONERS, CachedConditioner, Plan
from invflow.univariate import Univariate

#: z, the parameters and the decoder's hidden state.
Solution = tuple[Tensor, Tensor, Tensor]


@dataclasses.dataclass(frozen=True)
class Method:
    """What the tensors of a sweep mean: the conditioner's name and plan, the univariate map.

    Plan and map also stand here as strings, which is how the operators take them.
    """

    kind: str
    plan: Plan
    univariate: Univariate
    plan_recipe: str
    univariate_recipe: str


def plan_of(kind: str, recipe: str) -> Plan:
    """Return the plan of a conditioner's name and its recipe."""
    return cast(type[CachedConditioner], CONDITIONERS[kind]).plan_from(recipe)


def call(function: type[Function], method: Method, *tensors: Tensor) -> Any:
    """Apply an autograd function; its operator alone where compiled without a gradient.

    (`torch.compile` cannot trace an autograd function with a variable number of arguments then.)
    """
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if torch.compiler.is_compiling() and not wanted:
        return cast(Any, function).forward(method, *tensors)
    return cast(Any, function).apply(method, *tensors)


def unmixed(like: Tensor) -> AbstractContextManager[object]:
    """Leave autocast: a sweep is in the dtype of its tensors, each step rounding the next."""
    return torch.autocast(like.device.type, enabled=False)


@torch.library.custom_op("invflow::decode", mutates_args=())
def decode(
    kind: str, recipe: str, univariate: str, x: Tensor, offset: Tensor, weights: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """The forward sweep: z, parameters, and the decoder's hidden state."""
    decoder = plan_of(kind, recipe).decoder(offset, weights)
    solve = univariates.from_recipe(univariate).solver(x)
    with unmixed(x):
        for feature, row in enumerate(x.contiguous().unbind(0)):
            decoder.append(feature, solve(row, decoder.parameters(feature).t()))
    return decoder.z, decoder.params, decoder.hidden


@decode.register_fake
def _(
    kind: str, recipe: str, univariate: str, x: Tensor, offset: Tensor, weights: list[Tensor]
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
    operator: Callable[..., tuple[Tensor, ...]], names: int, info: Any, in_dims: Any, arguments: Any
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Run a sweep under vmap: fold the new dimension into the batch, the last one.

    Where the weights are mapped over, there is one sweep for each set of weights.

    Args:
        operator: the sweep: names, then tensors with the batch last, then the weights.
        names: how many arguments are names.
        info: vmap's, with the size of the new dimension.
        in_dims: where each argument has the new dimension, or None.
        arguments: of the operator.
    """
    size = info.batch_size
    strings, tensors, weights = arguments[:names], arguments[names:-1], arguments[-1]
    tensor_dims, weight_dims = in_dims[names:-1], in_dims[-1]
    spread = [
        tensor.unsqueeze(-2).expand(*tensor.shape[:-1], size, tensor.shape[-1])
        if dim is None
        else tensor.movedim(dim, -2)
        for tensor, dim in zip(tensors, tensor_dims, strict=True)
    ]
    if any(dim is not None for dim in weight_dims):
        runs = [
            operator(
                *strings,
                *(tensor[..., i, :] for tensor in spread),
                [
                    selected(weight, dim, i)
                    for weight, dim in zip(weights, weight_dims, strict=True)
                ],
            )
            for i in range(size)
        ]
        return tuple(torch.stack(results) for results in zip(*runs, strict=True)), (0, 0, 0)
    results = operator(*strings, *(tensor.flatten(-2) for tensor in spread), weights)
    shape = spread[0].shape[-2:]
    return tuple(result.unflatten(-1, shape) for result in results), (1, 1, 1)


def selected(tensor: Tensor, dim: int | None, i: int) -> Tensor:
    """Return element i of a tensor that is mapped over, or the tensor if it is not."""
    return tensor if dim is None else tensor.select(dim, i)


@decode.register_vmap
def _(info: Any, in_dims: Any, *arguments: Any) -> Any:
    return folded(decode, 3, info, in_dims, arguments)


def no_second_derivative(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
    """Refuse: the derivative of a gradient."""
    raise RuntimeError(
        "the cached inverse has first derivatives only; "
        'for higher ones build the transform with inverse="passes"'
    )
