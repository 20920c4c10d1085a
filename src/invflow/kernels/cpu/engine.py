"""The sweeps of one transform in the layout of the operators: by units, [units, batch]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from invflow.conditioners.sweep import MADEPlan
from invflow.kernels import dense
from invflow.kernels.cpu.chain import Chain, Kept
from invflow.kernels.structure import Link


def solve(
    plan: MADEPlan,
    univariate: str,
    input_bound: float,
    order: Tensor,
    x: Tensor,
    offset: Tensor,
    weights: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The forward sweep; see `operators.sweep`."""
    chain = _chain(plan, univariate, input_bound, order, offset, weights)
    z, ladj, kept = chain.keep(dense.whole("values", x))
    hidden, params = _by_units(chain, kept.room, len(x))
    return z, ladj, params, hidden


def pull(
    plan: MADEPlan,
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
    """The reverse sweep; see `operators.reverse_sweep`."""
    # The backward pass needs no offset.
    chain = _chain(plan, univariate, input_bound, order, None, weights)
    rows = _by_tiles(torch.cat([hidden, params]), chain.columns)
    after = _by_tiles(z.t(), chain.columns)
    before = after  # the reverse of an inverse does not read it
    room = torch.cat([part.flatten() for part in (rows, before, after)])
    kept = Kept(len(z), dense.whole("what was kept", room))
    bars_of = (dense.whole("cotangents", each) for each in (bar_z, bar_ladj))
    bar_x, bars = chain.pull(kept, *bars_of)
    bar_hidden, bar_params = _by_units(chain, bars, len(z))
    return bar_x, bar_params, bar_hidden


def _chain(
    plan: MADEPlan,
    univariate: str,
    input_bound: float,
    order: Tensor,
    offset: Tensor | None,
    weights: list[Tensor],
) -> Chain:
    biases, _, matrices, _ = plan.unpack(weights)
    first, varying = matrices[-1].new_zeros(len(plan.layout.degrees[1])), None
    if offset is not None and offset.shape[1] > 0 and offset.stride(1) == 0:
        first = offset[:, 0]
    elif offset is not None:
        varying = dense.whole("offset", offset.t())
    weight = torch.cat([matrix.flatten() for matrix in matrices])
    order = dense.whole("orders", order)
    link = Link(order, torch.cat([first, *biases]), weight, varying)
    return Chain(plan.layout, univariate, input_bound, True, [link])


def _by_units(chain: Chain, room: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Return the pre-activations and the parameters of one transform, laid out by units.

    Copies, because the results of an operator must not share memory.
    """
    rows = chain.rows(room, batch).permute(1, 0, 2).flatten(1)[:, :batch]
    outputs = chain.layout.features * chain.layout.outputs
    hidden, params = rows.split([len(rows) - outputs, outputs])
    return (
        hidden.clone(memory_format=torch.contiguous_format),
        params.clone(memory_format=torch.contiguous_format),
    )


def _by_tiles(rows: Tensor, columns: int) -> Tensor:
    """Convert the layout from units to tiles."""
    tiles = -(-rows.shape[1] // columns)
    parts = F.pad(rows, (0, tiles * columns - rows.shape[1])).view(len(rows), tiles, columns)
    return parts.permute(1, 0, 2)
