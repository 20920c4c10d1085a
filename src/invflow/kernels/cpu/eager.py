"""Chains of autoregressive transforms in the kernels, with gradients, for eager mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd import Function

from invflow.conditioners.sweep import MADEPlan
from invflow.inverses.decode import Method
from invflow.kernels import plain
from invflow.kernels.cpu.chain import Chain, Kept
from invflow.kernels.dense import dense
from invflow.kernels.structure import Link

#: One transform in PyTorch.
Reference = Callable[[Link, Tensor], tuple[Tensor, Tensor]]


class Job(NamedTuple):
    """What a call of the kernels is about.

    Attributes:
        method: what the tensors of all transforms mean.
        inverse: the direction.
        reference: one transform in PyTorch, for gradients that kernels do not have.
    """

    method: Method
    inverse: bool
    reference: Reference

    def chain(self, links: Sequence[Link]) -> Chain:
        """Return transforms as the kernels take them."""
        method, layout = self.method, cast(MADEPlan, self.method.plan).layout
        return Chain(layout, method.univariate_recipe, method.input_bound, self.inverse, links)


def run(job: Job, links: Sequence[Link], value: Tensor) -> tuple[Tensor, Tensor]:
    """Map a batch.

    Args:
        job: which way.
        links: the transforms, in the order in which they are taken.
        value: z or x, [batch, features].

    Returns:
        x or z, [batch, features], and the log-determinants, [batch]; differentiable.
    """
    if torch.is_grad_enabled():
        orders = [link.order for link in links]
        return cast(Any, _Map).apply(job, orders, value, *_tensors(links))
    return job.chain(links).map(value)


class _Map(Function):
    @staticmethod
    def forward(
        ctx: Any, job: Job, orders: list[Tensor | None], value: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        chain = job.chain(_links(orders, tensors))
        if not any(ctx.needs_input_grad):
            return chain.map(value)
        result, ladj, kept = chain.keep(value)
        ctx.job, ctx.orders, ctx.versions = job, orders, _versions(orders)
        ctx.save_for_backward(value, kept.room, *tensors)
        ctx.set_materialize_grads(False)
        return result, ladj

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        value, room, *tensors = ctx.saved_tensors
        if _versions(ctx.orders) != ctx.versions:
            raise RuntimeError(
                "one of the orders needed for gradient computation has been modified by an inplace "
                "operation"
            )
        links = _links(ctx.orders, tensors)
        bar, bar_ladj = cotangents
        bar = torch.zeros_like(value) if bar is None else bar
        bar_ladj = torch.zeros_like(value[:, 0]) if bar_ladj is None else bar_ladj
        known = all(map(dense, (bar, bar_ladj, value, *tensors)))
        if torch.is_grad_enabled() or not plain() or not known:
            return None, None, *_again(ctx.job, links, value, bar, bar_ladj)
        chain, kept = ctx.job.chain(links), Kept(len(value), room)
        if not any(ctx.needs_input_grad[3:]):
            return None, None, chain.pull(kept, bar, bar_ladj)[0], *(None for _ in tensors)
        result, gradients = chain.gradients(kept, bar, bar_ladj)
        return None, None, result, *gradients


def _versions(orders: Sequence[Tensor | None]) -> list[int]:
    """Return how often each order has been changed in place, where PyTorch counts."""
    # Not left to autograd, whose hooks on what is saved expect numbers that gradients pass through.
    counted = (order for order in orders if order is not None and not order.is_inference())
    return [order._version for order in counted]


def _tensors(links: Sequence[Link]) -> list[Tensor]:
    """Return all tensors of transforms but their orders."""
    return [tensor for link in links for tensor in link[1:] if tensor is not None]


def _links(orders: Sequence[Tensor | None], tensors: Sequence[Tensor]) -> list[Link]:
    """Return the transforms of which these are the orders and the other tensors."""
    size = len(tensors) // len(orders)
    offsets = tensors[2::size] if size > 2 else [None] * len(orders)
    return list(map(Link, orders, tensors[::size], tensors[1::size], offsets))


def _again(
    job: Job, links: Sequence[Link], value: Tensor, bar: Tensor, bar_ladj: Tensor
) -> list[Tensor | None]:
    """Return gradients from PyTorch: to be differentiated again, or mapped over."""
    inputs = [value, *_tensors(links)]
    graph = torch.is_grad_enabled()
    with torch.enable_grad():
        total = torch.zeros_like(value[:, 0])
        for link in links:
            value, ladj = job.reference(link, value)
            total = total + ladj
    results = zip((value, total), (bar, bar_ladj), strict=True)
    pairs = [pair for pair in results if pair[0].requires_grad]  # of shifts, no log-determinant is
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    values, cotangents = zip(*pairs, strict=True)
    found = iter(
        torch.autograd.grad(values, wanted, cotangents, create_graph=graph, allow_unused=True)
    )
    return [next(found) if tensor.requires_grad else None for tensor in inputs]
