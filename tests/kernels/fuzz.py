"""The kernels on records of all kinds, against the same mathematics written down in PyTorch.

Nothing of the package stands between a case and the C library: records are filled in here, with
any degrees, not those of the package's layouts alone. All memory that a kernel is given lies
between margins, at any address that numbers may have: what is read from there is not a number, and
what is written there is found out.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from invflow.kernels.cpu import library
from invflow.kernels.cpu.record import Record

#: By number, as in `activations.h` and `maps.h`.
ACTIVATIONS = [
    F.relu, F.leaky_relu, F.elu, torch.tanh, torch.sigmoid, F.silu, F.softplus, F.gelu,
]  # fmt: skip
ADDITIVE, AFFINE, GATED, SPLINE = range(4)
#: Of splines.
LOW, HIGH, SMALLEST_BIN = -1.5, 2.0, 0.1
ROW = 256


class Case(NamedTuple):
    """What a record tells of; numbers are drawn by `seed`."""

    features: int
    groups: list[int]  # the number of features before each feature's group
    hidden: list[list[int]]  # the sorted degrees of each layer
    residual: bool
    skip: bool
    activation: int
    map: int
    bound: float
    input_bound: float
    inverse: bool
    dtype: str
    batch: int
    orders: list[list[int] | None]  # of each transform
    context: bool
    threads: int
    shares: int  # of the batch, which have gradients of their own; 0: by transforms
    seed: int
    bins: int = 5  # of splines

    @property
    def parameters(self) -> int:
        return {ADDITIVE: 1, SPLINE: 3 * self.bins - 1}.get(self.map, 2)

    @property
    def degrees(self) -> list[list[int]]:
        outputs = [start for start in self.groups for _ in range(self.parameters)]
        return [[*range(1, self.features + 1)], *self.hidden, outputs]

    @property
    def units(self) -> list[int]:
        return [len(layer) for layer in self.degrees]

    @property
    def blocks(self) -> list[tuple[int, int]]:
        last = len(self.hidden) + 1
        chain = [(layer, layer - 1) for layer in range(1, last + 1)]
        return [*chain, (last, 0)] if self.skip and self.hidden else chain

    def mask(self, target: int, source: int) -> Tensor:
        rows, columns = (torch.tensor(self.degrees[layer]) for layer in (target, source))
        return rows[:, None] >= columns

    @property
    def columns(self) -> int:
        return ROW // np.dtype(self.dtype).itemsize

    @property
    def tiles(self) -> int:
        return math.ceil(self.batch / self.columns)


class Transform(NamedTuple):
    """The tensors of one, in double precision."""

    order: list[int] | None
    biases: list[Tensor]
    matrices: list[Tensor]
    offset: Tensor | None

    def tensors(self) -> list[Tensor]:
        return [*self.biases, *self.matrices, *([] if self.offset is None else [self.offset])]


def transforms(case: Case) -> list[Transform]:
    """Draw the tensors of a case; weights that no unit sees are not numbers."""
    source = torch.Generator().manual_seed(case.seed)

    def draw(*shape: int) -> Tensor:
        drawn = torch.randn(shape, generator=source, dtype=torch.float64)
        return drawn.to(getattr(torch, case.dtype)).double()

    def matrix(target: int, source: int) -> Tensor:
        size = case.units[target], case.units[source]
        drawn = (0.6 / math.sqrt(max(size[1], 1))) * draw(*size)
        drawn = drawn.to(getattr(torch, case.dtype)).double()
        return torch.where(case.mask(target, source), drawn, torch.nan).requires_grad_()

    return [
        Transform(
            order,
            [draw(units).requires_grad_() for units in case.units[1:]],
            [matrix(*block) for block in case.blocks],
            draw(case.batch, case.units[1]).requires_grad_() if case.context else None,
        )
        for order in case.orders
    ]


def _read(case: Case, z: Tensor) -> Tensor:
    if case.input_bound == math.inf:
        return z
    knee = case.input_bound / 2
    far = knee + knee * torch.tanh(z.abs() / knee - 1)
    return torch.where(z.abs() <= knee, z, z.sign() * far)


def _parameters(case: Case, of: Transform, z: Tensor) -> Tensor:
    """Return the parameters of all features, [batch, features, parameters]."""
    weights = {
        block: torch.where(case.mask(*block), matrix, 0.0)
        for block, matrix in zip(case.blocks, of.matrices, strict=True)
    }
    last = len(case.hidden) + 1
    read = _read(case, z)
    values, rows = read, read
    for layer in range(1, last + 1):
        before = rows
        rows = values @ weights[layer, layer - 1].T + of.biases[layer - 1]
        if layer == 1 and of.offset is not None:
            rows = rows + of.offset
        if case.residual and 1 < layer < last:
            rows = rows + before
        values = ACTIVATIONS[case.activation](rows)
    if (last, 0) in weights and last > 1:
        rows = rows + read @ weights[last, 0].T
    return rows.unflatten(1, (case.features, -1))


def _spline(case: Case, value: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Return a spline's values and log-slopes, or its inverse's, as Durkan et al. 2019 write it."""
    bins = case.bins
    widths, heights, slopes = p.split([bins, bins, bins - 1], -1)

    def knots(logits: Tensor) -> Tensor:
        shares = SMALLEST_BIN / bins + (1 - SMALLEST_BIN) * logits.softmax(-1)
        return LOW + (HIGH - LOW) * F.pad(shares.cumsum(-1), (1, 0))

    x, y = knots(widths), knots(heights)
    d = F.pad(torch.exp(case.bound * torch.tanh(slopes / case.bound)), (1, 1), value=1.0)
    inside = (value > LOW) & (value < HIGH)
    point = torch.where(inside, value, (LOW + HIGH) / 2)
    edges = y if case.inverse else x
    k = (point[..., None] >= edges[..., 1:-1]).sum(-1, keepdim=True)
    x0, y0, d0 = (each.gather(-1, k)[..., 0] for each in (x, y, d))
    x1, y1, d1 = (each.gather(-1, k + 1)[..., 0] for each in (x, y, d))
    s, more = (y1 - y0) / (x1 - x0), d0 + d1
    if case.inverse:  # equations 6 to 8
        rise = point - y0
        a = (y1 - y0) * (s - d0) + rise * (more - 2 * s)
        b = (y1 - y0) * d0 - rise * (more - 2 * s)
        c = -s * rise
        xi = 2 * c / (-b - (b * b - 4 * a * c).sqrt())
        result = x0 + (x1 - x0) * xi
    else:
        xi = (point - x0) / (x1 - x0)
    rest = 1 - xi
    below = s + (more - 2 * s) * xi * rest
    ladj = torch.log(s * s * (d1 * xi * xi + 2 * s * xi * rest + d0 * rest * rest) / below.square())
    if not case.inverse:
        result = y0 + (y1 - y0) * (s * xi * xi + d0 * xi * rest) / below
    ladj = torch.where(inside, -ladj if case.inverse else ladj, 0.0)
    return torch.where(inside, result, value), ladj


