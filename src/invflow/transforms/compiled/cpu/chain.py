"""Chains of transforms as functions of tensors: structure, memory and threads."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invflow.conditioners.layout import Layout
from invflow.transforms.compiled import structure
from invflow.transforms.compiled.cpu import (
    activations,
    gradients,
    kernels,
    maps,
    masked,
    parallel,
    product,
    sweeps,
    tiles,
)

_SOURCES = (activations, gradients, kernels, maps, masked, parallel, product, sweeps, tiles)
#: Multiplications that are worth a thread of their own.
SHARE = 2e6


@cache
def _kernels() -> kernels.Kernels:
    """Return the kernels, whose machine code is kept on disk where there is a folder for it."""
    digest = hashlib.sha256()
    for module in _SOURCES:
        digest.update(Path(str(module.__file__)).read_bytes())
    try:
        return kernels.kernels(digest.hexdigest(), keep=True)
    except RuntimeError:  # no folder to keep it in
        return kernels.kernels(digest.hexdigest(), keep=False)


class _Structure(NamedTuple):
    """A layout in the numbers that kernels read: see `sweeps`."""

    starts: NDArray[np.int64]
    tops: NDArray[np.int64]
    residual: bool
    activation: int


@lru_cache(maxsize=256)
def _structure(layout: Layout) -> _Structure:
    starts, tops, _ = structure.structure(layout)
    number = activations.ACTIVATIONS[layout.activation]
    return _Structure(np.array(starts), np.array(tops), layout.residual, number)


@lru_cache(maxsize=256)
def _shapes(layout: Layout) -> list[tuple[int, ...]]:
    """Return the shapes of the matrices."""
    sizes = [len(degrees) for degrees in layout.degrees]
    return [(sizes[layer], sizes[source]) for layer, source in layout.blocks]


@lru_cache(maxsize=256)
def _tasks(
    layout: Layout, columns: int, transforms: int, threads: int
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Return where the matrices' gradients go, and their panels by thread: see `kernels`."""
    shapes = _shapes(layout)
    panels: list[tuple[int, int, int]] = []
    work: list[int] = []
    for b, (rows, length) in enumerate(shapes):
        of_target = math.ceil(rows / columns) * length < math.ceil(length / columns) * rows
        across, along = (rows, length) if of_target else (length, rows)
        for first in range(0, across, columns):
            panels.append((b, first, int(of_target)))
            share = first / across
            work.append(round(along * (share if of_target else 1 - share)) + columns)
    places = structure.structure(layout).places
    blocks = np.array([(*block, at) for block, at in zip(layout.blocks, places, strict=True)])
    tasks = np.array([(k, *panel) for k in range(transforms) for panel in panels])
    shared = np.cumsum(work * transforms)
    cuts = np.searchsorted(shared, [shared[-1] * k / threads for k in range(1, threads)]) + 1
    return blocks, np.split(tasks, cuts)


@lru_cache(maxsize=256)
def _map(recipe: str) -> tuple[int, float]:
    """Return the number of a map of which `recipe` is the string, and its bound."""
    name, bound = structure.map_of(recipe)
    return maps.MAPS[name], bound


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return threads that wait for work; a forked process needs its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="invflow")


@lru_cache(maxsize=256)
def _count(features: int) -> NDArray[np.int64]:
    return np.arange(features)


def _together(kernel: Callable[..., None], parts: Sequence[Any], *rest: Any) -> None:
    """Run a kernel for each part, on a thread of its own."""
    own, *others = parts
    pool = _pool(os.getpid(), torch.get_num_threads()) if others else None
    futures = [pool.submit(kernel, part, *rest) for part in others] if pool else []
    try:
        kernel(own, *rest)
    finally:
        wait(futures)  # whatever comes: they read memory that would be freed
    for future in futures:
        future.result()


