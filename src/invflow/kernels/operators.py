"""The compiled sweeps as differentiable operators, opaque to `torch.compile` and `torch.func`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from invflow._folded import folded
from invflow._operator import call, fake, mapped, no_second_derivative, operator
from invflow.conditioners.soft_clip import soft_clip
from invflow.conditioners.sweep import MADEPlan
from invflow.kernels.structure import Kind

Solution = tuple[Tensor, Tensor, Tensor, Tensor]


def engine(device: str) -> Any:
    """Return the module that runs the sweeps on a kind of device."""
    folder = "gpu" if device == "cuda" else "cpu"
    return importlib.import_module(f"invflow.kernels.{folder}.engine")


@operator
def sweep(
    recipe: str,
    univariate: str,
    input_bound: float,
    order: Tensor,
    x: Tensor,
    offset: Tensor,
    weights: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The forward sweep: z, its log-determinants, parameters, and hidden pre-activations.

    Args:
        recipe: of the plan.
        univariate: the map's recipe.
        input_bound: bound on what the conditioner reads.
        order: order of the features, [features].
        x: data, [batch, features].
        offset: the packed offset, [units, batch].
        weights: the packed weights.

    Returns:
        Shapes [batch, features], [batch], [features * outputs, batch] and [units, batch].
    """
    plan = MADEPlan.from_recipe(recipe)
    return engine(x.device.type).solve(plan, univariate, input_bound, order, x, offset, weights)


@fake(sweep)
def _(
    recipe: str,
    univariate: str,
    input_bound: float,
    order: Tensor,
    x: Tensor,
    offset: Tensor,
    weights: list[Tensor],
) -> Solution:
    plan = MADEPlan.from_recipe(recipe)
    batch, features = x.shape
    return (
        x.new_empty(batch, features),
        x.new_empty(batch),
        x.new_empty(features * plan.layout.outputs, batch),
        x.new_empty(plan.hidden_units, batch),
    )


@mapped(sweep)
def _(info: Any, in_dims: Any, *arguments: Any) -> Any:
    return folded(sweep, 4, (0, -1), (0, 0, -1, -1), info, in_dims, arguments)


@operator
def reverse_sweep(
    recipe: str,
    univariate: str,
    input_bound: float,
    order: Tensor,
    z: Tensor,
    params: Tensor,
    hidden: Tensor,
    bar_z: Tensor,
    bar_ladj: Tensor,
    weights: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """The reverse sweep: cotangents of x, of the parameters and of the pre-activations.

    Args:
        recipe: as in `sweep`, like all others not named here.
        univariate: the map's recipe.
        input_bound: the bound of what the conditioner reads.
        order: the features in their order.
        z: what `sweep` returned.
        params: what it returned.
        hidden: what it returned.
        bar_z: cotangents of z, [batch, features].
        bar_ladj: cotangents of the log-determinants, [batch].
        weights: the packed weights.

    Returns:
        Shapes [batch, features], [features * outputs, batch] and [units, batch].
    """
    plan = MADEPlan.from_recipe(recipe)
    pull = engine(z.device.type).pull
    return pull(plan, univariate, input_bound, order, z, params, hidden, bar_z, bar_ladj, weights)


@fake(reverse_sweep)
def _(
    recipe: str,
    univariate: str,
    input_bound: float,
    order: Tensor,
    z: Tensor,
    params: Tensor,
    hidden: Tensor,
    bar_z: Tensor,
    bar_ladj: Tensor,
    weights: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    return z.new_empty(z.shape), z.new_empty(params.shape), z.new_empty(hidden.shape)


@mapped(reverse_sweep)
def _(info: Any, in_dims: Any, *arguments: Any) -> Any:
    axes = (0, -1, -1, 0, 0)
    return folded(reverse_sweep, 4, axes, (0, -1, -1), info, in_dims, arguments)


def solve(
    kind: Kind, order: Tensor | None, offset: Tensor, weights: Sequence[Tensor], x: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the z that one transform maps to `x`, and log|det dz/dx|, traceably.

    Args:
        kind: of the transform.
        order: order of the features, [features]; None to keep their order.
        offset: the packed offset, [units, batch].
        weights: the packed weights.
        x: data, [batch, features].

    Returns:
        z, [batch, features], and log-determinants, [batch]; differentiable once with respect to all
        tensors.
    """
    order = torch.arange(x.shape[1], device=x.device) if order is None else order
    z, ladj, _, _ = call(KernelSweep, kind, order, x, offset, *weights)
    return z, ladj


class KernelSweep(Function):
    """`sweep` with its gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(kind: Kind, order: Tensor, x: Tensor, offset: Tensor, *weights: Tensor) -> Solution:
        return sweep(*kind.recipes, order, x, offset, list(weights))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Solution) -> None:
        ctx.kind, order, _, _, *weights = inputs
        z, _, params, hidden = output
        ctx.save_for_backward(order, z, params, hidden, *weights)
        ctx.mark_non_differentiable(params, hidden)
        ctx.set_materialize_grads(
            False
        )  # otherwise PyTorch makes zeros as large as the hidden state

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        order, z, params, hidden, *weights = ctx.saved_tensors
        bar_z, bar_ladj = cotangents[:2]
        bar_z = torch.zeros_like(z) if bar_z is None else bar_z
        bar_ladj = torch.zeros_like(z[:, 0]) if bar_ladj is None else bar_ladj
        bar_x, bar_params, deltas = call(
            _Pull, ctx.kind, order, z, params, hidden, bar_z, bar_ladj, *weights
        )
        read = soft_clip(z.index_select(1, order).t(), ctx.kind.input_bound)
        offset, gradients = ctx.kind.plan.gradients(weights, read, hidden, deltas, bar_params)
        return None, None, bar_x, offset, *gradients


class _Pull(Function):
    """`reverse_sweep`, which has no derivative of its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(kind: Kind, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        order, z, params, hidden, bar_z, bar_ladj, *weights = tensors
        return reverse_sweep(*kind.recipes, order, z, params, hidden, bar_z, bar_ladj, weights)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    backward = staticmethod(no_second_derivative)
