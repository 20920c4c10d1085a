"""The compiled sweeps as functions of tensors on a CUDA device: structure, memory and launch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from invflow import _torch
from invflow.conditioners.layout import Layout
from invflow.conditioners.sweep import MADEPlan
from invflow.kernels import dense, structure
from invflow.kernels.gpu import sweeps

#: Hidden units in a panel.
PANEL = 64
#: Columns of a program, and the sizes of its products: see `sweeps.sweep`.
SIZES = {"BLOCK": 32, "ROWS": 32, "GROUP": 16, "DEPTH": 32}
LAUNCH = {"num_warps": 4, "num_stages": 2}

#: z, log-determinants, parameters and hidden pre-activations.
Solution = tuple[Tensor, Tensor, Tensor, Tensor]


class _Structure(NamedTuple):
    """A layout in the numbers that kernels read, and the rows of a panel: see `sweeps`."""

    starts: Tensor
    tops: Tensor
    places: Tensor
    shelves: Tensor


@cache
def _structure(layout: Layout, device: torch.device) -> tuple[_Structure, int, int]:
    """Return the tables, the features in a panel, and the rows of the largest panel's sums.

    They are kept for good: a captured CUDA graph reads the tables again in every replay.
    """
    starts, tops, places = structure.structure(layout)
    panel = structure.panel(layout, PANEL)
    firsts = range(0, layout.features, panel)
    rows = [
        max(layer[min(first + panel, layout.features)] - layer[first] for first in firsts)
        for layer in starts
    ]
    shelves = [sum(rows[:layer]) for layer in range(len(rows))]
    tables = (torch.tensor(table, device=device) for table in (starts, tops, places, shelves))
    return _Structure(*tables), panel, sum(rows)


def _precision() -> str:
    """Return the precision that products of single precision are set to."""
    matmul = torch.backends.cuda.matmul
    # From PyTorch 2.9 on, the older switch cannot be read once the newer has been set.
    asked = getattr(matmul, "fp32_precision", None) or ("tf32" if matmul.allow_tf32 else "ieee")
    return "tf32" if asked == "tf32" else "ieee"


def _launch(
    kernel: Any, plan: MADEPlan, univariate: str, input_bound: float, x: Tensor, *rest: Any
) -> None:
    """Run a kernel once over a batch like `x`: its tables, `rest`, room for sums, and sizes."""
    layout, (batch, features) = plan.layout, x.shape
    if batch == 0:
        return
    tables, panel, rows = _structure(layout, x.device)
    of = structure.map_of(univariate)
    sums = x.new_empty(rows, batch, dtype=torch.promote_types(x.dtype, torch.float32))
    with torch.cuda.device_of(x):
        kernel[(math.ceil(batch / SIZES["BLOCK"]),)](
            *tables, *rest, sums, features, batch, panel,
            LAYERS=len(layout.hidden) + 1,
            OUTPUTS=layout.outputs,
            DIRECT=layout.direct,
            RESIDUAL=layout.residual,
            ACTIVATION=layout.activation,
            MAP=of.name,
            BOUND=of.bound,
            INPUT_BOUND=input_bound,
            PRECISION=_precision(),
            **SIZES,
            **LAUNCH,
        )  # fmt: skip


def _flat(tensors: Sequence[Tensor], like: Tensor) -> Tensor:
    return torch.cat([like.new_empty(0), *(tensor.reshape(-1) for tensor in tensors)])


def solve(
    plan: MADEPlan,
    univariate: str,
    input_bound: float,
    order: Tensor,
    x: Tensor,
    offset: Tensor,
    weights: list[Tensor],
) -> Solution:
    """The forward sweep; see `operators.sweep`."""
    biases, _, matrices, _ = plan.unpack(weights)
    batch, features = x.shape
    if not _torch.dense(offset):
        offset = dense.whole("offset", offset)
    dense.check_memory("offset", offset)
    z, ladj = torch.empty_like(x, memory_format=torch.contiguous_format), x.new_empty(batch)
    params = x.new_empty(features * plan.layout.outputs, batch)
    hidden = x.new_empty(plan.hidden_units, batch)
    values = x.new_empty(features + plan.hidden_units, batch)
    _launch(
        sweeps.sweep, plan, univariate, input_bound, x,
        _flat(matrices, x), _flat(biases, x), offset, *offset.stride(),
        dense.whole("orders", order), dense.whole("values", x), z, ladj, params, hidden, values,
    )  # fmt: skip
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
    _, _, matrices, _ = plan.unpack(weights)
    tensors = (order, z, params, hidden, bar_z, bar_ladj)
    given = [dense.whole("tensors of the reverse sweep", tensor) for tensor in tensors]
    results = [torch.empty_like(tensor) for tensor in given[1:4]]
    flat = _flat([matrix.t() for matrix in matrices], z)
    _launch(sweeps.reverse_sweep, plan, univariate, input_bound, z, flat, *given, *results)
    return results[0], results[1], results[2]
