"""Chains of transforms as functions of tensors: structure, memory and threads."""

from __future__ import annotations

import ctypes
import itertools
import math
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
    """Return the panels of the matrices, and the biases, of all transforms: see `Record`."""
    panels: list[tuple[int, int, int]] = []
    for b, (rows, length) in enumerate(layout.shapes):
        of_target = math.ceil(rows / columns) * length < math.ceil(length / columns) * rows
        across = rows if of_target else length
        panels += [(b, first, int(of_target)) for first in range(0, across, columns)]
    panels.append((len(layout.shapes), 0, 0))
    tasks = [(k, *panel) for k in range(transforms) for panel in panels]
    return np.array(tasks, np.int64)


class Kept(NamedTuple):
    """What the way back needs.

    Attributes:
        value: what was mapped, [batch, features].
        room: pre-activations and parameters, as `Chain.parts` takes them apart, and after them what
            came out of each transform, [transforms, batch, features].
    """

    value: Tensor
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
        self._layout, self._network = layout, _network(layout, univariate, input_bound)
        self._like, self._varying = links[0].bias, links[0].offset is not None
        self.columns = ROW // self._like.element_size()
        # Held here, as the kernels know their addresses alone.
        self._links = [self._checked(link) for link in links]
        addresses = [
            0 if tensor is None else tensor.data_ptr() for link in self._links for tensor in link
        ]
        self._addresses = (ctypes.c_int64 * len(addresses))(*addresses)
        self._record = Record.from_buffer_copy(self._network.record)
        self._tell(
            inverse=inverse, transforms=len(links),
            tensors=ctypes.addressof(self._addresses),
        )  # fmt: skip

    def _tell(self, **entries: Tensor | int) -> None:
        """Write into the record: numbers, and where tensors lie."""
        for name, entry in entries.items():
            setattr(self._record, name, entry if isinstance(entry, int) else entry.data_ptr())

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
        features = self._layout.features
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
        self._tell(batch=batch, taken=0, done=0, tasks_taken=0, tasks_done=0, failed=0)
        kernel = library.address(name, self._like.dtype)
        threads.run(kernel, ctypes.addressof(self._record), threads.count(work, max(tiles, tasks)))
        if self._record.done < tiles or self._record.tasks_done < tasks:
            raise self._failure()

    def _failure(self) -> Exception:
        """Return why a kernel did not do its work."""
        features = list(range(self._layout.features))
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
            ValueError: values or offsets of another shape or precision, an order that is no
                permutation.
        """
        value = self._checked_batch(value)
        layout, tiles = self._layout, self._tiles(len(value))
        room = value  # any address: nothing is kept
        if layout.residual:  # the layer before is read where it is kept
            room = memory.empty((tiles, sum(layout.hidden) * self.columns), value)
        self._tell(keep=False, kept=room)
        return self._map(value)

    def keep(self, value: Tensor) -> tuple[Tensor, Tensor, Kept]:
        """Map a batch, and keep what the way back needs; see `map`."""
        value = self._checked_batch(value)
        room = memory.empty((self._size_kept(len(value)),), value)
        self._tell(keep=True, kept=room, steps=self._after(room, value))
        return *self._map(value), Kept(value, room)

    def _map(self, value: Tensor) -> tuple[Tensor, Tensor]:
        result, ladj = memory.empty(value.shape, value), value.new_empty(len(value))
        self._tell(value=value, result=result, ladj=ladj)
        self._run("map", len(value))
        return result, ladj

    def parts(self, room: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Return pre-activations and parameters that lie one after the other, or their cotangents.

        Args:
            room: begins with them.
            batch: how many columns they have.

        Returns:
            Shapes [transforms, tiles, units * columns], [transforms, tiles, outputs * columns].
        """
        layout, tiles = self._layout, (len(self._links), self._tiles(batch))
        units = sum(layout.hidden) * self.columns
        outputs = layout.features * layout.outputs * self.columns
        sizes = [math.prod(tiles) * each for each in (units, outputs)]
        hidden, params = room[: sum(sizes)].split(sizes)
        return hidden.view(*tiles, units), params.view(*tiles, outputs)

    def _size_of_rows(self, batch: int) -> int:
        """Return how many numbers pre-activations and parameters are."""
        return len(self._links) * self._tiles(batch) * self.columns * self._network.units

    def _after(self, room: Tensor, value: Tensor) -> int:
        """Return the address of what comes after them."""
        return room.data_ptr() + self._size_of_rows(len(value)) * room.element_size()

    def _size_kept(self, batch: int) -> int:
        """Return how many numbers the way back needs beside what was mapped."""
        return self._size_of_rows(batch) + len(self._links) * batch * self._layout.features

    def _checked_batch(self, value: Tensor) -> Tensor:
        for _, _, _, offset in self._links:
            if offset is not None and len(offset) != len(value):
                raise ValueError(f"offsets must have {len(value)} rows, got {len(offset)}")
        return self._read("values", value, (len(value), self._layout.features))

    def _checked_kept(self, kept: Kept) -> Kept:
        """Check what has been in other hands since the way there."""
        value, room = kept
        return Kept(
            self._read("values", value, (len(value), self._layout.features)),
            self._read("what was kept", room, (self._size_kept(len(value)),)),
        )

    def pull(self, kept: Kept, bar: Tensor, bar_ladj: Tensor) -> tuple[Tensor, Tensor]:
        """Take cotangents back.

        Args:
            kept: on the way there.
            bar: cotangents of its values, [batch, features].
            bar_ladj: those of its log-determinants, [batch].

        Returns:
            Cotangents of what was mapped, [batch, features]; and of pre-activations and parameters
            (see `parts`), and after them the sums of both, [tiles, transforms, units].
        """
        kept = self._checked_kept(kept)
        bar_value, bars = self._tell_cotangents(kept, bar, bar_ladj)
        self._run("pull", len(kept.value))
        return bar_value, bars

    def _tell_cotangents(
        self, kept: Kept, bar: Tensor, bar_ladj: Tensor
    ) -> tuple[Tensor, Tensor]:
        value, room = kept
        batch, tiles = len(value), self._tiles(len(value))
        bar = self._read("cotangents", bar, value.shape)
        bar_ladj = self._read("cotangents", bar_ladj, (batch,))
        self._cotangents = bar, bar_ladj  # held, should they be copies
        bar_value = torch.empty_like(value)
        sums = tiles * len(self._links) * self._network.units
        bars = memory.empty((self._size_of_rows(batch) + sums,), value)
        self._tell(
            value=value, keep=True, kept=room, steps=self._after(room, value), bar=bar,
            bar_ladj=bar_ladj, bar_value=bar_value, bars=bars, sums=self._after(bars, value),
        )  # fmt: skip
        return bar_value, bars

    def gradients(self, kept: Kept, bar: Tensor, bar_ladj: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Take cotangents back to all that went in; see `pull`.

        Returns:
            Gradients of what was mapped, and those of bias, weight and offset, link by link.
        """
        count, batch = len(self._links), len(kept.value)
        kept = self._checked_kept(kept)  # held here, should it be a copy
        result, bars = self._tell_cotangents(kept, bar, bar_ladj)
        sizes = [self._network.units, self._network.size] * count
        found = memory.empty((sum(sizes),), result)
        tasks = _tasks(self._layout, self.columns, count)
        self._tell(gradients=found, tasks=tasks.ctypes.data, pieces=len(tasks))
        self._run("gradients", batch, len(tasks))
        by_link = list(found.split(sizes))
        if self._varying:
            hidden, params = self.parts(bars, batch)
            for k, own in enumerate(hidden if self._layout.hidden else params):
                by_link.insert(3 * k + 2, self._by_rows(own, batch))
        return result, by_link

    def _by_rows(self, tiles: Tensor, batch: int) -> Tensor:
        """Return what the first layer has in each tile, by rows of the batch."""
        rows = tiles.view(len(tiles), tiles.shape[1] // self.columns, self.columns)
        units = rows[:, : self._network.first]
        return units.transpose(1, 2).flatten(0, 1)[:batch]
