"""Chains of transforms as functions of tensors: structure, memory and threads."""

from __future__ import annotations

import ctypes
import itertools
import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

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
#: The most parts of a batch that weights have gradients of their own in.
SHARES = 32
#: Numbers in a piece of the sums over these.
SUMMED = 8192
#: What the kernels call activations and maps by number: see `activations.h` and `maps.h`.
ACTIVATIONS = ("relu", "leaky_relu", "elu", "tanh", "sigmoid", "silu", "softplus", "gelu")
MAPS = ("additive", "affine", "gated")


class _Network(NamedTuple):
    """A layout and a map in the numbers that kernels read: see `record`.

    Attributes:
        first: the number of units of the first layer.
        bias: the shape of all biases.
        weight: the shape of all matrices.
        record: what all chains of such transforms have in common.
        held: the arrays that it tells of.
    """

    first: int
    bias: tuple[int]
    weight: tuple[int]
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
    return _Network(widths[0], (sum(widths),), (size,), record, held)


@lru_cache(maxsize=256)
def _tasks(layout: Layout, columns: int) -> NDArray[np.int64]:
    """Return the panels of the matrices, and the biases, of a transform: see `Record`.

    Each matrix is cut by its target or by its source, whichever leaves less to do.
    """
    tasks = [(len(layout.shapes), 0, 0)]
    for b, (target, source) in enumerate(layout.blocks):
        rows, length = layout.degrees[target], layout.degrees[source]
        by_target, by_source = range(0, len(rows), columns), range(0, len(length), columns)
        # Rows of products, and those that are made for them or transposed.
        seen = [bisect_right(length, rows[min(i + columns, len(rows)) - 1]) for i in by_target]
        seeing = [len(rows) - bisect_left(rows, length[j]) for j in by_source]
        of_target = sum(seen) * 5 / 4 + 16 * len(seen) < sum(seeing) + 32 * len(seeing)
        tasks += [(b, first, int(of_target)) for first in (by_target if of_target else by_source)]
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
        links: their tensors, which are plain, in the order in which they are taken.

    Raises:
        ValueError: tensors of other shapes or precisions, not on the CPU, or without memory.
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
        self._dtype, self._count = links[0].bias.dtype, len(links)
        self._itemsize = self._dtype.itemsize
        self.columns = ROW // self._itemsize
        first = links[0].offset
        self._offset = None if first is None else (len(first), self._network.first)
        self._held: list[Tensor] = []  # the kernels know addresses alone
        self._addresses = array("q", [each for link in links for each in self._read_link(link)])
        self._record = Record.from_buffer_copy(self._network.record)
        self._record.inverse, self._record.transforms = inverse, len(links)
        self._record.tensors = self._addresses.buffer_info()[0]

    def _read_link(self, link: Link) -> tuple[int, int, int, int]:
        order, bias, weight, offset = link
        if (offset is None) != (self._offset is None):
            raise ValueError("transforms must all have a context, or none")
        return (
            0 if order is None else self._order(order),
            self._address("bias", bias, self._network.bias),
            self._address("weight", weight, self._network.weight),
            0 if offset is None else self._address("offset", offset, self._offset),
        )

    def _address(self, name: str, tensor: Tensor, shape: tuple[int, ...] | None) -> int:
        """Return where a plain tensor's numbers lie, in one piece; hold them."""
        if tensor.shape != shape or tensor.dtype is not self._dtype or not tensor.is_cpu:
            raise ValueError(
                f"{name} must be of shape {shape} and {self._dtype} on the CPU, "
                f"got {tuple(tensor.shape)} and {tensor.dtype} on {tensor.device}"
            )
        tensor = dense.packed(name, tensor)
        self._held.append(tensor)
        return tensor.data_ptr()

    def _read(self, name: str, tensor: Tensor, shape: tuple[int, ...]) -> int:
        """Return where the numbers of a tensor from elsewhere lie, or those of a copy."""
        return self._address(name, dense.whole(name, tensor), shape)

    def _order(self, order: Tensor) -> int:
        features = self.layout.features
        if order.shape != (features,) or not order.is_cpu:
            raise ValueError(
                f"orders must be {features} integers on the CPU, "
                f"got shape {tuple(order.shape)} on {order.device}"
            )
        order = dense.packed("orders", order)
        if order.dtype is not torch.int64:
            order = order.long()
        self._held.append(order)
        return order.data_ptr()

    def _tiles(self, batch: int) -> int:
        return -(-batch // self.columns)

    def _run(self, name: str, batch: int, pieces: int) -> None:
        """Run a kernel for a batch, on as many threads as are worth it, allowed, and have work.

        Args:
            name: of the kernel.
            batch: the number of rows.
            pieces: the number of pieces of work.
        """
        record, work = self._record, batch * self._network.weight[0] * self._count
        record.batch, record.taken, record.done, record.failed = batch, 0, 0, 0
        kernel = library.address(name, self._dtype)
        threads.run(kernel, ctypes.addressof(record), threads.count(work, self._tiles(batch)))
        if record.done < pieces:
            raise self._failure()

    def _failure(self) -> Exception:
        """Return why a kernel did not do its work."""
        features = list(range(self.layout.features))
        orders = [each.tolist() for each in self._held if each.dtype == torch.int64]
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
        return self._map(value)

    def keep(self, value: Tensor) -> tuple[Tensor, Tensor, Kept]:
        """Map a batch, and keep what the backward pass needs; see `map`."""
        room = memory.empty((self._size_kept(len(value)),), value)
        self._record.keep = 1
        self._tell_kept(room.data_ptr(), len(value))
        return *self._map(value), Kept(len(value), room)

    def _map(self, value: Tensor) -> tuple[Tensor, Tensor]:
        batch, record = len(value), self._record
        if self._offset is not None and self._offset[0] != batch:
            raise ValueError(f"offsets must have {batch} rows, got {self._offset[0]}")
        record.value = self._read("values", value, (batch, self.layout.features))
        result, ladj = memory.empty(value.shape, value), value.new_empty(batch)
        record.result, record.ladj = result.data_ptr(), ladj.data_ptr()
        self._run("map", batch, self._tiles(batch))
        return result, ladj

    def _tell_kept(self, address: int, batch: int) -> None:
        self._record.kept = address
        self._record.steps = address + self._count * self._size_of_tiles(batch) * self._itemsize

    def rows(self, room: Tensor, batch: int) -> Tensor:
        """Return a transform's pre-activations and parameters, or their cotangents, as they lie.

        Args:
            room: begins with them.
            batch: the number of rows that were mapped.

        Returns:
            Shape [tiles, units, columns].
        """
        shape = self._tiles(batch), *self._network.bias, self.columns
        return room[: math.prod(shape)].view(shape)

    def _size_of_tiles(self, batch: int) -> int:
        """Return how many numbers the pre-activations and parameters of a transform are."""
        return self._tiles(batch) * self.columns * self._network.bias[0]

    def _size_kept(self, batch: int) -> int:
        """Return how many numbers the backward pass needs."""
        steps = (self._count + 1) * self._tiles(batch) * self.columns * self.layout.features
        return self._count * self._size_of_tiles(batch) + steps

    def pull(self, kept: Kept, bar: Tensor, bar_ladj: Tensor) -> tuple[Tensor, Tensor]:
        """Take cotangents back.

        Args:
            kept: in the forward pass.
            bar: cotangents of its values, [batch, features].
            bar_ladj: those of its log-determinants, [batch].

        Returns:
            Cotangents of what was mapped, [batch, features]; and of the pre-activations and the
            parameters of the first transform (see `rows`).
        """
        bars = memory.empty((self._size_of_tiles(kept.batch),), bar)
        self._record.bars = bars.data_ptr()
        return self._pull("pull", kept, bar, bar_ladj, self._tiles(kept.batch)), bars

    def gradients(self, kept: Kept, bar: Tensor, bar_ladj: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Take cotangents back to all that went in; see `pull`.

        Returns:
            Gradients of what was mapped, and those of bias, weight and offset, link by link.
        """
        batch, count, record, network = kept.batch, self._count, self._record, self._network
        sizes = [*network.bias, *network.weight] * count
        found, tasks = memory.empty((sum(sizes),), bar), _tasks(self.layout, self.columns)
        record.gradients, record.tasks = found.data_ptr(), tasks.ctypes.data
        record.pieces = len(tasks)
        shares, tiles = self._shares(batch), self._tiles(batch)
        if shares == 0:
            features = tiles * self.columns * self.layout.features
            inner = self._size_of_tiles(batch) + tiles * network.bias[0] + features
            pieces = count * (tiles + len(tasks))
        else:
            inner = shares * sum(sizes) if shares > 1 else 0
            record.sums = -(-inner // (shares * SUMMED))
            pieces = shares + record.sums
        room = memory.empty((inner,), bar)
        record.shares, record.bars = shares, room.data_ptr()
        record.partial = room.data_ptr() if shares > 1 else found.data_ptr()
        by_link = list(found.split(sizes))
        if self._offset is not None:
            offsets = memory.empty((count, batch, network.first), bar)
            record.bar_offsets = offsets.data_ptr()
            for k, own in enumerate(offsets.unbind()):
                by_link.insert(3 * k + 2, own)
        return self._pull("gradients", kept, bar, bar_ladj, pieces), by_link

    def _shares(self, batch: int) -> int:
        """Return in how many parts of a batch weights have gradients of their own.

        As many as there are tiles, up to a number, if these gradients are fewer numbers than the
        cotangents that they are made of: what belongs to a tile then stays with one processor.
        """
        network, tiles = self._network, self._tiles(batch)
        shares = min(tiles, SHARES)
        own = shares * (network.bias[0] + network.weight[0])
        return shares if own <= self._size_of_tiles(batch) else 0

    def _pull(self, name: str, kept: Kept, bar: Tensor, bar_ladj: Tensor, pieces: int) -> Tensor:
        batch, record = kept.batch, self._record
        # What was kept has been in other hands since the forward pass.
        room = self._read("what was kept", kept.room, (self._size_kept(batch),))
        self._tell_kept(room, batch)
        record.bar = self._read("cotangents", bar, (batch, self.layout.features))
        record.bar_ladj = self._read("cotangents", bar_ladj, (batch,))
        result = bar.new_empty(bar.shape)
        record.bar_value = result.data_ptr()
        self._run(name, batch, pieces)
        return result
