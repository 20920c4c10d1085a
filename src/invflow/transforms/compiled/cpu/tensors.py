"""What kernels read by address: orders, biases and matrices, where they lie in memory."""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic


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
def read_orders(addresses, features):
    """Return the features in the order in which each transform takes them.

    Args:
        addresses: of the orders, [transforms]; 0 for that in which they come.
        features: how many there are.

    Returns:
        [transforms, features], or no rows at all where one is no permutation.
    """
    result = np.empty((addresses.size, features), np.int64)
    for k in range(addresses.size):
        if addresses[k] == 0:
            result[k] = np.arange(features)
            continue
        result[k] = numbers(addresses[k], (features,), addresses)
        met = np.zeros(features, np.bool_)
        for feature in result[k]:
            if feature < 0 or feature >= features or met[feature]:
                return result[:0]
            met[feature] = True
    return result


@njit(nogil=True)
def read_biases(addresses, starts, varying, like):
    """Return the biases of all layers, [transforms, units].

    Args:
        addresses: of the weights, [transforms, weights]: biases, then matrices.
        starts: see `sweeps`.
        varying: whether the first layer's differ from row to row of the batch, and are left out.
        like: an array of such numbers.
    """
    widths = starts[1:, -1]
    result = np.zeros((addresses.shape[0], widths.sum()), like.dtype)
    for k in range(addresses.shape[0]):
        at = 0
        for layer in range(widths.size):
            if layer > 0 or not varying:
                own = numbers(addresses[k, layer], (widths[layer],), like)
                result[k, at : at + widths[layer]] = own
            at += widths[layer]
    return result


@njit(nogil=True)
def read_blocks(addresses, starts, blocks):
    """Return for each matrix of each transform its target, its source and its address."""
    first, transforms = starts.shape[0] - 1, addresses.shape[0]
    result = np.empty((transforms, blocks.shape[0], 3), np.int64)
    for k in range(transforms):
        result[k] = blocks
        result[k, :, 2] = addresses[k, first:]
    return result
