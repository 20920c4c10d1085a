"""Chains of transforms as functions of tensors: structure, memory and threads."""

from __future__ import annotations

import ctypes
import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invflow.conditioners.layout import Layout
from invflow.kernels import dense, structure
from invflow.kernels.cpu import library, memory, threads
from invflow.kernels.cpu.record import Record
from invflow.kernels.structure import Link

#: Bytes in a row of a tile.
ROW = 256
#: What the kernels call activations and maps by number: see `activations.h` and `maps.h`.
ACTIVATIONS = ("relu", "leaky_relu", "elu", "tanh", "sigmoid", "silu", "softplus", "gelu")
MAPS = ("additive", "affine", "gated")


class _Network(NamedTuple):
    """A layout and a map in the numbers that kernels read: see `record`.

    Attributes:
        first: units of the first layer.
        units: of all layers.
        size: how many numbers the matrices have.
        record: what all chains of such transforms have in common.
        held: the arrays that it tells of.
    """

    first: int
    units: int
    size: int
    record: Record
    held: list[NDArray[np.int64]]


@lru_cache(maxsize=256)
def _network(layout: Layout, univariate: str, input_bound: float) -> _Network:
    starts, tops, places = structure.structure(layout)
    widths = [len(degrees) for degrees in layout.degrees[1:]]
    blocks = [(*block, at) for block, at in zip(layout.blocks, places, strict=True)]
    degrees = list(itertools.chain.from_iterable(layout.degrees))
    held = [np.array(each, np.int64) for each in (starts, tops, degrees, blocks)]
    name, bound = structure.map_of(univariate)
    record = Record(
        layers=len(tops), features=layout.features, starts=held[0].ctypes.data,
        tops=held[1].ctypes.data, degrees=held[2].ctypes.data, blocks=held[3].ctypes.data,
        matrices=len(blocks), residual=layout.residual,
        activation=ACTIVATIONS.index(layout.activation), map=MAPS.index(name), bound=bound,
        input_bound=input_bound,
    )  # fmt: skip
    size = sum(map(math.prod, layout.shapes))
    return _Network(widths[0], sum(widths), size, record, held)


@lru_cache(maxsize=256)
def _tasks(layout: Layout, columns: int, transforms: int) -> NDArray[np.int64]:
    """Return the panels of the matrices, and the biases, of all transforms: see `Record`.

    Each matrix is cut by its target or by its source, whichever leaves less to do.
    """
    panels = [(len(layout.shapes), 0, 0)]
    for b, (target, source) in enumerate(layout.blocks):
        rows, length = layout.degrees[target], layout.degrees[source]
        by_target, by_source = range(0, len(rows), columns), range(0, len(length), columns)
        # Rows of products, and those that are made for them or transposed.
        seen = [bisect_right(length, rows[min(i + columns, len(rows)) - 1]) for i in by_target]
        seeing = [len(rows) - bisect_left(rows, length[j]) for j in by_source]
        of_target = sum(seen) * 5 / 4 + 16 * len(seen) < sum(seeing) + 32 * len(seeing)
        panels += [(b, first, int(of_target)) for first in (by_target if of_target else by_source)]
    tasks = [(k, *panel) for k in range(transforms) for panel in panels]
    return np.array(tasks, np.int64)


class Kept(NamedTuple):
    """What the backward pass needs.

    Attributes:
        batch: the number of rows that were mapped.
        room: pre-activations and parameters, as `Chain.rows` shows them, and after them the
            features before the first transform and after each, [transforms + 1, tiles, features,
            columns].
    """

    batch: int
    room: Tensor


