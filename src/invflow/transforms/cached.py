r"""The inverse of an autoregressive transform in one sweep, and its gradient in one more.

The sweep takes the features in order: the conditioner's decoder gives the parameters of the next
one, and the univariate map is inverted. For the gradient, write the solution as
$x_d = u(z_d, p_d)$ with $p_d = P_d(z_{<d})$. Given cotangents $g_d$ of $z_d$ and $h_d$ of $p_d$,
taken last feature first, so that $g_d$ already holds what comes back through later parameters,

$$\bar x_d = g_d / u_z, \qquad \bar p_d = h_d - (u_p / u_z)\, g_d,$$

and $\bar p_d$ goes back through the network to the earlier features. Both sweeps are opaque
operators on plain tensors: one step each for `torch.compile`, whatever the number of features, and
for `torch.func`, which folds its own dimension into the batch.

Tensors here are feature-major: [features, batch], [units, batch].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

from invflow import univariate as univariates
from invflow.conditioners import CONDITIONERS, CachedConditioner, Conditioner, Plan
from invflow.univariate import Univariate


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


def method(conditioner: Conditioner, univariate: Univariate) -> Method | None:
    """Return how the cached inverse of this pair works, None for want of a decoder."""
    for name, kind in CONDITIONERS.items():
        if kind is type(conditioner) and isinstance(conditioner, CachedConditioner):
            plan = conditioner.plan
            return Method(name, plan, univariate, plan.recipe, univariates.to_recipe(univariate))
    return None


def solve(
    method: Method, x: Tensor, offset: Tensor, weights: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the z that an autoregressive transform maps to `x`, and its parameters there.

    Args:
        method: what the tensors mean.
        x: data, [features, batch].
        offset: the conditioner's packed offset, [units, batch].
        weights: the conditioner's packed weights.

    Returns:
        z, [features, batch], and the parameters, [features, outputs, batch]; both differentiable
        with respect to all tensors.
    """
    z, params, _ = _call(_Solve, method, x, offset, *weights)
    return z, params.unflatten(0, (x.shape[0], method.univariate.parameters))


def _call(
    function: type[_Solve | _Pull], method: Method, *tensors: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Apply an autograd function; its operator alone where compiled without a gradient.

    (`torch.compile` cannot trace an autograd function with a variable number of arguments then.)
    """
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if torch.compiler.is_compiling() and not wanted:
        return function.forward(method, *tensors)
    return cast(Any, function).apply(method, *tensors)


def _plan(kind: str, recipe: str) -> Plan:
    return cast(type[CachedConditioner], CONDITIONERS[kind]).plan_from(recipe)


@torch.library.custom_op("invflow::decode", mutates_args=())
def decode(
    kind: str, recipe: str, univariate: str, x: Tensor, offset: Tensor, weights: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """The forward sweep: z, parameters, and the decoder's hidden state."""
    decoder = _plan(kind, recipe).decoder(offset, weights)
    solve = univariates.from_recipe(univariate).solver(x)
    for feature, row in enumerate(x.contiguous().unbind(0)):
        decoder.append(feature, solve(row, decoder.parameters(feature).t()))
    return decoder.z, decoder.params, decoder.hidden


@torch.library.custom_op("invflow::decode_pullback", mutates_args=())
def decode_pullback(
    kind: str,
    recipe: str,
    z: Tensor,
    params: Tensor,
    ratio: Tensor,
    hidden: Tensor,
    weights: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """The reverse sweep: completed cotangents of z, parameters and hidden state.

    Args:
        kind: the conditioner's name.
        recipe: its recipe.
        z: cotangents of z, [features, batch].
        params: cotangents of the parameters, [features, outputs, batch].
        ratio: -u_p / u_z, [features, outputs, batch].
        hidden: the decoder's hidden state.
        weights: the packed weights.
    """
    pullback = _plan(kind, recipe).pullback(hidden, weights, z)
    rows = list(zip(params.unbind(0), ratio.unbind(0), strict=True))
    for feature in reversed(range(len(rows))):
        own, slope = rows[feature]
        pullback.append(feature, torch.addcmul(own, slope, pullback.cotangent(feature)))
    return pullback.z, pullback.params, pullback.hidden


class _Solve(Function):
    """`decode` with its gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        method: Method, x: Tensor, offset: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        names = method.kind, method.plan_recipe, method.univariate_recipe
        return decode(*names, x, offset, list(weights))

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        ctx.method, _, _, *weights = inputs
        ctx.save_for_backward(*output, *weights)
        ctx.mark_non_differentiable(output[2])
        ctx.set_materialize_grads(False)  # or there were zeros as large as the hidden state

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        method: Method = ctx.method
        z, params, hidden, *weights = ctx.saved_tensors
        rows = (z.shape[0], method.univariate.parameters)
        u_z, u_p = method.univariate.slopes(z, params.unflatten(0, rows).transpose(1, 2))
        ratio = u_p.transpose(1, 2) / -u_z.unsqueeze(1)
        del u_p
        g_z, g_params = (
            torch.zeros_like(value) if cotangent is None else cotangent
            for cotangent, value in zip(cotangents[:2], (z, params), strict=True)
        )
        pulled = _call(_Pull, method, g_z, g_params.unflatten(0, rows), ratio, hidden, *weights)
        del ratio, g_params
        bar_z, bar_params, deltas = pulled
        offset, gradients = method.plan.gradients(weights, z, hidden, deltas, bar_params)
        return None, bar_z / u_z, offset, *gradients


class _Pull(Function):
    """`decode_pullback`, which has no derivative of its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        method: Method, z: Tensor, params: Tensor, ratio: Tensor, hidden: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        names = method.kind, method.plan_recipe
        return decode_pullback(*names, z, params, ratio, hidden, list(weights))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        raise RuntimeError(
            "the cached inverse has first derivatives only; "
            'for higher ones build the transform with inverse="passes"'
        )


@decode.register_fake
def _(
    kind: str, recipe: str, univariate: str, x: Tensor, offset: Tensor, weights: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    features, batch = x.shape
    outputs = univariates.from_recipe(univariate).parameters
    units = _plan(kind, recipe).hidden_units
    return (
        x.new_empty(features, batch),
        x.new_empty(features * outputs, batch),
        x.new_empty(units, batch),
    )


@decode_pullback.register_fake
def _(
    kind: str,
    recipe: str,
    z: Tensor,
    params: Tensor,
    ratio: Tensor,
    hidden: Tensor,
    weights: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    features, outputs, batch = params.shape
    return (
        z.new_empty(features, batch),
        z.new_empty(features * outputs, batch),
        z.new_empty(hidden.shape),
    )


def _folded(
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
                    weight if dim is None else weight.select(dim, i)
                    for weight, dim in zip(weights, weight_dims, strict=True)
                ],
            )
            for i in range(size)
        ]
        return tuple(torch.stack(results) for results in zip(*runs, strict=True)), (0, 0, 0)
    results = operator(*strings, *(tensor.flatten(-2) for tensor in spread), weights)
    return tuple(result.unflatten(-1, (size, -1)) for result in results), (1, 1, 1)


@decode.register_vmap
def _(info: Any, in_dims: Any, *arguments: Any) -> Any:
    return _folded(decode, 3, info, in_dims, arguments)


@decode_pullback.register_vmap
def _(info: Any, in_dims: Any, *arguments: Any) -> Any:
    return _folded(decode_pullback, 2, info, in_dims, arguments)
