"""The kernels: a chain of transforms over the tiles of a batch, and its reverse.

The transforms of a chain are alike but for their weights and orders, and stand in the order in
which they are taken: the last one of a flow first, where the flow is inverted. A tile goes through
all of them while it is in the processor's cache.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from invflow.transforms.compiled.cpu import masked
from invflow.transforms.compiled.cpu.gradients import source_panel, target_panel
from invflow.transforms.compiled.cpu.parallel import parallel, reverse_parallel
from invflow.transforms.compiled.cpu.queue import take
from invflow.transforms.compiled.cpu.sweeps import reverse_sweep, sweep
from invflow.transforms.compiled.cpu.tensors import (
    numbers,
    read_biases,
    read_blocks,
    read_orders,
)
from invflow.transforms.compiled.cpu.tiles import clear, copy, load, total, unload


class Kernels(NamedTuple):
    """A chain, its reverse, and what weights get from both.

    Each returns whether it did anything: not where the order of a transform is no permutation.
    """

    chain: Callable[..., bool]
    reverse_chain: Callable[..., bool]
    weight_gradients: Callable[..., bool]


def kernels(key: str, keep: bool) -> Kernels:
    """Return the kernels, which are compiled at their first call.

    Args:
        key: what the machine code on disk is kept under, beside the code of this file; Numba does
            not see by itself that a file which this one imports has changed.
        keep: whether to keep it on disk.
    """

    @njit(nogil=True, cache=keep, error_model="numpy")
    def chain(
        counter, inverse, columns, starts, tops, residual, activation, blocks, map, bound,
        weights, varying, orders, value, steps, ladj, params, hidden,
    ):  # fmt: skip
        """Map a batch through transforms.

        Args:
            counter: of tiles that threads have taken, [1].
            inverse: whether from x to z.
            columns: of a tile.
            starts: see `sweeps`, like the three that follow.
            tops: first rows of the layers.
            residual: whether a hidden layer adds the one before.
            activation: its number.
            blocks: for each matrix the layer that it adds to, the layer that it reads, and its
                place among all gradients of a transform.
            map: the univariate map's number.
            bound: of an affine map's log-scale.
            weights: the addresses of biases and matrices, [transforms, weights].
            varying: whether the first layers' biases differ from row to row of the batch.
            orders: the addresses of the features in the order in which they are taken, or 0 for
                that in which they come, [transforms].
            value: what is mapped, [batch, features].
            steps: filled with what comes out of each transform, [transforms, batch, features]; or
                [1, batch, features], where the last one is all that is wanted.
            ladj: filled with the log-determinants, [batch].
            params: filled with parameters, [transforms, tiles, features * outputs * columns], if it
                is not empty.
            hidden: filled with pre-activations, [transforms, tiles, units * columns], likewise; it
                holds one transform at least where a hidden layer adds the one before.
        """
        _ = key
        last, features = starts.shape[0] - 1, starts.shape[1] - 1
        bottom = tops[last] + starts[last, features]
        tile = np.zeros((bottom + 1) * columns, value.dtype)
        degrees = masked.unit_degrees(starts)
        order = read_orders(orders, features)
        biases = read_biases(weights, starts, varying, value)
        matrices = read_blocks(weights, starts, blocks)
        tiles = math.ceil(value.shape[0] / columns) if len(order) > 0 else 0
        t = take(counter)
        while t < tiles:
            begin = t * columns
            end = min(begin + columns, value.shape[0])
            tile[bottom * columns :] = 0
            for k in range(len(order)):
                given = value if k == 0 else steps[min(k, steps.shape[0]) - 1]
                rows = value.shape[0] if varying else 0
                offset = numbers(weights[k, 0], (rows, starts[1, features]), value)
                kept = hidden[min(k, len(hidden) - 1), t] if len(hidden) > 0 else tile[:0]
                load(tile, 0, columns, given, order[k], begin, end)
                if inverse:
                    sweep(
                        tile, columns, starts, tops, matrices[k], residual, activation, map, bound,
                        biases[k], offset, kept, begin, end,
                    )  # fmt: skip
                else:
                    parallel(
                        tile, columns, starts, tops, matrices[k], residual, activation, map, bound,
                        degrees, biases[k], offset, kept, begin, end,
                    )  # fmt: skip
                unload(tile, 0, columns, steps[min(k, steps.shape[0] - 1)], order[k], begin, end)
                if len(params) > 0:
                    copy(tile, tops[last] * columns, params[k, t], 0, params.shape[2])
            for c in range(end - begin):
                ladj[begin + c] = tile[bottom * columns + c]
            t = take(counter)
        return len(order) > 0

    @njit(nogil=True, cache=keep, error_model="numpy")
    def reverse_chain(
        counter, inverse, columns, starts, tops, residual, activation, blocks, map, bound,
        weights, varying, orders, value, steps, params, hidden, bar, bar_ladj,
        bar_value, bar_params, bar_hidden, sums,
    ):  # fmt: skip
        """Take cotangents back through a chain.

        Args:
            counter: as in `chain`, like all others not named here.
            inverse: the direction of the chain.
            columns: of a tile.
            starts: how many units are known before a feature.
            tops: first rows of the layers.
            residual: whether a hidden layer adds the one before.
            activation: its number.
            blocks: the matrices.
            map: its number.
            bound: of an affine map's log-scale.
            weights: the addresses of biases and matrices.
            varying: whether the first layers' biases vary.
            orders: the addresses of the orders.
            value: what was mapped.
            steps: what came out of each transform.
            params: the parameters.
            hidden: the pre-activations.
            bar: cotangents of what came out of the last transform, [batch, features].
            bar_ladj: those of the log-determinants, [batch].
            bar_value: filled with those of what was mapped.
            bar_params: with those of the parameters.
            bar_hidden: with those of the pre-activations.
            sums: with the sums of each tile's, [tiles, transforms, units]: the biases' gradients.
        """
        _ = key
        last, features = starts.shape[0] - 1, starts.shape[1] - 1
        bottom = tops[last] + starts[last, features]
        tile = np.zeros((bottom + 1) * columns, value.dtype)
        values = np.zeros(features * columns, value.dtype)
        degrees = masked.unit_degrees(starts)
        order = read_orders(orders, features)
        matrices = read_blocks(weights, starts, blocks)
        final = len(order) - 1
        tiles = math.ceil(value.shape[0] / columns) if len(order) > 0 else 0
        t = take(counter)
        while t < tiles:
            begin = t * columns
            end = min(begin + columns, value.shape[0])
            for k in range(final, -1, -1):
                given = value if k == 0 else steps[k - 1]
                noise = steps[k] if inverse else given
                tile[:] = 0
                load(tile, 0, columns, bar if k == final else bar_value, order[k], begin, end)
                for c in range(end - begin):
                    tile[bottom * columns + c] = bar_ladj[begin + c]
                load(values, 0, columns, noise, order[k], begin, end)
                if inverse:
                    reverse_sweep(
                        tile, columns, starts, tops, matrices[k], residual, activation, map, bound,
                        values, params[k, t], hidden[k, t],
                    )  # fmt: skip
                else:
                    reverse_parallel(
                        tile, columns, starts, tops, matrices[k], residual, activation, map, bound,
                        degrees, values, params[k, t], hidden[k, t],
                    )  # fmt: skip
                clear(tile, columns, end - begin)  # zero times infinity is not zero
                unload(tile, 0, columns, bar_value, order[k], begin, end)
                copy(tile, features * columns, bar_hidden[k, t], 0, bar_hidden.shape[2])
                copy(tile, tops[last] * columns, bar_params[k, t], 0, bar_params.shape[2])
                for unit in range(features, bottom):
                    sums[t, k, unit - features] = total(tile, unit * columns, columns)
            t = take(counter)
        return len(order) > 0

    @njit(nogil=True, cache=keep, error_model="numpy")
    def weight_gradients(
        counter, inverse, columns, starts, tops, residual, activation, blocks, map, bound,
        weights, varying, orders, value, steps, hidden, bar_params, bar_hidden, result, tasks,
    ):  # fmt: skip
        """Take the gradients of matrices from what `chain` and `reverse_chain` left.

        Args:
            counter: of panels that threads have taken, [1].
            inverse: the direction of the chain.
            columns: of a tile.
            starts: see `sweeps`.
            tops: see there.
            residual: see there, not needed here, like all others of `chain` not named.
            activation: its number.
            blocks: the matrices.
            map: its number.
            bound: of an affine map's log-scale.
            weights: the addresses of biases and matrices.
            varying: whether the first layers' biases vary.
            orders: the addresses of the orders.
            value: what was mapped.
            steps: what came out of each transform.
            hidden: the pre-activations.
            bar_params: cotangents of the parameters.
            bar_hidden: those of the pre-activations.
            result: filled with the gradients of the matrices, [transforms, weights].
            tasks: panels of matrices, [tasks, 4]: which transform, which matrix, the first unit,
                and whether it is one of the target.
        """
        _ = key, residual, map, bound, weights, varying
        order = read_orders(orders, starts.shape[1] - 1)
        if len(order) == 0:
            return False
        last, degrees = starts.shape[0] - 1, masked.unit_degrees(starts)
        t = take(counter)
        while t < tasks.shape[0]:
            k, b, first, of_target = tasks[t]
            target, source, at = blocks[b]
            rows, length = starts[target, -1], starts[source, -1]
            given = value if k == 0 else steps[k - 1]
            noise = steps[k] if inverse else given
            own = 0 if target == last else tops[target] - tops[1]
            deltas = bar_params[k] if target == last else bar_hidden[k]
            matrix = result[k, at : at + rows * length].reshape(rows, length)
            if of_target:
                target_panel(
                    first, columns, starts, tops, degrees, target, source, activation, order[k],
                    noise, hidden[k], deltas, own, matrix,
                )  # fmt: skip
            else:
                source_panel(
                    first, columns, starts, tops, degrees, target, source, activation, order[k],
                    noise, hidden[k], deltas, own, matrix,
                )  # fmt: skip
            t = take(counter)
        return True

    return Kernels(chain, reverse_chain, weight_gradients)
