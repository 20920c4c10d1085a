"""One transform in PyTorch, from the kernels' tensors."""

from __future__ import annotations

from torch import Tensor

from invflow.conditioners import network
from invflow.conditioners.soft_clip import soft_clip
from invflow.conditioners.sweep import MADEPlan
from invflow.kernels.structure import Kind, Link


def forward(kind: Kind, link: Link, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the x to which one transform maps `z`, and log|det dx/dz|, with all derivatives.

    Args:
        kind: of the transform.
        link: its tensors.
        z: noise, [batch, features].

    Returns:
        Shapes [batch, features] and [batch].
    """
    order, plan = link.order, kind.plan
    z = z if order is None else z.index_select(1, order)
    offset, weights = packed(plan, link)
    read = soft_clip(z, kind.input_bound)
    params = network.outputs(plan.layout, read, offset, *plan.unpack(weights))
    x, ladj = kind.univariate.forward(z, params.unflatten(1, (plan.layout.features, -1)))
    return x if order is None else x.index_select(1, order.argsort()), ladj.sum(1)


def packed(plan: MADEPlan, link: Link) -> tuple[Tensor, list[Tensor]]:
    """Return a conditioner's offset, [units] or [batch, units], and the plan's weights."""
    layout = plan.layout
    first, *biases = layout.biases(link.bias)
    masks = (layout.mask(*block).to(link.weight) for block in layout.blocks)
    offset = first if link.offset is None else first + link.offset
    return offset, [*biases, *layout.matrices(link.weight), *masks]
