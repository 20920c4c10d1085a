"""The compiled sweeps as operators with a gradient: opaque to `torch.compile` and `torch.func`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from invflow._operator import fake, mapped, operator
from invflow.conditioners.sweep import MADEPlan
from invflow.transforms.decode import Method, call, folded, no_second_derivative

if TYPE_CHECKING:
    from invflow.transforms.compiled import engine

Solution = tuple[Tensor, Tensor, Tensor, Tensor]


def _chain(
    recipe: str, univariate: str, order: Tensor, offset: Tensor, weights: list[Tensor]
) -> engine.Chain:
    """Return packed tensors as the kernels take them."""
    from invflow.transforms.compiled import engine

    plan = MADEPlan.from_recipe(recipe)
    biases, _, matrices, _ = plan.unpack(weights)
    own = offset[:, 0] if offset.shape[1] > 0 and offset.stride(1) == 0 else offset.t()
    link = engine.Link(order, own, biases, matrices)
    return engine.Chain(plan.layout, univariate, True, [link])


def _by_batch(rows: Tensor, columns: int, batch: int) -> Tensor:
    """Lay out by units, [units, batch], what kernels have by tiles, [tiles, units * columns]."""
    parts = rows.view(len(rows), rows.shape[1] // columns, columns)
    return parts.permute(1, 0, 2).flatten(1)[:, :batch].contiguous()


def _by_tile(rows: Tensor, columns: int) -> Tensor:
    """Lay out by tiles what is laid out by units; see `_by_batch`."""
    tiles = -(-rows.shape[1] // columns)
    parts = F.pad(rows, (0, tiles * columns - rows.shape[1])).view(len(rows), tiles, columns)
    return parts.permute(1, 0, 2).reshape(tiles, len(rows) * columns)


@operator
def sweep(
    recipe: str, univariate: str, order: Tensor, x: Tensor, offset: Tensor, weights: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The forward sweep: z, its log-determinants, parameters, and hidden pre-activations.

    Args:
        recipe: of the plan.
        univariate: the map's recipe.
        order: the features in the order in which they are taken, [features].
        x: data, [batch, features].
        offset: the packed offset, [units, batch].
        weights: the packed weights.

    Returns:
        Shapes [batch, features], [batch], [features * outputs, batch] and [units, batch].
    """
    chain = _chain(recipe, univariate, order, offset, weights)
    z, ladj, kept = chain.map(x, keep=True)
    params, hidden = (_by_batch(rows[0], chain.columns, len(x)) for rows in kept[2:])
    return z, ladj, params, hidden


@fake(sweep)
def _(
    recipe: str, univariate: str, order: Tensor, x: Tensor, offset: Tensor, weights: list[Tensor]
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
    return folded(sweep, 3, (0, -1), (0, 0, -1, -1), info, in_dims, arguments)


@operator
def reverse_sweep(
    recipe: str,
    univariate: str,
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
        order: the features in their order.
        z: what `sweep` returned.
        params: what it returned.
        hidden: what it returned.
        bar_z: cotangents of z, [batch, features].
        bar_ladj: those of the log-determinants, [batch].
        weights: the packed weights.

    Returns:
        Shapes [batch, features], [features * outputs, batch] and [units, batch].
    """
    from invflow.transforms.compiled import engine

    chain = _chain(recipe, univariate, order, z.new_empty(0, 0), weights)
    rows = (_by_tile(rows, chain.columns)[None] for rows in (params, hidden))
    bar_x, *bars = chain.pull(engine.Kept(z, z[None], *rows), bar_z, bar_ladj)
    bar_params, bar_hidden = (_by_batch(rows[0], chain.columns, len(z)) for rows in bars)
    return bar_x, bar_params, bar_hidden


@fake(reverse_sweep)
def _(
    recipe: str,
    univariate: str,
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
    return folded(reverse_sweep, 3, axes, (0, -1, -1), info, in_dims, arguments)


class Solve(Function):
    """`sweep` with its gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        method: Method, order: Tensor, x: Tensor, offset: Tensor, *weights: Tensor
    ) -> Solution:
        names = method.plan_recipe, method.univariate_recipe
        return sweep(*names, order, x, offset, list(weights))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Solution) -> None:
        ctx.method, order, _, _, *weights = inputs
        z, _, params, hidden = output
        ctx.save_for_backward(order, z, params, hidden, *weights)
        ctx.mark_non_differentiable(params, hidden)
        ctx.set_materialize_grads(False)  # or there were zeros as large as the hidden state

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        order, z, params, hidden, *weights = ctx.saved_tensors
        bar_z, bar_ladj = cotangents[:2]
        bar_z = torch.zeros_like(z) if bar_z is None else bar_z
        bar_ladj = torch.zeros_like(z[:, 0]) if bar_ladj is None else bar_ladj
        bar_x, bar_params, deltas = call(
            _Pull, ctx.method, order, z, params, hidden, bar_z, bar_ladj, *weights
        )
        plan = cast(MADEPlan, ctx.method.plan)
        known = z.index_select(1, order).t()
        offset, gradients = plan.gradients(weights, known, hidden, deltas, bar_params)
        return None, None, bar_x, offset, *gradients


class _Pull(Function):
    """`reverse_sweep`, which has no derivative of its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(method: Method, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        names = method.plan_recipe, method.univariate_recipe
        order, z, params, hidden, bar_z, bar_ladj, *weights = tensors
        return reverse_sweep(*names, order, z, params, hidden, bar_z, bar_ladj, weights)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    backward = staticmethod(no_second_derivative)
