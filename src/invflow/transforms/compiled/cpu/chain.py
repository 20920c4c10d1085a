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
    memory,
    parallel,
    product,
    queue,
    sweeps,
    tensors,
    tiles,
)
from invflow.transforms.compiled.structure import Link

_SOURCES = (
    activations, gradients, kernels, maps, masked, parallel, product, queue, sweeps, tensors,
    tiles,
)  # fmt: skip
#: Multiplications that are worth a thread of their own.
SHARE = 4e6


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


class _Network(NamedTuple):
    """A layout in the numbers that kernels read: see `sweeps`.

    Attributes:
        numbers: units known before each feature, first rows of the layers, whether a layer adds
            the one before, the activation, and for each matrix the layer that it adds to, the
            layer that it reads, and its place among all weights.
        shapes: of the weights, biases first, the first layer's among them.
        sizes: theirs.
        views: their shapes, strides and places among all weights.
        widths: of the layers.
    """

    numbers: tuple[Any, ...]
    shapes: list[tuple[int, ...]]
    sizes: list[int]
    views: list[tuple[tuple[int, ...], tuple[int, ...], int]]
    widths: list[int]


@lru_cache(maxsize=256)
def _network(layout: Layout) -> _Network:
    starts, tops, _ = structure.structure(layout)
    features, *widths = (len(degrees) for degrees in layout.degrees)
    matrices = [([features, *widths][a], [features, *widths][b]) for a, b in layout.blocks]
    shapes = [*((width,) for width in widths), *matrices]
    sizes = [math.prod(shape) for shape in shapes]
    places = [0, *itertools.accumulate(sizes)][:-1]
    views = [(shape, (*shape[1:], 1), at) for shape, at in zip(shapes, places, strict=True)]
    matrix_places = zip(layout.blocks, places[len(widths) :], strict=True)
    blocks = np.array([(*block, at) for block, at in matrix_places])
    activation = activations.ACTIVATIONS[layout.activation]
    numbers = np.array(starts), np.array(tops), layout.residual, activation, blocks
    return _Network(numbers, shapes, sizes, views, widths)


@lru_cache(maxsize=256)
def _tasks(layout: Layout, columns: int, transforms: int) -> NDArray[np.int64]:
    """Return the panels of the matrices, of all transforms: see `kernels`."""
    panels: list[tuple[int, int, int]] = []
    matrices = _network(layout).shapes[len(layout.hidden) + 1 :]
    for b, (rows, length) in enumerate(matrices):
        of_target = math.ceil(rows / columns) * length < math.ceil(length / columns) * rows
        across = rows if of_target else length
        panels += [(b, first, int(of_target)) for first in range(0, across, columns)]
    return np.array([(k, *panel) for k in range(transforms) for panel in panels])


@lru_cache(maxsize=256)
def _map(recipe: str) -> tuple[int, float]:
    """Return the number of a map of which `recipe` is the string, and its bound."""
    name, bound = structure.map_of(recipe)
    return maps.MAPS[name], bound


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return threads that wait for work; a forked process needs its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="invflow")


