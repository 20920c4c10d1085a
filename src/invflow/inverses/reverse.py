r"""The gradient of a sweep by the same sweep in reverse.

Write the solution as $x_d = u(z_d, p_d)$ with $p_d = P_d(r(z_{<d}))$, where r clips what the
network reads, and let $g_d$ and $h_d$ be the cotangents of $z_d$ and $p_d$. The groups of features
are processed from last to first, so the cotangent $c_d$ of $r(z_d)$ from later parameters is
complete, and

$$\bar z_d = g_d + r'(z_d)\, c_d, \qquad \bar x_d = \bar z_d / u_z, \qquad
\bar p_d = h_d - (u_p / u_z)\, \bar z_d,$$

and $\bar p_d$ is propagated back through the network to the earlier features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

from invflow._folded import folded
from invflow._operator import call, fake, mapped, no_second_derivative, operator
from invflow.conditioners import ReversiblePlan
from invflow.conditioners.soft_clip import soft_clip, soft_clip_slope
from invflow.inverses.decode import Method, Solution, by_feature, decode, plan_of, unmixed


@operator
def decode_pullback(
    kind: str,
    recipe: str,
    params: Tensor,
    ratio: Tensor,
    hidden: Tensor,
    weights: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """The reverse sweep: cotangents of what was read of z, of parameters and of the hidden state.

    Args:
        kind: the conditioner's name.
        recipe: the conditioner's recipe.
        params: h - (u_p / u_z) g, [features, outputs, batch].
        ratio: -(u_p / u_z) r', [features, outputs, batch].
        hidden: the decoder's hidden state.
        weights: the packed weights.
    """
    plan = cast(ReversiblePlan, plan_of(kind, recipe))
    pullback, sizes = plan.pullback(hidden, weights), list(plan.groups(len(params)))
    rows = list(zip(params.split(sizes), ratio.split(sizes), strict=True))
    for group in reversed(range(len(rows))):
        own, slope = rows[group]
        bar = torch.addcmul(own, slope, pullback.cotangent(group).unsqueeze(1))
        pullback.append(group, bar.flatten(0, 1))
    return pullback.z, pullback.params, pullback.hidden


@fake(decode_pullback)
def _(
    kind: str,
    recipe: str,
    params: Tensor,
    ratio: Tensor,
    hidden: Tensor,
    weights: list[Tensor],
) -> Solution:
    features, outputs, batch = params.shape
    plan = cast(ReversiblePlan, plan_of(kind, recipe))
    return (
        params.new_empty(features, batch),
        params.new_empty(features * outputs, batch),
        plan.empty_deltas(hidden),
    )


@mapped(decode_pullback)
def _(info: Any, in_dims: Any, *arguments: Any) -> Any:
    return folded(decode_pullback, 2, (-1,) * 3, (-1,) * 3, info, in_dims, arguments)


class ReversedSweep(Function):
    """`decode` with its gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(method: Method, x: Tensor, offset: Tensor, *weights: Tensor) -> Solution:
        return decode(method.kind, *method.recipes, x, offset, list(weights))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Solution) -> None:
        ctx.method, _, _, *weights = inputs
        ctx.save_for_backward(*output, *weights)
        ctx.mark_non_differentiable(output[2])
        ctx.set_materialize_grads(
            False
        )  # otherwise PyTorch makes zeros as large as the hidden state

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        with unmixed(saved[0]):  # a caller's autocast would lower the precision
            return _backward(ctx.method, saved, cotangents)


def _backward(
    method: Method, saved: Sequence[Tensor], cotangents: Sequence[Tensor | None]
) -> tuple[Any, ...]:
    z, params, hidden, *weights = saved
    map = method.univariate
    u_z, u_p = map.slopes(z, by_feature(params, map).transpose(1, 2))
    ratio = u_p.transpose(1, 2) / -u_z.unsqueeze(1)
    del u_p
    g_z, g_params = (
        torch.zeros_like(value) if cotangent is None else cotangent
        for cotangent, value in zip(cotangents[:2], (z, params), strict=True)
    )
    slope = soft_clip_slope(z, method.input_bound)
    g_params = by_feature(g_params, map) + ratio * g_z.unsqueeze(1)
    ratio = ratio * slope.unsqueeze(1)
    pulled = call(_Pull, method, g_params, ratio, hidden, *weights)
    del ratio, g_params
    c, bar_params, deltas = pulled
    plan, read = cast(ReversiblePlan, method.plan), soft_clip(z, method.input_bound)
    offset, gradients = plan.gradients(weights, read, hidden, deltas, bar_params)
    return None, (g_z + slope * c) / u_z, offset, *gradients


class _Pull(Function):
    """`decode_pullback`, which has no derivative of its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        method: Method, params: Tensor, ratio: Tensor, hidden: Tensor, *weights: Tensor
    ) -> Solution:
        names = method.kind, method.plan_recipe
        return decode_pullback(*names, params, ratio, hidden, list(weights))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Solution) -> None:
        pass

    backward = staticmethod(no_second_derivative)
