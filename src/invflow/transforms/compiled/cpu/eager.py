"""Chains of autoregressive transforms in the kernels, with gradients, for eager mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd import Function

from invflow.conditioners.sweep import MADEPlan
from invflow.transforms.compiled import Link
from invflow.transforms.compiled.cpu import chain as chains
from invflow.transforms.decode import Method

#: One transform in PyTorch.
Reference = Callable[[Link, Tensor], tuple[Tensor, Tensor]]


class Job(NamedTuple):
    """What a call of the kernels is about.

    Attributes:
        method: what the tensors of all transforms mean.
        inverse: the direction.
        links: the transforms, in the order in which they are taken.
        reference: one of them in PyTorch, for gradients that are to be differentiated again.
    """

    method: Method
    inverse: bool
    links: Sequence[Link]
    reference: Reference

    @property
    def plan(self) -> MADEPlan:
        """The conditioners'."""
        return cast(MADEPlan, self.method.plan)

    @property
    def tensors(self) -> list[Tensor]:
        """What gradients are taken of, one transform after another."""
        return [tensor for link in self.links for tensor in (link.offset, *link.weights)]

    def chain(self) -> chains.Chain:
        """Return the transforms as the kernels take them."""
        links: list[chains.Link] = []
        depth = len(self.plan.layout.hidden)
        for order, offset, weights in self.links:
            links.append(chains.Link(order, offset.detach(), weights[:depth], weights[depth:]))
        name = self.method.univariate_recipe
        return chains.Chain(self.plan.layout, name, self.inverse, links)


def run(job: Job, value: Tensor) -> tuple[Tensor, Tensor]:
    """Map a batch.

    Args:
        job: through what.
        value: z or x, [batch, features].

    Returns:
        x or z, [batch, features], and the log-determinants, [batch]; differentiable.
    """
    if torch.is_grad_enabled():
        return cast(Any, _Map).apply(job, value, *job.tensors)
    result, ladj, _ = job.chain().map(value.detach(), keep=False)
    return result, ladj


class _Map(Function):
    @staticmethod
    def forward(ctx: Any, job: Job, value: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        chain = job.chain()
        result, ladj, kept = chain.map(value.detach(), keep=any(ctx.needs_input_grad))
        ctx.chain, ctx.job = chain, job._replace(links=[])
        ctx.orders = [link.order for link in job.links]
        ctx.save_for_backward(value, *kept, *tensors)
        ctx.set_materialize_grads(False)
        return result.clone(), ladj

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        value, *saved = ctx.saved_tensors
        kept, tensors = chains.Kept(*saved[:4]), saved[4:]
        bar, bar_ladj = cotangents
        bar = torch.zeros_like(value) if bar is None else bar
        bar_ladj = torch.zeros_like(value[:, 0]) if bar_ladj is None else bar_ladj
        if torch.is_grad_enabled():
            job = ctx.job._replace(links=_links(ctx.orders, tensors))
            return None, *_again(job, value, bar, bar_ladj)
        chain: chains.Chain = ctx.chain
        if not any(ctx.needs_input_grad[2:]):
            return None, chain.pull(kept, bar, bar_ladj)[0], *(None for _ in tensors)
        result, gradients = chain.gradients(kept, bar, bar_ladj)
        return None, result, *(one for own in gradients for one in own)


def _links(orders: Sequence[Tensor | None], tensors: Sequence[Tensor]) -> list[Link]:
    """Return the transforms of which these are the orders and the other tensors."""
    size = len(tensors) // len(orders)
    cuts = range(0, len(tensors), size)
    each = zip(orders, cuts, strict=True)
    return [Link(order, tensors[i], list(tensors[i + 1 : i + size])) for order, i in each]


def _again(job: Job, value: Tensor, bar: Tensor, bar_ladj: Tensor) -> list[Tensor | None]:
    """Return gradients that can be differentiated."""
    inputs = [value, *job.tensors]
    total = torch.zeros_like(bar_ladj)
    for link in job.links:
        value, ladj = job.reference(link, value)
        total = total + ladj
    results = zip((value, total), (bar, bar_ladj), strict=True)
    pairs = [pair for pair in results if pair[0].requires_grad]  # of shifts, no log-determinant is
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    values, cotangents = zip(*pairs, strict=True)
    found = iter(
        torch.autograd.grad(values, wanted, cotangents, create_graph=True, allow_unused=True)
    )
    return [next(found) if tensor.requires_grad else None for tensor in inputs]