def _forward(case: Case, z: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    if case.map == SPLINE:
        return _spline(case, z, p)
    if case.map == ADDITIVE:
        return z + p[..., 0], torch.zeros_like(z)
    if case.map == AFFINE:
        scale = case.bound * torch.tanh(p[..., 1] / case.bound)
        return p[..., 0] + scale.exp() * z, scale
    gate = torch.sigmoid(p[..., 1])
    return gate * z + (1 - gate) * p[..., 0], F.logsigmoid(p[..., 1])


def _inverse(case: Case, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    if case.map == SPLINE:
        return _spline(case, x, p)
    if case.map == ADDITIVE:
        return x - p[..., 0], torch.zeros_like(x)
    if case.map == AFFINE:
        scale = case.bound * torch.tanh(p[..., 1] / case.bound)
        return (x - p[..., 0]) * (-scale).exp(), -scale
    ladj = -F.logsigmoid(p[..., 1])
    return p[..., 0] + (x - p[..., 0]) * ladj.exp(), ladj


def _one(case: Case, of: Transform, value: Tensor) -> tuple[Tensor, Tensor]:
    order = list(range(case.features)) if of.order is None else of.order
    value = value[:, order]
    if case.inverse:  # feature by feature, each from a whole pass
        known: list[Tensor] = []
        ladj = torch.zeros(len(value), dtype=value.dtype)
        for d in range(case.features):
            rest = torch.zeros(len(value), case.features - d, dtype=value.dtype)
            parameters = _parameters(case, of, torch.cat([*known, rest], 1))
            z, own = _inverse(case, value[:, d : d + 1], parameters[:, d : d + 1])
            known.append(z)
            ladj = ladj + own.sum(1)
        result = torch.cat(known, 1)
    else:
        result, own = _forward(case, value, _parameters(case, of, value))
        ladj = own.sum(1)
    return result[:, np.argsort(order).tolist()], ladj


class Found(NamedTuple):
    """What a case comes to; the gradients of each transform are biases, matrices, offset."""

    result: Tensor
    ladj: Tensor
    bar_value: Tensor
    gradients: list[list[Tensor]]


def inputs(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Return values and cotangents."""
    source = torch.Generator().manual_seed(case.seed + 1)
    shapes = ((case.batch, case.features), (case.batch, case.features), (case.batch,))
    drawn = (torch.randn(shape, generator=source, dtype=torch.float64) for shape in shapes)
    value, bar, bar_ladj = (each.to(getattr(torch, case.dtype)).double() for each in drawn)
    return value, bar, bar_ladj


def expected(case: Case, of: list[Transform]) -> Found:
    """Return what PyTorch finds, in double precision."""
    value, bar, bar_ladj = inputs(case)
    value.requires_grad_()
    result, ladj = value, torch.zeros(case.batch, dtype=torch.float64)
    for each in of:
        result, own = _one(case, each, result)
        ladj = ladj + own
    tensors = [value, *itertools.chain.from_iterable(each.tensors() for each in of)]
    total = (result * bar).sum() + (ladj * bar_ladj).sum()
    found = torch.autograd.grad(total, tensors, materialize_grads=True)
    rest = iter(found[1:])
    gradients = [[next(rest) for _ in each.tensors()] for each in of]
    return Found(result.detach(), ladj.detach(), found[0], gradients)


class Memory:
    """Arrays at any address, between margins."""

    #: Bytes of a margin; none where a sanitizer watches what lies beyond.
    margin = 64

    def __init__(self, case: Case) -> None:
        self._dtype = np.dtype(case.dtype)
        self._random = np.random.default_rng(case.seed)
        self._held: list[tuple[NDArray[np.uint8], int, int, NDArray[Any] | None]] = []

    def given(self, numbers: Any, dtype: Any = None) -> int:
        """Return the address of a copy of some numbers, which kernels may only read."""
        array = np.ascontiguousarray(numbers, dtype or self._dtype).ravel()
        return self._place(array, array.copy())

    def empty(self, size: int) -> tuple[int, NDArray[Any]]:
        """Return room for some numbers, its address first."""
        address = self._place(np.full(size, np.nan, self._dtype), None)
        raw, begin, end, _ = self._held[-1]
        return address, raw[begin:end].view(self._dtype)

    def _place(self, array: NDArray[Any], original: NDArray[Any] | None) -> int:
        begin = self.margin + int(self._random.integers(8)) * array.itemsize
        end = begin + array.nbytes
        raw = np.full(end + self.margin, 0xFF, np.uint8)  # floats of such bytes are not numbers
        raw[begin:end] = array.view(np.uint8)
        self._held.append((raw, begin, end, original))
        return raw.ctypes.data + begin

    def check(self) -> None:
        """Raise an error if a kernel wrote where it must not."""
        for raw, begin, end, original in self._held:
            assert (raw[:begin] == 0xFF).all(), "written before an array"
            assert (raw[end:] == 0xFF).all(), "written beyond an array"
            if original is not None:
                assert (raw[begin:end] == original.view(np.uint8)).all(), "an input was changed"


def run(name: str, case: Case, record: Record) -> None:
    """Run a kernel, on as many threads as the case says."""
    record.taken = record.done = record.failed = 0
    kernel = ctypes.CFUNCTYPE(None, ctypes.c_int64)(
        library.address(name, getattr(torch, case.dtype))
    )
    address = ctypes.addressof(record)
    if case.threads == 1:
        kernel(address)
        return
    with ThreadPoolExecutor(case.threads) as pool:
        list(pool.map(kernel, [address] * case.threads))


def record_of(case: Case, of: list[Transform], memory: Memory) -> Record:
    """Return a record of a case, without what a kernel writes."""
    steps = range(case.features + 1)
    starts = [[*steps], *([bisect_left(layer, d) for d in steps] for layer in case.degrees[1:])]
    sizes = [target * source for target, source in _shapes(case)]
    places = [0, *itertools.accumulate(sizes)]
    tops = [0, *itertools.accumulate(case.units[:-1])]
    blocks = [(*block, place) for block, place in zip(case.blocks, places, strict=False)]
    tensors = [
        (
            0 if each.order is None else memory.given(each.order, np.int64),
            memory.given(torch.cat(each.biases).detach()),
            memory.given(torch.cat([m.flatten() for m in each.matrices]).detach()),
            0 if each.offset is None else memory.given(each.offset.detach()),
        )
        for each in of
    ]
    return Record(
        inverse=case.inverse, transforms=len(of), batch=case.batch,
        layers=len(case.units), features=case.features,
        starts=memory.given(starts, np.int64), tops=memory.given(tops, np.int64),
        degrees=memory.given([*itertools.chain.from_iterable(case.degrees)], np.int64),
        blocks=memory.given(blocks, np.int64), matrices=len(blocks),
        residual=case.residual, activation=case.activation, map=case.map,
        bound=case.bound, input_bound=case.input_bound, low=LOW, high=HIGH,
        smallest_bin=SMALLEST_BIN,
        tensors=memory.given(tensors, np.int64),
    )  # fmt: skip


def _shapes(case: Case) -> list[tuple[int, int]]:
    return [(case.units[target], case.units[source]) for target, source in case.blocks]


def _tasks(case: Case) -> list[tuple[int, int, int]]:
    """Return all panels of all matrices, of rows or of columns as it comes, and the biases."""
    random = np.random.default_rng(case.seed)
    tasks = [(len(case.blocks), 0, 0)]
    for number, shape in enumerate(_shapes(case)):
        of_target = int(random.integers(2))
        across = shape[0] if of_target else shape[1]
        tasks += [(number, first, of_target) for first in range(0, across, case.columns)]
    return tasks


def found(case: Case, of: list[Transform]) -> Found:
    """Return what the kernels find; all three, and what they leave alone, are checked."""
    memory = Memory(case)
    record = record_of(case, of, memory)
    value, bar, bar_ladj = (memory.given(each) for each in inputs(case))
    count, tiles, units, width = len(of), case.tiles, sum(case.units[1:]), case.units[1]
    numbers, features = case.batch * case.features, tiles * case.features * case.columns
    rows = tiles * units * case.columns

    record.value = value
    record.result, result = memory.empty(numbers)
    record.ladj, ladj = memory.empty(case.batch)
    run("map", case, record)
    assert (record.done, record.failed) == (tiles, 0)
    first = result.copy(), ladj.copy()

    record.keep = 1
    record.kept, _ = memory.empty(count * rows)
    record.steps, _ = memory.empty((count + 1) * features)
    run("map", case, record)
    assert (record.done, record.failed) == (tiles, 0)
    for one, other in zip(first, (result, ladj), strict=True):
        np.testing.assert_array_equal(one, other)

    record.bar, record.bar_ladj = bar, bar_ladj
    record.bar_value, bar_value = memory.empty(numbers)
    record.bars, _ = memory.empty(rows)
    offsets = np.empty(0)
    if case.context:
        record.bar_offsets, offsets = memory.empty(count * case.batch * width)
    run("pull", case, record)
    assert (record.done, record.failed) == (tiles, 0)
    first = bar_value.copy(), offsets.copy()

    sizes = [*case.units[1:], *map(math.prod, _shapes(case))]
    record.gradients, gradients = memory.empty(count * sum(sizes))
    tasks = _tasks(case)
    record.tasks, record.pieces = memory.given(tasks, np.int64), len(tasks)
    record.shares = min(case.shares, tiles)
    if record.shares == 0:
        record.bars, _ = memory.empty(rows + tiles * units + features)
        pieces = count * (tiles + len(tasks))
    else:
        record.bars, record.partial = 0, record.gradients
        if record.shares > 1:
            record.partial, _ = memory.empty(record.shares * count * sum(sizes))
            record.sums = 3
        pieces = record.shares + record.sums
    run("gradients", case, record)
    assert (record.done, record.failed) == (pieces, 0)
    for one, other in zip(first, (bar_value, offsets), strict=True):
        np.testing.assert_array_equal(one, other)
    memory.check()

    by_transform: list[list[Tensor]] = []
    for k, part in enumerate(_tensor(gradients).split([sum(sizes)] * count)):
        each = list(part.split(sizes))
        weights = zip(each[-len(case.blocks) :], _shapes(case), strict=True)
        each[-len(case.blocks) :] = [weight.view(shape) for weight, shape in weights]
        if case.context:
            each.append(_tensor(offsets).view(count, case.batch, width)[k])
        by_transform.append(each)
    shape = case.batch, case.features
    return Found(
        _tensor(result).view(shape), _tensor(ladj), _tensor(bar_value).view(shape), by_transform
    )


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.astype(np.float64))


def check(case: Case, of: list[Transform] | None = None) -> None:
    """Raise an error if the kernels do not find what PyTorch finds."""
    of = of or transforms(case)
    one, other = found(case, of), expected(case, of)
    jumps = case.activation < 2 or case.map == SPLINE  # slopes, which rounding can turn
    single = 2e-2 if jumps else 2e-4
    tolerance = 1e-9 if case.dtype == "float64" else single
    pairs = [*zip(one[:3], other[:3], strict=True)]
    for mine, theirs in zip(one.gradients, other.gradients, strict=True):
        pairs += zip(mine, theirs, strict=True)
    for number, (actual, wanted) in enumerate(pairs):
        error, size = (actual - wanted).norm(), wanted.norm()
        assert error <= tolerance * (size + 1), f"tensor {number}: {error:.2g} of {size:.2g}"
