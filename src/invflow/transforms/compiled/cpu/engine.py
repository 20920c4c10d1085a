"""The compiled sweeps as functions of tensors: structure, memory and threads."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invflow.conditioners.layout import Layout
from invflow.conditioners.sweep import MADEPlan
from invflow.transforms.compiled import structure
from invflow.transforms.compiled.cpu import activations, maps, product, sweeps

_SOURCES = (activations, maps, product, sweeps)
#: Hidden units in a panel, and multiplications that are worth a thread of their own.
PANEL, SHARE = 32, 2e6


@cache
def _kernels() -> sweeps.Kernels:
    digest = hashlib.sha256()
    for module in _SOURCES:
        digest.update(Path(str(module.__file__)).read_bytes())
    try:
        return sweeps.kernels(digest.hexdigest(), keep=True)
    except RuntimeError:  # no folder to keep it in
        return sweeps.kernels(digest.hexdigest(), keep=False)


#: z, log-determinants, parameters and hidden pre-activations.
Solution = tuple[Tensor, Tensor, Tensor, Tensor]


class _Structure(NamedTuple):
    """A layout in the numbers that kernels read: see `sweeps`."""

    starts: NDArray[np.int64]
    tops: NDArray[np.int64]
    blocks: NDArray[np.int64]
    panel: int
    residual: bool
    activation: int


@lru_cache(maxsize=256)
def _structure(layout: Layout) -> _Structure:
    starts, tops, places = structure.structure(layout)
    return _Structure(
        starts=np.array(starts),
        tops=np.array(tops),
        blocks=np.array([(*block, at) for block, at in zip(layout.blocks, places, strict=True)]),
        panel=structure.panel(layout, PANEL),
        residual=layout.residual,
        activation=activations.ACTIVATIONS[layout.activation],
    )


def _map(recipe: str) -> tuple[int, float]:
    """Return the number of a map of which `recipe` is the string, and its bound."""
    name, bound = structure.map_of(recipe)
    return maps.MAPS[name], bound


def _flat(tensors: Sequence[Tensor]) -> NDArray[Any]:
    return torch.cat([tensor.reshape(-1) for tensor in tensors]).numpy()


def _arrays(*tensors: Tensor) -> list[NDArray[Any]]:
    return [tensor.contiguous().numpy() for tensor in tensors]


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return threads that wait for work; a forked process needs its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="invflow")


def _over_tiles(run: Callable[..., None], x: Tensor, multiplications: int, *rest: Any) -> None:
    """Run a kernel over the tiles of a batch, on as many threads as are worth it and allowed."""
    columns = product.VECTORS * product.REGISTER // x.element_size()
    tiles = math.ceil(x.shape[0] / columns)
    worth = int(multiplications * x.shape[0] / SHARE)
    threads = max(1, min(torch.get_num_threads(), tiles, worth))
    cuts = [tiles * k // threads for k in range(threads + 1)]
    own, *others = itertools.pairwise(cuts)
    pool = _pool(os.getpid(), torch.get_num_threads()) if others else None
    futures = [pool.submit(run, part, columns, *rest) for part in others] if pool else []
    run(own, columns, *rest)
    for future in futures:
        future.result()


def solve(
    plan: MADEPlan,
    univariate: str,
    order: Tensor,
    x: Tensor,
    offset: Tensor,
    weights: list[Tensor],
) -> Solution:
    """The forward sweep; see `operators.sweep`."""
    biases, _, matrices, _ = plan.unpack(weights)
    first = offset.new_zeros(offset.shape[0]) if offset.shape[1] == 0 else offset[:, 0]
    varying = offset[:0] if offset.stride(1) == 0 else offset
    z, ladj = torch.empty_like(x, memory_format=torch.contiguous_format), x.new_empty(x.shape[0])
    params = x.new_empty(x.shape[1] * plan.layout.outputs, x.shape[0])
    hidden = x.new_empty(plan.hidden_units, x.shape[0])
    flat = _flat(matrices)
    _over_tiles(
        _kernels().sweep, x, flat.size, *_structure(plan.layout), *_map(univariate),
        flat, _flat([first, *biases]), *_arrays(varying, order, x, z, ladj, params, hidden),
    )  # fmt: skip
    return z, ladj, params, hidden


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
    _, _, matrices, _ = plan.unpack(weights)
    results = [
        torch.empty_like(like, memory_format=torch.contiguous_format)
        for like in (z, params, hidden)
    ]
    flat = _flat([matrix.t() for matrix in matrices])
    _over_tiles(
        _kernels().reverse_sweep, z, flat.size, *_structure(plan.layout), *_map(univariate),
        flat, *_arrays(order, z, params, hidden, bar_z, bar_ladj), *_arrays(*results),
    )  # fmt: skip
    return results[0], results[1], results[2]
