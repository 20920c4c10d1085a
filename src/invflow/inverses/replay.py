r"""The gradient of a sweep, by running the sweep again with automatic differentiation.

For conditioners with a differentiable decoder but without a reverse sweep. Given the solution $z^*$
and its slopes $u_z$,

$$z_d = z^*_d + \big(x_d - u(z^*_d, p_d)\big) / u_z, \qquad p_d = P_d(r(z_{<d})),$$

has the value $z^*_d$ and the derivatives of the inverse: it is a Newton step from the solution. So
only the forward direction of the univariate map is used; the work is that of one forward and one
backward pass, and the memory that of one pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from invflow import univariate as univariates
from invflow._folded import selected
from invflow._operator import call, fake, mapped, no_second_derivative, operator
from invflow._torch import functional
from invflow.conditioners.soft_clip import soft_clip
from invflow.inverses.decode import Method, Solution, by_feature, decode, plan_of, unmixed


@operator
def replay(
    kind: str,
    recipe: str,
    univariate: str,
    input_bound: float,
    x: Tensor,
    z: Tensor,
    slopes: Tensor,
    offset: Tensor,
    weights: list[Tensor],
    cotangents: list[Tensor],
) -> list[Tensor]:
    """Return the gradients of x, the offset and the weights.

    Args:
        kind: the conditioner's name.
        recipe: the conditioner's recipe.
        univariate: the map's recipe.
        input_bound: bound on what the conditioner reads.
        x: data, [features, batch].
        z: the solution.
        slopes: u_z at the solution.
        offset: the packed offset.
        weights: the packed weights.
        cotangents: of z, and of the parameters, [features * outputs, batch].
    """
    map = univariates.from_recipe(univariate)

    def sweep(x: Tensor, offset: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        plan = plan_of(kind, recipe)
        decoder, sizes = plan.decoder(offset, list(weights)), list(plan.groups(len(x)))
        rows = zip(*(tensor.split(sizes) for tensor in (x, z, slopes)), strict=True)
        again: list[Tensor] = []
        for group, (own, solution, slope) in enumerate(rows):
            params = by_feature(decoder.parameters(group), map).transpose(1, 2)
            value, _ = map.forward(solution, params)
            again.append(solution + (own - value) / slope)
            decoder.append(group, soft_clip(again[-1], input_bound))
        return torch.cat(again), decoder.params

    with unmixed(x), functional():
        gradients = torch.func.vjp(sweep, x, offset, *weights)[1](tuple(cotangents))
    # Clones, because an operator must not return its arguments; contiguous, because the function
    # below promises that to the compiler.
    return [gradient.clone(memory_format=torch.contiguous_format) for gradient in gradients]


@fake(replay)
def _(
    kind: str,
    recipe: str,
    univariate: str,
    input_bound: float,
    x: Tensor,
    z: Tensor,
    slopes: Tensor,
    offset: Tensor,
    weights: list[Tensor],
    cotangents: list[Tensor],
) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in (x, offset, *weights)]


@mapped(replay)
def _(info: Any, in_dims: Any, *arguments: Any) -> tuple[list[Tensor], list[int]]:
    """Process the elements one by one: each has its own gradients of the weights."""
    names, tensors = arguments[:4], arguments[4:]

    def element(i: int) -> list[Any]:
        return [
            [selected(tensor, d, i) for tensor, d in zip(given, dim, strict=True)]
            if isinstance(given, list)
            else selected(given, dim, i)
            for given, dim in zip(tensors, in_dims[4:], strict=True)
        ]

    runs = [replay(*names, *element(i)) for i in range(info.batch_size)]
    stacked = [torch.stack(gradients) for gradients in zip(*runs, strict=True)]
    return stacked, [0] * len(stacked)


class ReplayedSweep(Function):
    """`decode` with its gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(method: Method, x: Tensor, offset: Tensor, *weights: Tensor) -> Solution:
        return decode(method.kind, *method.recipes, x, offset, list(weights))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Solution) -> None:
        ctx.method, *tensors = inputs
        ctx.save_for_backward(*output[:2], *tensors)
        ctx.mark_non_differentiable(output[2])

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        method: Method = ctx.method
        z, params, x, offset, *weights = ctx.saved_tensors
        map = method.univariate
        slopes, _ = map.slopes(z, by_feature(params, map).transpose(1, 2))
        tensors = (x, z, slopes, offset, cotangents[0], cotangents[1], *weights)
        return None, *call(_Replay, method, *tensors)


class _Replay(Function):
    """`replay`, which has no derivative of its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        method: Method,
        x: Tensor,
        z: Tensor,
        slopes: Tensor,
        offset: Tensor,
        g_z: Tensor,
        g_params: Tensor,
        *weights: Tensor,
    ) -> tuple[Tensor, ...]:
        cotangents = [g_z.contiguous(), g_params.contiguous()]
        return tuple(
            replay(method.kind, *method.recipes, x, z, slopes, offset, list(weights), cotangents)
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    backward = staticmethod(no_second_derivative)