def _check(layout: Layout, link: Link, dtype: torch.dtype) -> None:
    """Check what is read by address."""
    widths = [len(degrees) for degrees in layout.degrees[1:]]
    shapes = [*((width,) for width in widths[1:]), *_shapes(layout)]
    if link.offset.ndim not in (1, 2) or link.offset.shape[-1] != widths[0]:
        raise ValueError(f"offset must end in {widths[0]}, got {tuple(link.offset.shape)}")
    tensors = (*link.biases, *link.matrices)
    for tensor, shape in zip((*tensors, link.offset), (*shapes, link.offset.shape), strict=True):
        if tensor.shape != shape or tensor.dtype != dtype or tensor.device.type != "cpu":
            raise ValueError(
                f"weights must be of shape {tuple(shape)} and {dtype} on the CPU, "
                f"got {tuple(tensor.shape)} and {tensor.dtype} on {tensor.device}"
            )


def _arrays(*tensors: Tensor) -> list[NDArray[Any]]:
    return [tensor.numpy() for tensor in tensors]


class Link(NamedTuple):
    """The tensors of one transform of a chain.

    Attributes:
        order: the features in the order in which they are taken, None for that in which they come.
        offset: what the first layer has of the context and its bias, [units] or [batch, units].
        biases: of the later layers.
        matrices: in the order of `layout.blocks`.
    """

    order: Tensor | None
    offset: Tensor
    biases: Sequence[Tensor]
    matrices: Sequence[Tensor]


class Kept(NamedTuple):
    """What the way back needs.

    Attributes:
        value: what was mapped, [batch, features].
        steps: what came out of each transform, [transforms, batch, features].
        params: the parameters there, [transforms, tiles, features * outputs * columns].
        hidden: the pre-activations there, [transforms, tiles, units * columns].
    """

    value: Tensor
    steps: Tensor
    params: Tensor
    hidden: Tensor


