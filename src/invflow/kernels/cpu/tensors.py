"""What kernels read by address: their record, and all that it tells of."""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

from invflow.kernels.cpu.record import RECORDS


def _emit_pointer(context, address, like):
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(address, like), emit


_pointer: Any = intrinsic(_emit_pointer)


@njit(nogil=True)
def numbers(address, shape, like):
    """Return the array of this shape that lies at an address, of numbers as `like` holds."""
    return carray(_pointer(address, like), shape)


@njit(nogil=True)
def read_record(address):
    """Return the record at an address."""
    return numbers(address, (1,), RECORDS)[0]


@njit(nogil=True)
def _integers(address, shape):
    return numbers(address, shape, np.empty(0, np.int64))


@njit(nogil=True)
def read_network(job):
    """Return where layers start and what is known of them: see `sweeps`."""
    starts = _integers(job.starts, (job.layers, job.features + 1))
    return starts, _integers(job.tops, (job.layers,))


@njit(nogil=True)
def read_steps(job, like):
    """Return what is mapped, and what comes out of each transform, if that is kept."""
    value = numbers(job.value, (job.batch, job.features), like)
    count = job.transforms if job.keep else 0
    return value, numbers(job.steps, (count, job.batch, job.features), like)


@njit(nogil=True)
def read_rows(job, address, starts, tops, like):
    """Return the pre-activations and the parameters at an address, or what is laid out as they.

    Returns:
        [transforms, tiles, units * columns] both. Where nothing is kept, without transforms; but
        the pre-activations of one, if a hidden layer adds the one before.
    """
    tiles = -(-job.batch // job.columns)
    count = job.transforms if job.keep else 0
    rooms = count if job.keep or not job.residual else 1
    units, outputs = (tops[-1] - job.features) * job.columns, starts[-1, -1] * job.columns
    hidden = numbers(address, (rooms, tiles, units), like)
    return hidden, numbers(address + hidden.nbytes, (count, tiles, outputs), like)


@njit(nogil=True)
def _tensors(job):
    return _integers(job.tensors, (job.transforms, 4))


@njit(nogil=True)
def read_orders(job):
    """Return the features in the order in which each transform takes them.

    Returns:
        [transforms, features], or no rows at all where one is not a permutation.
    """
    features, addresses = job.features, _tensors(job)[:, 0]
    result = np.empty((job.transforms, features), np.int64)
    for k in range(job.transforms):
        if addresses[k] == 0:
            result[k] = np.arange(features)
            continue
        result[k] = _integers(addresses[k], (features,))
        met = np.zeros(features, np.bool_)
        for feature in result[k]:
            if feature < 0 or feature >= features or met[feature]:
                return result[:0]
            met[feature] = True
    return result


@njit(nogil=True)
def read_biases(job, k, tops, starts, like):
    """Return the biases of a transform, [units]."""
    units = tops[-1] + starts[-1, -1] - job.features
    return numbers(_tensors(job)[k, 1], (units,), like)


@njit(nogil=True)
def read_offset(job, k, starts, like):
    """Return what a context adds to the first layer, [batch, units]; without rows for none."""
    rows = job.batch if job.varying else 0
    return numbers(_tensors(job)[k, 3], (rows, starts[1, -1]), like)


@njit(nogil=True)
def read_blocks(job, like):
    """Return for each matrix of each transform its target, its source and its address."""
    result = np.empty((job.transforms, job.matrices, 3), np.int64)
    blocks = _integers(job.blocks, (job.matrices, 3))
    for k in range(job.transforms):
        result[k] = blocks
        result[k, :, 2] = _tensors(job)[k, 2] + blocks[:, 2] * like.itemsize
    return result
