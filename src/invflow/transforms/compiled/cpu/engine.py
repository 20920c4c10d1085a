"""The sweeps of one transform, laid out as the operators have them: by units, [units, batch]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from invflow.conditioners.sweep import MADEPlan
from invflow.transforms.compiled.cpu.chain import Chain, Kept
from invflow.transforms.compiled.structure import Link


def solve(
    plan: MADEPlan,
    univariate: str,
    order: Tensor,
    x: Tensor,
    offset: Tensor,
    weights: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The forward sweep; see `operators.sweep`."""
    chain = _chain(plan, univariate, order, offset, weights)
    z, ladj, kept = chain.keep(x)
    params, hidden = (_by_units(rows[0], chain.columns, len(x)) for rows in kept[2:])
    return z.clone(), ladj, params, hidden


def pull(
    plan: MADEPlan,
    univariate: str,
    order: Tensor,
    z: Tensor,
    params: Tensor,
    hidden: Tensor,
    bar_z: Tensor,
    bar_ladj: Tensor,
    weights: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """The reverse sweep; see `operators.reverse_sweep`."""
    chain = _chain(plan, univariate, order, None, weights)  # the way back needs no offset
    z = z.contiguous()
    rows = (_by_tiles(rows, chain.columns)[None] for rows in (params, hidden))
    bar_x, *bars, _ = chain.pull(Kept(z, z[None], *rows), bar_z, bar_ladj)
    bar_params, bar_hidden = (_by_units(rows[0], chain.columns, len(z)) for rows in bars)
    return bar_x, bar_params, bar_hidden


def _chain(
    plan: MADEPlan, univariate: str, order: Tensor, offset: Tensor | None, weights: list[Tensor]
) -> Chain:
    biases, _, matrices, _ = plan.unpack(weights)
    first, varying = matrices[-1].new_zeros(len(plan.layout.degrees[1])), None
    if offset is not None and offset.shape[1] > 0 and offset.stride(1) == 0:
        first = offset[:, 0]
    elif offset is not None:
        varying = offset.t()
    weight = torch.cat([matrix.flatten() for matrix in matrices])
    link = Link(order, torch.cat([first, *biases]), weight, varying)
    return Chain(plan.layout, univariate, True, [link])


def _by_units(rows: Tensor, columns: int, batch: int) -> Tensor:
    """Lay out by units what is laid out by tiles, [tiles, units * columns]."""
    parts = rows.view(len(rows), rows.shape[1] // columns, columns)
    return parts.permute(1, 0, 2).flatten(1)[:, :batch].contiguous()


def _by_tiles(rows: Tensor, columns: int) -> Tensor:
    """Lay out by tiles what is laid out by units."""
    tiles = -(-rows.shape[1] // columns)
    parts = F.pad(rows, (0, tiles * columns - rows.shape[1])).view(len(rows), tiles, columns)
    return parts.permute(1, 0, 2).reshape(tiles, len(rows) * columns)