class Chain:
    """Transforms that are alike but for their tensors, as the kernels take them.

    Args:
        layout: of their MADEs.
        univariate: the recipe of their maps.
        inverse: whether they are taken from x to z.
        links: their tensors, in the order in which they are taken.
    """

    def __init__(
        self, layout: Layout, univariate: str, inverse: bool, links: Sequence[Link]
    ) -> None:
        for link in links:
            _check(layout, link, links[0].offset.dtype)
        self._layout, self._links = layout, links
        self._structure = _structure(layout)
        self._settings = (*self._structure[2:], *_map(univariate))
        self._inverse = inverse
        self._like = links[0].offset
        self.columns = product.ROW // self._like.element_size()
        self._orders = np.stack(
            [_count(layout.features) if order is None else order.numpy() for order, *_ in links]
        )
        if not np.array_equal(np.sort(self._orders), [_count(layout.features)] * len(links)):
            raise ValueError(f"orders must be permutations, got {self._orders.tolist()}")
        # Held here, as the kernels know their addresses alone.
        self._matrices = [[matrix.contiguous() for matrix in link.matrices] for link in links]
        self._blocks = np.array(
            [
                [
                    (*block, matrix.data_ptr())
                    for block, matrix in zip(layout.blocks, each, strict=True)
                ]
                for each in self._matrices
            ]
        )

    def _over_tiles(self, kernel: Callable[..., None], batch: int, *rest: Any) -> None:
        """Run a kernel over the tiles of a batch, on some threads."""
        starts, tops, *_ = self._structure
        head = (self._inverse, self.columns, starts, tops, *self._settings, self._blocks)
        tiles, threads = math.ceil(batch / self.columns), self._threads(batch)
        cuts = [tiles * k // threads for k in range(threads + 1)]
        _together(kernel, list(itertools.pairwise(cuts)), *head, *rest)

    def _threads(self, batch: int) -> int:
        """Return how many threads are worth it and allowed."""
        weights = sum(matrix.numel() for matrix in self._matrices[0])
        tiles, work = math.ceil(batch / self.columns), batch * weights * len(self._links)
        return max(1, min(torch.get_num_threads(), tiles, int(work / SHARE)))

    def _offsets(self) -> tuple[Tensor, Tensor]:
        """Return all biases, [transforms, units], and, where the first ones vary, those."""
        offsets = [link.offset for link in self._links]
        if self._like.ndim == 1:
            biases = [tensor for link in self._links for tensor in (link.offset, *link.biases)]
            return torch.cat(biases).view(len(offsets), -1), self._like.new_empty(0, 0, 0)
        none = self._like.new_zeros(self._like.shape[1])
        biases = [tensor for link in self._links for tensor in (none, *link.biases)]
        return torch.cat(biases).view(len(offsets), -1), torch.stack(offsets)

    def map(self, value: Tensor, keep: bool) -> tuple[Tensor, Tensor, Kept]:
        """Map a batch.

        Args:
            value: z or x, [batch, features].
            keep: whether what the way back needs is kept; otherwise `Kept` is of no use.

        Returns:
            x or z, [batch, features], and log-determinants, [batch].
        """
        layout, batch, count = self._layout, value.shape[0], len(self._links)
        if value.dtype != self._like.dtype or value.shape[1] != layout.features:
            raise ValueError(
                f"values must be [batch, {layout.features}] and {self._like.dtype}, "
                f"got {tuple(value.shape)} and {value.dtype}"
            )
        if any(link.offset.ndim == 2 and len(link.offset) != batch for link in self._links):
            raise ValueError(f"offsets must have {batch} rows, got {len(self._like)}")
        tiles = math.ceil(batch / self.columns)
        outputs, units = layout.features * layout.outputs, sum(layout.hidden)
        value = value.contiguous()
        kept = Kept(
            value,
            value.new_empty(count if keep else 1, batch, layout.features),
            value.new_empty(count if keep else 0, tiles, outputs * self.columns),
            value.new_empty(count if keep else int(layout.residual), tiles, units * self.columns),
        )
        ladj = value.new_empty(batch)
        biases, offsets = (tensor.detach().numpy() for tensor in self._offsets())
        given, steps, *rest = _arrays(*kept)
        self._over_tiles(
            _kernels().chain, batch,
            biases, offsets, self._orders, given, steps, *_arrays(ladj), *rest,
        )  # fmt: skip
        return kept.steps[-1], ladj, kept

    def pull(self, kept: Kept, bar: Tensor, bar_ladj: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take cotangents back.

        Args:
            kept: by `map`.
            bar: cotangents of its values, [batch, features].
            bar_ladj: those of its log-determinants, [batch].

        Returns:
            Cotangents of what was mapped, [batch, features], of parameters and pre-activations,
            laid out as these.
        """
        bar, bar_ladj = bar.contiguous(), bar_ladj.contiguous()
        results = (
            torch.empty_like(bar),
            torch.empty_like(kept.params),
            torch.empty_like(kept.hidden),
        )
        self._over_tiles(
            _kernels().reverse_chain, len(bar),
            self._orders, *_arrays(*kept, bar, bar_ladj, *results),
        )  # fmt: skip
        return results

    def gradients(
        self, kept: Kept, bar: Tensor, bar_ladj: Tensor
    ) -> tuple[Tensor, list[list[Tensor]]]:
        """Take cotangents back to all that went in; see `pull`.

        Returns:
            Gradients of what was mapped, and those of each link: offset, biases, matrices.
        """
        layout, count = self._layout, len(self._links)
        result, bar_params, bar_hidden = self.pull(kept, bar, bar_ladj)
        blocks, tasks = _tasks(layout, self.columns, count, self._threads(len(bar)))
        shapes = _shapes(layout)
        sizes = [math.prod(shape) for shape in shapes]
        flat = bar.new_empty(count, sum(sizes))
        starts, tops, _, activation = self._structure
        value, steps, _, hidden = _arrays(*kept)
        _together(
            _kernels().weight_gradients, tasks, self._inverse, self.columns,
            starts, tops, activation, blocks, self._orders, value, steps, hidden,
            *_arrays(bar_params, bar_hidden, flat),
        )  # fmt: skip
        widths = [*layout.hidden, layout.features * layout.outputs]
        deltas = [
            bar.view(*bar.shape[:2], bar.shape[2] // self.columns, self.columns)
            for bar in (bar_hidden, bar_params)
        ]
        ones = bar.new_ones(self.columns)
        sums = torch.cat([(part @ ones).sum(1) for part in deltas], 1)
        found: list[list[Tensor]] = []
        for k in range(count):
            offset, *biases = sums[k].split(widths)
            if self._like.ndim == 2:
                own = deltas[0 if layout.hidden else 1][k, :, : widths[0]]
                offset = own.transpose(1, 2).flatten(0, 1)[: len(result)]
            matrices = zip(flat[k].split(sizes), shapes, strict=True)
            found.append([offset, *biases, *(part.view(shape) for part, shape in matrices)])
        return result, found
