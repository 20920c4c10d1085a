"""Activations and their slopes, number by number of a tile.

Computed in double precision whatever the tile holds. No call leaves the common loops, so that LLVM
vectorises them.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

import math

import numpy as np
from numba import njit

#: What the kernels call them.
ACTIVATIONS = {
    name: code
    for code, name in enumerate(
        ("relu", "leaky_relu", "elu", "tanh", "sigmoid", "silu", "softplus", "gelu")
    )
}

_ROOT_HALF, _PER_ROOT_TAU = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)
_MAGIC = 1.5 * 2.0**52  # added to a number below 2^51, it leaves the nearest integer's bits
_PER_LOG2 = 1 / math.log(2)
_LOG2_HIGH, _LOG2_LOW = 0.6931471803691238, 1.9082149292705877e-10  # their sum is log 2
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (
    1 / math.factorial(k) for k in range(2, 14)
)


@njit(nogil=True)
def _powers(x):
    """Return 2^n and e^r - 1, where x = n log 2 + r with the smallest r."""
    x = -708.0 if x < -708.0 else x
    x = 708.0 if x > 708.0 else x
    shifted = x * _PER_LOG2 + _MAGIC
    n = shifted - _MAGIC
    r = (x - n * _LOG2_HIGH) - n * _LOG2_LOW
    p = _C9 + r * (_C10 + r * (_C11 + r * (_C12 + r * _C13)))
    p = _C3 + r * (_C4 + r * (_C5 + r * (_C6 + r * (_C7 + r * (_C8 + r * p)))))
    bits = (np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52)
    return np.int64(bits).view(np.float64), r + r * r * (_C2 + r * p)


@njit(nogil=True)
def exp(x):
    """The exponential, to rounding between -708 and 708, and constant beyond."""
    scale, rest = _powers(x)
    return scale * rest + scale


@njit(nogil=True)
def expm1(x):
    """The exponential less one, with small results to rounding too."""
    scale, rest = _powers(x)
    return scale * rest + (scale - 1.0)


@njit(nogil=True)
def tanh(x):
    """The hyperbolic tangent."""
    x = -20.0 if x < -20.0 else x
    x = 20.0 if x > 20.0 else x
    e = expm1(2.0 * x)
    return e / (e + 2.0)


@njit(nogil=True)
def sigmoid(x):
    """The logistic function."""
    return 1.0 / (1.0 + exp(-x))


@njit(nogil=True, error_model="numpy")
def activate(name, values, first, count):
    """Replace pre-activations by activations, in place.

    Args:
        name: the activation's number in `ACTIVATIONS`.
        values: a tile's memory, flat.
        first: where to begin.
        count: how many numbers.
    """
    part = values[first : first + count]
    if name == 0:
        for i in range(count):
            a = part[i]
            part[i] = 0.0 if a < 0 else a
    elif name == 1:
        for i in range(count):
            a = np.float64(part[i])
            part[i] = 0.01 * a if a < 0 else a
    elif name == 2:
        for i in range(count):
            a = np.float64(part[i])
            part[i] = expm1(a) if a < 0 else a
    elif name == 3:
        for i in range(count):
            part[i] = tanh(np.float64(part[i]))
    elif name == 4:
        for i in range(count):
            part[i] = sigmoid(np.float64(part[i]))
    elif name == 5:
        for i in range(count):
            a = np.float64(part[i])
            part[i] = a * sigmoid(a)
    elif name == 6:
        for i in range(count):
            a = np.float64(part[i])
            part[i] = a if a > 20 else math.log1p(exp(a))  # where torch takes the straight line
    else:
        for i in range(count):
            a = np.float64(part[i])
            part[i] = 0.5 * a * math.erfc(-a * _ROOT_HALF)


@njit(nogil=True, error_model="numpy")
def pull(name, cotangents, first, hidden, kept, count):
    """Multiply cotangents by the activation's slope, in place.

    Args:
        name: the activation's number in `ACTIVATIONS`.
        cotangents: a tile's memory, flat.
        first: where to begin.
        hidden: pre-activations, flat.
        kept: where those begin.
        count: how many numbers.
    """
    part, before = cotangents[first : first + count], hidden[kept : kept + count]
    if name == 0:
        for i in range(part.size):
            part[i] = part[i] if before[i] > 0 else 0.0
    elif name == 1:
        for i in range(part.size):
            part[i] *= 1.0 if before[i] > 0 else 0.01
    elif name == 2:
        for i in range(part.size):
            a = np.float64(before[i])
            part[i] *= 1.0 if a > 0 else exp(a)
    elif name == 3:
        for i in range(part.size):
            t = tanh(np.float64(before[i]))
            part[i] *= 1.0 - t * t
    elif name == 4:
        for i in range(part.size):
            gate = sigmoid(np.float64(before[i]))
            part[i] *= gate * (1.0 - gate)
    elif name == 5:
        for i in range(part.size):
            a = np.float64(before[i])
            gate = sigmoid(a)
            part[i] *= gate * (1.0 + a * (1.0 - gate))
    elif name == 6:
        for i in range(part.size):
            part[i] *= sigmoid(np.float64(before[i]))
    else:
        for i in range(part.size):
            a = np.float64(before[i])
            part[i] *= 0.5 * math.erfc(-a * _ROOT_HALF) + a * exp(-0.5 * a * a) * _PER_ROOT_TAU
