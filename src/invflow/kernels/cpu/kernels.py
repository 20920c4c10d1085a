"""The kernels: a chain of transforms over the tiles of a batch, its reverse, and gradients.

Numba compiles them. A tile goes through all transforms while it is in the processor's cache.
Threads that run a kernel on the same `record` share its work.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false, reportArgumentType=false
from __future__ import annotations

import math
from typing import Any

import numpy as np

from invflow.kernels.cpu import masked
from invflow.kernels.cpu.gradients import bias_gradients, source_panel, target_panel
from invflow.kernels.cpu.parallel import parallel, reverse_parallel
from invflow.kernels.cpu.product import total
from invflow.kernels.cpu.queue import finish, take
from invflow.kernels.cpu.stored import kernel
from invflow.kernels.cpu.sweeps import reverse_sweep, sweep
from invflow.kernels.cpu.tensors import (
    numbers,
    read_biases,
    read_blocks,
    read_network,
    read_offset,
    read_orders,
    read_record,
    read_rows,
    read_steps,
)
from invflow.kernels.cpu.tiles import clear, copy, load, unload


def chain(source: str, number: type[np.floating[Any]]) -> Any:
    """Return the kernel that maps a batch.

    Args:
        source: what the machine code is kept under: see `stored.kernel`.
        number: the precision.
    """

    @kernel(source)
    def run(address):
        job, like = read_record(address), np.empty(0, number)
        starts, tops = read_network(job)
        last, features, columns = job.layers - 1, job.features, job.columns
        t, tiles = take(address), math.ceil(job.batch / columns)
        if t >= tiles:
            return
        order = read_orders(job)
        if len(order) == 0:
            return
        matrices = read_blocks(job, like)
        value, steps = read_steps(job, like)
        hidden, params = read_rows(job, job.kept, starts, tops, like)
        result, ladj = numbers(job.result, value.shape, like), numbers(job.ladj, (job.batch,), like)
        bottom = tops[last] + starts[last, features]
        tile = np.zeros((bottom + 1) * columns, like.dtype)
        values = np.zeros(features * columns, like.dtype)
        degrees = masked.unit_degrees(starts)
        while t < tiles:
            begin = t * columns
            end = min(begin + columns, job.batch)
            tile[bottom * columns :] = 0
            for k in range(len(order)):
                given = value if k == 0 else result
                biases = read_biases(job, k, tops, starts, like)
                offset = read_offset(job, k, starts, like)
                kept = hidden[min(k, len(hidden) - 1), t] if len(hidden) > 0 else tile[:0]
                load(tile, 0, columns, given, order[k], begin, end)
                if job.inverse:
                    sweep(
                        tile, columns, starts, tops, matrices[k], job.residual, job.activation,
                        job.map, job.bound, job.input_bound, biases, offset, kept, values,
                        begin, end,
                    )  # fmt: skip
                else:
                    parallel(
                        tile, columns, starts, tops, matrices[k], job.residual, job.activation,
                        job.map, job.bound, job.input_bound, degrees, biases, offset, kept, values,
                        begin, end,
                    )  # fmt: skip
                unload(tile, 0, columns, result, order[k], begin, end)
                if job.keep:
                    unload(tile, 0, columns, steps[k], order[k], begin, end)
                    copy(tile, tops[last] * columns, params[k, t], 0, params.shape[2])
            for c in range(end - begin):
                ladj[begin + c] = tile[bottom * columns + c]
            finish(address)
            t = take(address)

    return run


def reverse_chain(source: str, number: type[np.floating[Any]]) -> Any:
    """Return the kernel that takes cotangents back; see `chain`."""

    @kernel(source)
    def run(address):
        job, like = read_record(address), np.empty(0, number)
        starts, tops = read_network(job)
        last, features, columns = job.layers - 1, job.features, job.columns
        t, tiles = take(address), math.ceil(job.batch / columns)
        if t >= tiles:
            return
        order = read_orders(job)
        if len(order) == 0:
            return
        matrices = read_blocks(job, like)
        value, steps = read_steps(job, like)
        hidden, params = read_rows(job, job.kept, starts, tops, like)
        bar = numbers(job.bar, value.shape, like)
        bar_ladj = numbers(job.bar_ladj, (job.batch,), like)
        bar_value = numbers(job.bar_value, value.shape, like)
        bar_hidden, bar_params = read_rows(job, job.bars, starts, tops, like)
        bottom = tops[last] + starts[last, features]
        sums = numbers(job.sums, (tiles, job.transforms, bottom - features), like)
        tile = np.zeros((bottom + 1) * columns, like.dtype)
        point = np.zeros(features * columns, like.dtype)
        values = np.zeros(features * columns, like.dtype)
        degrees = masked.unit_degrees(starts)
        final = len(order) - 1
        while t < tiles:
            begin = t * columns
            end = min(begin + columns, job.batch)
            for k in range(final, -1, -1):
                given = value if k == 0 else steps[k - 1]
                noise = steps[k] if job.inverse else given
                tile[:] = 0
                load(tile, 0, columns, bar if k == final else bar_value, order[k], begin, end)
                for c in range(end - begin):
                    tile[bottom * columns + c] = bar_ladj[begin + c]
                load(point, 0, columns, noise, order[k], begin, end)
                if job.inverse:
                    reverse_sweep(
                        tile, columns, starts, tops, matrices[k], job.residual, job.activation,
                        job.map, job.bound, job.input_bound, point, params[k, t], hidden[k, t],
                        values,
                    )  # fmt: skip
                else:
                    reverse_parallel(
                        tile, columns, starts, tops, matrices[k], job.residual, job.activation,
                        job.map, job.bound, job.input_bound, degrees, point, params[k, t],
                        hidden[k, t], values,
                    )  # fmt: skip
                clear(tile, columns, end - begin)  # zero times infinity is not zero
                unload(tile, 0, columns, bar_value, order[k], begin, end)
                copy(tile, features * columns, bar_hidden[k, t], 0, bar_hidden.shape[2])
                copy(tile, tops[last] * columns, bar_params[k, t], 0, bar_params.shape[2])
                for unit in range(features, bottom):
                    sums[t, k, unit - features] = total(tile, unit * columns)
            finish(address)
            t = take(address)

    return run


def gradients(source: str, number: type[np.floating[Any]]) -> Any:
    """Return the kernel for the gradients of biases and matrices, from what the others left."""

    @kernel(source)
    def run(address):
        job, like = read_record(address), np.empty(0, number)
        t = take(address)
        if t >= job.pieces:
            return
        starts, tops = read_network(job)
        order = read_orders(job)
        if len(order) == 0:
            return
        value, steps = read_steps(job, like)
        hidden, _ = read_rows(job, job.kept, starts, tops, like)
        bar_hidden, bar_params = read_rows(job, job.bars, starts, tops, like)
        blocks = numbers(job.blocks, (job.matrices, 3), starts)
        tasks = numbers(job.tasks, (job.pieces, 4), starts)
        last, degrees = job.layers - 1, masked.unit_degrees(starts)
        units = tops[last] + starts[last, -1] - job.features
        sums = numbers(job.sums, (len(bar_params[0]), job.transforms, units), like)
        size = blocks[-1, 2] + starts[blocks[-1, 0], -1] * starts[blocks[-1, 1], -1]
        result = numbers(job.gradients, (job.transforms, units + size), like)
        while t < len(tasks):
            k, b, first, of_target = tasks[t]
            if b == len(blocks):
                bias_gradients(sums[:, k], result[k])
            else:
                target, source, at = blocks[b]
                rows, length = starts[target, -1], starts[source, -1]
                given = value if k == 0 else steps[k - 1]
                noise = steps[k] if job.inverse else given
                own = 0 if target == last else tops[target] - tops[1]
                deltas = bar_params[k] if target == last else bar_hidden[k]
                matrix = result[k, units + at : units + at + rows * length].reshape(rows, length)
                if of_target:
                    target_panel(
                        first, job.columns, starts, tops, degrees, target, source, job.activation,
                        job.input_bound, order[k], noise, hidden[k], deltas, own, matrix,
                    )  # fmt: skip
                else:
                    source_panel(
                        first, job.columns, starts, tops, degrees, target, source, job.activation,
                        job.input_bound, order[k], noise, hidden[k], deltas, own, matrix,
                    )  # fmt: skip
            finish(address)
            t = take(address)

    return run
