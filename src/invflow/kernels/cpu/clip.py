"""What a conditioner reads of features, and the slope of that: formulas as in `soft_clip`.

Most rows of a tile hold nothing that is far out, and are done once that is known.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

from numba import njit

from invflow.kernels.cpu.activations import tanh


@njit(nogil=True)
def _beyond(part, knee):
    """Return whether anything is beyond the knee."""
    count = 0
    for i in range(part.size):
        count += not abs(part[i]) <= knee
    return count > 0


@njit(nogil=True, error_model="numpy")
def clip_rows(input_bound, values, first, count):
    """Replace features by what is read of them, in place.

    Args:
        input_bound: the bound of what is read, infinite for none.
        values: a tile's memory, flat.
        first: where to begin.
        count: how many numbers.
    """
    part = values[first : first + count]
    knee = part.dtype.type(0.5 * input_bound)
    if not _beyond(part, knee):
        return
    for i in range(count):
        size = abs(part[i])
        if not size <= knee:
            read = knee + knee * tanh((size - knee) / knee)
            part[i] = -read if part[i] < 0 else read


@njit(nogil=True, error_model="numpy")
def pull_clip(input_bound, cotangents, first, z, count):
    """Multiply cotangents of what is read by the slope, in place.

    Args:
        input_bound: the bound of what is read, infinite for none.
        cotangents: a tile's memory, flat.
        first: where to begin.
        z: the features, count numbers.
        count: how many numbers.
    """
    part, values = cotangents[first : first + count], z[:count]
    knee = values.dtype.type(0.5 * input_bound)
    if not _beyond(values, knee):
        return
    for i in range(count):
        size = abs(values[i])
        if not size <= knee:
            t = tanh((size - knee) / knee)
            part[i] -= part[i] * (t * t)
