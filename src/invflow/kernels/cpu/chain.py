"""Chains of transforms as functions of tensors: structure, memory and threads."""

from __future__ import annotations

import ctypes
import itertools
import math
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from invflow.conditioners.layout import Layout
from invflow.kernels import dense, structure
from invflow.kernels.cpu import library, memory, sizes, threads
from invflow.kernels.cpu.record import Record
from invflow.kernels.cpu.sizes import ROW, Sizes
from invflow.kernels.structure import Link

if TYPE_CHECKING:  # importing it takes as long as all the rest
    from numpy.typing import NDArray


#: Activations and maps, in the order of the kernels' numbers; see `activations.h` and `maps.h`.
ACTIVATIONS = ("relu", "leaky_relu", "elu", "tanh", "sigmoid", "silu", "softplus", "gelu")
MAPS = ("additive", "affine", "gated", "spline")


class _Network(NamedTuple):
    """A layout and a map as the numbers that kernels read; see `record`.

    Attributes:
        first: number of units of the first layer.
        bias: shape of all biases.
        weight: shape of all matrices.
        record: the part that all chains of such transforms share.
        held: the arrays whose addresses the record contains.
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
    of = structure.map_of(univariate)
    record = Record(
        layers=len(tops), features=layout.features, starts=held[0].ctypes.data,
        tops=held[1].ctypes.data, degrees=held[2].ctypes.data, blocks=held[3].ctypes.data,
        matrices=len(blocks), residual=layout.residual,
        activation=ACTIVATIONS.index(layout.activation), map=MAPS.index(of.name), bound=of.bound,
        input_bound=input_bound, low=of.low, high=of.high,
        smallest_bin=of.smallest_bin,
    )  # fmt: skip
    size = sum(map(math.prod, layout.shapes))
    return _Network(widths[0], (sum(widths),), (size,), record, held)


class Kept(NamedTuple):
    """State for the backward pass.

    Attributes:
        batch: number of rows that were mapped.
        room: pre-activations and parameters, as `Chain.rows` shows them, and after them the
            features before the first transform and after each, [transforms + 1, tiles, features,
            columns].
    """

    batch: int
    room: Tensor


class Chain:
    """Transforms that differ only in their tensors, as the kernels take them.

    All tensors must be plain; see `dense`.

    Args:
        layout: of their MADEs.
        univariate: the recipe of their maps.
        input_bound: bound on what their conditioners read.
        inverse: whether to map x to z.
        links: their tensors, in the order of evaluation.

    Raises:
        ValueError: if a tensor has another shape or precision, is not on the CPU, or has no memory.
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
        self.columns = ROW // self._dtype.itemsize
        offset = links[0].offset
        self._offset = None if offset is None else (len(offset), self._network.first)
        self._held: list[Tensor] = []  # the kernels know only addresses
        self._addresses = array("q", [each for link in links for each in self._read_link(link)])
        self._record = Record.from_buffer_copy(self._network.record)
        self._record.inverse, self._record.transforms = inverse, len(links)
        self._record.tensors = self._addresses.buffer_info()[0]

    def _read_link(self, link: Link) -> tuple[int, int, int, int]:
        """Return the addresses of a transform's tensors, 0 for those that it does not have."""
        order, bias, weight, offset = link
        if (offset is None) != (self._offset is None):
            raise ValueError("transforms must either all have a context, or all have none")
        varying = 0
        if offset is not None and self._offset is not None:
            varying = self._plain("offset", offset, self._offset)
        return (
            0 if order is None else self._order(order),
            self._plain("bias", bias, self._network.bias),
            self._plain("weight", weight, self._network.weight),
            varying,
        )

    def _plain(self, name: str, tensor: Tensor, shape: tuple[int, ...]) -> int:
        """Return the address of a plain tensor's numbers, in one piece, and keep them alive."""
        if tensor.shape != shape or tensor.dtype is not self._dtype or not tensor.is_cpu:
            raise ValueError(
                f"{name} must be of shape {shape} and {self._dtype} on the CPU, "
                f"got {tuple(tensor.shape)} and {tensor.dtype} on {tensor.device}"
            )
        dense.check_memory(name, tensor)
        if not tensor.is_contiguous():
            tensor = tensor.contiguous()
        self._held.append(tensor)
        return tensor.data_ptr()

    def _order(self, order: Tensor) -> int:
        features = self.layout.features
        if order.shape != (features,) or not order.is_cpu:
            raise ValueError(
                f"orders must be {features} integers on the CPU, "
                f"got shape {tuple(order.shape)} on {order.device}"
            )
        dense.check_memory("orders", order)
        if order.dtype is not torch.int64 or not order.is_contiguous():
            order = order.contiguous().long()
        self._held.append(order)
        return order.data_ptr()

    def _sizes(self, batch: int) -> Sizes:
        return sizes.sizes(self.layout, self._count, batch, self.columns)

    def _run(self, name: str, divided: Sizes, pieces: int) -> None:
        """Run a kernel on as many threads as are allowed and useful."""
        record = self._record
        record.taken, record.done, record.failed = 0, 0, 0
        kernel = library.address(name, self._dtype)
        count = threads.count(divided.products, divided.tiles)
        threads.run(kernel, ctypes.addressof(record), count)
        if record.done < pieces:
            raise self._failure()

    def _failure(self) -> Exception:
        """Return why a kernel failed."""
        features = list(range(self.layout.features))
        orders = [each.tolist() for each in self._held if each.dtype == torch.int64]
        wrong = [order for order in orders if sorted(order) != features]
        if wrong:
            return ValueError(
                f"orders must be permutations of 0 .. {len(features) - 1}, got {wrong[0]}"
            )
        return RuntimeError("a kernel did not finish its work: out of memory?")

    def map(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Map a batch.

        Args:
            value: z or x, [batch, features].

        Returns:
            x or z, [batch, features], and log-determinants, [batch].

        Raises:
            ValueError: if values or offsets have another shape or precision, or an order is not a
                permutation.
        """
        self._record.keep = 0
        return self._map(value, self._sizes(len(value)))

    def keep(self, value: Tensor) -> tuple[Tensor, Tensor, Kept]:
        """Map a batch, and keep what the backward pass needs; see `map`."""
        batch, divided = len(value), self._sizes(len(value))
        room = memory.empty((divided.kept,), value)
        self._record.keep = 1
        self._tell_kept(room.data_ptr(), divided)
        return *self._map(value, divided), Kept(batch, room)

    def _map(self, value: Tensor, divided: Sizes) -> tuple[Tensor, Tensor]:
        batch, record = len(value), self._record
        if self._offset is not None and self._offset[0] != batch:
            raise ValueError(f"offsets must have {batch} rows, got {self._offset[0]}")
        record.batch = batch
        record.value = self._plain("values", value, (batch, self.layout.features))
        result, ladj = memory.empty(value.shape, value), value.new_empty(batch)
        record.result, record.ladj = result.data_ptr(), ladj.data_ptr()
        self._run("map", divided, divided.tiles)
        return result, ladj

    def _tell_kept(self, address: int, divided: Sizes) -> None:
        self._record.kept = address
        self._record.steps = address + self._count * divided.computed * self._dtype.itemsize

    def rows(self, room: Tensor, batch: int) -> Tensor:
        """Return a transform's pre-activations and parameters, or their cotangents, as stored.

        Args:
            room: memory that begins with them.
            batch: number of rows that were mapped.

        Returns:
            Shape [tiles, units, columns].
        """
        shape = self._sizes(batch).tiles, *self._network.bias, self.columns
        return room[: math.prod(shape)].view(shape)

    def pull(self, kept: Kept, bar: Tensor, bar_ladj: Tensor) -> tuple[Tensor, Tensor]:
        """Propagate cotangents back.

        Args:
            kept: what the forward pass kept.
            bar: cotangents of its values, [batch, features].
            bar_ladj: cotangents of its log-determinants, [batch].

        Returns:
            Cotangents of what was mapped, [batch, features]; and of the pre-activations and the
            parameters of the first transform (see `rows`).
        """
        divided = self._sizes(kept.batch)
        bars = memory.empty((divided.computed,), bar)
        self._record.bars = bars.data_ptr()
        return self._pull("pull", kept, bar, bar_ladj, divided, divided.tiles), bars

    def turned(self, kept: Kept) -> Kept:
        """Return what the opposite direction would have kept: the same, last transform first."""
        divided, count = self._sizes(kept.batch), self._count
        features = (divided.kept - count * divided.computed) // (count + 1)
        parts = kept.room.split([divided.computed] * count + [features] * (count + 1))
        room = memory.empty(kept.room.shape, kept.room)
        torch.cat([*reversed(parts[:count]), *reversed(parts[count:])], out=room)
        return Kept(kept.batch, room)

    def gradients(self, kept: Kept, bar: Tensor, bar_ladj: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Propagate cotangents back to all inputs; see `pull`.

        Returns:
            Gradients of what was mapped, and those of bias, weight and offset, link by link.
        """
        batch, count, record, network = kept.batch, self._count, self._record, self._network
        divided, tasks = self._sizes(batch), sizes.tasks(self.layout, self.columns)
        numbers = [*network.bias, *network.weight] * count
        found, room = memory.empty((sum(numbers),), bar), memory.empty((divided.room,), bar)
        record.gradients, record.bars = found.data_ptr(), room.data_ptr()
        record.tasks, record.pieces = tasks.ctypes.data, len(tasks)
        record.shares, record.sums = divided.shares, divided.sums
        record.partial = record.bars if divided.shares > 1 else record.gradients
        by_link = list(found.split_with_sizes(numbers))
        if self._offset is not None:
            offsets = memory.empty((count, batch, network.first), bar)
            record.bar_offsets = offsets.data_ptr()
            for k, own in enumerate(offsets.unbind()):
                by_link.insert(3 * k + 2, own)
        return self._pull("gradients", kept, bar, bar_ladj, divided, divided.pieces), by_link

    def _pull(
        self, name: str, kept: Kept, bar: Tensor, bar_ladj: Tensor, divided: Sizes, pieces: int
    ) -> Tensor:
        batch, record = kept.batch, self._record
        # Other code had access to what was kept since the forward pass.
        room = self._plain("what was kept", kept.room, (divided.kept,))
        self._tell_kept(room, divided)
        record.batch = batch
        record.bar = self._plain("cotangents", bar, (batch, self.layout.features))
        record.bar_ladj = self._plain("cotangents", bar_ladj, (batch,))
        result = bar.new_empty(bar.shape)
        record.bar_value = result.data_ptr()
        self._run(name, divided, pieces)
        return result