class Chain:
    """Transforms that are alike but for their tensors, as the kernels take them.

    Args:
        layout: of their MADEs.
        univariate: the recipe of their maps.
        input_bound: the bound of what their conditioners read.
        inverse: whether they are taken from x to z.
        links: their tensors, in the order in which they are taken.

    Raises:
        ValueError: tensors of other shapes or precisions, or not on the CPU.
    """

    def __init__(
        self,
        layout: Layout,
        univariate: str,
        input_bound: float,
        inverse: bool,
        links: Sequence[Link],
    ) -> None:
        self.layout, self._network = layout, _network(layout, univariate, input_bound)
        self._like, self._varying = links[0].bias, links[0].offset is not None
        self.columns = ROW // self._like.element_size()
        # Held here, as the kernels know their addresses alone.
        self._links = [self._checked(link) for link in links]
        addresses = [
            0 if tensor is None else tensor.data_ptr() for link in self._links for tensor in link
        ]
        self._addresses = (ctypes.c_int64 * len(addresses))(*addresses)
        self._record = Record.from_buffer_copy(self._network.record)
        self._record.inverse, self._record.transforms = inverse, len(links)
        self._record.tensors = ctypes.addressof(self._addresses)

    def _checked(self, link: Link) -> Link:
        """Return a transform's tensors, which are plain, as they can be read by address."""
        order, bias, weight, offset = link
        if order is not None:
            order = self._order(order)
        self._check("bias", bias, (self._network.units,))
        self._check("weight", weight, (self._network.size,))
        if (offset is not None) != self._varying:
            raise ValueError("transforms must all have a context, or none")
        if offset is not None:
            self._check("offset", offset, (len(offset), self._network.first))
            offset = dense.packed("offset", offset)
        return Link(order, dense.packed("bias", bias), dense.packed("weight", weight), offset)

    def _read(self, name: str, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """Return a tensor from elsewhere as it can be read by address."""
        self._check(name, tensor, shape)
        return dense.whole(name, tensor)

    def _check(self, name: str, tensor: Tensor, shape: Sequence[int]) -> None:
        dtype = self._like.dtype
        if tensor.shape != shape or tensor.dtype is not dtype or not tensor.is_cpu:
            raise ValueError(
                f"{name} must be of shape {tuple(shape)} and {dtype} on the CPU, "
                f"got {tuple(tensor.shape)} and {tensor.dtype} on {tensor.device}"
            )

    def _order(self, order: Tensor) -> Tensor:
        features = self.layout.features
        if order.shape != (features,) or not order.is_cpu:
            raise ValueError(
                f"orders must be {features} integers on the CPU, "
                f"got shape {tuple(order.shape)} on {order.device}"
            )
        return dense.packed("orders", order).to(torch.int64)

    def _tiles(self, batch: int) -> int:
        return math.ceil(batch / self.columns)

    def _run(self, name: str, batch: int, tasks: int = 0) -> None:
        """Run a kernel for a batch, on as many threads as are worth it, allowed, and have work."""
        work, tiles = batch * self._network.size * len(self._links), self._tiles(batch)
        record = self._record
        record.batch = batch
        record.taken = record.done = record.tasks_taken = record.tasks_done = record.failed = 0
        kernel = library.address(name, self._like.dtype)
        threads.run(kernel, ctypes.addressof(record), threads.count(work, max(tiles, tasks)))
        if record.done < tiles or record.tasks_done < tasks:
            raise self._failure()

    def _failure(self) -> Exception:
        """Return why a kernel did not do its work."""
        features = list(range(self.layout.features))
        orders = [link.order.tolist() for link in self._links if link.order is not None]
        wrong = [order for order in orders if sorted(order) != features]
        if wrong:
            return ValueError(f"orders must be permutations of {len(features)}, got {wrong[0]}")
        return RuntimeError("a kernel did not finish its work; out of memory?")

    def map(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Map a batch.

        Args:
            value: z or x, [batch, features].

        Returns:
            x or z, [batch, features], and log-determinants, [batch].

        Raises:
            ValueError: values or offsets of another shape or precision, an order that is not a
                permutation.
        """
        self._record.keep = 0
        return self._map(self._checked_batch(value))

    def keep(self, value: Tensor) -> tuple[Tensor, Tensor, Kept]:
        """Map a batch, and keep what the backward pass needs; see `map`."""
        value, batch = self._checked_batch(value), len(value)
        room = memory.empty((self._size_kept(batch),), value)
        self._record.keep = 1
        self._tell_kept(room, batch)
        return *self._map(value), Kept(batch, room)

    def _map(self, value: Tensor) -> tuple[Tensor, Tensor]:
        result, ladj = memory.empty(value.shape, value), value.new_empty(len(value))
        record = self._record
        record.value, record.result, record.ladj = (
            tensor.data_ptr() for tensor in (value, result, ladj)
        )
        self._run("map", len(value))
        return result, ladj

    def _tell_kept(self, room: Tensor, batch: int) -> None:
        self._record.kept = room.data_ptr()
        self._record.steps = room.data_ptr() + self._size_of_rows(batch) * room.element_size()

    def rows(self, room: Tensor, batch: int) -> Tensor:
        """Return pre-activations and parameters, or their cotangents, as they lie in tiles.

        Args:
            room: begins with them.
            batch: the number of rows that were mapped.

        Returns:
            Shape [transforms, tiles, units, columns].
        """
        shape = len(self._links), self._tiles(batch), self._network.units, self.columns
        return room[: math.prod(shape)].view(shape)

    def _size_of_rows(self, batch: int) -> int:
        """Return how many numbers pre-activations and parameters are."""
        return len(self._links) * self._tiles(batch) * self.columns * self._network.units

    def _size_kept(self, batch: int) -> int:
        """Return how many numbers the backward pass needs."""
        steps = (len(self._links) + 1) * self._tiles(batch) * self.columns * self.layout.features
        return self._size_of_rows(batch) + steps

    def _checked_batch(self, value: Tensor) -> Tensor:
        if self._varying:
            for link in self._links:
                if len(cast(Tensor, link.offset)) != len(value):
                    raise ValueError(
                        f"offsets must have {len(value)} rows, got {len(cast(Tensor, link.offset))}"
                    )
        return self._read("values", value, (len(value), self.layout.features))

    def pull(self, kept: Kept, bar: Tensor, bar_ladj: Tensor) -> tuple[Tensor, Tensor]:
        """Take cotangents back.

        Args:
            kept: in the forward pass.
            bar: cotangents of its values, [batch, features].
            bar_ladj: those of its log-determinants, [batch].

        Returns:
            Cotangents of what was mapped, [batch, features]; and of pre-activations and parameters
            (see `rows`), and after them the sums of both, [tiles, transforms, units].
        """
        return self._pull("pull", kept, bar, bar_ladj)

    def gradients(self, kept: Kept, bar: Tensor, bar_ladj: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Take cotangents back to all that went in; see `pull`.

        Returns:
            Gradients of what was mapped, and those of bias, weight and offset, link by link.
        """
        count, record = len(self._links), self._record
        sizes = [self._network.units, self._network.size] * count
        found = memory.empty((sum(sizes),), bar)
        tasks = _tasks(self.layout, self.columns, count)
        record.gradients, record.tasks = found.data_ptr(), tasks.ctypes.data
        record.pieces = len(tasks)
        result, bars = self._pull("gradients", kept, bar, bar_ladj, len(tasks))
        by_link = list(found.split(sizes))
        if self._varying:
            for k, rows in enumerate(self.rows(bars, kept.batch)[:, :, : self._network.first]):
                by_rows = rows.transpose(1, 2).flatten(0, 1)[: kept.batch]
                by_link.insert(3 * k + 2, by_rows)
        return result, by_link

    def _pull(
        self, name: str, kept: Kept, bar: Tensor, bar_ladj: Tensor, tasks: int = 0
    ) -> tuple[Tensor, Tensor]:
        batch, record = kept.batch, self._record
        # Checked, since it has been in other hands since the forward pass.
        room = self._read("what was kept", kept.room, (self._size_kept(batch),))
        bar = self._read("cotangents", bar, (batch, self.layout.features))
        bar_ladj = self._read("cotangents", bar_ladj, (batch,))
        result = torch.empty_like(bar)
        rows = self._size_of_rows(batch)
        sums = self._tiles(batch) * len(self._links) * self._network.units
        bars = memory.empty((rows + sums,), bar)
        self._tell_kept(room, batch)
        record.bar, record.bar_ladj, record.bar_value, record.bars = (
            tensor.data_ptr() for tensor in (bar, bar_ladj, result, bars)
        )
        record.sums = record.bars + rows * bars.element_size()
        self._run(name, batch, tasks)
        return result, bars
