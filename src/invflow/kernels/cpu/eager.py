"""Chains of autoregressive transforms in the kernels, with gradients, for eager mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

from invflow._torch import dense, plain
from invflow.kernels import operators, reference
from invflow.kernels.cpu.chain import Chain, Kept
from invflow.kernels.cpu.given import at_context
from invflow.kernels.structure import Kind, Link


def run(kind: Kind, links: Sequence[Link], value: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    """Map a batch.

    Args:
        kind: of the transforms.
        links: their tensors, in the order of evaluation.
        value: z or x, [batch, features].
        inverse: whether to map x to z.

    Returns:
        x or z, [batch, features], and the log-determinants, [batch]; differentiable with respect to
        all tensors.
    """
    if torch.is_grad_enabled():
        return cast(Any, _Map).apply(kind, inverse, links, value, *_tensors(links))[:2]
    return _mapped(kind, inverse, links, value)


def push(
    kind: Kind, links: Sequence[Link], z: Tensor, score: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Map noise to data, and the score of the one to that of the other.

    Args:
        kind: of the transforms.
        links: their tensors, in the order of evaluation.
        z: noise, [batch, features].
        score: gradient of its log density, [batch, features].

    Returns:
        x, [batch, features], and the log-determinants, [batch], as `run` returns them; and the
        gradient of the log density of x, [batch, features], without a graph.
    """
    tensors = _tensors(links)
    if torch.is_grad_enabled() and any(each.requires_grad for each in (z, *tensors)):
        x, ladj, room = cast(Any, _Map).apply(kind, False, links, z, *tensors)
        kept = Kept(len(z), room)
    else:
        x, ladj, kept = _chain(kind, False, links).keep(z)
    back = _chain(kind, True, [*reversed(links)])
    pushed, _ = back.pull(back.turned(kept), score, torch.ones_like(ladj))
    return x, ladj, pushed


def _chain(kind: Kind, inverse: bool, links: Sequence[Link]) -> Chain:
    return Chain(kind.plan.layout, kind.recipes[1], kind.input_bound, inverse, links)


def _mapped(
    kind: Kind, inverse: bool, links: Sequence[Link], value: Tensor
) -> tuple[Tensor, Tensor]:
    """Map a batch without gradients."""
    layout, links = at_context(kind.plan.layout, links, len(value))
    return Chain(layout, kind.recipes[1], kind.input_bound, inverse, links).map(value)


class _Map(Function):
    @staticmethod
    def forward(
        ctx: Any,
        kind: Kind,
        inverse: bool,
        links: Sequence[Link],
        value: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the values, the log-determinants, and what was kept."""
        if not any(ctx.needs_input_grad):
            return *_mapped(kind, inverse, links, value), None
        result, ladj, kept = _chain(kind, inverse, links).keep(value)
        ctx.kind, ctx.inverse = kind, inverse
        ctx.orders = orders = [link.order for link in links]
        ctx.versions = _versions(orders)
        ctx.save_for_backward(value, kept.room, *tensors)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(kept.room)
        return result, ladj, kept.room

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        value, room, *tensors = ctx.saved_tensors
        if _versions(ctx.orders) != ctx.versions:
            raise RuntimeError(
                "one of the orders needed for gradient computation has been modified by an inplace "
                "operation"
            )
        links = _links(ctx.orders, tensors)
        bar, bar_ladj, _ = cotangents
        bar = torch.zeros_like(value) if bar is None else bar
        bar_ladj = torch.zeros_like(value[:, 0]) if bar_ladj is None else bar_ladj
        known = all(map(dense, (bar, bar_ladj, room, value, *tensors)))
        if torch.is_grad_enabled() or not plain() or not known:
            again = _again(ctx.kind, ctx.inverse, links, value, bar, bar_ladj)
            return None, None, None, *again
        chain, kept = _chain(ctx.kind, ctx.inverse, links), Kept(len(value), room)
        if not any(ctx.needs_input_grad[4:]):
            bar_value, _ = chain.pull(kept, bar, bar_ladj)
            return None, None, None, bar_value, *(None for _ in tensors)
        result, gradients = chain.gradients(kept, bar, bar_ladj)
        return None, None, None, result, *gradients


def _versions(orders: Sequence[Tensor | None]) -> list[int]:
    """Return how often each order was changed in place, if PyTorch counts it."""
    # Not left to autograd: its saved-tensor hooks expect tensors that gradients pass through.
    counted = (order for order in orders if order is not None and not order.is_inference())
    return [order._version for order in counted]


def _tensors(links: Sequence[Link]) -> list[Tensor]:
    """Return all tensors of transforms except their orders."""
    return [tensor for link in links for tensor in link[1:] if tensor is not None]


def _links(orders: Sequence[Tensor | None], tensors: Sequence[Tensor]) -> list[Link]:
    """Return the transforms with these orders and other tensors."""
    size = len(tensors) // len(orders)
    offsets = tensors[2::size] if size > 2 else [None] * len(orders)
    return list(map(Link, orders, tensors[::size], tensors[1::size], offsets))


def _again(
    kind: Kind, inverse: bool, links: Sequence[Link], value: Tensor, bar: Tensor, bar_ladj: Tensor
) -> list[Tensor | None]:
    """Return gradients computed by PyTorch, for second derivatives and vmap."""
    inputs = [value, *_tensors(links)]
    graph, one = torch.is_grad_enabled(), _solve if inverse else reference.forward
    with torch.enable_grad():
        total = torch.zeros_like(value[:, 0])
        for link in links:
            value, ladj = one(kind, link, value)
            total = total + ladj
    results = zip((value, total), (bar, bar_ladj), strict=True)
    pairs = [
        pair for pair in results if pair[0].requires_grad
    ]  # the log-determinant of a shift does not
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    values, cotangents = zip(*pairs, strict=True)
    found = iter(
        torch.autograd.grad(values, wanted, cotangents, create_graph=graph, allow_unused=True)
    )
    return [next(found) if tensor.requires_grad else None for tensor in inputs]


def _solve(kind: Kind, link: Link, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the z that one transform maps to `x`, and log|det dz/dx|, traceably."""
    offset, weights = reference.packed(kind.plan, link)
    columns = offset.expand(len(x), -1).t()
    return operators.solve(kind, link.order, columns, weights, x)