def _together(chain: Chain, kernel: Callable[..., bool], threads: int, *arguments: Any) -> bool:
    """Run a kernel on so many threads, which share its work; return whether it did it."""
    counter = np.zeros(1, np.int64)
    if threads == 1:
        return kernel(counter, *arguments)
    pool = _pool(os.getpid(), torch.get_num_threads())

    def work(held: Chain = chain) -> bool:
        """Run the kernel; an interrupted call leaves it what it reads by address."""
        return kernel(counter, *arguments)

    futures = [pool.submit(work) for _ in range(threads - 1)]
    try:
        done = kernel(counter, *arguments)
    finally:
        # Whatever comes: those that have begun read memory that would be freed.
        begun = [future for future in futures if not future.cancel()]
        wait(begun)
    return done and all(future.result() for future in begun)


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

    Raises:
        ValueError: tensors of other shapes or precisions, or not on the CPU.
    """

    def __init__(
        self, layout: Layout, univariate: str, inverse: bool, links: Sequence[Link]
    ) -> None:
        self._layout, self._network = layout, _network(layout)
        self._like = links[0].offset
        self.columns = product.ROW // self._like.element_size()
        # Held here, as the kernels know their addresses alone.
        self._weights = [
            tensor.contiguous() for link in links for tensor in (link.offset, *link.weights)
        ]
        self._orders = [self._order(link.order) for link in links]
        self._check(len(links))
        addresses = [tensor.data_ptr() for tensor in self._weights]
        self._head = (
            inverse,
            self.columns,
            *self._network.numbers,
            *_map(univariate),
            np.array(addresses).reshape(len(links), -1),
            self._like.ndim == 2,
            np.array([0 if order is None else order.data_ptr() for order in self._orders]),
        )

    def _check(self, count: int) -> None:
        """Check what is read by address."""
        first, *shapes = self._network.shapes
        like = self._like
        offset = like.shape if like.ndim == 2 and like.shape[1:] == first else first
        expected = (offset, *shapes) * count
        dtype, device = like.dtype, torch.device("cpu")
        fits = tuple(tensor.shape for tensor in self._weights) == expected and all(
            tensor.dtype == dtype and tensor.device == device for tensor in self._weights
        )
        if not fits:
            found = ((tuple(t.shape), str(t.dtype), str(t.device)) for t in self._weights)
            wanted = ((tuple(shape), str(dtype), "cpu") for shape in expected)
            got, want = next(pair for pair in zip(found, wanted, strict=True) if pair[0] != pair[1])
            raise ValueError(
                f"weights must be of shape {want[0]} and {want[1]} on the CPU, "
                f"got {got[0]} and {got[1]} on {got[2]}"
            )

    def _order(self, order: Tensor | None) -> Tensor | None:
        """Return an order as kernels read it, None for that in which features come."""
        features = self._layout.features
        if order is None:
            return None
        if order.shape != (features,) or order.device.type != "cpu":
            raise ValueError(
                f"orders must be {features} integers on the CPU, "
                f"got shape {tuple(order.shape)} on {order.device}"
            )
        return order.to(torch.int64).contiguous()

    def _tiles(self, batch: int) -> int:
        return math.ceil(batch / self.columns)

    def _run(self, kernel: Callable[..., bool], batch: int, pieces: int, *inputs: Any) -> None:
        """Run a kernel for a batch, on as many threads as are worth it, allowed, and have work."""
        work = batch * sum(self._network.sizes) * len(self._orders)
        threads = max(1, min(torch.get_num_threads(), pieces, int(work / SHARE)))
        arrays = [each.numpy() if isinstance(each, Tensor) else each for each in inputs]
        if not _together(self, kernel, threads, *self._head, *arrays):
            orders = [None if order is None else order.tolist() for order in self._orders]
            raise ValueError(f"orders must be permutations, got {orders}")

    def map(self, value: Tensor, keep: bool) -> tuple[Tensor, Tensor, Kept]:
        """Map a batch.

        Args:
            value: z or x, [batch, features].
            keep: whether what the way back needs is kept; otherwise `Kept` is of no use.

        Returns:
            x or z, [batch, features], and log-determinants, [batch].

        Raises:
            ValueError: values or offsets of another shape or precision, an order that is no
                permutation.
        """
        layout, count, like = self._layout, len(self._orders), self._like
        if value.dtype != like.dtype or value.shape[1] != layout.features:
            raise ValueError(
                f"values must be [batch, {layout.features}] and {like.dtype}, "
                f"got {tuple(value.shape)} and {value.dtype}"
            )
        batch = len(value)
        if like.ndim == 2 and len(like) != batch:
            raise ValueError(f"offsets must have {batch} rows, got {len(like)}")
        tiles, columns = self._tiles(batch), self.columns
        outputs, units = layout.features * layout.outputs, sum(layout.hidden)
        value = value.contiguous()
        kept = Kept(
            value,
            memory.empty((count if keep else 1, batch, layout.features), value),
            memory.empty((count if keep else 0, tiles, outputs * columns), value),
            memory.empty((count if keep else int(layout.residual), tiles, units * columns), value),
        )
        ladj = value.new_empty(batch)
        self._run(
            _kernels().chain, batch, tiles,
            value, kept.steps, ladj, kept.params, kept.hidden,
        )  # fmt: skip
        return kept.steps[-1], ladj, kept

    def pull(
        self, kept: Kept, bar: Tensor, bar_ladj: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take cotangents back.

        Args:
            kept: by `map`.
            bar: cotangents of its values, [batch, features].
            bar_ladj: those of its log-determinants, [batch].

        Returns:
            Cotangents of what was mapped, [batch, features], of parameters and pre-activations,
            laid out as these, and the sums of both, [tiles, transforms, units].
        """
        results = (
            torch.empty_like(kept.value),
            memory.empty(kept.params.shape, kept.value),
            memory.empty(kept.hidden.shape, kept.value),
            kept.value.new_empty(
                kept.params.shape[1], len(self._orders), sum(self._network.widths)
            ),
        )
        self._run(
            _kernels().reverse_chain, len(bar), self._tiles(len(bar)),
            *kept, bar.contiguous(), bar_ladj.contiguous(), *results,
        )  # fmt: skip
        return results

    def gradients(self, kept: Kept, bar: Tensor, bar_ladj: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Take cotangents back to all that went in; see `pull`.

        Returns:
            Gradients of what was mapped, and those of offset, biases and matrices, link by link.
        """
        layout, count, network = self._layout, len(self._orders), self._network
        result, bar_params, bar_hidden, sums = self.pull(kept, bar, bar_ladj)
        flat = memory.empty((count, sum(network.sizes)), result)
        torch.sum(sums, 0, out=flat[:, : sums.shape[2]])
        tasks = _tasks(layout, self.columns, count)
        self._run(
            _kernels().weight_gradients, len(bar), len(tasks),
            *kept[:2], kept.hidden, bar_params, bar_hidden, flat, tasks,
        )  # fmt: skip
        starts = range(0, flat.numel(), flat.shape[1])
        found = [
            flat.as_strided(shape, stride, start + at)
            for start in starts
            for shape, stride, at in network.views
        ]
        if self._like.ndim == 2:
            first = bar_hidden if layout.hidden else bar_params
            found[:: len(network.sizes)] = [self._by_rows(own, len(result)) for own in first]
        return result, found

    def _by_rows(self, tiles: Tensor, batch: int) -> Tensor:
        """Return what the first layer has in each tile, by rows of the batch."""
        rows = tiles.view(len(tiles), tiles.shape[1] // self.columns, self.columns)
        units = rows[:, : self._network.widths[0]]
        return units.transpose(1, 2).flatten(0, 1)[:batch]
